import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import * as SessionManager from "../src/SessionManager.ts"
import { increment, issued, layer, loginAs, setup, UserSession } from "./Fixture.ts"

describe("SessionManager.run", () => {
  it.effect("returns the value and the token to use from now on", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const first = yield* run(undefined, increment)
      assert.strictEqual(first.value.n, 1)
      const second = yield* run(first.token, increment)
      assert.strictEqual(second.token, first.token)
      const third = yield* run(second.token, loginAs("ada"))
      assert.notStrictEqual(third.token, second.token)
      assert.isUndefined((yield* run(third.token, UserSession.destroy)).token)
      assert.isUndefined((yield* run(undefined, UserSession.get)).token)
    }).pipe(Effect.provide(layer())))

  it.effect("discards the data of an effect that fails, dies or is interrupted", () =>
    Effect.gen(function*() {
      const { dataOf, run, start } = yield* setup
      const token = yield* start
      for (const end of [Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
        const exit = yield* Effect.exit(run(token, Effect.andThen(increment, end)))
        assert.strictEqual(exit._tag, "Failure")
        assert.strictEqual((yield* dataOf(token)).n, 1)
      }
    }).pipe(Effect.provide(layer())))

  it.effect("passes on the error of the effect, also when the session cannot be committed then", () =>
    Effect.gen(function*() {
      const { run, start, store } = yield* setup
      const token = yield* start
      store.always(() => Effect.die("down"), "destroy")
      const error = yield* Effect.flip(run(token, Effect.andThen(increment, Effect.fail("mine"))))
      assert.strictEqual(error, "mine")
    }).pipe(Effect.provide(layer())))

  it.effect("lets the end of the session stand however the effect ends", () =>
    Effect.gen(function*() {
      const { run, signIn, statusOf } = yield* setup
      for (const end of [Effect.void, Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
        const token = yield* signIn("ada")
        yield* Effect.exit(run(token, Effect.andThen(UserSession.destroy, end)))
        assert.strictEqual(yield* statusOf(token), "anonymous")
      }
    }).pipe(Effect.provide(layer())))

  it.effect("commits nothing of a fiber that is interrupted from outside", () =>
    Effect.gen(function*() {
      const { dataOf, run, start } = yield* setup
      const token = yield* start
      const reached = yield* Deferred.make<void>()
      const request = run(
        token,
        increment.pipe(
          Effect.andThen(UserSession.renew),
          Effect.andThen(Deferred.succeed(reached, undefined)),
          Effect.andThen(Effect.never)
        )
      )
      const fiber = yield* Effect.forkChild(request)
      yield* Deferred.await(reached)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual((yield* dataOf(token)).n, 1)
    }).pipe(Effect.provide(layer())))
})

describe("the outcomes of a request", () => {
  const work = ["data", "renew", "login", "elevate", "reauthenticate", "lifetime", "destroy"] as const
  const table = {
    success: ["Keep", "Issue", "Issue", "Issue", "Issue", "Issue", "Revoke"],
    failure: ["Keep", "Issue", "Issue", "Issue", "Issue", "Keep", "Revoke"],
    aborted: ["Keep", "Keep", "Keep", "Keep", "Keep", "Keep", "Revoke"]
  } as const

  for (const outcome of ["success", "failure", "aborted"] as const) {
    for (const [i, what] of work.entries()) {
      it.effect(`${outcome} with ${what}: ${table[outcome][i]}`, () =>
        Effect.gen(function*() {
          const { open, signIn, stored } = yield* setup
          const token = yield* signIn("ada")
          const session = open(token)
          yield* session.update((data) => ({ ...data, n: 99 }))
          yield* Effect.asVoid<unknown, unknown, never>(
            {
              data: Effect.void,
              renew: session.renew,
              login: session.login("ada", (data) => ({ ...data, n: 99 })),
              elevate: session.elevate("1 hour"),
              reauthenticate: session.reauthenticate,
              lifetime: session.setLifetime({ lifetime: "2 days" }),
              destroy: session.destroy
            }[what]
          )
          const change = yield* session.finish(outcome)
          assert.strictEqual(change._tag, table[outcome][i])
          const record = yield* stored(change._tag === "Issue" ? change.token : token)
          if (what === "destroy") return assert.isUndefined(record)
          const stands = outcome === "success" || (outcome === "failure" && what === "login")
          assert.strictEqual(String(record?.payload).includes("99"), stands)
        }).pipe(Effect.provide(layer())))
    }
  }

  it.effect("leave the token change of an earlier commit standing", () =>
    Effect.gen(function*() {
      const { open, run } = yield* setup
      for (const outcome of ["failure", "aborted"] as const) {
        const session = open()
        yield* session.login("ada")
        yield* session.commit
        yield* session.update((data) => ({ ...data, n: 99 }))
        const token = issued(yield* session.finish(outcome))
        assert.strictEqual((yield* run(token, UserSession.get)).value.n, 0)
      }
    }).pipe(Effect.provide(layer())))

  it.effect("cost nothing when the session was not used", () =>
    Effect.gen(function*() {
      const { open, start, store } = yield* setup
      const token = yield* start
      store.forget()
      for (const outcome of ["success", "failure", "aborted"] as const) {
        const session = open(token)
        assert.isFalse(session.accessed)
        assert.deepStrictEqual(yield* session.finish(outcome), { _tag: "Keep" })
        assert.isFalse(session.accessed)
      }
      assert.strictEqual(store.count(), 0)
    }).pipe(Effect.provide(layer())))
})

describe("what a request brings", () => {
  it.effect("is no session when it is several tokens or a malformed one", () =>
    Effect.gen(function*() {
      const { store } = yield* setup
      const manager = yield* SessionManager.make(UserSession)
      for (const rejected of ["duplicate", "malformed"] as const) {
        const session = manager.open({ rejected })
        assert.strictEqual(yield* session.status, "invalid")
        assert.isTrue(yield* session.isNew)
        assert.strictEqual((yield* session.get).n, 0)
        assert.isTrue(session.accessed)
        assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
      }
      assert.strictEqual(store.count(), 0)
      const writing = manager.open({ rejected: "duplicate" })
      yield* writing.update((data) => ({ ...data, n: 1 }))
      assert.strictEqual((yield* writing.finish("success"))._tag, "Issue")
    }).pipe(Effect.provide(layer())))

  it.effect("is read once, by whichever of two fibers comes first", () =>
    Effect.gen(function*() {
      const { open, start, store } = yield* setup
      const token = yield* start
      store.always((call) => Effect.andThen(Effect.yieldNow, call), "load")
      const session = open(token)
      const both = yield* Effect.all(
        [
          session.update((data) => ({ ...data, n: data.n + 1 })),
          session.update((data) => ({ ...data, n: data.n + 1 }))
        ],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(both.map(({ n }) => n), [2, 3])
      yield* session.finish("success")
      assert.strictEqual(store.count("save"), 1)
    }).pipe(Effect.provide(layer())))
})
