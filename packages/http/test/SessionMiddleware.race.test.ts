import { SessionQuery } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as App from "./SessionApp.ts"

const { UserSession } = App

/** A repeatable source of numbers below a bound. */
const numbers = (seed: number) => {
  let state = seed
  return (bound: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor(state / 4_294_967_296 * bound)
  }
}

const yields = (count: number): Effect.Effect<void> =>
  count <= 0 ? Effect.void : Effect.andThen(Effect.yieldNow, Effect.suspend(() => yields(count - 1)))

const cookie = (token: string | undefined) => ({ headers: { cookie: `session=${token}` } })

const { "Node server": nodeServer, "fetch handler": fetchHandler } = App.transports

describe.each(Object.entries({ nodeServer, fetchHandler }))("SessionMiddleware, races, %s", (_name, serve) => {
  it.effect("during a sign-in the old id never shows who signed in", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(App.routes, store))
      const random = numbers(5)
      for (let round = 0; round < 10; round++) {
        store.before = () => Effect.void
        const token = App.tokenOf(yield* client.send("POST", "/inc"))
        store.before = () => Effect.suspend(() => yields(random(20)))
        store.after = () => Effect.suspend(() => yields(random(20)))
        const reading = Effect.andThen(
          Effect.suspend(() => yields(random(30))),
          client.send("GET", "/me", cookie(token))
        )
        const [login, ...seen] = yield* Effect.all(
          [client.send("POST", "/login?as=ada", cookie(token)), ...Array.from({ length: 50 }, () => reading)],
          { concurrency: "unbounded" }
        )
        for (const answer of seen) {
          const { status, subject } = App.shown(answer)
          assert.strictEqual(subject, null)
          assert.include(["active", "anonymous"], status)
          assert.deepStrictEqual(answer.setCookies, [])
        }
        const me = yield* client.send("GET", "/me", cookie(App.tokenOf(login)))
        assert.strictEqual(App.shown(me).subject, "ada")
      }
    }))

  it.effect("a slow request cannot bring back a session that was signed out meanwhile", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      let arrived = yield* Deferred.make<void>()
      let gate = arrived
      const slow = (path: `/${string}`, write: Effect.Effect<unknown, unknown, App.UserSession>) =>
        HttpRouter.add(
          "POST",
          path,
          Effect.gen(function*() {
            yield* UserSession.get
            yield* Deferred.succeed(arrived, undefined)
            yield* Deferred.await(gate)
            yield* Effect.orDie(write)
            return HttpServerResponse.text("done")
          })
        )
      const client = yield* serve(App.withSession(
        Layer.mergeAll(
          App.routes,
          slow("/slow/update", App.increment),
          slow("/slow/renew", UserSession.renew),
          slow("/slow/login", UserSession.login("ada")),
          slow("/slow/touch", UserSession.touch)
        ),
        store
      ))
      for (const what of ["update", "renew", "login", "touch"]) {
        const token = App.tokenOf(yield* client.send("POST", "/inc"))
        const [key] = yield* store.keys
        arrived = yield* Deferred.make<void>()
        gate = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(client.send("POST", `/slow/${what}`, cookie(token)))
        yield* Deferred.await(arrived)
        assert.strictEqual((yield* client.send("POST", "/logout", cookie(token))).status, 204)
        yield* Deferred.succeed(gate, undefined)
        const answer = yield* Fiber.join(fiber)
        const after = yield* store.entries
        assert.isUndefined(after.find((entry) => entry.key === key), what)
        if (what === "login") {
          // Who proves who they are needs no session to begin with: this is another one.
          assert.strictEqual(answer.status, 200)
          const me = App.shown(yield* client.send("GET", "/me", cookie(App.tokenOf(answer))))
          assert.deepStrictEqual([me.subject, me.n, after.length], ["ada", 0, 1])
          assert.strictEqual(App.shown(yield* client.send("GET", "/me", cookie(token))).status, "anonymous")
          yield* client.send("POST", "/logout", cookie(App.tokenOf(answer)))
        } else {
          // A touch changes nothing that the answer could have promised.
          assert.strictEqual(answer.status, what === "touch" ? 200 : 409, what)
          assert.deepStrictEqual(answer.setCookies, [])
          assert.deepStrictEqual(after, [])
        }
      }
    }))

  it.live("users never see each other, whatever is slow, fails or leaves", () =>
    Effect.gen(function*() {
      const unhandled: Array<unknown> = []
      const listener = (reason: unknown) => void unhandled.push(reason)
      process.on("unhandledRejection", listener)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.off("unhandledRejection", listener)))

      const random = numbers(13)
      const pause = Effect.suspend(() => random(8) === 0 ? Effect.sleep(random(3)) : yields(random(4)))
      const store = yield* App.makeStore()
      store.before = store.after = () => pause
      const both = HttpRouter.add(
        "POST",
        "/both",
        Effect.gen(function*() {
          const before = yield* UserSession.subject
          yield* pause
          const { n } = yield* App.increment
          yield* pause
          const after = yield* UserSession.subject
          return HttpServerResponse.jsonUnsafe([before ?? null, after ?? null, (yield* UserSession.get).note, n])
        })
      )
      const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, both), store))
      let left = 0
      yield* Effect.forEach(
        Array.from({ length: 200 }, (_, i) => `user-${i}`),
        Effect.fnUntraced(function*(user) {
          const token = App.tokenOf(yield* client.send("POST", `/login?as=${user}`))
          yield* client.send("POST", `/note?text=${user}`, cookie(token))
          let sent = 0
          let answered = 0
          for (let i = 0; i < 50; i++) {
            const leaves = random(10) === 0
            sent++
            const call = client.send("POST", "/both", cookie(token))
            if (leaves) {
              const fiber = yield* Effect.forkChild(call)
              yield* pause
              yield* Fiber.interrupt(fiber)
              left++
              continue
            }
            const answer = yield* call
            assert.strictEqual(answer.status, 200)
            assert.deepStrictEqual(answer.setCookies, [])
            const [before, after, note, n] = JSON.parse(answer.body)
            assert.deepStrictEqual([before, after, note], [user, user, user])
            answered++
            assert.isAtLeast(n, answered)
            assert.isAtMost(n, sent)
          }
        }),
        { concurrency: serve === nodeServer ? 50 : 200, discard: true }
      )
      assert.isAbove(left, 500)
      assert.deepStrictEqual(unhandled, [])
      const subjects = (yield* store.entries).map(({ record }) => record.subject)
      assert.strictEqual(new Set(subjects).size, 200)
      assert.strictEqual(subjects.length, 200)
    }))
})

