/**
 * Laws of `renew`, of aliases, and of what remains when their grace is over.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { change, type Definition, newRecord, replacement, type Trial } from "./Trial.ts"

const atomic = "a renewal is one step: one of the two keys is live for writing"
const readOnly = "with a grace window the old key is a read-only alias"
const theft = "use of a key after its grace window is reported, with the successor"
const unchanged = "a renewal that is refused changes nothing"
const finality = "a renewal never revives"

// No write gets through a key that was renewed away, and none of the attempts touches the session.
const refusesWrites = Effect.fnUntraced(function*(t: Trial, key: string, live: string) {
  const before = yield* t.live("the session under its new key", live)
  yield* t.elapse(1)
  for (const version of [1, 2, before.record.version]) {
    yield* t.same("save", yield* t.store.save(key, version, change(t.long)), { _tag: "Gone" })
    const renewed = yield* t.store.renew(key, version, replacement(t.key(`${key}+`), t.long))
    yield* t.same("renew", renewed, { _tag: "Gone" })
  }
  yield* t.same("touch", yield* t.store.touch(key), false)
  yield* t.same("the session under its new key", (yield* t.live("live", live)).record, before.record)
})

/** @internal */
export const renewalLaws: ReadonlyArray<Definition<Trial>> = [
  {
    name: "renew moves a session to a new key and forgets the old one",
    law: atomic,
    check: Effect.fnUntraced(function*(t) {
      const [a, b] = [t.key("a"), t.key("b")]
      yield* t.create(a)
      const before = yield* t.save(a, 1)
      yield* t.elapse(3 * t.unit)
      const from = yield* t.now
      const result = yield* t.store.renew(a, 2, replacement(b, 50 * t.unit, { format: 4, payload: "moved" }))
      if (result._tag !== "Renewed") return yield* t.fail("Renewed", result)
      const record = result.record
      const at = record.issuedAt
      yield* t.that("issuedAt is the store's time", t.isBetween(from, at, yield* t.now), record)
      yield* t.same("the renewed record", record, {
        ...before,
        version: 1,
        issuedAt: at,
        lastSeenAt: at,
        idleTimeout: 50 * t.unit,
        format: 4,
        payload: "moved"
      })
      yield* t.same("evicted without a limit", result.evicted, [])
      const lookup = yield* t.live("the new key", b)
      yield* t.same("the loaded record", lookup.record, record)
      yield* t.same("the alias of a new key", lookup.alias, undefined)
      yield* t.same("load of the old key", yield* t.store.load(a), { _tag: "Absent" })
      yield* refusesWrites(t, a, b)
      yield* t.same("destroy of the old key", yield* t.store.destroy(a), false)
      yield* t.live("the new key after a destroy of the forgotten one", b)
      yield* t.same("a save under the new key", (yield* t.save(b, 1)).version, 2)
    })
  },
  {
    name: "renew keeps the deadline unless it is given a lifetime",
    law: "a renewal keeps the beginning and the deadline of the session",
    check: Effect.fnUntraced(function*(t) {
      const before = yield* t.create(t.key("a"), { lifetime: 70 * t.unit })
      yield* t.elapse(2 * t.unit)
      const kept = yield* t.renew(t.key("a"), t.key("b"))
      yield* t.same("kept", [kept.createdAt, kept.expiresAt], [before.createdAt, before.expiresAt])
      yield* t.elapse(2 * t.unit)
      const moved = yield* t.renew(t.key("b"), t.key("c"), { lifetime: 90 * t.unit })
      yield* t.same("moved", [moved.createdAt, moved.expiresAt], [before.createdAt, moved.issuedAt + 90 * t.unit])
    })
  },
  {
    name: "renew stamps the sign-in when the subject has proved who it is",
    law: "authenticatedAt is when the subject last proved who it is",
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("a")
      yield* t.create(t.key("a"))
      yield* t.elapse(t.unit)
      const signedIn = yield* t.renew(t.key("a"), t.key("b"), { subject, authenticated: true })
      yield* t.same("after the sign-in", [signedIn.subject, signedIn.authenticatedAt], [subject, signedIn.issuedAt])
      yield* t.elapse(t.unit)
      const kept = yield* t.renew(t.key("b"), t.key("c"), { subject })
      yield* t.same("after a timed renewal", [kept.subject, kept.authenticatedAt], [subject, signedIn.authenticatedAt])
      const again = yield* t.renew(t.key("c"), t.key("d"), { subject, authenticated: true })
      yield* t.same("after another sign-in", again.authenticatedAt, again.issuedAt)
      const out = yield* t.renew(t.key("d"), t.key("e"))
      yield* t.same("without a subject", [out.subject, out.authenticatedAt], [undefined, undefined])
    })
  },
  {
    name: "within its grace the old key reads the session and writes nothing",
    law: readOnly,
    check: Effect.fnUntraced(function*(t) {
      const [a, b] = [t.key("a"), t.key("b")]
      yield* t.create(a)
      const renewed = yield* t.renew(a, b, { payload: "moved" }, 10 * t.unit)
      const alias = yield* t.live("the old key", a)
      yield* t.same("through the old key", [alias.record, alias.alias], [renewed, b])
      yield* refusesWrites(t, a, b)
      yield* t.same("create with the old key", yield* t.store.create(newRecord(a, t.long)), { _tag: "KeyTaken" })
      const saved = yield* t.save(b, 1, { payload: "later" })
      yield* t.same("the alias follows the session", (yield* t.live("the old key", a)).record, saved)
    })
  },
  {
    name: "after its grace the old key is superseded and names the successor",
    law: theft,
    check: Effect.fnUntraced(function*(t) {
      const [a, b] = [t.key("a"), t.key("b")]
      yield* t.create(a)
      yield* t.renew(a, b, {}, 6 * t.unit)
      yield* t.approach(6 * t.unit)
      yield* t.live("just before the end of the grace", a)
      yield* t.reach(6 * t.unit)
      for (let i = 0; i < 2; i++) {
        yield* t.same("load of the old key", yield* t.store.load(a), { _tag: "Superseded", successor: b })
      }
      yield* refusesWrites(t, a, b)
      yield* t.same("create with the old key", yield* t.store.create(newRecord(a, t.long)), { _tag: "KeyTaken" })
      yield* t.same("destroy of the old key", yield* t.store.destroy(a), true)
      yield* t.ended("the session after a destroy of the superseded key", b)
    })
  },
  {
    name: "a superseded key is remembered as long as the session lives",
    law: theft,
    check: Effect.fnUntraced(function*(t) {
      const [a, b] = [t.key("a"), t.key("b")]
      yield* t.create(a, { idleTimeout: 8 * t.unit, lifetime: 40 * t.unit })
      yield* t.renew(a, b, { idleTimeout: 8 * t.unit }, 2 * t.unit)
      for (let i = 0; i < 6; i++) {
        yield* t.elapse(4 * t.unit)
        yield* t.same("touch", yield* t.store.touch(b), true)
        yield* t.same(`after ${4 * (i + 1)} units`, yield* t.store.load(a), { _tag: "Superseded", successor: b })
      }
      yield* t.elapse(10 * t.unit)
      yield* t.ended("the idle session", b)
      yield* t.ended("its old key", a)
    })
  },
  {
    name: "a chain of renewals reads and ends the last session",
    law: readOnly,
    check: Effect.fnUntraced(function*(t) {
      const [a, b, c] = [t.key("a"), t.key("b"), t.key("c")]
      yield* t.create(a)
      yield* t.renew(a, b, {}, 10 * t.unit)
      yield* t.elapse(2 * t.unit)
      const last = yield* t.renew(b, c, {}, 10 * t.unit)
      for (const key of [a, b]) {
        const lookup = yield* t.live("a key within its grace", key)
        yield* t.same("through the chain", [lookup.record, lookup.alias], [last, c])
        yield* refusesWrites(t, key, c)
      }
      yield* t.elapse(9 * t.unit)
      const first = yield* t.store.load(a)
      yield* t.that(
        "the first key is Superseded by a later key of the chain",
        first._tag === "Superseded" && (first.successor === b || first.successor === c),
        first
      )
      yield* t.same("destroy through the first key", yield* t.store.destroy(a), true)
      for (const key of [a, b, c]) yield* t.ended("after the destroy", key)
    })
  },
  {
    name: "a renewal without a grace window ends the earlier keys too",
    law: "an id that was valid before a sign-in never gains its privileges",
    check: Effect.fnUntraced(function*(t) {
      const [a, b, c] = [t.key("a"), t.key("b"), t.key("c")]
      yield* t.create(a)
      yield* t.renew(a, b, {}, 10 * t.unit)
      const record = yield* t.renew(b, c, { subject: t.subject("a"), authenticated: true })
      for (const key of [a, b]) {
        yield* t.ended("an earlier key", key)
        yield* t.same("destroy through it", yield* t.store.destroy(key), false)
      }
      yield* t.same("the session", (yield* t.live("the new key", c)).record, record)
    })
  },
  {
    name: "renew with another version is a Conflict",
    law: unchanged,
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("a"), { subject: t.subject("a") })
      const record = yield* t.save(t.key("a"), 1)
      for (const version of [0, 1, 3]) {
        const fields = { subject: t.subject("b"), authenticated: true, lifetime: 5 }
        const result = yield* t.store.renew(t.key("a"), version, replacement(t.key("b"), 5, fields), { grace: t.unit })
        yield* t.same("the renewal", result, { _tag: "Conflict" })
        const lookup = yield* t.live("the old key", t.key("a"))
        yield* t.same("the old key", [lookup.record, lookup.alias], [record, undefined])
        yield* t.same("the new key", yield* t.store.load(t.key("b")), { _tag: "Absent" })
      }
      yield* t.same("a save after the refusals", (yield* t.save(t.key("a"), 2)).version, 3)
    })
  },
  {
    name: "renew to a key that is taken is refused",
    law: unchanged,
    check: Effect.fnUntraced(function*(t) {
      const [a, b, c, d] = [t.key("a"), t.key("b"), t.key("c"), t.key("d")]
      const first = yield* t.create(a, { payload: "a" })
      yield* t.create(b)
      const other = yield* t.renew(b, c, { payload: "c" }, 4 * t.unit)
      for (const [what, taken] of [["a live key", c], ["an alias", b]] as const) {
        const result = yield* t.store.renew(a, 1, replacement(taken, t.long), { grace: t.unit })
        yield* t.same(`renewal to ${what}`, result, { _tag: "KeyTaken" })
      }
      yield* t.elapse(5 * t.unit)
      const superseded = yield* t.store.renew(a, 1, replacement(b, t.long))
      yield* t.same("renewal to a superseded key", superseded, { _tag: "KeyTaken" })
      const lookup = yield* t.live("the old key", a)
      yield* t.same("the old key", [lookup.record, lookup.alias], [first, undefined])
      yield* t.same("the key that was taken", (yield* t.live("live", c)).record, other)
      yield* t.same("a renewal to a free key", (yield* t.renew(a, d)).version, 1)
    })
  },
  {
    name: "renew revives nothing",
    law: finality,
    check: Effect.fnUntraced(function*(t) {
      const destroyed = t.key("destroyed")
      const expired = t.key("expired")
      yield* t.create(destroyed)
      yield* t.store.destroy(destroyed)
      yield* t.create(expired, { idleTimeout: 6 * t.unit })
      yield* t.approach(6 * t.unit)
      yield* t.reach(6 * t.unit)
      for (const key of [destroyed, expired, t.key("unknown")]) {
        const fields = { lifetime: t.long, subject: t.subject("a"), authenticated: true }
        const result = yield* t.store.renew(key, 1, replacement(t.key("b"), t.long, fields), { grace: t.unit })
        yield* t.same("the renewal", result, { _tag: "Gone" })
        yield* t.same("the new key", yield* t.store.load(t.key("b")), { _tag: "Absent" })
        yield* t.ended("the old key", key)
      }
    })
  },
  {
    name: "destroy through an alias ends the session",
    law: "logout is final, whichever key it comes through",
    check: Effect.fnUntraced(function*(t) {
      const [a, b] = [t.key("a"), t.key("b")]
      yield* t.create(a, { subject: t.subject("a") })
      yield* t.renew(a, b, { subject: t.subject("a") }, 8 * t.unit)
      yield* t.same("destroy through the alias", yield* t.store.destroy(a), true)
      yield* t.ended("the session", b)
      yield* t.ended("the alias", a)
      yield* t.same("save", yield* t.store.save(b, 1, change(t.long)), { _tag: "Gone" })
      yield* t.same("touch", yield* t.store.touch(b), false)
      yield* t.same("destroy again, through the alias", yield* t.store.destroy(a), false)
      yield* t.same("destroy again, directly", yield* t.store.destroy(b), false)
    })
  },
  {
    name: "an alias ends with its session",
    law: readOnly,
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("a"))
      yield* t.renew(t.key("a"), t.key("b"), {}, 20 * t.unit)
      yield* t.same("destroy", yield* t.store.destroy(t.key("b")), true)
      yield* t.ended("the alias of a destroyed session", t.key("a"))
      yield* t.same("destroy through the alias", yield* t.store.destroy(t.key("a")), false)
      yield* t.create(t.key("c"))
      yield* t.renew(t.key("c"), t.key("d"), { idleTimeout: 6 * t.unit }, 20 * t.unit)
      yield* t.approach(6 * t.unit)
      yield* t.live("the alias of a live session", t.key("c"))
      yield* t.reach(6 * t.unit)
      yield* t.ended("the alias of an expired session", t.key("c"))
      yield* t.same("destroy through it", yield* t.store.destroy(t.key("c")), false)
    })
  }
]
