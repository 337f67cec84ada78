import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as MemoryStore from "../src/MemoryStore.ts"
import * as SessionBackend from "../src/SessionBackend.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionDevices from "../src/SessionDevices.ts"
import * as SessionManager from "../src/SessionManager.ts"
import { SessionQuery } from "../src/SessionQuery.ts"
import type { SessionStore } from "../src/SessionStore.ts"
import type { UserAgent } from "../src/UserAgent.ts"
import { down } from "./FaultyStore.ts"
import { issued, layer, reasonOf, setup, UserSession } from "./Fixture.ts"

const list = SessionDevices.list(UserSession)

/** Three sessions of ada, one minute apart, and one of bob. */
const scene = Effect.gen(function*() {
  const { signIn, start } = yield* setup
  const ada: Array<string> = []
  for (let i = 0; i < 3; i++) {
    ada.push(yield* signIn("ada"))
    yield* TestClock.adjust("1 minute")
  }
  return { ada, bob: yield* signIn("bob"), visitor: yield* start }
})

const stringsOf = (value: unknown): ReadonlyArray<string> => {
  if (typeof value === "string") return [value]
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(stringsOf) : []
}

describe("handles", () => {
  const older = Redacted.make("Older-8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1?")
  const newer = Redacted.make("Newer-3-Qf7_Pw9.Jt4+Bk6/Ny2=Rc8~Mz5^Hx0?")

  /** Node of one application with secrets of its own, over the store of the context. */
  const node = (...secrets: ReadonlyArray<Redacted.Redacted>) =>
    Effect.gen(function*() {
      const shared = yield* Effect.context<SessionStore | SessionQuery>()
      const own = SessionBackend.layer("test").pipe(
        Layer.provideMerge(CryptoNode.layer),
        Layer.provideMerge(SessionConfig.layer({ preset: "development", secrets })),
        Layer.provideMerge(Layer.succeedContext(shared))
      )
      const context = yield* Layer.build(Layer.fresh(own))
      const manager = yield* Effect.provideContext(SessionManager.make(UserSession), context)
      return <A, E, R>(token: string | undefined, effect: Effect.Effect<A, E, R>) =>
        Effect.provideContext(manager.run(token, effect), context)
    })

  it.effect("work on every node while a secret is replaced, and end with it", () =>
    Effect.gen(function*() {
      const before = yield* node(older, newer)
      const after = yield* node(newer, older)
      const retired = yield* node(newer)
      const other = (devices: ReadonlyArray<SessionDevices.Device>) => devices.find(({ current }) => !current)!.handle
      for (const [from, to] of [[before, after], [after, before]] as const) {
        const own = (yield* after(undefined, UserSession.login("ada"))).token!
        yield* from(undefined, UserSession.login("ada"))
        const handle = other((yield* from(own, list)).value)
        assert.notStrictEqual(handle, other((yield* to(own, list)).value))
        assert.isTrue((yield* to(own, SessionDevices.revoke(UserSession, handle))).value)
        assert.strictEqual((yield* from(own, list)).value.length, 1)
        const mine = (yield* from(own, list)).value[0].handle
        assert.strictEqual((yield* to(own, SessionDevices.revoke(UserSession, mine))).token, undefined)
      }
      const own = (yield* after(undefined, UserSession.login("ada"))).token!
      yield* after(undefined, UserSession.login("ada"))
      const old = other((yield* before(own, list)).value)
      assert.isFalse((yield* retired(own, SessionDevices.revoke(UserSession, old))).value)
    }).pipe(Effect.provide(MemoryStore.layerStore())))
})