describe("SessionMiddleware, interleavings", () => {
  it.effect("1,000 ways for a write, a renewal or a touch to meet the end of a session", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const random = numbers(17)
      const slow = (path: `/${string}`, write: Effect.Effect<unknown, unknown, App.UserSession>) =>
        HttpRouter.add(
          "POST",
          path,
          Effect.gen(function*() {
            yield* UserSession.get
            yield* Effect.suspend(() => yields(random(8)))
            yield* Effect.orDie(write)
            return yield* App.show
          })
        )
      const client = yield* App.inProcess(App.withSession(
        Layer.mergeAll(
          App.routes,
          slow("/slow/update", App.increment),
          slow("/slow/renew", UserSession.renew),
          slow("/slow/touch", UserSession.touch)
        ),
        store
      ))
      const administrator = yield* Effect.provide(
        SessionQuery.SessionQuery.use((query) => Effect.succeed(query)),
        store.layer
      )
      const met = new Map<number, number>()
      for (let i = 0; i < 1000; i++) {
        store.before = store.after = () => Effect.void
        const token = App.tokenOf(yield* client.send("POST", "/login?as=ada"))
        const [key] = yield* store.keys
        store.before = store.after = () => Effect.suspend(() => yields(random(6)))
        const what = ["update", "renew", "touch"][i % 3]
        const end = i % 2 === 0
          ? Effect.asVoid(client.send("POST", "/logout", cookie(token)))
          : Effect.asVoid(Effect.orDie(administrator.destroyBySubject("ada")))
        const [answer] = yield* Effect.all(
          [
            client.send("POST", `/slow/${what}`, cookie(token)),
            Effect.andThen(Effect.suspend(() => yields(random(16))), end)
          ],
          { concurrency: "unbounded" }
        )
        store.before = store.after = () => Effect.void
        const keys = yield* store.keys
        const issued = App.tokenOf(answer)
        assert.notInclude(keys, key)
        assert.notStrictEqual(issued, token)
        met.set(answer.status, (met.get(answer.status) ?? 0) + 1)
        if (answer.status === 409) {
          assert.deepStrictEqual(answer.setCookies, [])
          assert.deepStrictEqual(keys, [])
        } else {
          assert.strictEqual(answer.status, 200)
          const seen = App.shown(answer)
          // Who was signed out is a stranger, and what a stranger writes is a session of its own.
          if (seen.subject === null) assert.strictEqual(keys.length, what === "update" ? 1 : 0)
          if (what === "touch") assert.deepStrictEqual(answer.setCookies, [])
        }
        yield* client.send("POST", "/logout", cookie(issued))
        assert.deepStrictEqual(yield* store.keys, [])
      }
      assert.isAbove(met.get(409) ?? 0, 100)
      assert.isAbove(met.get(200) ?? 0, 100)
    }))
})
