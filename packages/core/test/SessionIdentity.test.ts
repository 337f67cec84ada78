import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as SessionData from "../src/SessionData.ts"
import * as SessionManager from "../src/SessionManager.ts"
import { SessionQuery } from "../src/SessionQuery.ts"
import { increment, issued, layer, loginAs, reasonOf, setup, UserSession } from "./Fixture.ts"

const minute = 60_000
const cart = (...items: ReadonlyArray<string>) => UserSession.update((data) => ({ ...data, cart: items }))

describe("login", () => {
  it.effect("gives a new id and kills the old one at once", () =>
    Effect.gen(function*() {
      const { run, start, statusOf, stored } = yield* setup
      const token = yield* start
      const after = yield* run(token, loginAs("ada"))
      assert.notStrictEqual(after.token, token)
      assert.strictEqual(yield* statusOf(token), "anonymous")
      assert.isUndefined(yield* stored(token))
      const { value } = yield* run(after.token, Effect.all([UserSession.subject, UserSession.get]))
      assert.deepStrictEqual(value, ["ada", { n: 0, who: "ada", cart: [] }])
    }).pipe(Effect.provide(layer({ renewalInterval: "1 minute" }))))

  it.effect("lets only the listed keys of the anonymous data through", () =>
    Effect.gen(function*() {
      const { dataOf, run } = yield* setup
      const { token } = yield* run(undefined, UserSession.set({ n: 41, who: "mallory", cart: ["tea"] }))
      const after = yield* run(token, UserSession.login("ada"))
      assert.deepStrictEqual(yield* dataOf(after.token), { n: 0, who: "guest", cart: ["tea"] })
      assert.deepStrictEqual(after.value, { n: 0, who: "guest", cart: ["tea"] })
    }).pipe(Effect.provide(layer())))

  it.effect("works without a session, and hands the function what survives", () =>
    Effect.gen(function*() {
      const { run, store } = yield* setup
      const { token, value } = yield* run(
        undefined,
        Effect.andThen(cart("tea"), UserSession.login("ada", (data) => ({ ...data, n: data.cart.length, who: "ada" })))
      )
      assert.deepStrictEqual(value, { n: 1, who: "ada", cart: ["tea"] })
      assert.deepStrictEqual(store.calls.map(([method]) => method), ["create"])
      assert.deepStrictEqual((yield* run(token, UserSession.get)).value, value)
    }).pipe(Effect.provide(layer())))

  it.effect("passes nothing on from one user to the next", () =>
    Effect.gen(function*() {
      const { dataOf, run, statusOf } = yield* setup
      const ada = yield* run(
        undefined,
        Effect.andThen(loginAs("ada"), Effect.andThen(cart("secret"), UserSession.flash.notice("for ada")))
      )
      const bob = yield* run(ada.token, loginAs("bob"))
      assert.deepStrictEqual(yield* dataOf(bob.token), { n: 0, who: "bob", cart: [] })
      assert.deepStrictEqual((yield* run(bob.token, UserSession.flash.all)).value, [])
      assert.strictEqual(yield* statusOf(ada.token), "anonymous")
      const again = yield* run(bob.token, Effect.andThen(cart("own"), loginAs("bob")))
      assert.deepStrictEqual((yield* dataOf(again.token)).cart, ["own"])
    }).pipe(Effect.provide(layer())))

  it.effect("gives nobody the lifetimes that the user before had chosen", () =>
    Effect.gen(function*() {
      const { open, run, stored } = yield* setup
      const remember = UserSession.setLifetime({ idleTimeout: "30 days", lifetime: "300 days", persistent: true })
      const ada = yield* run(undefined, Effect.andThen(loginAs("ada"), remember))
      const session = open(ada.token)
      yield* session.login("bob")
      const change = yield* session.finish("success")
      const bob = (yield* stored(issued(change)))!
      assert.strictEqual(bob.idleTimeout, 30 * minute)
      assert.strictEqual(bob.expiresAt - bob.issuedAt, 24 * 60 * minute)
      assert.deepInclude(change, { _tag: "Issue", expiresIn: undefined })
      // Whoever stays, keeps them; and whoever comes, may choose.
      const own = yield* run(issued(change), Effect.andThen(loginAs("eve"), remember))
      const again = (yield* stored((yield* run(own.token, loginAs("eve"))).token!))!
      assert.strictEqual(again.idleTimeout, 30 * 24 * 60 * minute)
    }).pipe(Effect.provide(layer())))

  it.effect("restarts both deadlines and keeps the beginning", () =>
    Effect.gen(function*() {
      const { run, start } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("10 minutes")
      const after = yield* run(token, loginAs("ada"))
      const { value } = yield* run(after.token, UserSession.info)
      assert.deepStrictEqual(value, {
        createdAt: 0,
        authenticatedAt: 10 * minute,
        lastSeenAt: 10 * minute,
        idleExpiresAt: 40 * minute,
        absoluteExpiresAt: (24 * 60 + 10) * minute,
        subject: "ada",
        now: 10 * minute
      })
    }).pipe(Effect.provide(layer())))

  it.effect("stands when the request fails, without the other changes", () =>
    Effect.gen(function*() {
      const { dataOf, open, run, start } = yield* setup
      const session = open(yield* start)
      yield* session.login("ada", (data) => ({ ...data, who: "ada" }))
      yield* session.update((data) => ({ ...data, n: 99 }))
      const token = issued(yield* session.finish("failure"))
      assert.deepStrictEqual(yield* dataOf(token), { n: 0, who: "ada", cart: [] })
      assert.strictEqual((yield* run(token, UserSession.subject)).value, "ada")
    }).pipe(Effect.provide(layer())))

  it.effect("refuses a subject without a name, or with one that no store could find again", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      for (const subject of ["", "\ud800", "ada\udc00"]) {
        const exit = yield* Effect.exit(run(undefined, UserSession.login(subject)))
        assert.strictEqual(exit._tag === "Failure" && exit.cause.reasons[0]?._tag, "Die")
      }
    }).pipe(Effect.provide(layer())))

  it.effect("ends the oldest session above the limit, or is refused", () =>
    Effect.gen(function*() {
      for (const onLimit of ["evict", "refuse"] as const) {
        yield* Effect.gen(function*() {
          const { run, signIn, statusOf } = yield* setup
          const tokens: Array<string> = []
          for (let i = 0; i < 2; i++) {
            tokens.push(yield* signIn("ada"))
            yield* TestClock.adjust(1)
          }
          const third = run(undefined, loginAs("ada"))
          if (onLimit === "refuse") {
            const error = yield* Effect.flip(third)
            assert.deepInclude(error.reason, { _tag: "LimitReached", maximum: 2 })
            assert.deepStrictEqual(yield* Effect.forEach(tokens, statusOf), ["active", "active"])
          } else {
            const { token } = yield* third
            assert.deepStrictEqual(
              yield* Effect.forEach([...tokens, token], statusOf),
              ["anonymous", "active", "active"]
            )
          }
          const { bySubject } = yield* SessionQuery
          assert.lengthOf(yield* bySubject("ada"), 2)
        }).pipe(Effect.provide(layer({ maxSessions: 2, onLimit }), { local: true }))
      }
    }))

  it.effect("remembers the client it is for", () =>
    Effect.gen(function*() {
      const manager = yield* SessionManager.make(UserSession)
      const { stored } = yield* setup
      const clientOf = (token: string) =>
        Effect.map(stored(token), (record) => {
          const decoded = UserSession.definition.data.decode("", SessionData.format, record?.payload ?? "")
          return decoded._tag === "Decoded" ? decoded.envelope.client : undefined
        })
      const first = manager.open({ client: () => ({ agent: "A", address: "192.0.2.1" }) })
      yield* first.update((data) => ({ ...data, n: 1 }))
      const token = issued(yield* first.finish("success"))
      const second = manager.open({ token, client: () => ({ agent: "B", address: undefined }) })
      yield* second.update((data) => ({ ...data, n: 2 }))
      yield* second.finish("success")
      assert.deepStrictEqual(yield* clientOf(token), { agent: "A", address: "192.0.2.1" })
      const third = manager.open({ token, client: () => ({ agent: "C", address: undefined }) })
      yield* third.login("ada")
      assert.deepStrictEqual(yield* clientOf(issued(yield* third.finish("success"))), {
        agent: "C",
        address: undefined
      })
    }).pipe(Effect.provide(layer())))
})