describe("SessionDevices.list", () => {
  it.effect("lists the user's sessions, oldest sign-in first, and marks the one that asks", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const { ada } = yield* scene
      const { value } = yield* run(ada[1], list)
      assert.deepStrictEqual(value.map(({ createdAt, current }) => [createdAt, current]), [
        [0, false],
        [60_000, true],
        [120_000, false]
      ])
      assert.deepInclude(value[2], {
        authenticatedAt: 120_000,
        lastSeenAt: 120_000,
        expiresAt: 120_000 + 30 * 60_000,
        agent: undefined,
        address: undefined
      })
      assert.strictEqual(value[1].handle, (yield* run(ada[1], UserSession.handle)).value)
    }).pipe(Effect.provide(layer())))

  it.effect("shows the client that signed in", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const manager = yield* SessionManager.make(UserSession)
      const session = manager.open({ client: () => ({ agent: "Browser/1", address: "192.0.2.7" }) })
      yield* session.login("ada")
      const token = issued(yield* session.finish("success"))
      assert.deepInclude((yield* run(token, list)).value[0], { agent: "Browser/1", address: "192.0.2.7" })
    }).pipe(Effect.provide(layer())))

  it.effect("tells browser, system and about where it is, and nothing where it is not known", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const manager = yield* SessionManager.make(UserSession)
      const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
      const clients = [
        { agent, address: "::ffff:192.0.2.7" },
        { agent, address: "2001:db8:1:2:3::4" },
        { agent: undefined, address: undefined },
        { agent: "x".repeat(256), address: "unix:/tmp/socket" }
      ]
      let token = ""
      for (const client of clients) {
        const session = manager.open({ client: () => client })
        yield* session.login("ada")
        token = issued(yield* session.finish("success"))
        yield* TestClock.adjust("1 second")
      }
      const { value } = yield* run(token, list)
      const firefox: UserAgent = { browser: "Firefox", system: "Linux" }
      const unknown: UserAgent = { browser: undefined, system: undefined }
      assert.deepStrictEqual(value.map(({ client, network }) => [client, network]), [
        [firefox, "192.0.2.0/24"],
        [firefox, "2001:db8:1::/48"],
        [unknown, undefined],
        [unknown, undefined]
      ])
    }).pipe(Effect.provide(layer())))

  it.effect("leaves out what has expired and what was ended", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const { ada } = yield* scene
      yield* run(ada[1], UserSession.destroy)
      yield* run(ada[2], UserSession.touch)
      yield* TestClock.adjust("28 minutes")
      yield* run(ada[2], UserSession.touch)
      const { value } = yield* run(ada[2], list)
      assert.deepStrictEqual(value.map(({ createdAt }) => createdAt), [120_000])
    }).pipe(Effect.provide(layer())))

  it.effect("contains no value that works as a token", () =>
    Effect.gen(function*() {
      const { run, statusOf } = yield* setup
      const { ada } = yield* scene
      const { value } = yield* run(ada[0], list)
      const strings = stringsOf(value)
      assert.isAtLeast(strings.length, 3)
      for (const text of strings) {
        for (const token of [text, `${ada[0].slice(0, 4)}${text}`.slice(0, 47)]) {
          assert.strictEqual(yield* statusOf(token), "invalid")
        }
      }
    }).pipe(Effect.provide(layer())))

  it.effect("needs somebody signed in, as every function of the module does", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const { visitor } = yield* scene
      for (const token of [visitor, undefined]) {
        for (
          const operation of [
            Effect.asVoid(list),
            Effect.asVoid(SessionDevices.revoke(UserSession, "any")),
            Effect.asVoid(SessionDevices.revokeOthers(UserSession)),
            Effect.asVoid(SessionDevices.revokeAll(UserSession))
          ]
        ) assert.strictEqual(yield* reasonOf(run(token, operation)), "NotAuthenticated")
      }
      assert.strictEqual(yield* Effect.flatMap(SessionQuery, ({ count }) => count), 5)
    }).pipe(Effect.provide(layer())))
})

