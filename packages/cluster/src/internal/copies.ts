/**
 * What one node knows of the store, and what stands in the way of using it: answers that are overtaken, writes that
 * are under way, and subjects whose sessions are being ended.
 *
 * A read that was overtaken by a change is not kept. Whoever asked before the change gets its answer, nobody else.
 */
import * as Lifetime from "@effect-session/core/Lifetime"
import type { Lookup, SessionRecord } from "@effect-session/core/SessionStore"
import type { CacheCounts } from "./cacheCounts.ts"
import { type Copy, NearCache } from "./nearCache.ts"

export interface Settings {
  readonly ttl: number
  readonly absentTtl: number
  readonly maxEntries: number
  readonly maxBytes: number
}

/** A write of this node that the store has not confirmed yet. */
interface Writing {
  count: number
  /** Whether another node may have changed the key since. */
  overtaken: boolean
}

/** A read under way. */
export interface Reading {
  readonly key: string
  readonly askedAt: number
}

// Where sessions have gone: enough for every renewal of some seconds, the longest an old key can be read.
const maxSuccessors = 10_000

// Flushes at once; then one more for each pause.
const flushBurst = 10
const flushPause = 1000

export class Copies<R extends Reading> {
  readonly cache: NearCache
  private readonly settings: Settings
  private readonly counts: CacheCounts
  private readonly salt: number
  private readonly readings = new Map<string, R>()
  private readonly writings = new Map<string, Writing>()
  private readonly busySubjects = new Map<string, number>()
  private readonly successors = new Map<string, string>()
  private busyAll = 0
  private flushes = flushBurst
  private flushedAt = 0
  private flushLater = false
  // The store's time at passage 0, as of its last answer.
  private storeOffset: number | undefined

  constructor(settings: Settings, counts: CacheCounts, salt: number) {
    this.settings = settings
    this.counts = counts
    this.salt = salt
    this.cache = new NearCache(settings.maxEntries, settings.maxBytes)
  }

  /** Whether copies of a key may be used or made at all. */
  isQuiet(key: string, now: number): boolean {
    if (this.busyAll > 0 || (this.writings.size > 0 && this.writings.has(key))) return false
    return !this.flushLater || this.flushDue(now)
  }

  /** The copy of a key that may be used now. */
  use(key: string, now: number, trust: number): Copy | undefined {
    const copy = this.cache.use(key)
    if (copy === undefined) return undefined
    const age = now - copy.askedAt
    if (now < copy.until && age <= trust) {
      const { record } = copy
      if (record === undefined) return copy
      if (Lifetime.isLive(record, copy.storeTime + age)) {
        const busy = this.busySubjects.size > 0 && record.subject !== undefined && this.busySubjects.has(record.subject)
        return busy ? undefined : copy
      }
    }
    // The store has the last word: activity on another node may have moved a deadline.
    this.cache.delete(key)
    this.counts.expirations++
    return undefined
  }

  reading(key: string): R | undefined {
    return this.readings.get(key)
  }

  begin(reading: R): void {
    this.readings.set(reading.key, reading)
  }

  /** Ends a read and says whether what it found may be kept. */
  end(reading: R): boolean {
    if (this.readings.get(reading.key) !== reading) return false
    this.readings.delete(reading.key)
    return true
  }

  /**
   * Gives up what is known of a key, and what others are about to know: the store has just said something that may be
   * newer, kept or not.
   */
  answered(key: string, lookup: Lookup, reading?: R): void {
    if (lookup._tag === "Live" && lookup.served !== undefined) return
    this.cache.delete(key)
    this.overtakeWrite(key)
    if (this.readings.get(key) !== reading) this.readings.delete(key)
    // What was read through an old key is the session of the new one.
    if (lookup._tag === "Live" && lookup.alias !== undefined) this.forget(lookup.alias, lookup.record.version)
  }

  keep(
    key: string,
    record: SessionRecord | undefined,
    subjectHash: string | undefined,
    storeTime: number,
    askedAt: number
  ): void {
    if (record !== undefined && this.busySubjects.size > 0 && this.busySubjects.has(record.subject ?? "")) return
    const ttl = record === undefined ? this.settings.absentTtl : this.settings.ttl
    if (!(ttl > 0)) return
    this.counts.fills++
    // With each new one two old ones go: of sessions that nobody asks for any more nothing stays for long.
    this.counts.expirations += this.cache.dropOld(askedAt)
    this.cache.set({ key, record, subjectHash, storeTime, askedAt, until: askedAt + ttl * this.jitter(key) })
  }

