import * as Effect from "effect/Effect"
import { type Current, isReadOnly } from "../CommitPlan.ts"
import type { Flash, FlashKind } from "../Flash.ts"
import { type Envelope, type FlashMessage, format } from "../SessionData.ts"
import * as SessionError from "../SessionError.ts"
import * as FollowedKey from "./followedKey.ts"
import * as SessionAccess from "./sessionAccess.ts"
import type { Change } from "./sessionChange.ts"
import type { SessionState } from "./sessionState.ts"
import type { Snapshot } from "./snapshot.ts"

type Matches = (message: FlashMessage) => boolean

const every: Matches = () => true

/** A message that this request has taken out of its stored session. */
interface Taken {
  readonly message: FlashMessage
  /** Whose session it was. */
  readonly subject: string | undefined
  /** How often the request had ended its session by then. */
  readonly endings: number
}

/** The flash messages of one request's session. */
export class SessionFlash<in out A> implements Flash {
  readonly #state: SessionState<A>
  private readonly exclusively: <B, E>(effect: Effect.Effect<B, E>) => Effect.Effect<B, E>
  #delivered: Array<Taken> = []
  #current: Array<FlashMessage> = []
  /** Queued again by this request. */
  #kept: ReadonlyArray<FlashMessage> = []
  /** Read, and taken out of the stored session by another request or behind this one's back. */
  readonly #settled: Array<FlashMessage> = []

  constructor(state: SessionState<A>, exclusively: <B, E>(effect: Effect.Effect<B, E>) => Effect.Effect<B, E>) {
    this.#state = state
    this.exclusively = exclusively
  }

  readonly add = (kind: FlashKind, message: string) => this.queue([{ kind, message }])
  readonly notice = (message: string) => this.add("notice", message)
  readonly alert = (message: string) => this.add("alert", message)
  readonly error = (message: string) => this.add("error", message)
  readonly success = (message: string) => this.add("success", message)
  readonly warning = (message: string) => this.add("warning", message)
  readonly info = (message: string) => this.add("info", message)

  readonly now = (kind: FlashKind, message: string): Effect.Effect<void> =>
    Effect.sync(() => {
      this.#current.push({ kind, message })
    })

  readonly get = (kind: FlashKind): Effect.Effect<ReadonlyArray<string>, SessionError.SessionError> =>
    Effect.map(this.deliver((message) => message.kind === kind), (messages) => messages.map(({ message }) => message))

  get all(): Effect.Effect<ReadonlyArray<FlashMessage>, SessionError.SessionError> {
    return this.deliver(every)
  }

  get peek(): Effect.Effect<ReadonlyArray<FlashMessage>, SessionError.SessionError> {
    return Effect.map(Effect.suspend(() => this.#state.load()), (snapshot) => this.waiting(snapshot, every))
  }

  readonly keep = (kind: FlashKind) => Effect.suspend(() => this.again((message) => message.kind === kind))

  get keepAll(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.suspend(() => this.again(every))
  }

  readonly discard = (kind: FlashKind) => this.drop((message) => message.kind === kind)

  get discardAll(): Effect.Effect<void, SessionError.SessionError> {
    return this.drop(every)
  }

  get clear(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.suspend(() => {
      this.#current = []
      return this.discardAll
    })
  }

  /** Puts back what a request that failed has taken: nobody has seen it. */
  restore(): void {
    const { ended, endings, snapshot } = this.#state
    // They do not pass on to a session that came after theirs.
    const undelivered = this.delivered.filter((taken) => taken.endings === endings).map(({ message }) => message)
    this.#delivered = []
    if (undelivered.length === 0 || ended || snapshot?.current === undefined) return
    this.#state.changes = [...this.#state.changes, {
      apply: (envelope) => ({ ...envelope, flash: [...undelivered, ...envelope.flash] }),
      replay: true,
      stands: true
    }]
  }

  // What was taken, but for what belongs to somebody else than who is signed in by now.
  private get delivered(): ReadonlyArray<Taken> {
    const { ended, identity, snapshot } = this.#state
    const now = identity.subject ?? (ended ? undefined : snapshot?.current?.record.subject)
    return now === undefined
      ? this.#delivered
      : this.#delivered.filter(({ subject }) => subject === undefined || subject === now)
  }

