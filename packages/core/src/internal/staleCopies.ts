import * as Lifetime from "../Lifetime.ts"
import type { Lookup, Payload, SessionRecord } from "../SessionStore.ts"

type Live = Extract<Lookup, { readonly _tag: "Live" }>

/** Version of a copy, which no store has. */
export const staleVersion = -1

/** What the store has confirmed of a key. */
interface Entry {
  readonly record: SessionRecord
  /** The store's time. */
  readonly now: number
  /** Monotonic time. */
  readonly at: number
  /** Number of the call that said so. */
  readonly call: number
}

// The oldest go first; a map keeps the order in which they were put in. Returns what had to go.
const put = <A>(map: Map<string, A>, key: string, value: A, capacity: number): A | undefined => {
  map.delete(key)
  map.set(key, value)
  if (map.size <= capacity) return undefined
  for (const [oldest, gone] of map) {
    map.delete(oldest)
    return gone
  }
  return undefined
}

// A payload may be changed by whoever gets it.
const copyOf = (payload: Payload): Payload => typeof payload === "string" ? payload : payload.slice()

/**
 * Copies of what the store has confirmed, for the time it cannot be asked.
 *
 * Calls are numbered as they begin. What is known to be over is remembered
 * beside the copies, so that the answer of an earlier call cannot bring it back,
 * and keys that nobody ever had drive out no copy. When more has ended than can
 * be remembered, everything older than what was forgotten counts as over.
 */
export class StaleCopies {
  private readonly capacity: number
  private readonly entries = new Map<string, Entry>()
  private readonly endedKeys = new Map<string, number>()
  private readonly endedSubjects = new Map<string, number>()
  private calls = 0
  private allEnded = 0
  // The numbers of the last ends that are not remembered any more.
  private forgottenKey = 0
  private forgottenSubject = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }

  /** The number of a call that begins now. */
  begin(): number {
    return ++this.calls
  }

  confirm(key: string, record: SessionRecord, now: number, at: number, call: number): void {
    const entry = this.entries.get(key)
    // A later call has said something else.
    if (entry !== undefined && entry.call > call) return
    if (call < (this.endedKeys.get(key) ?? this.forgottenKey) || this.isOver(record, call)) return
    put(this.entries, key, { record: { ...record, payload: copyOf(record.payload) }, now, at, call }, this.capacity)
  }

  end(key: string): void {
    this.entries.delete(key)
    this.forgottenKey = put(this.endedKeys, key, this.begin(), this.capacity) ?? this.forgottenKey
  }

  endSubject(subject: string, except: string | undefined): void {
    this.forgottenSubject = put(this.endedSubjects, subject, this.begin(), this.capacity) ?? this.forgottenSubject
    const spared = except === undefined ? undefined : this.entries.get(except)
    if (except !== undefined && spared !== undefined) this.entries.set(except, { ...spared, call: this.begin() })
  }

  endAll(): void {
    this.allEnded = this.begin()
    this.entries.clear()
  }

  /** The copy of a key, if it is young enough and its session has not ended. */
  read(key: string, at: number, maxAge: number): Live | undefined {
    const entry = this.entries.get(key)
    if (entry === undefined) return undefined
    const { record } = entry
    const age = Math.max(0, at - entry.at)
    const now = Math.floor(entry.now + age)
    if (age > maxAge || this.isOver(record, entry.call) || !Lifetime.isLive(record, now)) return undefined
    return {
      _tag: "Live",
      record: { ...record, version: staleVersion, payload: copyOf(record.payload) },
      alias: undefined,
      now,
      served: { _tag: "Stale", age: Math.round(age) }
    }
  }

  private isOver({ subject }: SessionRecord, call: number): boolean {
    return call < this.allEnded ||
      (subject !== undefined && call < (this.endedSubjects.get(subject) ?? this.forgottenSubject))
  }
}
