import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as SessionManager from "../src/SessionManager.ts"
import { SessionQuery } from "../src/SessionQuery.ts"
import { down, followed, preceded } from "./FaultyStore.ts"
import { barrier, increment, issued, layer, reasonOf, setup, UserSession } from "./Fixture.ts"

const writes = ["create", "save", "touch", "renew", "destroy"] as const

describe("a session that is only read", () => {
  it.effect("asks the store for nothing before it is used", () =>
    Effect.gen(function*() {
      const { run, start, store } = yield* setup
      const token = yield* start
      store.forget()
      const result = yield* run(token, Effect.succeed(1))
      assert.strictEqual(store.count(), 0)
      assert.deepStrictEqual(result, { value: 1, token })
    }).pipe(Effect.provide(layer())))

  it.effect("is loaded once in a request, and not written", () =>
    Effect.gen(function*() {
      const { run, start, store } = yield* setup
      const token = yield* start
      store.forget()
      const { value } = yield* run(
        token,
        Effect.all([
          UserSession.get,
          UserSession.get,
          UserSession.status,
          UserSession.subject,
          UserSession.info,
          UserSession.isNew,
          UserSession.isElevated,
          UserSession.expiresAt,
          UserSession.timeUntilExpiry,
          UserSession.handle,
          UserSession.flash.all,
          UserSession.flash.peek,
          Effect.flatMap(UserSession.readonly, ({ get }) => get)
        ])
      )
      assert.deepStrictEqual(value[0], { n: 1, who: "guest", cart: [] })
      assert.strictEqual(store.count(), 1)
      assert.strictEqual(store.count("load"), 1)
    }).pipe(Effect.provide(layer())))

  it.effect("shows the initial data and stores nothing where there is none", () =>
    Effect.gen(function*() {
      const { open, store } = yield* setup
      const session = open()
      assert.deepStrictEqual(yield* session.get, { n: 0, who: "guest", cart: [] })
      assert.strictEqual(yield* session.status, "anonymous")
      assert.isTrue(yield* session.isNew)
      assert.isUndefined(yield* session.subject)
      assert.isUndefined(yield* session.info)
      assert.isUndefined(yield* session.expiresAt)
      assert.isUndefined(yield* session.handle)
      assert.isTrue(Duration.isZero(yield* session.timeUntilExpiry))
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
      assert.strictEqual(store.count(), 0)
    }).pipe(Effect.provide(layer())))

  it.effect("is read by many requests without one value write", () =>
    Effect.gen(function*() {
      const { dataOf, start, store } = yield* setup
      const token = yield* start
      store.forget()
      for (let i = 0; i < 1000; i++) yield* dataOf(token)
      assert.strictEqual(store.count("load"), 1000)
      assert.strictEqual(store.count(...writes), 0)
    }).pipe(Effect.provide(layer())))

  it.effect("gives every reader data that no other reader can change", () =>
    Effect.gen(function*() {
      const { dataOf, start } = yield* setup
      const token = yield* start
      const first = yield* dataOf(token)
      assert.throws(() => Reflect.apply(Array.prototype.push, first.cart, ["stolen"]), TypeError)
      assert.isFalse(Reflect.set(first, "n", 99))
      assert.deepStrictEqual(yield* dataOf(token), { n: 1, who: "guest", cart: [] })
    }).pipe(Effect.provide(layer())))
})

