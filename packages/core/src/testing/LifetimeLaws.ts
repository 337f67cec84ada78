/**
 * Laws of the idle and the absolute deadline.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { change, type Definition, newRecord, replacement, type Trial } from "./Trial.ts"

const idle = "a session is live strictly before its idle deadline and ended at it"
const absolute = "no activity moves the absolute deadline"
const finality = "an expired session does not come back"

// Everything that may be tried on a session that is past a deadline.
const isOver = Effect.fnUntraced(function*(t: Trial, key: string, version: number) {
  yield* t.ended("past the deadline", key)
  yield* t.same("touch", yield* t.store.touch(key), false)
  yield* t.same("save", yield* t.store.save(key, version, change(t.long, { lifetime: t.long })), { _tag: "Gone" })
  const renewed = yield* t.store.renew(key, version, replacement(t.key(`${key}+`), t.long, { lifetime: t.long }))
  yield* t.same("renew", renewed, { _tag: "Gone" })
  yield* t.same("destroy", yield* t.store.destroy(key), false)
  yield* t.ended("after all of them", key)
  yield* t.ended("the target of the renewal", t.key(`${key}+`))
})

/** @internal */
export const lifetimeLaws: ReadonlyArray<Definition<Trial>> = [
  {
    name: "an idle session ends at its idle deadline",
    law: idle,
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("a"), { idleTimeout: 10 * t.unit, subject: t.subject("a") })
      yield* t.approach(10 * t.unit)
      yield* t.live("just before the deadline", t.key("a"))
      yield* t.reach(10 * t.unit)
      yield* isOver(t, t.key("a"), 1)
    })
  },
  {
    name: "a session ends at its absolute deadline",
    law: "a session is live strictly before its absolute deadline and ended at it",
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("a"), { lifetime: 10 * t.unit, subject: t.subject("a") })
      yield* t.approach(10 * t.unit)
      yield* t.live("just before the deadline", t.key("a"))
      yield* t.reach(10 * t.unit)
      yield* isOver(t, t.key("a"), 1)
    })
  },
  // Each operation is the first one after the deadline: none may rely on a load having dropped the record.
  ...(["touch", "save", "renew", "destroy"] as const).map((method): Definition<Trial> => ({
    name: `${method} checks the deadline by itself`,
    law: finality,
    check: Effect.fnUntraced(function*(t) {
      const attempt = (key: string, target: string) => {
        switch (method) {
          case "touch":
            return t.store.touch(key)
          case "save":
            return t.store.save(key, 1, change(t.long, { lifetime: t.long }))
          case "renew":
            return t.store.renew(key, 1, replacement(target, t.long, { lifetime: t.long }))
          case "destroy":
            return t.store.destroy(key)
        }
      }
      const expected = method === "save" || method === "renew" ? { _tag: "Gone" } : false
      yield* t.create(t.key("idle"), { idleTimeout: 10 * t.unit })
      yield* t.create(t.key("absolute"), { lifetime: 10 * t.unit })
      yield* t.approach(10 * t.unit)
      yield* t.reach(10 * t.unit)
      for (const label of ["idle", "absolute"]) {
        yield* t.same(label, yield* attempt(t.key(label), t.key(`${label}+`)), expected)
        yield* t.ended(label, t.key(label))
        yield* t.ended(`${label}, renewed`, t.key(`${label}+`))
      }
    })
  })),
  {
    name: "an expired key can be created again",
    law: "create refuses live keys only",
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("a"), { lifetime: 6 * t.unit, payload: "old" })
      yield* t.approach(6 * t.unit)
      const early = yield* t.store.create(newRecord(t.key("a"), t.long))
      yield* t.same("create just before the deadline", early, { _tag: "KeyTaken" })
      yield* t.reach(6 * t.unit)
      const created = yield* t.create(t.key("a"), { payload: "new" })
      yield* t.same("the new record", (yield* t.live("live", t.key("a"))).record, created)
    })
  },
  {
    name: "touch and active saves move the idle deadline",
    law: idle,
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("touched"), { idleTimeout: 10 * t.unit })
      yield* t.create(t.key("saved"), { idleTimeout: 10 * t.unit })
      for (let i = 1; i <= 3; i++) {
        yield* t.elapse(6 * t.unit)
        yield* t.same("touch", yield* t.store.touch(t.key("touched")), true)
        yield* t.save(t.key("saved"), i, { idleTimeout: 10 * t.unit })
      }
      yield* t.approach(10 * t.unit)
      yield* t.live("just before the moved deadline, touched", t.key("touched"))
      yield* t.live("just before the moved deadline, saved", t.key("saved"))
      yield* t.reach(10 * t.unit)
      yield* t.ended("at the moved deadline, touched", t.key("touched"))
      yield* t.ended("at the moved deadline, saved", t.key("saved"))
    })
  },
  {
    name: "a load that may touch does so only when it is due, and says so",
    law: idle,
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("rolling")
      yield* t.create(key, { idleTimeout: 10 * t.unit })
      const rolling = Effect.fnUntraced(function*(what: string) {
        const before = yield* t.live(`before ${what}`, key)
        const lookup = yield* t.store.load(key, { touchAfter: 4 * t.unit })
        if (lookup._tag !== "Live") return yield* t.fail(`${what} to find a live session`, lookup)
        const touched = lookup.touched === true
        const lastSeenAt = touched ? lookup.record.lastSeenAt : before.record.lastSeenAt
        yield* t.same(what, lookup.record, { ...before.record, lastSeenAt })
        yield* t.that(
          "a touch to be of now, and within the lookup",
          !touched || (lastSeenAt > before.record.lastSeenAt && lastSeenAt <= lookup.now),
          lookup
        )
        yield* t.same(`what is stored after ${what}`, (yield* t.live(`after ${what}`, key)).record, lookup.record)
        return touched
      })
      yield* t.same("touched too early", yield* rolling("a load that is not due"), false)
      yield* t.elapse(6 * t.unit)
      if (!(yield* rolling("a load that is due"))) yield* t.store.touch(key)
      yield* t.same("touched again at once", yield* rolling("a load right after a touch"), false)
      yield* t.elapse(6 * t.unit)
      yield* t.live("past the first idle deadline", key)
      yield* t.elapse(5 * t.unit)
      yield* t.ended("past the moved idle deadline", key)
      const late = yield* t.store.load(key, { touchAfter: 0 })
      yield* t.that("a load not to bring anything back", late._tag !== "Live", late)
    })
  },
  {
    name: "a load that may touch leaves an alias and its successor alone",
    law: idle,
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("old"))
      yield* t.renew(t.key("old"), t.key("new"), {}, t.long)
      yield* t.elapse(4 * t.unit)
      const before = yield* t.live("the successor", t.key("new"))
      const lookup = yield* t.store.load(t.key("old"), { touchAfter: t.unit })
      yield* t.that("an alias not to be touched", lookup._tag === "Live" && lookup.touched !== true, lookup)
      yield* t.same("the successor", (yield* t.live("the successor", t.key("new"))).record, before.record)
    })
  },
  {
    name: "loads, quiet saves and refused writes do not move the idle deadline",
    law: "reads and refused writes are no activity",
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("loaded"), { idleTimeout: 10 * t.unit })
      yield* t.create(t.key("quiet"), { idleTimeout: 10 * t.unit })
      yield* t.create(t.key("refused"), { idleTimeout: 10 * t.unit })
      yield* t.elapse(5 * t.unit)
      yield* t.live("half way", t.key("loaded"))
      yield* t.save(t.key("quiet"), 1, { idleTimeout: 10 * t.unit, active: false })
      yield* t.same("a stale save", yield* t.store.save(t.key("refused"), 7, change(t.long)), { _tag: "Conflict" })
      yield* t.approach(5 * t.unit)
      yield* t.reach(5 * t.unit)
      yield* t.ended("only loaded", t.key("loaded"))
      yield* t.ended("quietly saved", t.key("quiet"))
      yield* t.ended("refused", t.key("refused"))
    })
  },
  {
    name: "a session kept alive ends at its absolute deadline",
    law: absolute,
    check: Effect.fnUntraced(function*(t) {
      for (const label of ["touched", "saved", "alias"]) {
        yield* t.create(t.key(label), { idleTimeout: 8 * t.unit, lifetime: 20 * t.unit })
      }
      yield* t.renew(t.key("alias"), t.key("renewed"), { idleTimeout: 8 * t.unit }, 2 * t.unit)
      for (let i = 1; i <= 3; i++) {
        yield* t.elapse(4 * t.unit)
        yield* t.same("touch", yield* t.store.touch(t.key("touched")), true)
        yield* t.same("touch", yield* t.store.touch(t.key("renewed")), true)
        yield* t.save(t.key("saved"), i, { idleTimeout: 8 * t.unit })
      }
      // 12 of 20 units are over; the idle deadline alone would now be at 20 or later.
      yield* t.approach(8 * t.unit)
      yield* t.same("touch just before", yield* t.store.touch(t.key("touched")), true)
      yield* t.same("touch just before", yield* t.store.touch(t.key("renewed")), true)
      yield* t.save(t.key("saved"), 4, { idleTimeout: 8 * t.unit })
      yield* t.reach(8 * t.unit)
      yield* isOver(t, t.key("touched"), 1)
      yield* isOver(t, t.key("renewed"), 1)
      yield* isOver(t, t.key("saved"), 5)
      yield* t.ended("the alias of an expired session", t.key("alias"))
    })
  },
  {
    name: "save can move the absolute deadline, later and earlier",
    law: "only an explicit lifetime moves the absolute deadline",
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("later"), { lifetime: 6 * t.unit })
      yield* t.create(t.key("earlier"), { lifetime: 60 * t.unit })
      yield* t.save(t.key("later"), 1, { lifetime: 16 * t.unit })
      yield* t.save(t.key("earlier"), 1, { lifetime: 10 * t.unit })
      yield* t.approach(10 * t.unit)
      yield* t.live("before the earlier deadline", t.key("earlier"))
      yield* t.reach(10 * t.unit)
      yield* t.ended("at the earlier deadline", t.key("earlier"))
      yield* t.live("after the first deadline, before the later one", t.key("later"))
      yield* t.elapse(8 * t.unit)
      yield* t.ended("after the later deadline", t.key("later"))
    })
  },
  {
    name: "save can shorten and lengthen the idle timeout",
    law: idle,
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("shorter"), { idleTimeout: 60 * t.unit })
      yield* t.create(t.key("longer"), { idleTimeout: 6 * t.unit })
      yield* t.save(t.key("shorter"), 1, { idleTimeout: 10 * t.unit })
      yield* t.save(t.key("longer"), 1, { idleTimeout: 60 * t.unit, active: false })
      yield* t.approach(10 * t.unit)
      yield* t.live("before the shorter deadline", t.key("shorter"))
      yield* t.reach(10 * t.unit)
      yield* t.ended("at the shorter deadline", t.key("shorter"))
      yield* t.live("after the first idle timeout", t.key("longer"))
    })
  },
  {
    name: "an expired session stays gone",
    law: finality,
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("a"), { idleTimeout: 6 * t.unit })
      yield* t.approach(6 * t.unit)
      yield* t.reach(6 * t.unit)
      for (let i = 0; i < 4; i++) {
        const lookup = yield* t.store.load(t.key("a"))
        yield* t.that("Expired or Absent", lookup._tag === "Expired" || lookup._tag === "Absent", lookup)
        yield* t.same("touch", yield* t.store.touch(t.key("a")), false)
        yield* t.elapse(t.unit)
      }
    })
  }
]