describe("renew", () => {
  it.effect("moves everything to a new id", () =>
    Effect.gen(function*() {
      const { run, signIn, statusOf } = yield* setup
      const token = yield* signIn("ada")
      yield* TestClock.adjust("1 minute")
      const before = yield* run(token, UserSession.info)
      const after = yield* run(token, Effect.andThen(increment, UserSession.renew))
      assert.notStrictEqual(after.token, token)
      assert.strictEqual(yield* statusOf(token), "anonymous")
      const { value: [data, info] } = yield* run(after.token, Effect.all([UserSession.get, UserSession.info]))
      assert.deepStrictEqual(data, { n: 1, who: "ada", cart: [] })
      assert.deepStrictEqual({ ...info, lastSeenAt: 0, idleExpiresAt: 0 }, {
        ...before.value,
        lastSeenAt: 0,
        idleExpiresAt: 0
      })
    }).pipe(Effect.provide(layer())))

  it.effect("never moves the absolute deadline", () =>
    Effect.gen(function*() {
      const { run, start, statusOf } = yield* setup
      let token: string | undefined = yield* start
      for (let i = 0; i < 59; i++) {
        yield* TestClock.adjust("1 minute")
        token = (yield* run(token, UserSession.renew)).token
      }
      assert.strictEqual(yield* statusOf(token), "active")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* statusOf(token), "expired")
    }).pipe(Effect.provide(layer({ lifetime: "1 hour" }))))
})

