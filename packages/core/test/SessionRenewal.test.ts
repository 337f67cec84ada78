import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as SessionEvents from "../src/SessionEvents.ts"
import * as SessionManager from "../src/SessionManager.ts"
import { followed, preceded } from "./FaultyStore.ts"
import { barrier, increment, issued, layer, loginAs, reasonOf, setup, UserSession } from "./Fixture.ts"

// Ids are replaced after 10 minutes, and the old one reads for 5 seconds more.
const TestLayer = layer({ renewalInterval: "10 minutes", renewalGrace: "5 seconds" })

/** A session that was just renewed by age, with both its tokens. */
const renewed = Effect.gen(function*() {
  const { run, signIn } = yield* setup
  const old = yield* signIn("ada")
  yield* TestClock.adjust("10 minutes")
  const { token } = yield* run(old, UserSession.get)
  if (token === undefined || token === old) return assert.fail("not renewed")
  return { old, token }
})

describe("renewal by age", () => {
  it.effect("comes when the id is old enough, to the millisecond, and not before", () =>
    Effect.gen(function*() {
      const { run, start } = yield* setup
      const token = yield* start
      yield* TestClock.adjust(600_000 - 1)
      assert.strictEqual((yield* run(token, UserSession.get)).token, token)
      yield* TestClock.adjust(1)
      const next = yield* run(token, UserSession.get)
      assert.notStrictEqual(next.token, token)
      assert.strictEqual((yield* run(next.token, UserSession.get)).token, next.token)
    }).pipe(Effect.provide(TestLayer)))

  it.effect("carries what the request has written, in one step", () =>
    Effect.gen(function*() {
      const { dataOf, run, start, store } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("10 minutes")
      store.forget()
      const next = yield* run(token, increment)
      assert.deepStrictEqual(store.calls.map(([method]) => method), ["load", "renew"])
      assert.strictEqual((yield* dataOf(next.token)).n, 2)
    }).pipe(Effect.provide(TestLayer)))

  it.effect("gives 20 requests at the boundary one new id and logs nobody out", () =>
    Effect.gen(function*() {
      const { run, signIn, store } = yield* setup
      const old = yield* signIn("ada")
      yield* TestClock.adjust("10 minutes")
      store.always(preceded(Effect.yieldNow))
      const results = yield* Effect.all(
        Array.from({ length: 20 }, () => run(old, Effect.all([UserSession.subject, UserSession.status]))),
        { concurrency: "unbounded" }
      )
      for (const { value } of results) assert.deepStrictEqual(value, ["ada", "active"])
      assert.lengthOf(new Set(results.map(({ token }) => token).filter((token) => token !== old)), 1)
    }).pipe(Effect.provide(TestLayer)))

  it.effect("does not happen for a request that nobody waits for, or that is no activity", () =>
    Effect.gen(function*() {
      const { open, start, store } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("10 minutes")
      const aborted = open(token)
      yield* aborted.get
      yield* aborted.finish("aborted")
      const manager = yield* SessionManager.make(UserSession)
      const passive = manager.open({ token, active: false })
      yield* passive.get
      yield* passive.finish("success")
      assert.strictEqual(store.count("renew"), 0)
    }).pipe(Effect.provide(TestLayer)))

  it.effect("fails a reader whose session ended meanwhile neither loudly nor with a new session", () =>
    Effect.gen(function*() {
      const { open, run, signIn, statusOf } = yield* setup
      const token = yield* signIn("ada")
      yield* TestClock.adjust("10 minutes")
      const reader = open(token)
      assert.strictEqual(yield* reader.subject, "ada")
      yield* run(token, UserSession.destroy)
      assert.deepStrictEqual(yield* reader.finish("success"), { _tag: "Keep" })
      assert.strictEqual(yield* statusOf(token), "anonymous")
    }).pipe(Effect.provide(TestLayer)))
})

