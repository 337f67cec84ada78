import { ClusterStore, Invalidation, SessionEnd } from "@effect-session/cluster"
import {
  MemoryStore,
  SessionBackend,
  SessionConfig,
  type SessionError,
  SessionManager,
  SessionQuery,
  SessionStore
} from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { FaultStore, SessionTest } from "@effect-session/core/testing"
import { RequestSession } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as CookieMode from "./CookieModeApp.ts"
import * as App from "./SessionApp.ts"

const { UserSession } = App

const config = {
  preset: "testing",
  sliding: true,
  touchInterval: "1 minute",
  idleTimeout: "10 minutes",
  lifetime: "1 hour",
  renewalInterval: "5 minutes",
  renewalGrace: "30 seconds"
} as const

const reason = <A, R>(effect: Effect.Effect<A, SessionError.SessionError, R>) =>
  Effect.match(effect, { onFailure: (error) => error.reason._tag, onSuccess: () => "done" })

/** A user who is signed in, with what goes on for them after a request. */
const setup = Effect.fnUntraced(function*<R = never>(options?: RequestSession.Options<R>) {
  const manager = yield* SessionManager.make(UserSession)
  const token = yield* SessionTest.start(UserSession, { subject: "ada", data: { n: 1, note: "" } })
  const request = manager.open({ token })
  const live = yield* Effect.provideService(RequestSession.make(UserSession, options), UserSession, request)
  yield* request.finish("success")
  /** Another request of the user, who keeps the token that the last one gave them. */
  const client = { token: token as string | undefined }
  const visit = <A, E>(effect: Effect.Effect<A, E, App.UserSession>) =>
    Effect.map(manager.run(client.token, effect), ({ token, value }) => {
      client.token = token
      return value
    })
  return { client, live, manager, request, token, visit }
})

const data = (n: number) => ({ n, note: "" })
const n = (live: RequestSession.RequestSession<App.UserSession, { readonly n: number; readonly note: string }>) =>
  Effect.map(live.get, (data) => data.n)

/** Waits for the end in the background, and tells what it was. */
const waiting = Effect.fnUntraced(function*(ended: Effect.Effect<RequestSession.Cause>) {
  const fiber = yield* Effect.forkScoped(ended)
  yield* TestClock.adjust(0)
  const state = () => fiber.pollUnsafe() === undefined ? "waits" : "over"
  return { state, cause: Fiber.join(fiber) }
})

const provided = Effect.provide(SessionTest.layer(config))

