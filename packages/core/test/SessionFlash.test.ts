import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { SessionError } from "../src/SessionError.ts"
import { down, followed, preceded } from "./FaultyStore.ts"
import { barrier, increment, issued, layer, loginAs, type Opened, reasonOf, setup, UserSession } from "./Fixture.ts"

const flash = UserSession.flash
const notice = (message: string) => ({ kind: "notice", message })

/** A token for whose next request messages wait. */
const waiting = (...messages: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const { run, signIn } = yield* setup
    const token = yield* signIn("ada")
    yield* run(token, Effect.forEach(messages, flash.notice))
    return token
  })
const peek = (token: string | undefined) =>
  Effect.flatMap(setup, ({ run }) => Effect.map(run(token, flash.peek), ({ value }) => value.map((m) => m.message)))

describe("flash messages", () => {
  it.effect("are there for the next request that reads, and only once", () =>
    Effect.gen(function*() {
      const { run, store } = yield* setup
      const token = yield* waiting("saved", "again")
      assert.deepStrictEqual((yield* run(token, flash.all)).value, [notice("saved"), notice("again")])
      store.forget()
      assert.deepStrictEqual((yield* run(token, flash.all)).value, [])
      assert.strictEqual(store.count("save"), 0)
    }).pipe(Effect.provide(layer())))

  it.effect("are not there for the request that queues them", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const { token, value } = yield* run(undefined, Effect.andThen(flash.notice("later"), flash.all))
      assert.deepStrictEqual(value, [])
      assert.deepStrictEqual(yield* peek(token), ["later"])
    }).pipe(Effect.provide(layer())))

  it.effect("stay with their user when another one signs in, whatever becomes of the request", () =>
    Effect.gen(function*() {
      const { open } = yield* setup
      const steps: ReadonlyArray<readonly [string, (session: Opened) => Effect.Effect<unknown, SessionError>]> = [
        ["a failure", () => Effect.void],
        ["a failure after a commit", (session) => session.commit],
        ["a failure after a commit and more messages", (session) =>
          Effect.andThen(
            session.commit,
            Effect.andThen(session.flash.notice("for bob"), Effect.andThen(session.commit, session.flash.all))
          )],
        ["what is kept", (session) => session.flash.keepAll]
      ]
      for (const [what, step] of steps) {
        const session = open(yield* waiting("for ada"))
        assert.deepStrictEqual(yield* session.flash.all, [notice("for ada")])
        yield* session.login("bob")
        yield* step(session)
        assert.notDeepInclude(yield* session.flash.all, notice("for ada"), what)
        const outcome = what === "what is kept" ? "success" : "failure"
        assert.notInclude(yield* peek(issued(yield* session.finish(outcome))), "for ada", what)
      }
    }).pipe(Effect.provide(layer())))

  it.effect("of a session that has ended are not put back into the next one", () =>
    Effect.gen(function*() {
      const { open } = yield* setup
      const session = open(yield* waiting("before"))
      yield* session.flash.all
      yield* session.destroy
      yield* session.login("ada")
      yield* session.flash.notice("after")
      yield* session.commit
      assert.deepStrictEqual((yield* session.flash.all).at(-1), notice("after"))
      assert.deepStrictEqual(yield* peek(issued(yield* session.finish("failure"))), ["after"])
    }).pipe(Effect.provide(layer())))

  it.effect("come by kind, in order, from every shorthand", () =>
    Effect.gen(function*() {
      const { run, signIn } = yield* setup
      const token = yield* signIn("ada")
      yield* run(
        token,
        Effect.all([
          flash.notice("1"),
          flash.alert("2"),
          flash.error("3"),
          flash.success("4"),
          flash.warning("5"),
          flash.info("6"),
          flash.add("own", "7"),
          flash.notice("8")
        ])
      )
      const { value } = yield* run(token, Effect.all([flash.get("notice"), flash.get("own"), flash.get("none")]))
      assert.deepStrictEqual(value, [["1", "8"], ["7"], []])
      const rest = yield* run(token, flash.all)
      assert.deepStrictEqual(rest.value.map(({ kind, message }) => `${kind} ${message}`), [
        "alert 2",
        "error 3",
        "success 4",
        "warning 5",
        "info 6"
      ])
    }).pipe(Effect.provide(layer())))

  it.effect("can be read again within the request, and looked at without delivery", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const token = yield* waiting("saved")
      assert.deepStrictEqual(yield* peek(token), ["saved"])
      const { value } = yield* run(
        token,
        Effect.all([flash.peek, flash.all, flash.all, flash.get("notice"), flash.peek])
      )
      assert.deepStrictEqual(value, [[notice("saved")], [notice("saved")], [notice("saved")], ["saved"], []])
    }).pipe(Effect.provide(layer())))

  it.effect("wait through requests that do not read them, whatever else those write", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const token = yield* waiting("saved")
      for (let i = 0; i < 5; i++) yield* run(token, increment)
      const renewed = yield* run(token, UserSession.renew)
      assert.deepStrictEqual((yield* run(renewed.token, flash.all)).value, [notice("saved")])
    }).pipe(Effect.provide(layer())))

  it.effect("survive a sign-in of the visitor, and go to nobody else", () =>
    Effect.gen(function*() {
      const { run, signIn } = yield* setup
      const visitor = yield* run(undefined, flash.notice("please sign in"))
      const other = yield* signIn("bob")
      const ada = yield* run(visitor.token, loginAs("ada"))
      assert.deepStrictEqual((yield* run(other, flash.all)).value, [])
      assert.deepStrictEqual((yield* run(undefined, flash.all)).value, [])
      assert.deepStrictEqual((yield* run(ada.token, flash.all)).value, [notice("please sign in")])
    }).pipe(Effect.provide(layer())))

  it.effect("cost no write where none waits", () =>
    Effect.gen(function*() {
      const { run, signIn, store } = yield* setup
      const token = yield* signIn("ada")
      store.forget()
      const nothing = Effect.all([
        flash.all,
        flash.get("notice"),
        flash.peek,
        flash.keep("notice"),
        flash.keepAll,
        flash.discard("notice"),
        flash.discardAll,
        flash.clear,
        flash.now("notice", "only now")
      ])
      yield* run(token, nothing)
      assert.strictEqual((yield* run(undefined, nothing)).token, undefined)
      assert.deepStrictEqual(store.calls.map(([method]) => method), ["load"])
    }).pipe(Effect.provide(layer())))

  it.effect("are for this request only when queued with now", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const token = yield* waiting("saved")
      const { value } = yield* run(token, Effect.andThen(flash.now("alert", "now"), flash.all))
      assert.deepStrictEqual(value, [notice("saved"), { kind: "alert", message: "now" }])
      assert.deepStrictEqual(yield* peek(token), [])
    }).pipe(Effect.provide(layer())))

  it.effect("are kept for the next request when asked for, once however often", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const token = yield* waiting("saved")
      yield* run(token, Effect.all([flash.all, flash.keep("alert")]))
      assert.deepStrictEqual(yield* peek(token), [])
      const again = yield* waiting("saved")
      yield* run(again, Effect.all([flash.all, flash.keep("notice"), flash.keepAll, flash.keepAll]))
      assert.deepStrictEqual(yield* peek(again), ["saved"])
    }).pipe(Effect.provide(layer())))

  it.effect("are dropped by discard, delivered or not", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      for (const discard of [flash.discard("notice"), flash.discardAll, flash.clear]) {
        const delivered = yield* waiting("a", "b")
        const after = yield* run(delivered, Effect.andThen(flash.all, Effect.andThen(discard, flash.all)))
        assert.deepStrictEqual(after.value, [])
        const unseen = yield* waiting("a", "b")
        yield* run(unseen, discard)
        assert.deepStrictEqual(yield* peek(unseen), [])
      }
      const token = yield* waiting("a")
      const { value } = yield* run(
        token,
        Effect.all([flash.now("alert", "x"), flash.alert("y"), flash.discard("notice"), flash.all])
      )
      assert.deepStrictEqual(value[3], [{ kind: "alert", message: "x" }])
      assert.deepStrictEqual(yield* peek(token), ["y"])
    }).pipe(Effect.provide(layer())))

  it.effect("clear also those of now", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const { value } = yield* run(undefined, Effect.all([flash.now("alert", "x"), flash.clear, flash.all]))
      assert.deepStrictEqual(value[2], [])
    }).pipe(Effect.provide(layer())))
})

