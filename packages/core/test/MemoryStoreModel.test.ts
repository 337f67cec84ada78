import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import { deadline } from "../src/Lifetime.ts"
import type {
  Created,
  Lookup,
  NewRecord,
  RecordChange,
  Renewed,
  Replacement,
  Saved,
  SessionLimit,
  SessionRecord
} from "../src/SessionStore.ts"
import { random } from "../src/testing/Trial.ts"
import { change, newRecord, open, replacement } from "./memoryStoreFixture.ts"

interface Held {
  key: string
  record: SessionRecord
  aliases: Array<{ readonly key: string; readonly until: number }>
  used: number
  indexed: number
}

const oldest = (sessions: ReadonlyArray<Held>): Held | undefined => sessions.toSorted((a, b) => a.used - b.used)[0]
const signIn = (record: SessionRecord): number => record.authenticatedAt ?? record.createdAt

/** The memory store as plainly as it can be written: one array, searched from its beginning. */
class Model {
  now = 0
  evicted = 0
  expired = 0
  private step = 0
  private sessions: Array<Held> = []
  private readonly capacity: number

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get stats() {
    const subjects = this.sessions.map(({ record }) => record.subject).filter((subject) => subject !== undefined)
    return {
      total: this.sessions.length,
      anonymous: this.sessions.length - subjects.length,
      subjects: new Set(subjects).size,
      aliases: this.sessions.reduce((sum, { aliases }) => sum + aliases.length, 0),
      evicted: this.evicted,
      expired: this.expired,
      capacity: this.capacity
    }
  }

  get keys(): ReadonlyArray<string> {
    return this.sessions.filter((held) => this.isLive(held)).map(({ key }) => key).toSorted()
  }

  load(key: string): Lookup {
    const held = this.sessions.find((held) => held.key === key)
    if (held !== undefined) {
      if (!this.isLive(held)) {
        this.drop(held)
        return { _tag: "Expired" }
      }
      held.used = ++this.step
      return { _tag: "Live", record: held.record, alias: undefined, now: this.now }
    }
    const successor = this.holder(key)
    if (successor === undefined || !this.isLive(successor)) return { _tag: "Absent" }
    const alias = successor.aliases.find((alias) => alias.key === key)
    if (alias === undefined || alias.until <= this.now) return { _tag: "Superseded", successor: successor.key }
    successor.used = ++this.step
    return { _tag: "Live", record: successor.record, alias: successor.key, now: this.now }
  }

  create(record: NewRecord, limit: SessionLimit | undefined): Created {
    const held = this.holder(record.key)
    if (held !== undefined && this.isLive(held)) return { _tag: "KeyTaken" }
    const over = this.surplus(record.subject, limit, undefined)
    if (over === undefined) return { _tag: "LimitReached" }
    if (held !== undefined) this.drop(held)
    for (const each of over) this.drop(each)
    if (this.sessions.length >= this.capacity) {
      const member = oldest(this.sessions.filter((held) => held.record.subject !== undefined))
      const stranger = oldest(this.sessions.filter((held) => held.record.subject === undefined))
      const ended = member !== undefined && !this.isLive(member)
      const victim = ended ? member : stranger ?? member
      if (victim !== undefined && this.drop(victim)) this.evicted++
    }
    const { lifetime, key, ...rest } = record
    const now = this.now
    const made = {
      ...rest,
      version: 1,
      createdAt: now,
      issuedAt: now,
      authenticatedAt: record.subject === undefined ? undefined : now,
      lastSeenAt: now,
      expiresAt: now + lifetime
    }
    this.sessions.push({ key, record: made, aliases: [], used: ++this.step, indexed: this.step })
    return { _tag: "Created", record: made, evicted: over.map((held) => held.key) }
  }

  save(key: string, version: number, { active, lifetime, ...rest }: RecordChange): Saved {
    const held = this.live(key)
    if (held === undefined) return { _tag: "Gone" }
    if (held.record.version !== version) return { _tag: "Conflict" }
    held.record = {
      ...held.record,
      ...rest,
      version: version + 1,
      lastSeenAt: active ? this.now : held.record.lastSeenAt,
      expiresAt: lifetime === undefined ? held.record.expiresAt : this.now + lifetime
    }
    held.used = ++this.step
    return { _tag: "Saved", record: held.record }
  }

  touch(key: string): boolean {
    const held = this.live(key)
    if (held === undefined) return false
    held.record = { ...held.record, lastSeenAt: this.now }
    held.used = ++this.step
    return true
  }

  renew(from: string, version: number, to: Replacement, grace: number, limit: SessionLimit | undefined): Renewed {
    const held = this.live(from)
    if (held === undefined) return { _tag: "Gone" }
    if (held.record.version !== version) return { _tag: "Conflict" }
    const taken = this.holder(to.key)
    if (taken !== undefined && this.isLive(taken)) return { _tag: "KeyTaken" }
    const over = this.surplus(to.subject, limit, held)
    if (over === undefined) return { _tag: "LimitReached" }
    if (taken !== undefined) this.drop(taken)
    for (const each of over) this.drop(each)
    const { authenticated, key, lifetime, ...rest } = to
    const before = held.record
    const authenticatedAt = authenticated ? this.now : before.authenticatedAt
    held.key = key
    held.record = {
      ...before,
      ...rest,
      version: 1,
      issuedAt: this.now,
      authenticatedAt: to.subject === undefined ? undefined : authenticatedAt,
      lastSeenAt: this.now,
      expiresAt: lifetime === undefined ? before.expiresAt : this.now + lifetime
    }
    held.aliases = grace > 0 ? [{ key: from, until: this.now + grace }, ...held.aliases].slice(0, 16) : []
    held.used = ++this.step
    if (before.subject !== to.subject || signIn(before) !== signIn(held.record)) held.indexed = this.step
    return { _tag: "Renewed", record: held.record, evicted: over.map((held) => held.key) }
  }