describe("RequestSession", () => {
  it.effect("reads the store anew each time", () =>
    Effect.gen(function*() {
      const { live, visit } = yield* setup()
      assert.strictEqual(yield* n(live), 1)
      yield* visit(App.increment)
      assert.strictEqual(yield* n(live), 2)
      assert.strictEqual(yield* live.subject, "ada")
      assert.strictEqual(yield* live.status, "active")
      assert.isFalse(yield* live.isNew)
      assert.isDefined((yield* live.info)?.createdAt)
    }).pipe(provided))

  it.effect("a unit of work commits at once, on top of what others have written", () =>
    Effect.gen(function*() {
      const { live, visit } = yield* setup()
      yield* live.run(App.increment)
      assert.strictEqual((yield* visit(UserSession.get)).n, 2)
      // The request of another tab comes between reading and writing.
      yield* live.run(Effect.andThen(Effect.andThen(App.increment, visit(App.increment)), UserSession.get))
      assert.strictEqual((yield* visit(UserSession.get)).n, 4)
      assert.strictEqual(
        yield* reason(live.run(Effect.andThen(UserSession.set(data(9)), visit(App.increment)))),
        "Conflict"
      )
      assert.strictEqual((yield* visit(UserSession.get)).n, 5)
    }).pipe(provided))

  it.effect("two units of work at the same time lose no update", () =>
    Effect.gen(function*() {
      const { live, visit } = yield* setup()
      yield* Effect.all(Array.from({ length: 5 }, () => live.run(Effect.andThen(App.increment, Effect.yieldNow))), {
        concurrency: "unbounded"
      })
      assert.strictEqual((yield* visit(UserSession.get)).n, 6)
    }).pipe(Effect.provide(SessionTest.layer({ ...config, conflictRetries: 10 }))))

  it.effect("what fails or is interrupted changes nothing", () =>
    Effect.gen(function*() {
      const { live, visit } = yield* setup()
      yield* Effect.flip(live.run(Effect.andThen(App.increment, Effect.fail("no"))))
      yield* Effect.exit(live.run(Effect.andThen(App.increment, Effect.die("no"))))
      const reached = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        live.run(Effect.andThen(App.increment, Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)))
      )
      yield* Deferred.await(reached)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual((yield* visit(UserSession.get)).n, 1)
    }).pipe(provided))

  it.effect("refuses what would need a new cookie, and stores nothing of it", () =>
    Effect.gen(function*() {
      const { client, live, token, visit } = yield* setup()
      for (
        const write of [
          UserSession.login("eve"),
          UserSession.renew,
          UserSession.elevate("5 minutes"),
          UserSession.reauthenticate,
          UserSession.setLifetime({ persistent: true }),
          Effect.andThen(UserSession.destroy, App.increment)
        ]
      ) {
        assert.strictEqual(yield* reason(live.run(write)), "Undeliverable")
      }
      // The end was asked for, and stands.
      assert.strictEqual(yield* visit(UserSession.status), "anonymous")
      assert.strictEqual(client.token, token)
    }).pipe(provided))

  it.effect("the request's own handle is finished, and says so", () =>
    Effect.gen(function*() {
      const { live, request } = yield* setup()
      assert.strictEqual(yield* reason(request.update((data) => data)), "Finished")
      assert.strictEqual(yield* reason(live.run(App.increment)), "done")
    }).pipe(provided))

  it.effect("until the response it is what the request has committed", () =>
    Effect.gen(function*() {
      const manager = yield* SessionManager.make(UserSession)
      const request = manager.open({})
      const live = yield* Effect.provideService(RequestSession.make(UserSession), UserSession, request)
      yield* request.login("ada", () => data(5))
      assert.deepStrictEqual([yield* n(live), yield* live.subject], [0, undefined])
      const change = yield* request.finish("success")
      assert.strictEqual(change._tag, "Issue")
      assert.deepStrictEqual([yield* n(live), yield* live.subject], [5, "ada"])
      yield* live.run(App.increment)
      assert.strictEqual(yield* n(live), 6)
    }).pipe(provided))

  it.effect("who had no session has none later, and there is nothing to wait for", () =>
    Effect.gen(function*() {
      const manager = yield* SessionManager.make(UserSession)
      const request = manager.open({})
      const live = yield* Effect.provideService(RequestSession.make(UserSession), UserSession, request)
      yield* request.finish("success")
      assert.deepStrictEqual([yield* live.status, yield* n(live)], ["anonymous", 0])
      assert.strictEqual(yield* reason(live.run(App.increment)), "Undeliverable")
      assert.strictEqual(yield* reason(live.run(UserSession.get)), "done")
      assert.strictEqual(yield* live.ended, "ended")
      assert.deepStrictEqual(yield* Stream.runCollect(live.streamWhileLive(Stream.never)), [])
    }).pipe(provided))

  it.effect("is no activity, unless it says so; then at most once per interval", () =>
    Effect.gen(function*() {
      const { live } = yield* setup()
      const seen = Effect.map(live.info, (info) => info?.lastSeenAt)
      const first = yield* seen
      yield* TestClock.adjust("2 minutes")
      yield* live.run(App.increment)
      yield* live.get
      assert.strictEqual(yield* seen, first)
      yield* live.touch
      const second = yield* seen
      assert.strictEqual(second, first! + 120_000)
      yield* TestClock.adjust("50 seconds")
      yield* live.touch
      assert.strictEqual(yield* seen, second)
      yield* TestClock.adjust("10 seconds")
      yield* live.touch
      assert.strictEqual(yield* seen, second! + 60_000)
      // Also together with a write.
      yield* TestClock.adjust("1 minute")
      yield* live.run(Effect.andThen(App.increment, UserSession.touch))
      assert.strictEqual(yield* seen, second! + 120_000)
    }).pipe(provided))

  it.effect("what only reads stays so afterwards", () =>
    Effect.gen(function*() {
      const manager = yield* SessionManager.make(UserSession)
      const token = yield* SessionTest.start(UserSession, { subject: "ada", data: data(1) })
      const request = manager.open({ token, access: "read" })
      const live = yield* Effect.provideService(RequestSession.make(UserSession), UserSession, request)
      yield* request.finish("success")
      assert.strictEqual(yield* n(live), 1)
      assert.strictEqual(yield* reason(live.run(App.increment)), "ReadOnly")
      assert.strictEqual(yield* reason(live.touch), "ReadOnly")
    }).pipe(provided))

  it.effect("data that cannot be read is no end, and no fresh start either", () =>
    Effect.gen(function*() {
      const { live } = yield* setup()
      const store = yield* SessionStore.SessionStore
      const keys = yield* Stream.runCollect((yield* SessionQuery.SessionQuery).scan)
      const { key, record } = keys[0]!
      const payload = "{\"t\":\"test/UserSession\",\"v\":2,\"d\":{}}"
      yield* store.save(key, record.version, { ...record, payload, lifetime: undefined, active: false })
      assert.strictEqual(yield* reason(live.get), "Invalid")
      assert.strictEqual(yield* reason(live.run(App.increment)), "Invalid")
      const ended = yield* waiting(live.ended)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ended.state(), "waits")
    }).pipe(provided))

  it.effect("never renews by age", () =>
    Effect.gen(function*() {
      const { live, token, visit } = yield* setup()
      yield* TestClock.adjust("6 minutes")
      const handle = yield* live.handle
      yield* live.run(App.increment)
      yield* live.touch
      assert.strictEqual(yield* live.handle, handle)
      assert.strictEqual((yield* visit(UserSession.get)).n, 2)
      assert.isString(token)
    }).pipe(provided))
})

