/**
 * Laws of `create`, `load`, `save`, `touch` and `destroy`.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { Payload, SessionRecord } from "../SessionStore.ts"
import { change, type Definition, everyByte, newRecord, payloads, replacement, type Trial } from "./Trial.ts"

const insertOnly = "create is insert-only and never replaces a record"
const sameThing = "a store returns what it was given: same kind, same content"
const ownsBytes = "a store copies bytes on the way in and on the way out"
const casSave = "save needs the exact version, and never creates"
const finality = "nothing that was in flight when a session ended can bring it back"
const throttled = "touch moves the last activity forward, and nothing else"

// A payload that was handed over, then overwritten by its owner.
const spoil = (payload: Payload): void => {
  if (payload instanceof Uint8Array) payload.fill(0xaa)
}

const unknownKey = Effect.fnUntraced(function*(t: Trial, key: string) {
  yield* t.same("load", yield* t.store.load(key), { _tag: "Absent" })
  yield* t.same("save", yield* t.store.save(key, 1, change(t.long)), { _tag: "Gone" })
  yield* t.same("save with version 0", yield* t.store.save(key, 0, change(t.long)), { _tag: "Gone" })
  yield* t.same("touch", yield* t.store.touch(key), false)
  yield* t.same("renew", yield* t.store.renew(key, 1, replacement(t.key("target"), t.long)), { _tag: "Gone" })
  yield* t.same("destroy", yield* t.store.destroy(key), false)
  yield* t.same("load after all of them", yield* t.store.load(key), { _tag: "Absent" })
  yield* t.same("load of the renewal's target", yield* t.store.load(t.key("target")), { _tag: "Absent" })
})

/** @internal */
export const contractLaws: ReadonlyArray<Definition<Trial>> = [
  {
    name: "create stamps every instant with the store's time",
    law: "the store owns time and keeps every field of a record",
    check: Effect.fnUntraced(function*(t) {
      yield* t.now
      yield* t.elapse(t.unit)
      for (const subject of [undefined, t.subject("a")]) {
        const key = t.key(String(subject))
        const from = yield* t.now
        const input = newRecord(key, 0, {
          idleTimeout: 7 * t.unit + 1,
          lifetime: 90 * t.unit + 3,
          subject,
          format: 200,
          payload: "fields"
        })
        const created = yield* t.store.create(input)
        if (created._tag !== "Created") return yield* t.fail("a new key is Created", created)
        const to = yield* t.now
        const at = created.record.createdAt
        yield* t.that(`createdAt from ${from} to ${to}`, t.isBetween(from, at, to), at)
        const expected: SessionRecord = {
          version: 1,
          createdAt: at,
          issuedAt: at,
          authenticatedAt: subject === undefined ? undefined : at,
          lastSeenAt: at,
          idleTimeout: input.idleTimeout,
          expiresAt: at + input.lifetime,
          subject,
          format: 200,
          payload: "fields"
        }
        yield* t.same("the created record", created, { _tag: "Created", record: expected, evicted: [] })
        const loaded = yield* t.live("the new session is live", key)
        yield* t.same("the loaded record", loaded.record, expected)
        yield* t.same("the alias of a session that was not renewed", loaded.alias, undefined)
      }
    })
  },
  {
    name: "create refuses a key that is live and leaves its record alone",
    law: insertOnly,
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("a")
      const first = yield* t.create(key, { payload: everyByte.slice(), subject: t.subject("first") })
      yield* t.elapse(1)
      const again = yield* t.store.create(newRecord(key, 2 * t.long, { subject: t.subject("second"), format: 2 }))
      yield* t.same("the second create", again, { _tag: "KeyTaken" })
      yield* t.same("the record", (yield* t.live("still live", key)).record, first)
      const saved = yield* t.save(key, 1)
      yield* t.same("create after a save", yield* t.store.create(newRecord(key, t.long)), { _tag: "KeyTaken" })
      yield* t.same("the saved record", (yield* t.live("still live", key)).record, saved)
    })
  },
  {
    name: "an unknown key is absent and no operation makes it known",
    law: "save, touch, renew and destroy never create",
    check: (t) => unknownKey(t, t.key("a"))
  },
  ...payloads().map(([label, payload], index): Definition<Trial> => ({
    name: `keeps ${label} as it is`,
    law: sameThing,
    check: Effect.fnUntraced(function*(t) {
      const other: Payload = typeof payload === "string" ? Uint8Array.of(1) : "1"
      const key = t.key("a")
      const created = yield* t.create(key, { payload })
      yield* t.same("created", created.payload, payload)
      yield* t.same("loaded", (yield* t.live("live", key)).record.payload, payload)
      yield* t.same("the other kind", (yield* t.save(key, 1, { payload: other })).payload, other)
      yield* t.same("the other kind, loaded", (yield* t.live("live", key)).record.payload, other)
      const saved = yield* t.save(key, 2, { payload, format: index })
      yield* t.same("saved", [saved.payload, saved.format], [payload, index])
      yield* t.same("loaded after save", (yield* t.live("live", key)).record, saved)
      yield* t.create(t.key("b"))
      yield* t.renew(t.key("b"), t.key("c"), { payload, format: index })
      yield* t.same("loaded after renewal", (yield* t.live("live", t.key("c"))).record.payload, payload)
    })
  })),
  {
    name: "bytes changed by their owner do not change the record",
    law: ownsBytes,
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("a")
      const handed = { created: everyByte.slice(), saved: everyByte.slice(), renewed: everyByte.slice() }
      yield* t.create(key, { payload: handed.created })
      spoil(handed.created)
      yield* t.same("after create", (yield* t.live("live", key)).record.payload, everyByte)
      yield* t.save(key, 1, { payload: handed.saved })
      spoil(handed.saved)
      yield* t.same("after save", (yield* t.live("live", key)).record.payload, everyByte)
      yield* t.create(t.key("b"))
      yield* t.renew(t.key("b"), t.key("c"), { payload: handed.renewed }, 4 * t.unit)
      spoil(handed.renewed)
      yield* t.same("after renew", (yield* t.live("live", t.key("c"))).record.payload, everyByte)
    })
  },
  {
    name: "bytes changed by a reader do not change the record",
    law: ownsBytes,
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("a")
      const unchanged = Effect.fnUntraced(function*(what: string, key: string, returned: Payload) {
        spoil(returned)
        const first = (yield* t.live("live", key)).record.payload
        yield* t.same(`after ${what}`, first, everyByte)
        spoil(first)
        yield* t.same(`after ${what} and load`, (yield* t.live("live", key)).record.payload, everyByte)
      })
      yield* unchanged("create", key, (yield* t.create(key, { payload: everyByte.slice() })).payload)
      yield* unchanged("save", key, (yield* t.save(key, 1, { payload: everyByte.slice() })).payload)
      yield* t.create(t.key("b"))
      const renewed = yield* t.renew(t.key("b"), t.key("c"), { payload: everyByte.slice() }, 4 * t.unit)
      yield* unchanged("renew", t.key("c"), renewed.payload)
      spoil((yield* t.live("the alias is readable", t.key("b"))).record.payload)
      yield* t.same("after a read through an alias", (yield* t.live("live", t.key("c"))).record.payload, everyByte)
    })
  },
  {
    name: "save bumps the version by one and changes what it was told",
    law: casSave,
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("a")
      const subject = t.subject("a")
      const before = yield* t.create(key, { subject })
      yield* t.elapse(t.unit)
      const from = yield* t.now
      const saved = yield* t.save(key, 1, { format: 9, payload: "v2", idleTimeout: 77 * t.unit })
      const to = yield* t.now
      const at = saved.lastSeenAt
      yield* t.that(`lastSeenAt from ${from} to ${to}`, t.isBetween(from, at, to), at)
      const expected = { ...before, version: 2, lastSeenAt: at, format: 9, payload: "v2", idleTimeout: 77 * t.unit }
      yield* t.same("the saved record", saved, expected)
      yield* t.same("the loaded record", (yield* t.live("live", key)).record, expected)
      for (let version = 2; version < 12; version++) {
        yield* t.same("the version", (yield* t.save(key, version)).version, version + 1)
      }
    })
  },
  {
    name: "save with another version is a Conflict and changes nothing",
    law: casSave,
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("a")
      yield* t.create(key)
      yield* t.save(key, 1)
      const record = yield* t.save(key, 2)
      yield* t.elapse(t.unit)
      for (const version of [0, 1, 2, 4, 5, -3, 1_000_000]) {
        const result = yield* t.store.save(key, version, change(5, { payload: "lost", lifetime: 5, format: 3 }))
        yield* t.same(`save with version ${version} on version 3`, result, { _tag: "Conflict" })
        yield* t.same("the record", (yield* t.live("live", key)).record, record)
      }
    })
  },
  {
    name: "save that is no activity keeps the last activity",
    law: "only activity moves lastSeenAt",
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("a")
      const before = yield* t.create(key)
      yield* t.elapse(2 * t.unit)
      const quiet = yield* t.save(key, 1, { active: false })
      yield* t.same("lastSeenAt", quiet.lastSeenAt, before.lastSeenAt)
      yield* t.same("lastSeenAt, loaded", (yield* t.live("live", key)).record, quiet)
      const active = yield* t.save(key, 2, { active: true })
      yield* t.that("a later lastSeenAt", active.lastSeenAt >= before.lastSeenAt + 2 * t.unit, active)
    })
  },
  {
    name: "save moves the absolute deadline only when told to",
    law: "activity does not move the absolute deadline",
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("a")
      const before = yield* t.create(key)
      yield* t.elapse(2 * t.unit)
      yield* t.same("expiresAt kept", (yield* t.save(key, 1)).expiresAt, before.expiresAt)
      for (const [version, lifetime] of [[2, t.long + 50 * t.unit], [3, 30 * t.unit]] as const) {
        const moved = yield* t.save(key, version, { lifetime })
        yield* t.same("expiresAt is now plus the lifetime", moved.expiresAt, moved.lastSeenAt + lifetime)
        yield* t.same("the loaded record", (yield* t.live("live", key)).record, moved)
      }
      const from = yield* t.now
      const quiet = yield* t.save(key, 4, { lifetime: 40 * t.unit, active: false })
      const start = quiet.expiresAt - 40 * t.unit
      const to = yield* t.now
      yield* t.that(`expiresAt counted from ${from} to ${to}`, t.isBetween(from, start, to), quiet)
    })
  },
  {
    name: "touch moves the last activity and nothing else",
    law: throttled,
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("a")
      yield* t.create(key, { subject: t.subject("a"), payload: everyByte.slice() })
      const before = yield* t.save(key, 1, { payload: everyByte.slice(), format: 7 })
      yield* t.elapse(3 * t.unit)
      const from = yield* t.now
      yield* t.same("touch", yield* t.store.touch(key), true)
      const to = yield* t.now
      const after = (yield* t.live("live", key)).record
      const at = after.lastSeenAt
      yield* t.that(`lastSeenAt from ${from} to ${to}`, t.isBetween(from, at, to), after)
      yield* t.same("the rest of the record", after, { ...before, lastSeenAt: at })
      yield* t.same("touch again", yield* t.store.touch(key), true)
      yield* t.that("lastSeenAt not moved back", (yield* t.live("live", key)).record.lastSeenAt >= at, at)
      yield* t.same("save with the version from before", (yield* t.save(key, 2)).version, 3)
    })
  },
  {
    name: "load changes nothing",
    law: "reads do not write",
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("a")
      const record = yield* t.create(key, { subject: t.subject("a") })
      for (let i = 0; i < 3; i++) {
        yield* t.elapse(t.unit)
        const from = yield* t.now
        const loaded = yield* t.live("live", key)
        yield* t.same("the record", loaded.record, record)
        yield* t.that("now is the store's time of the read", t.isBetween(from, loaded.now, yield* t.now), loaded)
      }
    })
  },
  {
    name: "destroy is idempotent and says whether a live session ended",
    law: finality,
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("a")
      yield* t.create(key, { subject: t.subject("a") })
      yield* t.same("destroy of a live session", yield* t.store.destroy(key), true)
      yield* t.same("destroy again", yield* t.store.destroy(key), false)
      yield* t.ended("after destroy", key)
      yield* t.same("destroy of an unknown key", yield* t.store.destroy(t.key("unknown")), false)
    })
  },
  {
    name: "nothing brings a destroyed session back",
    law: finality,
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("a")
      yield* t.create(key, { subject: t.subject("a") })
      yield* t.save(key, 1)
      yield* t.store.destroy(key)
      for (const version of [0, 1, 2, 3]) {
        const saved = yield* t.store.save(key, version, change(t.long, { lifetime: t.long }))
        yield* t.same(`save with version ${version}`, saved, { _tag: "Gone" })
        const renewed = yield* t.store.renew(key, version, replacement(t.key("b"), t.long, { lifetime: t.long }), {
          grace: t.unit
        })
        yield* t.same(`renew with version ${version}`, renewed, { _tag: "Gone" })
      }
      yield* t.same("touch", yield* t.store.touch(key), false)
      yield* t.ended("the destroyed key", key)
      yield* t.ended("the key it should have been renewed to", t.key("b"))
    })
  },
  {
    name: "sessions do not touch one another",
    law: "no cross-talk between keys",
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("shared")
      const other = t.key("other")
      const record = yield* t.create(other, { subject, payload: everyByte.slice() })
      yield* t.create(t.key("a"), { subject })
      yield* t.save(t.key("a"), 1, { payload: "mine" })
      yield* t.store.touch(t.key("a"))
      yield* t.store.renew(t.key("a"), 2, replacement(t.key("b"), t.long, { subject }), { grace: t.unit })
      yield* t.store.destroy(t.key("b"))
      yield* t.same("the other session", (yield* t.live("live", other)).record, record)
    })
  }
]
