import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as SessionManager from "../src/SessionManager.ts"
import { SessionQuery } from "../src/SessionQuery.ts"
import { SessionStore } from "../src/SessionStore.ts"
import { followed, preceded } from "./FaultyStore.ts"
import { barrier, increment, issued, layer, loginAs, reasonOf, setup, UserSession } from "./Fixture.ts"

const count = Effect.flatMap(SessionQuery, ({ count }) => count)
const parallel = { concurrency: "unbounded" } as const

describe("writers at the same time", () => {
  it.effect("lose no update: 100 increments are 100", () =>
    Effect.gen(function*() {
      const { dataOf, run, start, store } = yield* setup
      const token = yield* start
      store.always(preceded(Effect.yieldNow))
      yield* Effect.all(Array.from({ length: 100 }, () => run(token, increment)), parallel)
      store.heal()
      assert.strictEqual((yield* dataOf(token)).n, 101)
    }).pipe(Effect.provide(layer({ conflictRetries: 200 }))))

  it.effect("lose no update to one that is told of its failure", () =>
    Effect.gen(function*() {
      const { dataOf, run, start } = yield* setup
      const token = yield* start
      const outcomes = yield* Effect.all(
        Array.from({ length: 100 }, () => Effect.result(run(token, increment))),
        parallel
      )
      const succeeded = outcomes.filter(({ _tag }) => _tag === "Success").length
      assert.strictEqual((yield* dataOf(token)).n, 1 + succeeded)
      for (const outcome of outcomes) {
        if (outcome._tag === "Failure") assert.strictEqual(outcome.failure.reason._tag, "Conflict")
      }
    }).pipe(Effect.provide(layer({ conflictRetries: 3 }))))

  it.effect("replay an update on what the faster one left", () =>
    Effect.gen(function*() {
      const { dataOf, open, run, start } = yield* setup
      const token = yield* start
      const slow = open(token)
      assert.strictEqual((yield* slow.update((data) => ({ ...data, n: data.n + 10 }))).n, 11)
      yield* run(token, UserSession.update((data) => ({ ...data, n: data.n * 5, who: "fast" })))
      yield* slow.commit
      assert.deepStrictEqual(yield* slow.get, { n: 15, who: "fast", cart: [] })
      yield* slow.finish("success")
      assert.deepStrictEqual(yield* dataOf(token), { n: 15, who: "fast", cart: [] })
    }).pipe(Effect.provide(layer())))

  it.effect("are told when they have set the data as a whole, and can read it again", () =>
    Effect.gen(function*() {
      const { dataOf, open, run, start } = yield* setup
      const token = yield* start
      const slow = open(token)
      yield* slow.set({ ...(yield* slow.get), who: "slow" })
      yield* run(token, increment)
      assert.strictEqual(yield* reasonOf(slow.commit), "Conflict")
      assert.strictEqual((yield* dataOf(token)).who, "guest")
      assert.deepStrictEqual(yield* slow.get, { n: 2, who: "guest", cart: [] })
      yield* slow.set({ ...(yield* slow.get), who: "slow" })
      yield* slow.finish("success")
      assert.deepStrictEqual(yield* dataOf(token), { n: 2, who: "slow", cart: [] })
    }).pipe(Effect.provide(layer())))

  it.effect("are told when a set meets the end of the request", () =>
    Effect.gen(function*() {
      const { dataOf, open, run, start } = yield* setup
      const token = yield* start
      const slow = open(token)
      yield* slow.set({ n: 0, who: "slow", cart: [] })
      yield* run(token, increment)
      assert.strictEqual(yield* reasonOf(slow.finish("success")), "Conflict")
      assert.strictEqual((yield* dataOf(token)).n, 2)
    }).pipe(Effect.provide(layer())))

  for (const retries of [0, 1, 5]) {
    it.effect(`try ${retries + 1} times, then fail`, () =>
      Effect.gen(function*() {
        const { open, run, start, store } = yield* setup
        const token = yield* start
        const slow = open(token)
        yield* slow.update((data) => ({ ...data, n: data.n + 1 }))
        // Before each of its saves another request is faster.
        store.next(
          "save",
          ...Array.from(
            { length: 100 },
            (_, i) => i % 2 === 0 ? preceded(Effect.exit(run(token, increment))) : <A>(call: A) => call
          )
        )
        store.forget()
        assert.strictEqual(yield* reasonOf(slow.finish("success")), "Conflict")
        assert.strictEqual(store.count("save"), 2 * (retries + 1))
      }).pipe(Effect.provide(layer({ conflictRetries: retries }))))
  }

  it.effect("renew one id once: one winner, and nobody else gets a token", () =>
    Effect.gen(function*() {
      const { dataOf, run, start, store } = yield* setup
      const token = yield* start
      store.always(preceded(Effect.yieldNow))
      const outcomes = yield* Effect.all(
        Array.from({ length: 50 }, () => Effect.result(run(token, UserSession.renew))),
        parallel
      )
      const winners = outcomes.flatMap((outcome) => outcome._tag === "Success" ? [outcome.success.token] : [])
      assert.lengthOf(winners, 1)
      assert.strictEqual((yield* dataOf(winners[0])).n, 1)
      assert.strictEqual(yield* count, 1)
    }).pipe(Effect.provide(layer())))

  it.effect("see nothing of a sign-in through the old id", () =>
    Effect.gen(function*() {
      const { run, start, store } = yield* setup
      const token = yield* start
      store.always(preceded(Effect.yieldNow))
      const reads = Effect.all(
        Array.from({ length: 50 }, () => run(token, Effect.all([UserSession.subject, UserSession.get]))),
        parallel
      )
      const [seen] = yield* Effect.all([reads, run(token, loginAs("ada"))], parallel)
      for (const { value: [subject, data] } of seen) {
        assert.isUndefined(subject)
        assert.strictEqual(data.who, "guest")
      }
    }).pipe(Effect.provide(layer())))
})