describe("a session that is written", () => {
  it.effect("costs nothing for what changes nothing", () =>
    Effect.gen(function*() {
      const { run, signIn, store } = yield* setup
      const token = yield* signIn("ada")
      for (const unknown of [undefined, token]) {
        store.forget()
        yield* run(
          unknown,
          Effect.andThen(
            UserSession.update((data) => ({ ...data, n: data.n, cart: [...data.cart] })),
            Effect.andThen(UserSession.get, UserSession.set)
          )
        )
        assert.strictEqual(store.count(...writes), 0)
      }
      for (const nothing of [UserSession.touch, UserSession.renew, UserSession.destroy, UserSession.reset]) {
        store.forget()
        const result = yield* run(undefined, nothing)
        assert.deepStrictEqual(result, { value: undefined, token: undefined })
        assert.strictEqual(store.count(), 0)
      }
    }).pipe(Effect.provide(layer())))

  it.effect("does not exist before its first write, and costs one create", () =>
    Effect.gen(function*() {
      const { dataOf, run, store } = yield* setup
      const { token } = yield* run(undefined, Effect.andThen(increment, increment))
      assert.deepStrictEqual(store.calls.map(([method]) => method), ["create"])
      assert.deepStrictEqual(yield* dataOf(token), { n: 2, who: "guest", cart: [] })
    }).pipe(Effect.provide(layer())))

  it.effect("takes set, update, modify and reset in the order they came", () =>
    Effect.gen(function*() {
      const { dataOf, run, start } = yield* setup
      const token = yield* start
      const { value } = yield* run(
        token,
        Effect.gen(function*() {
          const updated = yield* UserSession.update((data) => ({ ...data, n: data.n + 10 }))
          const modified = yield* UserSession.modify((data) => [`was ${data.n}`, { ...data, n: data.n * 2 }])
          yield* UserSession.set({ ...(yield* UserSession.get), who: "ada" })
          return [updated.n, modified, yield* UserSession.get]
        })
      )
      assert.deepStrictEqual(value, [11, "was 11", { n: 22, who: "ada", cart: [] }])
      assert.deepStrictEqual(yield* dataOf(token), { n: 22, who: "ada", cart: [] })
      yield* run(token, UserSession.reset)
      assert.deepStrictEqual(yield* dataOf(token), { n: 0, who: "guest", cart: [] })
    }).pipe(Effect.provide(layer())))

  it.effect("is new until it is stored", () =>
    Effect.gen(function*() {
      const { open } = yield* setup
      const session = open()
      yield* session.update((data) => ({ ...data, n: 5 }))
      assert.isTrue(yield* session.isNew)
      assert.strictEqual(yield* session.status, "anonymous")
      yield* session.commit
      assert.isTrue(yield* session.isNew)
      assert.strictEqual(yield* session.status, "active")
      const later = open(issued(session.tokenChange))
      assert.isFalse(yield* later.isNew)
      assert.strictEqual(yield* later.status, "active")
    }).pipe(Effect.provide(layer())))

  it.effect("is written once when commit and the end of the request have nothing left", () =>
    Effect.gen(function*() {
      const { run, start, store } = yield* setup
      const token = yield* start
      store.forget()
      yield* run(token, Effect.andThen(increment, UserSession.commit))
      assert.strictEqual(store.count("save"), 1)
    }).pipe(Effect.provide(layer())))

  it.effect("keeps what was committed when the request fails later", () =>
    Effect.gen(function*() {
      const { dataOf, open, start } = yield* setup
      const token = yield* start
      const session = open(token)
      yield* session.update((data) => ({ ...data, n: 10 }))
      yield* session.commit
      yield* session.update((data) => ({ ...data, n: 99 }))
      yield* session.finish("failure")
      assert.strictEqual((yield* dataOf(token)).n, 10)
    }).pipe(Effect.provide(layer())))

  it.effect("is refused above the size limit, to the octet, and stored at it", () =>
    Effect.gen(function*() {
      const { run, stored } = yield* setup
      const write = (cart: string) => UserSession.update((data) => ({ ...data, cart: [cart] }))
      const { token } = yield* run(undefined, write(""))
      const overhead = new TextEncoder().encode(String((yield* stored(token!))?.payload)).length
      for (const letter of ["a", "é"]) {
        const width = new TextEncoder().encode(letter).length
        const most = 1000 - overhead
        const fitting = letter.repeat(Math.floor(most / width)) + "a".repeat(most % width)
        yield* run(token, write(fitting.slice(1)))
        yield* run(token, write(fitting))
        assert.strictEqual(new TextEncoder().encode(String((yield* stored(token!))?.payload)).length, 1000)
        const error = yield* Effect.flip(run(token, write(`${fitting}a`)))
        assert.deepInclude(error.reason, { _tag: "TooLarge", actual: 1001, maximum: 1000 })
        assert.strictEqual(new TextEncoder().encode(String((yield* stored(token!))?.payload)).length, 1000)
      }
    }).pipe(Effect.provide(layer({ maxPayload: 1000 }))))

  it.effect("refuses data that does not fit its schema and stores nothing of it", () =>
    Effect.gen(function*() {
      const { dataOf, run, start } = yield* setup
      const token = yield* start
      const wrong: string = yield* Effect.succeed("wrong")
      const broken = UserSession.update((data) => Object.assign({ ...data }, { n: wrong }))
      assert.strictEqual(yield* reasonOf(run(token, broken)), "Invalid")
      assert.strictEqual((yield* dataOf(token)).n, 1)
    }).pipe(Effect.provide(layer())))

  it.effect("leaves a request alone whose function throws, before and after", () =>
    Effect.gen(function*() {
      const { dataOf, open, start } = yield* setup
      const token = yield* start
      const session = open(token)
      const exit = yield* Effect.exit(session.update(() => {
        throw new Error("boom")
      }))
      assert.strictEqual(exit._tag, "Failure")
      yield* session.update((data) => ({ ...data, n: data.n + 1 }))
      yield* session.finish("success")
      assert.strictEqual((yield* dataOf(token)).n, 2)
    }).pipe(Effect.provide(layer())))

  it.effect("refuses to be written once its request is over", () =>
    Effect.gen(function*() {
      const { dataOf, open, start } = yield* setup
      const token = yield* start
      const session = open(token)
      yield* session.get
      yield* session.finish("success")
      for (
        const late of [
          session.update((data) => ({ ...data, n: 9 })),
          session.login("ada"),
          session.destroy,
          session.renew,
          session.commit,
          session.flash.notice("late")
        ]
      ) assert.strictEqual(yield* reasonOf<unknown, never>(late), "Finished")
      assert.strictEqual((yield* session.get).n, 1)
      assert.strictEqual((yield* dataOf(token)).n, 1)
    }).pipe(Effect.provide(layer())))
})