describe("two tabs of one user", () => {
  it.effect("get each message once", () =>
    Effect.gen(function*() {
      const { run, store } = yield* setup
      const token = yield* waiting("a", "b", "c")
      store.always(preceded(Effect.yieldNow))
      const seen = yield* Effect.all(
        Array.from({ length: 10 }, () => run(token, flash.all)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(seen.flatMap(({ value }) => value.map(({ message }) => message)).toSorted(), [
        "a",
        "b",
        "c"
      ])
    }).pipe(Effect.provide(layer())))

  for (const [when, interceptor] of [["before", preceded], ["after", followed]] as const) {
    it.effect(`get it once when the first is held ${when} the store has taken it out`, () =>
      Effect.gen(function*() {
        const { open, run, store } = yield* setup
        const token = yield* waiting("a")
        const stop = yield* barrier
        store.next("save", interceptor(stop.arrive))
        const first = open(token)
        const reading = yield* Effect.forkChild(first.flash.all)
        yield* stop.arrived
        const second = yield* run(token, flash.all)
        yield* stop.release
        const messages = [...second.value, ...(yield* Effect.flatMap(Effect.yieldNow, () => first.flash.all))]
        assert.deepStrictEqual(messages, [notice("a")])
        assert.isDefined(reading)
      }).pipe(Effect.provide(layer())))
  }

  it.effect("get what one queues while the other reads", () =>
    Effect.gen(function*() {
      const { open, run } = yield* setup
      const token = yield* waiting("a")
      const reader = open(token)
      yield* reader.get
      yield* run(token, flash.notice("b"))
      assert.deepStrictEqual(yield* reader.flash.all, [notice("a"), notice("b")])
      assert.deepStrictEqual(yield* reader.flash.peek, [])
      yield* reader.update((data) => ({ ...data, n: 5 }))
      yield* reader.finish("success")
      assert.deepStrictEqual(yield* peek(token), [])
      assert.strictEqual((yield* run(token, UserSession.get)).value.n, 5)
    }).pipe(Effect.provide(layer())))
})

describe("reading messages does not hide another request's change", () =>
  it.effect("from a set: it conflicts", () =>
    Effect.gen(function*() {
      const { dataOf, open, run } = yield* setup
      for (const first of ["read", "set"] as const) {
        const token = yield* waiting("a")
        const session = open(token)
        const data = yield* session.get
        if (first === "set") yield* session.set({ ...data, who: "late" })
        yield* run(token, increment)
        yield* session.flash.all
        if (first === "read") yield* session.set({ ...data, who: "late" })
        assert.strictEqual(yield* reasonOf(session.finish("success")), "Conflict")
        assert.deepStrictEqual(yield* dataOf(token), { n: 1, who: "ada", cart: [] })
      }
    }).pipe(Effect.provide(layer()))))

describe("messages and a session that ends", () => {
  it.effect("bring nothing of it back", () =>
    Effect.gen(function*() {
      const { open, run, statusOf, store } = yield* setup
      const token = yield* waiting("a")
      const session = open(token)
      yield* session.update((data) => ({ ...data, n: 9 }))
      yield* run(token, increment)
      yield* run(token, UserSession.destroy)
      assert.deepStrictEqual(yield* session.flash.all, [])
      store.forget()
      assert.strictEqual(yield* reasonOf(session.finish("success")), "Gone")
      assert.strictEqual(store.count("create"), 0)
      assert.strictEqual(yield* statusOf(token), "anonymous")
    }).pipe(Effect.provide(layer())))

  it.effect("do not pass on to the next session when the request fails", () =>
    Effect.gen(function*() {
      const { open } = yield* setup
      for (const explicit of [false, true]) {
        const session = open(yield* waiting("private"))
        assert.lengthOf(yield* session.flash.all, 1)
        yield* session.destroy
        if (explicit) yield* session.commit
        assert.deepStrictEqual(yield* session.finish("failure"), { _tag: "Revoke" })
      }
    }).pipe(Effect.provide(layer())))

  it.effect("go into the new session when they are queued after the end", () =>
    Effect.gen(function*() {
      const { open } = yield* setup
      const session = open(yield* waiting("private"))
      yield* session.destroy
      yield* session.flash.notice("good-bye")
      const token = issued(yield* session.finish("success"))
      assert.deepStrictEqual(yield* peek(token), ["good-bye"])
    }).pipe(Effect.provide(layer())))
})

describe("messages of a request that fails", () => {
  for (const outcome of ["failure", "aborted"] as const) {
    it.effect(`wait again after ${outcome}, before newer ones`, () =>
      Effect.gen(function*() {
        const { open, run } = yield* setup
        const token = yield* waiting("a", "b")
        const session = open(token)
        assert.lengthOf(yield* session.flash.all, 2)
        yield* session.flash.notice("of the failed request")
        yield* run(token, flash.notice("c"))
        yield* session.finish(outcome)
        assert.deepStrictEqual(yield* peek(token), ["a", "b", "c"])
      }).pipe(Effect.provide(layer())))
  }

  it.effect("wait again when the handler fails under run", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const token = yield* waiting("a")
      for (const failing of [Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
        yield* Effect.exit(run(token, Effect.andThen(flash.all, failing)))
        assert.deepStrictEqual(yield* peek(token), ["a"])
      }
    }).pipe(Effect.provide(layer())))

  for (const [when, interceptor] of [["before", preceded], ["after", followed]] as const) {
    it.effect(`wait again when it was interrupted ${when} the store has taken them out`, () =>
      Effect.gen(function*() {
        const { open, store } = yield* setup
        const token = yield* waiting("a")
        const stop = yield* barrier
        store.next("save", interceptor(stop.arrive))
        const session = open(token)
        const reading = yield* Effect.forkChild(session.flash.all)
        yield* stop.arrived
        const interruption = yield* Effect.forkChild(Fiber.interrupt(reading), { startImmediately: true })
        yield* stop.release
        yield* Fiber.join(interruption)
        yield* session.finish("aborted")
        assert.deepStrictEqual(yield* peek(token), ["a"])
      }).pipe(Effect.provide(layer())))
  }

  it.effect("are still in the store when it fails to take them out", () =>
    Effect.gen(function*() {
      const { open, store } = yield* setup
      const token = yield* waiting("a")
      store.next("save", down)
      const session = open(token)
      assert.strictEqual(yield* reasonOf(session.flash.all), "Unavailable")
      yield* session.finish("failure")
      assert.deepStrictEqual(yield* peek(token), ["a"])
    }).pipe(Effect.provide(layer())))
})