/** What a request does after its session has ended under it. */
const lateComers = {
  update: (session: OpenUser) => session.update((data) => ({ ...data, n: data.n + 1 })),
  set: (session: OpenUser) => session.set({ n: 7, who: "late", cart: [] }),
  renew: (session: OpenUser) => session.renew,
  elevate: (session: OpenUser) => session.elevate("1 hour"),
  reauthenticate: (session: OpenUser) => session.reauthenticate,
  setLifetime: (session: OpenUser) => session.setLifetime({ lifetime: "10 days" }),
  flash: (session: OpenUser) => session.flash.notice("late")
}
type OpenUser = ReturnType<Effect.Success<typeof setup>["open"]>

const endings = {
  "a logout": (token: string) =>
    Effect.flatMap(SessionManager.make(UserSession), ({ run }) => run(token, UserSession.destroy)),
  "an administrator": (token: string) =>
    Effect.gen(function*() {
      const { keyOf } = yield* setup
      const key = yield* keyOf(token)
      yield* Effect.flatMap(SessionStore, (store) => store.destroy(key))
    }),
  "revoke-all": () => Effect.flatMap(SessionQuery, (query) => query.destroyBySubject("ada")),
  "its deadline": () => TestClock.adjust("2 days")
}

describe("a session that was ended stays ended", () => {
  for (const [by, end] of Object.entries(endings)) {
    for (const [what, write] of Object.entries(lateComers)) {
      it.effect(`by ${by}, whatever a late ${what} wants`, () =>
        Effect.gen(function*() {
          const { open, signIn, store } = yield* setup
          for (const explicit of [false, true]) {
            const token = yield* signIn("ada")
            const session = open(token)
            yield* write(session)
            yield* end(token)
            store.forget()
            if (explicit) {
              assert.strictEqual(yield* reasonOf(session.commit), "Gone")
              yield* session.finish("failure")
            } else {
              assert.strictEqual(yield* reasonOf(session.finish("success")), "Gone")
            }
            assert.deepStrictEqual(session.tokenChange, { _tag: "Keep" })
            assert.strictEqual(store.count("create"), 0)
            assert.strictEqual(yield* count, 0)
          }
        }).pipe(Effect.provide(layer())))
    }

    it.effect(`by ${by}, also for a late touch and a late read`, () =>
      Effect.gen(function*() {
        const { open, signIn, statusOf, store } = yield* setup
        for (const renewalInterval of [false, true]) {
          const token = yield* signIn("ada")
          const session = open(token)
          if (renewalInterval) yield* TestClock.adjust("20 minutes")
          yield* session.get
          yield* session.touch
          yield* end(token)
          store.forget()
          assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
          assert.notStrictEqual(yield* statusOf(token), "active")
          assert.strictEqual(yield* count, 0)
        }
      }).pipe(Effect.provide(layer({ renewalInterval: "10 minutes" }))))
  }

  it.effect("and a handler that carries on after the failure gets no session back", () =>
    Effect.gen(function*() {
      const { open, signIn } = yield* setup
      const token = yield* signIn("ada")
      const session = open(token)
      yield* session.update((data) => ({ ...data, n: 1 }))
      yield* endings["a logout"](token)
      yield* Effect.ignore(session.commit)
      assert.isUndefined(yield* session.subject)
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
      assert.strictEqual(yield* count, 0)
    }).pipe(Effect.provide(layer())))

  it.effect("and a sign-in that was under way begins a new one", () =>
    Effect.gen(function*() {
      const { open, run, start, statusOf } = yield* setup
      const token = yield* start
      const session = open(token)
      yield* session.login("ada")
      yield* run(token, UserSession.destroy)
      const next = issued(yield* session.finish("success"))
      assert.notStrictEqual(next, token)
      assert.strictEqual((yield* run(next, UserSession.subject)).value, "ada")
      assert.strictEqual(yield* statusOf(token), "anonymous")
      assert.strictEqual(yield* count, 1)
    }).pipe(Effect.provide(layer())))

  it.effect("in 1,000 random interleavings", () =>
    Effect.gen(function*() {
      const { dataOf, open, signIn, statusOf, store } = yield* setup
      let seed = 42
      const random = (below: number) => {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
        return (seed >>> 16) % below
      }
      const pause = Effect.suspend(() => Effect.repeat(Effect.yieldNow, { times: random(6) }))
      store.always((call) => Effect.andThen(pause, Effect.tap(call, () => pause)))
      const works = Object.values(lateComers)
      for (let round = 0; round < 1000; round++) {
        const token = yield* signIn("ada")
        const request = (work: (session: OpenUser) => Effect.Effect<unknown, unknown>) =>
          Effect.gen(function*() {
            yield* pause
            const session = open(token)
            yield* Effect.exit(work(session))
            yield* pause
            yield* Effect.exit(session.finish("success"))
            return session.tokenChange._tag === "Issue" ? [session.tokenChange.token] : []
          })
        const logout = request((session) => session.destroy)
        const others = [0, 1].map(() => request(works[random(works.length)]))
        const tokens = (yield* Effect.all([logout, ...others], parallel)).flat()
        assert.notStrictEqual(yield* statusOf(token), "active")
        // Only who renewed the id before the logout may hold a session of hers; that logout came with a dead id.
        const live = yield* Effect.flatMap(SessionQuery, (query) => query.bySubject("ada"))
        assert.isAtMost(live.length, tokens.length === 0 ? 0 : 1)
        const { destroyBySubject } = yield* SessionQuery
        yield* destroyBySubject("ada")
        // What came after the logout is somebody's new session, with nothing of the old one in it.
        for (const other of tokens) {
          assert.notStrictEqual((yield* dataOf(other)).who, "ada")
        }
      }
    }).pipe(Effect.provide(layer())))
})