describe("a write that is on its way when its request ends", () => {
  it.effect("is refused, and not recorded for nobody to carry out", () =>
    Effect.gen(function*() {
      const { dataOf, open, start, store } = yield* setup
      const token = yield* start
      const held = yield* barrier
      store.next("load", preceded(held.arrive))
      const session = open(token)
      const late = yield* Effect.forkChild(Effect.flip(session.update((data) => ({ ...data, n: 9 }))))
      yield* held.arrived
      yield* session.finish("success")
      yield* held.release
      assert.strictEqual((yield* Fiber.join(late)).reason._tag, "Finished")
      assert.strictEqual((yield* dataOf(token)).n, 1)
    }).pipe(Effect.provide(layer())))
})

describe("the end of a session", () => {
  it.effect("forgets the record and makes the client drop its token", () =>
    Effect.gen(function*() {
      const { open, start, statusOf, stored } = yield* setup
      const token = yield* start
      const session = open(token)
      yield* session.destroy
      assert.deepStrictEqual(yield* session.get, { n: 0, who: "guest", cart: [] })
      assert.isUndefined(yield* session.subject)
      assert.isUndefined(yield* session.info)
      assert.isUndefined(yield* session.handle)
      assert.isTrue(yield* session.isNew)
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Revoke" })
      assert.isUndefined(yield* stored(token))
      assert.strictEqual(yield* statusOf(token), "anonymous")
    }).pipe(Effect.provide(layer())))

  it.effect("is followed by a new session when something is written afterwards", () =>
    Effect.gen(function*() {
      const { dataOf, run, signIn, statusOf } = yield* setup
      const token = yield* signIn("ada")
      const after = yield* run(token, increment.pipe(Effect.andThen(UserSession.destroy), Effect.andThen(increment)))
      assert.notStrictEqual(after.token, token)
      assert.deepStrictEqual(yield* dataOf(after.token), { n: 1, who: "guest", cart: [] })
      assert.isUndefined((yield* run(after.token, UserSession.subject)).value)
      assert.strictEqual(yield* statusOf(token), "anonymous")
    }).pipe(Effect.provide(layer())))

  it.effect("leaves nothing behind for a session that was created in the same request", () =>
    Effect.gen(function*() {
      const { open, store } = yield* setup
      const session = open()
      yield* session.login("ada")
      yield* session.commit
      yield* session.destroy
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
      assert.strictEqual(store.count("destroy"), 1)
      assert.strictEqual(yield* Effect.flatMap(SessionQuery, ({ count }) => count), 0)
    }).pipe(Effect.provide(layer())))

  it.effect("drops a token that names no session", () =>
    Effect.gen(function*() {
      const { open, start } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("1 day")
      for (const request of [{ token }, { token: "garbage" }, { rejected: "duplicate" as const }]) {
        const manager = yield* SessionManager.make(UserSession)
        const session = manager.open(request)
        yield* session.destroy
        assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Revoke" })
      }
      const nobody = open()
      yield* nobody.destroy
      assert.deepStrictEqual(yield* nobody.finish("success"), { _tag: "Keep" })
    }).pipe(Effect.provide(layer())))

  it.effect("fails with the store, keeps the token, and works when it is tried again", () =>
    Effect.gen(function*() {
      const { open, start, statusOf, store } = yield* setup
      const token = yield* start
      for (const methods of [["destroy"], ["load", "destroy"]] as const) {
        for (const method of methods) store.next(method, down)
        const session = open(token)
        assert.strictEqual(yield* reasonOf(Effect.andThen(session.destroy, session.finish("success"))), "Unavailable")
        assert.deepStrictEqual(session.tokenChange, { _tag: "Keep" })
        assert.strictEqual(yield* statusOf(token), "active")
      }
      const session = open(token)
      yield* session.destroy
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Revoke" })
      assert.strictEqual(yield* statusOf(token), "anonymous")
    }).pipe(Effect.provide(layer())))

  it.effect("stands also when what was to come after it is refused", () =>
    Effect.gen(function*() {
      const { open, start, statusOf } = yield* setup
      const large = (data: { readonly n: number; readonly who: string }) => ({ ...data, cart: ["x".repeat(2000)] })
      const wrong = (data: object) => Object.assign({ n: 0, who: "", cart: [] }, data, { n: "wrong" })
      for (const [change, reason] of [[large, "TooLarge"], [wrong, "Invalid"]] as const) {
        for (const explicit of [false, true]) {
          const token = yield* start
          const session = open(token)
          yield* session.destroy
          yield* session.update(change)
          if (explicit) {
            assert.strictEqual(yield* reasonOf(session.commit), reason)
            yield* session.finish("failure")
          } else {
            assert.strictEqual(yield* reasonOf(session.finish("success")), reason)
          }
          assert.deepStrictEqual(session.tokenChange, { _tag: "Revoke" })
          assert.strictEqual(yield* statusOf(token), "anonymous")
        }
      }
    }).pipe(Effect.provide(layer({ maxPayload: 1000 }))))

  it.effect("is not lost when another fiber of the request commits at the same time", () =>
    Effect.gen(function*() {
      const { open, start, statusOf, store } = yield* setup
      const token = yield* start
      const session = open(token)
      yield* session.update((data) => ({ ...data, n: 5 }))
      const stop = yield* barrier
      store.next("save", followed(stop.arrive))
      const committing = yield* Effect.forkChild(session.commit, { startImmediately: true })
      yield* stop.arrived
      yield* session.destroy
      yield* stop.release
      yield* Effect.exit(Effect.flatMap(Effect.yieldNow, () => session.commit))
      assert.isDefined(committing)
      yield* session.finish("success")
      assert.deepStrictEqual(session.tokenChange, { _tag: "Revoke" })
      assert.strictEqual(yield* statusOf(token), "anonymous")
    }).pipe(Effect.provide(layer())))
})