  destroy(key: string): boolean {
    const held = this.holder(key)
    return held !== undefined && this.drop(held)
  }

  bySubject(subject: string): ReadonlyArray<Held> {
    return this.sessions
      .filter((held) => held.record.subject === subject && this.isLive(held))
      .toSorted((a, b) => signIn(a.record) - signIn(b.record) || a.indexed - b.indexed)
  }

  destroyBySubject(subject: string, except: string): ReadonlyArray<string> {
    const ended = this.bySubject(subject).filter(({ key }) => key !== except)
    for (const held of ended) this.drop(held)
    return ended.map(({ key }) => key)
  }

  purge(): void {
    for (const held of this.sessions) if (!this.isLive(held)) this.drop(held)
  }

  private isLive(held: Held): boolean {
    return this.now < deadline(held.record)
  }

  private live(key: string): Held | undefined {
    return this.sessions.find((held) => held.key === key && this.isLive(held))
  }

  private holder(key: string): Held | undefined {
    return this.sessions.find((held) => held.key === key || held.aliases.some((alias) => alias.key === key))
  }

  private surplus(subject: string | undefined, limit: SessionLimit | undefined, self: Held | undefined) {
    if (subject === undefined || limit === undefined) return []
    const others = this.bySubject(subject).filter((held) => held !== self)
    const over = Math.max(0, others.length + 1 - limit.max)
    return over > 0 && limit.onLimit === "refuse" ? undefined : others.slice(0, over)
  }

  private drop(held: Held): boolean {
    this.sessions = this.sessions.filter((other) => other !== held)
    const live = this.isLive(held)
    if (!live) this.expired++
    return live
  }
}

const run = Effect.fnUntraced(function*(seed: string, capacity: number, steps: number) {
  const { keys, query, stats, store } = yield* open({ capacity, sweepInterval: "365 days" })
  const model = new Model(capacity)
  model.now = yield* Clock.currentTimeMillis
  const next = random(seed)
  const pick = <A>(values: ReadonlyArray<A>): A => values[next() % values.length]
  const key = () => `key ${next() % (2 * capacity)}`
  const subject = () => pick([undefined, "alice", "bob", "carol"])
  const limit = () =>
    pick<SessionLimit | undefined>([undefined, { max: 2, onLimit: "evict" }, { max: 2, onLimit: "refuse" }])
  const version = () => pick([1, 1, 1, 2, 3])
  const payload = (i: number) => i % 2 === 0 ? `payload ${i}` : Uint8Array.of(i % 256, 1)
  const same = (what: string, seen: unknown, expected: unknown) =>
    assert.deepStrictEqual(seen, expected, `${seed}: ${what}`)

  for (let i = 0; i < steps; i++) {
    const [a, s] = [key(), subject()]
    const kind = next() % 16
    const times = { idleTimeout: pick([50, 400]), lifetime: pick([100, 1000]) }
    if (kind < 3) {
      const record = newRecord(a, { ...times, subject: s, payload: payload(i) })
      const max = limit()
      same("create", yield* store.create(record, max), model.create(record, max))
    } else if (kind < 6) {
      same("load", yield* store.load(a), model.load(a))
    } else if (kind < 8) {
      const v = version()
      const write = {
        ...change(payload(i)),
        idleTimeout: times.idleTimeout,
        lifetime: pick([undefined, 300]),
        active: i % 3 > 0
      }
      same("save", yield* store.save(a, v, write), model.save(a, v, write))
    } else if (kind === 8) {
      same("touch", yield* store.touch(a), model.touch(a))
    } else if (kind < 12) {
      const [v, grace, max] = [version(), pick([0, 30, 500]), limit()]
      const to = replacement(key(), {
        subject: s,
        idleTimeout: times.idleTimeout,
        lifetime: pick([undefined, 1000]),
        authenticated: i % 2 === 0,
        payload: payload(i)
      })
      same("renew", yield* store.renew(a, v, to, { grace, limit: max }), model.renew(a, v, to, grace, max))
    } else if (kind === 12) {
      same("destroy", yield* store.destroy(a), model.destroy(a))
    } else if (kind === 13 && s !== undefined) {
      same("destroyBySubject", yield* query.destroyBySubject(s, { except: a }), model.destroyBySubject(s, a))
    } else if (kind === 14 && i % 4 === 0) {
      yield* Stream.runDrain(query.purgeExpired)
      model.purge()
    } else {
      const millis = next() % 40
      yield* TestClock.adjust(millis)
      model.now += millis
    }
    same("stats", yield* stats, model.stats)
    for (const subject of ["alice", "bob", "carol"]) {
      const indexed = yield* query.bySubject(subject)
      same(subject, indexed, model.bySubject(subject).map(({ key, record }) => ({ key, record })))
    }
    if (i % 10 === 0) {
      same("keys", yield* keys, model.keys)
      same("count", yield* query.count, model.keys.length)
    }
  }
})

describe("MemoryStore and a naive model of it", () => {
  for (const capacity of [1, 2, 5, 12]) {
    it.effect(`give the same answers, with room for ${capacity}`, () =>
      Effect.forEach(
        Array.from({ length: 25 }, (_, i) => `${capacity}/${i}`),
        (seed) => Effect.scoped(run(seed, capacity, 200)),
        { discard: true }
      ))
  }
})
