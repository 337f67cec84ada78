/**
 * Laws of the limit on the live sessions of one subject.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { SessionLimit } from "../SessionStore.ts"
import { type Definition, newRecord, replacement, type Trial } from "./Trial.ts"

const exactLimit = "a limit counts the live sessions of one subject, and nothing else"
const evicts = "evict ends the oldest sign-ins, refuse adds nothing"

const refuse = (max: number): SessionLimit => ({ max, onLimit: "refuse" })
const evict = (max: number): SessionLimit => ({ max, onLimit: "evict" })

/** @internal */
export const limitLaws: ReadonlyArray<Definition<Trial>> = [
  {
    name: "refuse adds no session beyond the limit",
    law: evicts,
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("a")
      const create = (label: string) => t.store.create(newRecord(t.key(label), t.long, { subject }), refuse(2))
      yield* t.same("the first", (yield* create("a"))._tag, "Created")
      yield* t.same("the second", (yield* create("b"))._tag, "Created")
      yield* t.same("the third", yield* create("c"), { _tag: "LimitReached" })
      yield* t.same("the third is unknown", yield* t.store.load(t.key("c")), { _tag: "Absent" })
      yield* t.live("the first", t.key("a"))
      yield* t.live("the second", t.key("b"))
      yield* t.store.destroy(t.key("a"))
      yield* t.same("after one has ended", (yield* create("d"))._tag, "Created")
    })
  },
  {
    name: "evict ends the oldest sessions and names them",
    law: evicts,
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("a")
      for (const label of ["a", "b", "c", "d"]) {
        yield* t.create(t.key(label), { subject })
        yield* t.elapse(t.unit)
      }
      // Activity is no sign-in: the first session stays the oldest one.
      yield* t.store.touch(t.key("a"))
      const one = yield* t.store.create(newRecord(t.key("e"), t.long, { subject }), evict(4))
      yield* t.same("evicted", one._tag === "Created" ? one.evicted : one, [t.key("a")])
      yield* t.ended("the oldest", t.key("a"))
      yield* t.elapse(t.unit)
      const two = yield* t.store.create(newRecord(t.key("f"), t.long, { subject }), evict(3))
      const evicted = two._tag === "Created" ? [...two.evicted].toSorted() : two
      yield* t.same("evicted by a lower limit", evicted, [t.key("b"), t.key("c")].toSorted())
      yield* t.ended("evicted", t.key("b"))
      yield* t.ended("evicted", t.key("c"))
      for (const label of ["d", "e", "f"]) yield* t.live("a newer session", t.key(label))
    })
  },
  {
    name: "a limit does not count anonymous, foreign or ended sessions",
    law: exactLimit,
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("a")
      yield* t.create(t.key("anonymous"))
      yield* t.create(t.key("foreign"), { subject: t.subject("b") })
      yield* t.create(t.key("destroyed"), { subject })
      yield* t.create(t.key("expired"), { subject, idleTimeout: 6 * t.unit })
      yield* t.create(t.key("left"), { subject })
      yield* t.create(t.key("renewed"), { subject })
      yield* t.store.destroy(t.key("destroyed"))
      yield* t.renew(t.key("left"), t.key("left+"), { subject: t.subject("b"), authenticated: true }, 20 * t.unit)
      yield* t.renew(t.key("renewed"), t.key("renewed+"), { subject }, 20 * t.unit)
      yield* t.approach(6 * t.unit)
      yield* t.reach(6 * t.unit)
      const second = yield* t.store.create(newRecord(t.key("second"), t.long, { subject }), refuse(2))
      yield* t.same("one session and room for another", second._tag, "Created")
      const third = yield* t.store.create(newRecord(t.key("third"), t.long, { subject }), refuse(2))
      yield* t.same("no room for a third", third, { _tag: "LimitReached" })
      for (let i = 0; i < 3; i++) {
        const anonymous = yield* t.store.create(newRecord(t.key(`anonymous${i}`), t.long), refuse(1))
        yield* t.same("an anonymous session has no limit", anonymous._tag, "Created")
      }
    })
  },
  {
    name: "a renewal counts its session once",
    law: exactLimit,
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("a")
      yield* t.create(t.key("a"), { subject })
      yield* t.elapse(t.unit)
      yield* t.create(t.key("b"), { subject })
      const renewed = yield* t.store.renew(t.key("a"), 1, replacement(t.key("a1"), t.long, { subject }), {
        limit: refuse(2)
      })
      yield* t.same("at the limit, refuse", renewed._tag, "Renewed")
      const again = yield* t.store.renew(t.key("a1"), 1, replacement(t.key("a2"), t.long, { subject }), {
        grace: t.unit,
        limit: evict(2)
      })
      yield* t.same("at the limit, evict", again._tag === "Renewed" ? again.evicted : again, [])
      yield* t.live("the other session", t.key("b"))
    })
  },
  {
    name: "a sign-in by renewal keeps the limit",
    law: evicts,
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("a")
      yield* t.create(t.key("a"), { subject })
      yield* t.elapse(t.unit)
      yield* t.create(t.key("b"), { subject })
      const anonymous = yield* t.create(t.key("c"))
      const login = replacement(t.key("c+"), t.long, { subject, authenticated: true })
      const refused = yield* t.store.renew(t.key("c"), 1, login, { grace: t.unit, limit: refuse(2) })
      yield* t.same("refuse", refused, { _tag: "LimitReached" })
      const kept = yield* t.live("the anonymous session", t.key("c"))
      yield* t.same("the anonymous session", [kept.record, kept.alias], [anonymous, undefined])
      yield* t.same("its new key", yield* t.store.load(t.key("c+")), { _tag: "Absent" })
      const evicting = yield* t.store.renew(t.key("c"), 1, login, { limit: evict(2) })
      yield* t.same("evict", evicting._tag === "Renewed" ? evicting.evicted : evicting, [t.key("a")])
      yield* t.ended("the oldest", t.key("a"))
      yield* t.live("the newer one", t.key("b"))
      yield* t.live("the new one", t.key("c+"))
    })
  },
  {
    name: "an eviction ends the aliases of the evicted session",
    law: "a session that was evicted is over under every key",
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("a")
      yield* t.create(t.key("a"), { subject })
      yield* t.renew(t.key("a"), t.key("b"), { subject }, 20 * t.unit)
      const created = yield* t.store.create(newRecord(t.key("c"), t.long, { subject }), evict(1))
      yield* t.same("evicted", created._tag === "Created" ? created.evicted : created, [t.key("b")])
      yield* t.ended("the session", t.key("b"))
      yield* t.ended("its alias", t.key("a"))
      yield* t.same("touch", yield* t.store.touch(t.key("b")), false)
    })
  }
]