describe("reauthenticate", () => {
  it.effect("restarts both deadlines under a new id", () =>
    Effect.gen(function*() {
      const { run, signIn, statusOf } = yield* setup
      const token = yield* signIn("ada")
      yield* TestClock.adjust("20 minutes")
      const after = yield* run(token, UserSession.reauthenticate)
      assert.notStrictEqual(after.token, token)
      assert.strictEqual(yield* statusOf(token), "anonymous")
      const { value } = yield* run(after.token, UserSession.info)
      assert.deepInclude(value, {
        createdAt: 0,
        authenticatedAt: 20 * minute,
        lastSeenAt: 20 * minute,
        absoluteExpiresAt: (24 * 60 + 20) * minute,
        subject: "ada"
      })
    }).pipe(Effect.provide(layer())))

  it.effect("needs somebody signed in, as elevate does", () =>
    Effect.gen(function*() {
      const { run, start, store } = yield* setup
      for (const token of [undefined, yield* start]) {
        store.forget()
        assert.strictEqual(yield* reasonOf(run(token, UserSession.reauthenticate)), "NotAuthenticated")
        assert.strictEqual(yield* reasonOf(run(token, UserSession.elevate("1 minute"))), "NotAuthenticated")
        assert.strictEqual(store.count("renew", "save", "create"), 0)
      }
    }).pipe(Effect.provide(layer())))
})