describe("requests of many users at the same time", () => {
  it.effect("see their own session only, also when some are interrupted", () =>
    Effect.gen(function*() {
      const { run, signIn, store } = yield* setup
      const tokens = yield* Effect.forEach(Array.from({ length: 100 }, (_, i) => `user-${i}`), signIn)
      let turn = 0
      store.always((call) =>
        Effect.suspend(() => Effect.andThen(Effect.repeat(Effect.yieldNow, { times: ++turn % 7 }), call))
      )
      const request = (i: number) =>
        Effect.map(
          run(tokens[i], Effect.andThen(increment, Effect.all([UserSession.subject, UserSession.get]))),
          ({ value: [subject, data] }) => {
            assert.strictEqual(subject, `user-${i}`)
            assert.strictEqual(data.who, `user-${i}`)
          }
        )
      const fibers: Array<Fiber.Fiber<void, unknown>> = []
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < tokens.length; i++) fibers.push(yield* Effect.forkChild(request(i)))
        yield* Effect.yieldNow
        for (let i = round; i < fibers.length; i += 13) yield* Fiber.interrupt(fibers[i])
      }
      for (const fiber of fibers) {
        const exit = yield* Fiber.await(fiber)
        if (exit._tag === "Failure") {
          assert.isTrue(exit.cause.reasons.every(({ _tag }) => _tag === "Interrupt"), String(exit.cause))
        }
      }
    }).pipe(Effect.provide(layer({ conflictRetries: 100 }))))

  it.effect("carry out once what was interrupted while the store was at it", () =>
    Effect.gen(function*() {
      const { dataOf, open, start, store } = yield* setup
      const token = yield* start
      for (const interceptor of [preceded, followed]) {
        const { n } = yield* dataOf(token)
        const stop = yield* barrier
        const session = open(token)
        yield* session.update((data) => ({ ...data, n: data.n + 1 }))
        store.next("save", interceptor(stop.arrive))
        const commit = yield* Effect.forkChild(session.commit)
        yield* stop.arrived
        const interruption = yield* Effect.forkChild(Fiber.interrupt(commit), { startImmediately: true })
        yield* stop.release
        yield* Fiber.join(interruption)
        yield* session.finish("success")
        assert.strictEqual((yield* dataOf(token)).n, n + 1)
      }
    }).pipe(Effect.provide(layer())))

  it.effect("leave the session usable when any operation is interrupted anywhere", () =>
    Effect.gen(function*() {
      const { open, run, signIn, statusOf, store } = yield* setup
      const operations: ReadonlyArray<(session: OpenUser) => Effect.Effect<unknown, unknown>> = [
        (session) => session.get,
        (session) => session.commit,
        (session) => session.flash.all,
        (session) => session.login("ada"),
        (session) => session.renew,
        (session) => session.destroy
      ]
      for (let point = 0; point < 24; point++) {
        for (const operation of operations) {
          const token = yield* signIn("ada")
          yield* run(token, UserSession.flash.notice("waiting"))
          store.always((call) =>
            Effect.andThen(Effect.yieldNow, Effect.tap(call, () => Effect.andThen(Effect.yieldNow, Effect.yieldNow)))
          )
          const session = open(token)
          yield* session.update((data) => ({ ...data, n: data.n + 1 }))
          const fiber = yield* Effect.forkChild(Effect.andThen(operation(session), session.commit))
          for (let step = 0; step < point; step++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
          store.heal()
          // The next operation of the same request does not wait for a permit that nobody gives back.
          yield* Effect.exit(session.commit)
          yield* Effect.exit(session.flash.all)
          yield* session.finish("aborted")
          const [live, status] = [yield* count, yield* statusOf(token)]
          assert.isAtMost(live, 1)
          if (status === "active") assert.strictEqual(live, 1)
          yield* Effect.flatMap(SessionQuery, (query) => query.destroyBySubject("ada"))
          assert.strictEqual(yield* count, 0)
        }
      }
    }).pipe(Effect.provide(layer())))
})