describe("an id within its grace", () => {
  it.effect("reads the session as it is now, and is not renewed again", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const { old, token } = yield* renewed
      yield* run(token, increment)
      const { token: same, value } = yield* run(old, Effect.all([UserSession.get, UserSession.subject]))
      assert.deepStrictEqual(value, [{ n: 1, who: "ada", cart: [] }, "ada"])
      assert.strictEqual(same, old)
      const handles = yield* Effect.forEach([old, token], (token) => run(token, UserSession.handle))
      assert.strictEqual(handles[0].value, handles[1].value)
    }).pipe(Effect.provide(TestLayer)))

  it.effect("writes nothing", () =>
    Effect.gen(function*() {
      const { dataOf, run, store } = yield* setup
      const { old, token } = yield* renewed
      store.forget()
      const writes = [
        increment,
        UserSession.set({ n: 9, who: "late", cart: [] }),
        UserSession.renew,
        UserSession.elevate("1 hour"),
        UserSession.reauthenticate,
        UserSession.setLifetime({ lifetime: "10 days" }),
        UserSession.flash.notice("late")
      ]
      for (const write of writes) {
        assert.strictEqual(yield* reasonOf(run(old, Effect.asVoid(write))), "Gone")
        assert.strictEqual(yield* reasonOf(run(old, Effect.andThen(write, UserSession.commit))), "Gone")
      }
      yield* run(old, UserSession.touch)
      assert.strictEqual(store.count("save", "touch", "renew", "create"), 0)
      assert.strictEqual((yield* dataOf(token)).n, 0)
    }).pipe(Effect.provide(TestLayer)))

  it.effect("can log out, and then the session is over under both ids", () =>
    Effect.gen(function*() {
      const { open, statusOf } = yield* setup
      const { old, token } = yield* renewed
      const session = open(old)
      yield* session.destroy
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Revoke" })
      assert.deepStrictEqual(yield* Effect.forEach([old, token], statusOf), ["anonymous", "anonymous"])
    }).pipe(Effect.provide(TestLayer)))

  it.effect("never gains a privilege that the session gets", () =>
    Effect.gen(function*() {
      for (const gain of [loginAs("ada"), Effect.andThen(loginAs("ada"), UserSession.elevate("1 hour"))]) {
        yield* Effect.gen(function*() {
          const { run, start } = yield* setup
          const old = yield* start
          yield* TestClock.adjust("10 minutes")
          const between = yield* run(old, UserSession.get)
          const token = (yield* run(between.token, Effect.asVoid(gain))).token
          const seen = yield* Effect.forEach([old, between.token], (token) =>
            run(token, Effect.all([UserSession.subject, UserSession.isElevated, UserSession.get])))
          for (const { value } of seen) {
            assert.deepStrictEqual(value, [undefined, false, { n: 0, who: "guest", cart: [] }])
          }
          // Nor can it end what it has no part in.
          yield* run(old, UserSession.destroy)
          assert.strictEqual((yield* run(token, UserSession.subject)).value, "ada")
        }).pipe(Effect.provide(TestLayer, { local: true }))
      }
    }))
})

describe("an id after its grace", () => {
  it.effect("ends the family and reports a theft, to the millisecond", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const hooks = {
        theftSuspected: ({ subject }: SessionEvents.SessionEvent) => Effect.sync(() => seen.push(`${subject}`))
      }
      yield* Effect.gen(function*() {
        const { statusOf } = yield* setup
        const { old, token } = yield* renewed
        yield* TestClock.adjust(4999)
        assert.strictEqual(yield* statusOf(old), "active")
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* statusOf(token), "active")
        assert.strictEqual(yield* statusOf(old), "invalid")
        assert.strictEqual(yield* statusOf(token), "anonymous")
        yield* TestClock.adjust(1)
        assert.lengthOf(seen, 1)
      }).pipe(Effect.provide(TestLayer), Effect.provide(SessionEvents.layer({ hooks })))
    }))

  it.effect("fails with the store, and is not taken for a logout", () =>
    Effect.gen(function*() {
      const { open, statusOf, store } = yield* setup
      const { old, token } = yield* renewed
      yield* TestClock.adjust("6 seconds")
      store.next("destroy", () => Effect.die("not the store's error"))
      assert.strictEqual((yield* Effect.exit(open(old).get))._tag, "Failure")
      assert.strictEqual(yield* statusOf(token), "active")
    }).pipe(Effect.provide(TestLayer)))

  for (const work of ["reads", "writes", "renews"] as const) {
    it.effect(`is no thief's when a slow request ${work} that began before the renewal`, () =>
      Effect.gen(function*() {
        const { open, run, signIn, statusOf } = yield* setup
        const old = yield* signIn("ada")
        yield* TestClock.adjust("10 minutes")
        const slow = open(old)
        assert.strictEqual(yield* slow.subject, "ada")
        const { token } = yield* run(old, UserSession.get)
        yield* TestClock.adjust("1 minute")
        if (work === "reads") {
          assert.deepStrictEqual(yield* slow.finish("success"), { _tag: "Keep" })
        } else {
          yield* work === "writes" ? Effect.asVoid(slow.update((data) => ({ ...data, n: 5 }))) : slow.renew
          assert.strictEqual(yield* reasonOf(slow.finish("success")), "Gone")
        }
        assert.strictEqual(yield* statusOf(token), "active")
      }).pipe(Effect.provide(TestLayer)))
  }
})

describe("a renewal that is cut", () => {
  for (const [where, interceptor] of [["before", preceded], ["after", followed]] as const) {
    it.effect(`${where} its step leaves exactly one of the two ids live`, () =>
      Effect.gen(function*() {
        const { open, signIn, statusOf, store } = yield* setup
        const old = yield* signIn("ada")
        const stop = yield* barrier
        store.next("renew", interceptor(stop.arrive))
        const session = open(old)
        yield* session.renew
        const finishing = yield* Effect.forkChild(session.finish("success"))
        yield* stop.arrived
        const during = yield* statusOf(old)
        assert.strictEqual(during, where === "before" ? "active" : "anonymous")
        yield* stop.release
        yield* Effect.yieldNow
        yield* Effect.yieldNow
        assert.isDefined(finishing)
        const token = issued(session.tokenChange)
        assert.deepStrictEqual(yield* Effect.forEach([old, token], statusOf), ["anonymous", "active"])
      }).pipe(Effect.provide(TestLayer)))
  }
})