describe("revoking", () => {
  it.effect("ends one session by its handle, at once", () =>
    Effect.gen(function*() {
      const { run, statusOf } = yield* setup
      const { ada, bob } = yield* scene
      const { value } = yield* run(ada[0], list)
      const revoked = yield* run(ada[0], SessionDevices.revoke(UserSession, value[1].handle))
      assert.isTrue(revoked.value)
      assert.strictEqual(revoked.token, ada[0])
      const statuses = yield* Effect.forEach([...ada, bob], statusOf)
      assert.deepStrictEqual(statuses, ["active", "anonymous", "active", "active"])
      assert.isFalse((yield* run(ada[0], SessionDevices.revoke(UserSession, value[1].handle))).value)
    }).pipe(Effect.provide(layer())))

  it.effect("refuses the handle of somebody else's session", () =>
    Effect.gen(function*() {
      const { run, statusOf } = yield* setup
      const { ada, bob } = yield* scene
      const handle = (yield* run(bob, UserSession.handle)).value!
      for (const foreign of [handle, "", bob, handle.toLowerCase()]) {
        assert.isFalse((yield* run(ada[0], SessionDevices.revoke(UserSession, foreign))).value)
      }
      assert.strictEqual(yield* statusOf(bob), "active")
    }).pipe(Effect.provide(layer())))

  it.effect("ends the session that asks with its request", () =>
    Effect.gen(function*() {
      const { run, statusOf } = yield* setup
      const { ada } = yield* scene
      const handle = (yield* run(ada[0], UserSession.handle)).value!
      const revoked = yield* run(ada[0], SessionDevices.revoke(UserSession, handle))
      assert.deepStrictEqual(revoked, { value: true, token: undefined })
      assert.deepStrictEqual(yield* Effect.forEach(ada, statusOf), ["anonymous", "active", "active"])
    }).pipe(Effect.provide(layer())))

  it.effect("ends the others and keeps the one that asks", () =>
    Effect.gen(function*() {
      const { run, statusOf } = yield* setup
      const { ada, bob } = yield* scene
      const revoked = yield* run(ada[1], SessionDevices.revokeOthers(UserSession))
      assert.deepStrictEqual(revoked, { value: 2, token: ada[1] })
      assert.deepStrictEqual(
        yield* Effect.forEach([...ada, bob], statusOf),
        ["anonymous", "active", "anonymous", "active"]
      )
      assert.strictEqual((yield* run(ada[1], SessionDevices.revokeOthers(UserSession))).value, 0)
    }).pipe(Effect.provide(layer())))

  it.effect("ends all of them, the one that asks included", () =>
    Effect.gen(function*() {
      const { run, statusOf } = yield* setup
      const { ada, bob } = yield* scene
      const revoked = yield* run(ada[1], SessionDevices.revokeAll(UserSession))
      assert.deepStrictEqual(revoked, { value: 3, token: undefined })
      assert.deepStrictEqual(
        yield* Effect.forEach([...ada, bob], statusOf),
        ["anonymous", "anonymous", "anonymous", "active"]
      )
    }).pipe(Effect.provide(layer())))

  it.effect("others from an id within its grace spares the session it stands for", () =>
    Effect.gen(function*() {
      const { run, statusOf } = yield* setup
      const { ada } = yield* scene
      yield* TestClock.adjust("10 minutes")
      const { token } = yield* run(ada[0], UserSession.get)
      const revoked = yield* run(ada[0], SessionDevices.revokeOthers(UserSession))
      assert.strictEqual(revoked.value, 2)
      assert.deepStrictEqual(yield* Effect.forEach([token, ada[1], ada[2]], statusOf), [
        "active",
        "anonymous",
        "anonymous"
      ])
    }).pipe(Effect.provide(layer({ renewalInterval: "10 minutes" }))))

  it.effect("stands when the request fails", () =>
    Effect.gen(function*() {
      const { run, statusOf } = yield* setup
      const { ada } = yield* scene
      yield* Effect.exit(run(ada[0], Effect.andThen(SessionDevices.revokeAll(UserSession), Effect.fail("no"))))
      assert.deepStrictEqual(yield* Effect.forEach(ada, statusOf), ["anonymous", "anonymous", "anonymous"])
    }).pipe(Effect.provide(layer())))

  it.effect("fails with the store", () =>
    Effect.gen(function*() {
      const { run, statusOf, store } = yield* setup
      const { ada } = yield* scene
      const { value } = yield* run(ada[0], list)
      store.next("destroy", down)
      const revoke = SessionDevices.revoke(UserSession, value[1].handle)
      assert.strictEqual(yield* reasonOf(run(ada[0], revoke)), "Unavailable")
      assert.strictEqual(yield* statusOf(ada[1]), "active")
    }).pipe(Effect.provide(layer())))
})