describe("RequestSession, renewals", () => {
  it.effect("follows renewals by age, however long ago they were, and is not taken for a thief", () =>
    Effect.gen(function*() {
      const { client, live, visit } = yield* setup()
      for (let round = 0; round < 4; round++) {
        yield* TestClock.adjust("6 minutes")
        const before = client.token
        yield* visit(UserSession.get)
        assert.notStrictEqual(client.token, before)
      }
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* n(live), 1)
      yield* live.run(App.increment)
      assert.strictEqual((yield* visit(UserSession.get)).n, 2)
    }).pipe(provided))

  it.effect("within the grace window it writes to the successor", () =>
    Effect.gen(function*() {
      const { live, visit } = yield* setup()
      yield* TestClock.adjust("6 minutes")
      yield* visit(UserSession.get)
      yield* live.run(App.increment)
      assert.strictEqual((yield* visit(UserSession.get)).n, 2)
    }).pipe(provided))

  it.effect.each(
    [
      ["sign-out", UserSession.destroy],
      ["a sign-in", UserSession.login("eve")],
      ["a step-up", UserSession.elevate("5 minutes")],
      ["an explicit renewal", UserSession.renew]
    ] as const
  )("%s ends it: reads and work fail as gone", ([, end]) =>
    Effect.gen(function*() {
      const { live, visit } = yield* setup()
      const ended = yield* waiting(live.ended)
      yield* visit(end)
      assert.strictEqual(yield* reason(live.get), "Gone")
      let ran = false
      const work = live.run(Effect.sync(() => {
        ran = true
      }))
      assert.strictEqual(yield* reason(work), "Gone")
      assert.isFalse(ran)
      assert.strictEqual(yield* reason(live.touch), "Gone")
      assert.strictEqual(yield* live.status, "anonymous")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* ended.cause, "ended")
    }).pipe(provided))

  it.effect("a token that is used after the grace window ends the family, and this with it", () =>
    Effect.gen(function*() {
      const { live, manager, token, visit } = yield* setup()
      const ended = yield* waiting(live.ended)
      yield* TestClock.adjust("6 minutes")
      yield* visit(UserSession.get)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ended.state(), "waits")
      assert.strictEqual((yield* manager.run(token, UserSession.status)).value, "invalid")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* ended.cause, "ended")
    }).pipe(provided))
})