describe("elevate", () => {
  it.effect("lasts to the millisecond, under a new id, and extends nothing else", () =>
    Effect.gen(function*() {
      const { run, signIn, statusOf } = yield* setup
      const token = yield* signIn("ada")
      const isElevated = (token: string | undefined) =>
        Effect.map(run(token, UserSession.isElevated), ({ value }) => value)
      assert.isFalse(yield* isElevated(token))
      const before = yield* run(token, UserSession.info)
      const after = yield* run(token, Effect.andThen(UserSession.elevate("5 minutes"), UserSession.isElevated))
      assert.isTrue(after.value)
      assert.notStrictEqual(after.token, token)
      assert.strictEqual(yield* statusOf(token), "anonymous")
      assert.strictEqual(
        (yield* run(after.token, UserSession.info)).value?.absoluteExpiresAt,
        before.value?.absoluteExpiresAt
      )
      yield* TestClock.adjust(5 * minute - 1)
      assert.isTrue(yield* isElevated(after.token))
      yield* TestClock.adjust(1)
      assert.isFalse(yield* isElevated(after.token))
    }).pipe(Effect.provide(layer())))

  it.effect("is not inherited by a sign-in, a logout or another session of the user", () =>
    Effect.gen(function*() {
      const { run, signIn } = yield* setup
      const isElevated = (token: string | undefined) =>
        Effect.map(run(token, UserSession.isElevated), ({ value }) => value)
      const other = yield* signIn("ada")
      const token = yield* signIn("ada")
      const elevated = yield* run(token, UserSession.elevate("1 hour"))
      assert.isFalse(yield* isElevated(other))
      const again = yield* run(elevated.token, Effect.andThen(loginAs("ada"), UserSession.isElevated))
      assert.isFalse(again.value)
      assert.isFalse(yield* isElevated(again.token))
      const raised = yield* run(again.token, UserSession.elevate("1 hour"))
      const out = yield* run(
        raised.token,
        Effect.andThen(UserSession.destroy, Effect.andThen(increment, UserSession.isElevated))
      )
      assert.isFalse(out.value)
      assert.isFalse(yield* isElevated(out.token))
    }).pipe(Effect.provide(layer())))

  it.effect("ends for requests that are on their way, and none of them extends it", () =>
    Effect.gen(function*() {
      const { open, run, signIn } = yield* setup
      const { token } = yield* run(yield* signIn("ada"), UserSession.elevate("5 minutes"))
      const requests = Array.from({ length: 3 }, () => open(token))
      for (const request of requests) assert.isTrue(yield* request.isElevated)
      yield* TestClock.adjust(5 * minute - 1)
      yield* requests[0].update((data) => ({ ...data, n: 1 }))
      for (const request of requests) assert.isTrue(yield* request.isElevated)
      yield* TestClock.adjust(1)
      for (const request of requests) assert.isFalse(yield* request.isElevated)
      yield* requests[1].update((data) => ({ ...data, who: "late" }))
      yield* Effect.all(requests.map((request) => request.finish("success")), { concurrency: "unbounded" })
      const { value } = yield* run(token, Effect.all([UserSession.get, UserSession.isElevated]))
      assert.deepStrictEqual(value, [{ n: 1, who: "late", cart: [] }, false])
    }).pipe(Effect.provide(layer())))

  it.effect("is refused for no time at all", () =>
    Effect.gen(function*() {
      const { run, signIn } = yield* setup
      const token = yield* signIn("ada")
      for (const duration of [0, -1, "401 days", Infinity] as const) {
        assert.strictEqual((yield* Effect.exit(run(token, UserSession.elevate(duration))))._tag, "Failure")
      }
    }).pipe(Effect.provide(layer())))
})

describe("what is read through a token that is dead", () => {
  const tokens = Effect.gen(function*() {
    const { run, signIn, start } = yield* setup
    const destroyed = yield* start
    yield* run(destroyed, UserSession.destroy)
    const renewed = yield* signIn("ada")
    yield* run(renewed, UserSession.renew)
    const swapped = yield* start
    yield* run(swapped, loginAs("ada"))
    const expired = yield* run(undefined, Effect.andThen(increment, UserSession.setLifetime({ idleTimeout: 1 })))
    const own = yield* start
    const unknown = own.slice(0, 4) + Buffer.alloc(32, 9).toString("base64url")
    const foreign = `AA${own.slice(2)}`
    yield* TestClock.adjust(5)
    return { destroyed, renewed, swapped, expired: expired.token!, unknown, foreign }
  })
  const handlers = { reading: UserSession.get, writing: increment, signingIn: loginAs("mallory") }

  for (const [name, handler] of Object.entries(handlers)) {
    it.effect(`is nothing, and the token is never adopted by a ${name} handler`, () =>
      Effect.gen(function*() {
        const { run, statusOf, stored } = yield* setup
        for (const [what, token] of Object.entries(yield* tokens)) {
          const { token: next, value } = yield* run(token, handler)
          assert.isDefined(value)
          if (name === "reading") {
            assert.deepStrictEqual(value, { n: 0, who: "guest", cart: [] }, what)
            assert.strictEqual(next, token)
          } else {
            assert.notStrictEqual(next, token, what)
            assert.strictEqual(yield* statusOf(next), "active", what)
          }
          assert.notStrictEqual(yield* statusOf(token), "active", what)
          if (what !== "foreign") assert.isUndefined(yield* stored(token), what)
        }
      }).pipe(Effect.provide(layer())))
  }
})