  private again(matches: Matches): Effect.Effect<void, SessionError.SessionError> {
    const messages = this.delivered
      .map(({ message }) => message)
      .filter((message) => matches(message) && !this.#kept.includes(message))
    return Effect.map(this.queue(messages), () => {
      this.#kept = [...this.#kept, ...messages]
    })
  }

  private queue(messages: ReadonlyArray<FlashMessage>): Effect.Effect<void, SessionError.SessionError> {
    if (messages.length === 0) return Effect.void
    return this.change((flash) => [...flash, ...messages])
  }

  private drop(matches: Matches): Effect.Effect<void, SessionError.SessionError> {
    return Effect.flatMap(Effect.suspend(() => this.#state.loadForWriting()), (snapshot) => {
      this.#delivered = this.#delivered.filter(({ message }) => !matches(message))
      return this.#state.envelope(snapshot).flash.some(matches)
        ? this.change((flash) => flash.filter((message) => !matches(message)))
        : Effect.void
    })
  }

  private change(f: (flash: ReadonlyArray<FlashMessage>) => ReadonlyArray<FlashMessage>) {
    const change: Change<A> = {
      apply: (envelope) => ({ ...envelope, flash: f(envelope.flash) }),
      replay: true,
      stands: false
    }
    return Effect.asVoid(Effect.suspend(() => this.#state.record(change)))
  }

  private deliver(matches: Matches): Effect.Effect<ReadonlyArray<FlashMessage>, SessionError.SessionError> {
    return Effect.map(
      this.claim(matches),
      () => [...this.delivered.map(({ message }) => message), ...this.#current].filter(matches)
    )
  }

  private claim(matches: Matches): Effect.Effect<void, SessionError.SessionError> {
    return Effect.flatMap(
      Effect.suspend(() => this.#state.load()),
      (snapshot) => {
        // Not only where something waits: whoever may not write would find out late.
        const refused = this.#state.request.access === "read"
        if (this.#state.finished || (!refused && this.waiting(snapshot, matches).length === 0)) return Effect.void
        return Effect.andThen(
          this.#state.loadForWriting(),
          this.exclusively(Effect.suspend(() => this.take(matches)))
        )
      }
    )
  }

  // What is stored and was not discarded by this request. What is read-only delivers nothing: that is left to the
  // successor of an alias, and to the time after an outage.
  private waiting(snapshot: Snapshot<A>, matches: Matches): ReadonlyArray<FlashMessage> {
    const { current, stored } = snapshot
    if (stored === undefined || current === undefined || isReadOnly(current) || this.#state.ended) return []
    const visible = this.#state.envelope(snapshot).flash
    return stored.flash.filter((message) =>
      matches(message) && !this.#settled.includes(message) && visible.includes(message)
    )
  }

  // Takes the waiting messages out of the store, apart from everything else the request has recorded.
  private take(matches: Matches): Effect.Effect<void, SessionError.SessionError> {
    const { current, stored } = this.#state.snapshot ?? {}
    if (current === undefined || stored === undefined || this.#state.ended) return Effect.void
    return this.takeFrom(current, stored, matches, this.#state.runtime.settings.conflictRetries)
  }

  private takeFrom(
    current: Current,
    stored: Envelope<A>,
    matches: Matches,
    retries: number
  ): Effect.Effect<void, SessionError.SessionError> {
    const state = this.#state
    const { backend, definition, settings } = state.runtime
    const own = state.snapshot?.current === current
    const visible = own && state.snapshot !== undefined ? state.envelope(state.snapshot) : state.changed(stored)
    const taken = stored.flash.filter((message) =>
      matches(message) && visible.flash.includes(message) && !(own && this.#settled.includes(message))
    )
    if (taken.length === 0) return Effect.void
    const envelope = { ...stored, flash: stored.flash.filter((message) => !taken.includes(message)) }
    const payload = definition.data.encode(envelope)
    if (payload === undefined) return state.refuse(new SessionError.Invalid({ problem: "encoding" }))
    const change = {
      format,
      payload,
      idleTimeout: current.record.idleTimeout,
      lifetime: undefined,
      active: SessionAccess.isActive(state) && settings.sliding
    }
    const answered = Effect.match(backend.apply({ _tag: "Save", current, change }), {
      onFailure: (error): Effect.Effect<void, SessionError.SessionError> => state.unavailable(error),
      onSuccess: (applied): Effect.Effect<void, SessionError.SessionError> => {
        if (applied._tag === "Stored") {
          if (own) {
            state.adopt(applied.token, applied.key, applied.record, envelope)
            // Where the token is the record, the client has to take the one without the messages.
            if (applied.token !== current.token) state.issue(applied.token, applied.record, envelope)
          }
          const { subject } = current.record
          for (const message of taken) this.#delivered.push({ message, subject, endings: state.endings })
          return state.observe("saved", { key: applied.key, subject: applied.record.subject })
        }
        // Whatever waits now, these do not wait for this request any more.
        if (own) this.#settled.push(...taken)
        // Another request was faster and may have delivered them; one that ended has nothing to deliver.
        if (applied._tag !== "Conflict" || retries === 0) return Effect.void
        return this.takeAgain(current, matches, retries - 1)
      }
    })
    // An interruption waits for the store: what was taken out must be delivered, or put back.
    return Effect.flatten(Effect.uninterruptible(answered))
  }

  // Tries again on what another request has left. What this request knows of its session stays what it has read:
  // its commit has to notice the other one.
  private takeAgain(
    { token }: Current,
    matches: Matches,
    retries: number
  ): Effect.Effect<void, SessionError.SessionError> {
    const state = this.#state
    const { backend, definition } = state.runtime
    return Effect.matchEffect(FollowedKey.findSession(backend, state.request.followed, token), {
      onFailure: (error) => state.unavailable(error),
      onSuccess: (found) => {
        if (found._tag === "Rejected" || found.lookup._tag !== "Live") return Effect.void
        const { alias, record, served } = found.lookup
        const decoded = definition.data.decode(found.key, record.format, record.payload)
        const current: Current = { token, key: found.key, record, alias, served }
        return decoded._tag !== "Decoded" || isReadOnly(current)
          ? Effect.void
          : this.takeFrom(current, decoded.envelope, matches, retries)
      }
    })
  }
}