describe("RequestSession.ended", () => {
  it.effect("tells of the idle deadline as it comes, and waits longer for who is active", () =>
    Effect.gen(function*() {
      const { live, visit } = yield* setup({ interval: "1 hour" })
      const ended = yield* waiting(live.ended)
      yield* TestClock.adjust("9 minutes")
      yield* visit(UserSession.touch)
      yield* TestClock.adjust("9 minutes")
      assert.strictEqual(ended.state(), "waits")
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* ended.cause, "expired")
      assert.strictEqual(yield* reason(live.get), "Gone")
    }).pipe(provided))

  it.effect("tells of a deadline also where the store forgets at once what has expired", () =>
    Effect.gen(function*() {
      const services = yield* Layer.build(MemoryStore.layerStore())
      const store = Context.get(services, SessionStore.SessionStore)
      const forgetful = SessionStore.SessionStore.of({
        ...store,
        load: (key) => Effect.map(store.load(key), (lookup) => lookup._tag === "Expired" ? { _tag: "Absent" } : lookup)
      })
      yield* Effect.gen(function*() {
        const { live, visit } = yield* setup()
        const ended = yield* waiting(live.ended)
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(yield* ended.cause, "expired")
        const other = yield* setup()
        const signedOut = yield* waiting(other.live.ended)
        yield* other.visit(UserSession.destroy)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* signedOut.cause, "ended")
        assert.strictEqual(yield* visit(UserSession.status), "anonymous")
      }).pipe(Effect.provide(
        SessionBackend.layer("test").pipe(
          Layer.provide(Layer.succeed(SessionStore.SessionStore, forgetful)),
          Layer.provideMerge(CryptoNode.layer),
          Layer.provideMerge(SessionConfig.layer(config))
        )
      ))
    }))

  it.effect("tells of the absolute deadline, whoever is active", () =>
    Effect.gen(function*() {
      const { live } = yield* setup()
      const ended = yield* waiting(live.ended)
      for (let minute = 0; minute < 59; minute++) {
        yield* TestClock.adjust("1 minute")
        yield* live.touch
      }
      assert.strictEqual(ended.state(), "waits")
      yield* TestClock.adjust("61 seconds")
      assert.strictEqual(yield* ended.cause, "expired")
    }).pipe(provided))

  it.effect("an outage is no end; the absolute deadline holds all the same", () =>
    Effect.gen(function*() {
      const services = yield* Layer.build(MemoryStore.layerStore().pipe(FaultStore.over))
      const faults = Context.get(services, FaultStore.FaultStore)
      yield* Effect.gen(function*() {
        const { live } = yield* setup()
        const ended = yield* waiting(live.ended)
        faults.always(FaultStore.failBefore)
        yield* TestClock.adjust("9 minutes")
        assert.strictEqual(ended.state(), "waits")
        assert.strictEqual(yield* reason(live.get), "Unavailable")
        assert.strictEqual(yield* live.status, "unavailable")
        faults.heal()
        assert.strictEqual(yield* n(live), 1)
        yield* live.touch
        yield* TestClock.adjust("10 seconds")
        faults.always(FaultStore.failBefore)
        yield* TestClock.adjust("40 minutes")
        assert.strictEqual(ended.state(), "waits")
        yield* TestClock.adjust("11 minutes")
        assert.strictEqual(yield* ended.cause, "expired")
      }).pipe(Effect.provide(
        SessionBackend.layer("test").pipe(
          Layer.provideMerge(Layer.succeedContext(services)),
          Layer.provideMerge(CryptoNode.layer),
          Layer.provideMerge(SessionConfig.layer(config))
        )
      ))
    }))

  it.effect("uses what tells of ends, with the key of the session", () =>
    Effect.gen(function*() {
      const told = yield* Deferred.make<RequestSession.Cause>()
      const keys: Array<string> = []
      const { live, request } = yield* setup({
        wait: (key) => {
          keys.push(key)
          return Deferred.await(told)
        }
      })
      const ended = yield* waiting(live.ended)
      assert.deepStrictEqual(keys, [yield* SessionManager.keyOf(request)])
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(ended.state(), "waits")
      yield* Deferred.succeed(told, "handedOver")
      yield* TestClock.adjust(0)
      assert.strictEqual(yield* ended.cause, "handedOver")
    }).pipe(provided))

  it.effect("is told of ends by a cluster at once", () =>
    Effect.gen(function*() {
      const { live, visit } = yield* setup({ wait: SessionEnd.wait })
      const fiber = yield* Effect.forkScoped(live.ended)
      yield* Effect.repeat(Effect.yieldNow, { times: 20 })
      yield* visit(UserSession.destroy)
      // Without any time passing.
      assert.strictEqual(yield* Fiber.join(fiber), "ended")
    }).pipe(Effect.provide(
      SessionBackend.layer("test").pipe(
        Layer.provideMerge(
          MemoryStore.layerStore().pipe(
            ClusterStore.over(),
            Layer.provide(Invalidation.layerMemory()),
            Layer.provide(Invalidation.layerMemoryBus)
          )
        ),
        Layer.provideMerge(CryptoNode.layer),
        Layer.provideMerge(SessionConfig.layer(config))
      )
    )))

  it.effect("interrupts work, and ends streams", () =>
    Effect.gen(function*() {
      const { live, visit } = yield* setup()
      let interrupted = false
      const work = yield* Effect.forkScoped(reason(live.whileLive(
        Effect.onInterrupt(Effect.never, () =>
          Effect.sync(() => {
            interrupted = true
          }))
      )))
      const stream = yield* Effect.forkScoped(
        Stream.runCount(live.streamWhileLive(Stream.fromEffectRepeat(Effect.sleep("4 seconds"))))
      )
      yield* TestClock.adjust("9 seconds")
      yield* visit(UserSession.destroy)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(work), "Gone")
      assert.isTrue(interrupted)
      assert.strictEqual(yield* Fiber.join(stream), 2)
      assert.strictEqual(yield* live.whileLive(Effect.succeed(1)).pipe(Effect.catch(() => Effect.succeed(0))), 1)
    }).pipe(provided))

  it("refuses an interval that never comes or always is", async () => {
    for (const interval of [0, "-1 second", "infinity"] as const) {
      const exit = await Effect.runPromiseExit(
        setup({ interval: interval === "infinity" ? Infinity : interval }).pipe(provided)
      )
      assert.include(String(exit), "RangeError")
    }
  })
})