  /** Learns the store's time from an answer. */
  learnTime(storeTime: number, askedAt: number): void {
    this.storeOffset = storeTime - askedAt
  }

  /** The store's time, if it is known; never behind it, as far as its clock goes straight. */
  storeTime(now: number): number | undefined {
    return this.storeOffset === undefined ? undefined : this.storeOffset + now
  }

  /** Forgets a key, reads under way included. With a version, keeps a copy that has it or a later one. */
  forget(key: string, version?: number): void {
    this.readings.delete(key)
    this.overtakeWrite(key)
    const record = this.cache.peek(key)?.record
    if (version === undefined || record === undefined || record.version < version) this.cache.delete(key)
  }

  forgetSubject(isOf: (copy: Copy) => boolean): void {
    this.overtakeAll()
    this.cache.deleteWhere(isOf)
  }

  /** Forgets everything: at once, or as soon as there have been few enough flushes. Until then there are no copies. */
  flush(now: number): void {
    this.overtakeAll()
    this.flushLater = true
    this.flushDue(now)
  }

  /** Forgets everything of this node alone. */
  clear(): number {
    this.overtakeAll()
    return this.cache.clear()
  }

  /** Where a session has gone from a key, step by step. */
  descendants(key: string): ReadonlyArray<string> {
    const found: Array<string> = []
    for (let next = this.successors.get(key); next !== undefined; next = this.successors.get(next)) {
      if (found.includes(next)) break
      found.push(next)
    }
    return found
  }

  moved(key: string, successor: string): void {
    this.successors.delete(key)
    this.successors.set(key, successor)
    if (this.successors.size <= maxSuccessors) return
    for (const oldest of this.successors.keys()) {
      this.successors.delete(oldest)
      return
    }
  }

  /** A write of this node begins: until it ends, the key is asked of the store. */
  beginWrite(key: string): void {
    this.cache.delete(key)
    this.readings.delete(key)
    const writing = this.writings.get(key)
    if (writing === undefined) this.writings.set(key, { count: 1, overtaken: false })
    else writing.count++
  }

  /** A read of the store, beside a write of this node, may see more than the write will have left. */
  overtakeWrite(key: string): void {
    const writing = this.writings.get(key)
    if (writing !== undefined) writing.overtaken = true
  }

  /** Says whether what the write has left in the store may be kept. */
  endWrite(key: string): boolean {
    const writing = this.writings.get(key)
    this.cache.delete(key)
    this.readings.delete(key)
    if (writing === undefined) return false
    if (--writing.count > 0) {
      // Of writes at once nobody knows which came last.
      writing.overtaken = true
      return false
    }
    this.writings.delete(key)
    return !writing.overtaken
  }

  beginSubject(subject: string): void {
    this.busySubjects.set(subject, (this.busySubjects.get(subject) ?? 0) + 1)
  }

  endSubject(subject: string): void {
    const count = (this.busySubjects.get(subject) ?? 1) - 1
    if (count > 0) this.busySubjects.set(subject, count)
    else this.busySubjects.delete(subject)
  }

  beginAll(): void {
    this.busyAll++
    this.overtakeAll()
  }

  endAll(): void {
    this.busyAll--
    this.clear()
  }

  private overtakeAll(): void {
    this.readings.clear()
    for (const writing of this.writings.values()) writing.overtaken = true
  }

  // Whether there is no flush to wait for.
  private flushDue(now: number): boolean {
    const earned = Math.floor((now - this.flushedAt) / flushPause)
    if (earned > 0) {
      this.flushes = Math.min(flushBurst, this.flushes + earned)
      this.flushedAt += earned * flushPause
    }
    if (this.flushes === 0) return false
    this.flushes--
    this.flushLater = false
    this.overtakeAll()
    this.cache.clear()
    this.counts.flushes++
    return true
  }

  // From 0.9 to 1, another one for each key and node: copies made at once are not given up at once.
  private jitter(key: string): number {
    let bits = this.salt
    for (let i = 1; i <= 4; i++) bits = Math.imul(bits ^ key.charCodeAt(key.length - i), 0x01000193)
    return 0.9 + 0.1 * ((bits >>> 8) & 0xffff) / 0x10000
  }
}