describe("RequestSession.detach", () => {
  const open = Effect.fnUntraced(function*(token?: string) {
    const manager = yield* SessionManager.make(UserSession)
    const request = manager.open(token === undefined ? {} : { token })
    const detach = Effect.provideService(RequestSession.detach(UserSession), UserSession, request)
    return { detach, manager, request }
  })
  const start = SessionTest.start(UserSession, { subject: "ada", data: data(1) })

  it.effect("commits what was written, and ends the request", () =>
    Effect.gen(function*() {
      const { detach, request } = yield* open(yield* start)
      yield* request.update((data) => ({ ...data, n: 7 }))
      const live = yield* detach
      assert.strictEqual(yield* n(live), 7)
      assert.strictEqual(yield* reason(request.reset), "Finished")
      // Hours later the response is over, and its commit does nothing any more.
      yield* TestClock.adjust("9 minutes")
      const handle = yield* live.handle
      assert.deepStrictEqual(yield* request.finish("success"), { _tag: "Keep" })
      assert.strictEqual(yield* live.handle, handle)
    }).pipe(provided))

  it.effect("does not renew by age, and counts as activity", () =>
    Effect.gen(function*() {
      const token = yield* start
      yield* TestClock.adjust("6 minutes")
      const { detach, manager } = yield* open(token)
      const live = yield* detach
      const info = yield* live.info
      assert.strictEqual(info?.lastSeenAt, info!.now)
      const next = yield* manager.run(token, UserSession.get)
      assert.notStrictEqual(next.token, token, "the next request renews")
    }).pipe(provided))

  it.effect.each(
    [
      ["a sign-in", UserSession.login("eve")],
      ["a renewal", UserSession.renew],
      ["a step-up", UserSession.elevate("5 minutes")],
      ["an end", UserSession.destroy],
      ["a sign-in that was committed", Effect.andThen(UserSession.login("eve"), UserSession.commit)]
    ] as const
  )("%s cannot reach the client, and the request can still answer with it", ([, write]) =>
    Effect.gen(function*() {
      const { detach, request } = yield* open(yield* start)
      yield* Effect.provideService(write, UserSession, request)
      assert.strictEqual(yield* reason(detach), "Undeliverable")
      assert.notStrictEqual((yield* request.finish("failure"))._tag, "Keep")
    }).pipe(provided))

  it.effect("a lifetime cannot reach the client, and goes the way of the data", () =>
    Effect.gen(function*() {
      const { detach, request } = yield* open(yield* start)
      yield* request.setLifetime({ idleTimeout: "1 minute" })
      assert.strictEqual(yield* reason(detach), "Undeliverable")
      assert.deepStrictEqual(yield* request.finish("failure"), { _tag: "Keep" })
    }).pipe(provided))

  it.effect("a first write cannot reach the client either; without one there is no session", () =>
    Effect.gen(function*() {
      const { detach, request } = yield* open()
      yield* request.update((data) => ({ ...data, n: 7 }))
      assert.strictEqual(yield* reason(detach), "Undeliverable")
      assert.deepStrictEqual(yield* request.finish("failure"), { _tag: "Keep" })
      const other = yield* open()
      assert.strictEqual(yield* (yield* other.detach).status, "anonymous")
    }).pipe(provided))

  it.effect("twice, or after the end of the request, is too late", () =>
    Effect.gen(function*() {
      const { detach } = yield* open(yield* start)
      yield* detach
      assert.strictEqual(yield* reason(detach), "Finished")
    }).pipe(provided))

  it.effect("fails in an outage", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      yield* Effect.gen(function*() {
        const { detach } = yield* open(yield* start)
        store.before = () => App.down
        assert.strictEqual(yield* reason(detach), "Unavailable")
      }).pipe(Effect.provide(App.backend(store, config)))
    }))
})

describe("RequestSession, cookie mode", () => {
  it.effect("shows what the cookie said, writes nothing, and hears of a revocation and of the deadline", () =>
    Effect.gen(function*() {
      const { live, visit } = yield* setup()
      const ended = yield* waiting(live.ended)
      yield* visit(App.increment)
      assert.strictEqual(yield* n(live), 1)
      for (const write of [App.increment, UserSession.touch, UserSession.flash.notice("x"), UserSession.renew]) {
        assert.strictEqual(yield* reason(live.run(write)), "Undeliverable")
      }
      assert.strictEqual(yield* reason(live.touch), "Undeliverable")
      assert.strictEqual(yield* live.run(UserSession.subject), "ada")
      yield* visit(UserSession.destroy)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* ended.cause, "ended")
      assert.strictEqual(yield* reason(live.get), "Gone")
      const idle = yield* setup()
      const over = yield* waiting(idle.live.ended)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* over.cause, "expired")
    }).pipe(Effect.provide(CookieMode.backend({ config }))))

  it.effect("an end reaches the list of revocations", () =>
    Effect.gen(function*() {
      const { live, visit } = yield* setup()
      yield* live.run(UserSession.destroy)
      assert.strictEqual(yield* visit(UserSession.status), "anonymous")
    }).pipe(Effect.provide(CookieMode.backend({ config }))))
})
