import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import * as RedisServer from "../../packages/redis/test/RedisServer.ts"
import * as PostgresServer from "../../packages/sql/test/PostgresServer.ts"
import * as DemoApp from "./DemoApp.ts"
import { assertAnswer, assertRefused, until } from "./DemoApp.ts"

const fork = Effect.forkChild({ startImmediately: true })

let redis: RedisServer.RedisServer
let postgres: PostgresServer.PostgresServer
const scope = Scope.makeUnsafe()
beforeAll(async () => {
  redis = await Effect.runPromise(Scope.provide(RedisServer.make(), scope))
  postgres = await Effect.runPromise(Scope.provide(PostgresServer.make(), scope))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

interface Backend {
  readonly name: string
  readonly make: Effect.Effect<DemoApp.DemoApp, unknown, Scope.Scope>
  readonly test: typeof it.effect
  readonly afterDelay: <A>(fiber: Fiber.Fiber<A>) => Effect.Effect<A>
  /** Whether the time is that of the test, which stands still, and not that of a server. */
  readonly still: boolean
}

const backends: ReadonlyArray<Backend> = [
  { name: "memory", make: DemoApp.make, test: it.effect, afterDelay: DemoApp.afterDelay, still: true },
  {
    name: "redis",
    make: Effect.suspend(() => DemoApp.makeRedis(redis.url)),
    test: it.live,
    afterDelay: Fiber.join,
    still: false
  },
  {
    name: "sql",
    make: Effect.suspend(() => DemoApp.makeSql(postgres.url)),
    test: it.live,
    afterDelay: Fiber.join,
    still: false
  }
]

const minute = 60_000

for (const { afterDelay, make, name, still, test } of backends) {
  const setup = Effect.map(make, (app) => ({ app, ...DemoApp.client(app) }))

  /** A moment so many milliseconds from now. */
  const assertTime = (iso: unknown, fromNow: number) =>
    still
      ? assert.strictEqual(iso, new Date(fromNow).toISOString())
      : assert.isBelow(Math.abs(Date.parse(String(iso)) - Date.now() - fromNow), minute)

  describe(`over ${name}`, () => {
    describe("signing in and out", () => {
      test("who has no session is a guest, and looking starts none", () =>
        Effect.gen(function*() {
          const { app, jar, me } = yield* setup
          const { now, ...rest } = yield* me
          assertTime(now, 0)
          assert.deepStrictEqual(rest, {
            authenticated: false,
            username: null,
            role: "guest",
            counter: 0,
            status: "anonymous",
            isElevated: false,
            createdAt: null,
            loginAt: null,
            lastSeenAt: null,
            expiresAt: null,
            idleExpiresAt: null,
            absoluteExpiresAt: null
          })
          assert.isUndefined(jar.cookie)
          assert.strictEqual(yield* app.sessions, 0)
        }))

      test("signing in gives a new id, keeps counter and list, and says when it ends", () =>
        Effect.gen(function*() {
          const { app, jar, login, me, send } = yield* setup
          yield* send("POST", "/api/counter")
          yield* send("POST", "/api/items", { json: { text: "tea" } })
          yield* send("PUT", "/api/data/draft", { json: { value: 1 } })
          const before = jar.cookie
          assertAnswer(yield* login("ada"), 200, { authenticated: true, username: "ada", role: "user" })
          assert.notStrictEqual(jar.cookie, before)
          assert.strictEqual(yield* app.sessions, 1)
          const { authenticated, counter, expiresAt, loginAt, username } = yield* me
          assert.deepStrictEqual([authenticated, username, counter], [true, "ada", 1])
          assertTime(loginAt, 0)
          assertTime(expiresAt, 30 * minute)
          assertAnswer(yield* send("GET", "/api/items"), 200, { items: ["tea"] })
          assertAnswer(yield* send("GET", "/api/data"), 200, { data: {} })
        }))

      test("the cookie is out of reach of scripts and other sites", () =>
        Effect.gen(function*() {
          const { login } = yield* setup
          const { headers } = yield* login("ada")
          assert.match(headers.get("set-cookie") ?? "", /^session=[\w-]+; Path=\/; HttpOnly; SameSite=Lax$/)
          assert.strictEqual(headers.get("cache-control"), "no-store")
        }))

      test("the name admin gets the role admin", () =>
        Effect.gen(function*() {
          const { login, me } = yield* setup
          assertAnswer(yield* login("admin"), 200, { authenticated: true, username: "admin", role: "admin" })
          assert.strictEqual((yield* me).role, "admin")
        }))

      test("a wrong password signs nobody in and starts nothing", () =>
        Effect.gen(function*() {
          const { app, jar, send } = yield* setup
          assertRefused(yield* send("POST", "/api/login", { json: { username: "ada", password: "Demo" } }), 401)
          assert.isUndefined(jar.cookie)
          assert.strictEqual(yield* app.sessions, 0)
        }))

      test("signing out ends the session and takes the cookie away", () =>
        Effect.gen(function*() {
          const { app, jar, login, me, send } = yield* setup
          yield* login("ada")
          const old = jar.cookie
          assertAnswer(yield* send("POST", "/api/logout"), 204)
          assert.isUndefined(jar.cookie)
          assert.strictEqual(yield* app.sessions, 0)
          jar.cookie = old
          assert.strictEqual((yield* me).authenticated, false)
        }))

      test("signing out everywhere ends every session of the user, and nobody else's", () =>
        Effect.gen(function*() {
          const { app, jar, login, send } = yield* setup
          const [phone, other] = [DemoApp.client(app), DemoApp.client(app)]
          yield* login("ada")
          yield* phone.login("ada")
          yield* other.login("grace")
          assertAnswer(yield* send("POST", "/api/logout-everywhere"), 204)
          assert.isUndefined(jar.cookie)
          assert.strictEqual((yield* phone.me).authenticated, false)
          assert.strictEqual((yield* other.me).username, "grace")
        }))

      test("ending and renewing what is not there succeeds and creates nothing", () =>
        Effect.gen(function*() {
          const { app, jar, send } = yield* setup
          for (const path of ["/api/logout", "/api/logout-everywhere", "/api/renew"]) {
            assertAnswer(yield* send("POST", path), 204)
          }
          assert.isUndefined(jar.cookie)
          assert.strictEqual(yield* app.sessions, 0)
        }))

      test("signing out everywhere also ends the session of a guest", () =>
        Effect.gen(function*() {
          const { app, send } = yield* setup
          yield* send("POST", "/api/counter")
          assertAnswer(yield* send("POST", "/api/logout-everywhere"), 204)
          assert.strictEqual(yield* app.sessions, 0)
        }))

      test("renewing gives another id to the same session", () =>
        Effect.gen(function*() {
          const { app, jar, login, me, send } = yield* setup
          yield* login("ada")
          const old = jar.cookie
          assertAnswer(yield* send("POST", "/api/renew"), 204)
          assert.notStrictEqual(jar.cookie, old)
          assert.strictEqual((yield* me).username, "ada")
          assert.strictEqual(yield* app.sessions, 1)
          jar.cookie = old
          assert.strictEqual((yield* me).username, null)
        }))
    })

    describe("data", () => {
      test("a hundred increments at once count a hundred, each with its own answer", () =>
        Effect.gen(function*() {
          const { app, login, me, send } = yield* setup
          yield* login("ada")
          app.calls.load = 0
          const requests = yield* fork(Effect.all(
            Array.from({ length: 100 }, () => send("POST", "/api/counter?delay=20")),
            { concurrency: "unbounded" }
          ))
          // All of them have read the same number before the first one writes.
          yield* until(() => app.calls.load === 100)
          if (still) assert.strictEqual(app.calls.save, 0)
          const counters = (yield* afterDelay(requests)).map((answer) => Number(answer.json().counter))
          assert.deepStrictEqual(counters.toSorted((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i + 1))
          assert.strictEqual((yield* me).counter, 100)
        }))

      test("values of different keys, written at the same time, are all there", () =>
        Effect.gen(function*() {
          const { login, send } = yield* setup
          yield* login("ada")
          const keys = ["a", "b", "__proto__", "constructor", "with space", "%2F"]
          yield* afterDelay(
            yield* fork(Effect.forEach(
              keys,
              (key) =>
                Effect.map(
                  send("PUT", `/api/data/${encodeURIComponent(key)}?delay=50`, { json: { value: [key] } }),
                  (answer) => assertAnswer(answer, 200, { key, value: [key] })
                ),
              { concurrency: "unbounded" }
            ))
          )
          const { data } = (yield* send("GET", "/api/data")).json()
          assert.deepStrictEqual(new Map(Object.entries(data as object)), new Map(keys.map((key) => [key, [key]])))
          assert.strictEqual(Object.getPrototypeOf(data), Object.prototype)
        }))

      test("a write that waits while its session is signed out fails, and brings nothing back", () =>
        Effect.gen(function*() {
          const { app, jar, login, me, send } = yield* setup
          yield* login("ada")
          const cookie = jar.cookie
          app.calls.load = 0
          const write = yield* fork(send("PUT", "/api/data/late?delay=500", { json: { value: true } }))
          yield* until(() => app.calls.load === 1)
          assertAnswer(yield* send("POST", "/api/logout"), 204)
          assertRefused(yield* afterDelay(write), 409)
          assert.strictEqual(yield* app.sessions, 0)
          jar.cookie = cookie
          assert.strictEqual((yield* me).authenticated, false)
        }))

      test("a slow read writes nothing", () =>
        Effect.gen(function*() {
          const { app, login, send } = yield* setup
          yield* login("ada")
          const before = { ...app.calls }
          const answer = yield* afterDelay(yield* fork(send("GET", "/api/slow?delay=300")))
          assertAnswer(answer, 200, { counter: 0, waited: 300 })
          assert.deepStrictEqual(app.calls, { ...before, load: before.load + 1 })
        }))

      if (still) {
        test("delays end after ten seconds at most", () =>
          Effect.gen(function*() {
            const { send } = yield* setup
            const answer = yield* afterDelay(yield* fork(send("GET", "/api/slow?delay=99999999")))
            assertAnswer(answer, 200, { counter: 0, waited: 10_000 })
          }))
      }

      test("the shopping list grows and shrinks", () =>
        Effect.gen(function*() {
          const { send } = yield* setup
          assertAnswer(yield* send("GET", "/api/items"), 200, { items: [] })
          assertAnswer(yield* send("POST", "/api/items", { json: { text: "tea" } }), 201, { items: ["tea"] })
          yield* send("POST", "/api/items", { json: { text: "milk" } })
          assertAnswer(yield* send("DELETE", "/api/items/0"), 200, { items: ["milk"] })
          assertRefused(yield* send("DELETE", "/api/items/1"), 404)
          assertRefused(yield* send("DELETE", "/api/items/-1"), 400)
          assertAnswer(yield* send("GET", "/api/items"), 200, { items: ["milk"] })
        }))

      test("the shopping list has a hundred places", () =>
        Effect.gen(function*() {
          const { send } = yield* setup
          for (let i = 0; i < 100; i++) yield* send("POST", "/api/items", { json: { text: "tea" } })
          assertRefused(yield* send("POST", "/api/items", { json: { text: "tea" } }), 400)
          assert.lengthOf((yield* send("GET", "/api/items")).json().items as Array<string>, 100)
        }))

      test("a streamed answer comes in parts, with what it wrote already stored", () =>
        Effect.gen(function*() {
          const { app, jar, send } = yield* setup
          const answer = yield* fork(send("GET", "/api/stream?ms=1000"))
          yield* until(() => jar.cookie !== undefined)
          // The body is not at its end yet.
          assert.isUndefined(answer.pollUnsafe())
          assert.strictEqual(yield* app.sessions, 1)
          const { text } = yield* afterDelay(answer)
          assert.lengthOf(text.trim().split("\n"), 5)
          const data = (yield* send("GET", "/api/data")).json().data as Record<string, unknown>
          assert.deepStrictEqual(Object.keys(data), ["lastStream"])
          assertTime(data.lastStream, 0)
        }))
    })

    describe("flash messages", () => {
      const message = { kind: "success", message: "Saved." }

      test("a message is delivered once", () =>
        Effect.gen(function*() {
          const { send } = yield* setup
          assertAnswer(yield* send("POST", "/api/flash", { json: message }), 204)
          assertAnswer(yield* send("GET", "/api/flash"), 200, { messages: [message] })
          assertAnswer(yield* send("GET", "/api/flash"), 200, { messages: [] })
        }))

      test("of two tabs that load at the same time, one shows it", () =>
        Effect.gen(function*() {
          const { send } = yield* setup
          for (let round = 0; round < 25; round++) {
            yield* send("POST", "/api/flash", { json: message })
            const get = send("GET", "/api/flash")
            const answers = yield* Effect.all([get, get], { concurrency: "unbounded" })
            assert.deepStrictEqual(answers.flatMap((answer) => answer.json().messages), [message])
          }
        }))

      test("fifty may wait", () =>
        Effect.gen(function*() {
          const { send } = yield* setup
          for (let i = 0; i < 50; i++) yield* send("POST", "/api/flash", { json: message })
          assertRefused(yield* send("POST", "/api/flash", { json: message }), 400)
        }))
    })

    describe("devices", () => {
      interface Device {
        readonly handle: string
        readonly agent: string
        readonly current: boolean
      }

      test("a user sees all of them, and ends one from another", () =>
        Effect.gen(function*() {
          const { app, login, send } = yield* setup
          const [phone, stranger] = [DemoApp.client(app, "phone"), DemoApp.client(app, "stranger")]
          yield* login("ada")
          yield* phone.login("ada")
          yield* stranger.login("grace")
          // Two that signed in within one millisecond come in any order.
          const list = Effect.map(
            send("GET", "/api/devices"),
            (answer) =>
              (answer.json().devices as Array<Device>).toSorted((a, b) => Number(b.current) - Number(a.current))
          )
          const devices = yield* list
          assert.deepStrictEqual(devices.map(({ agent, current }) => [agent, current]), [["test", true], [
            "phone",
            false
          ]])
          const path = `/api/devices/${devices[1].handle}`
          assertRefused(yield* stranger.send("DELETE", path), 404)
          assertAnswer(yield* send("DELETE", path), 204)
          assertRefused(yield* send("DELETE", path), 404)
          assert.strictEqual((yield* phone.me).authenticated, false)
          assert.lengthOf(yield* list, 1)
        }))

      test("ending the current one signs out", () =>
        Effect.gen(function*() {
          const { jar, login, send } = yield* setup
          yield* login("ada")
          const [{ handle }] = (yield* send("GET", "/api/devices")).json().devices as Array<Device>
          assertAnswer(yield* send("DELETE", `/api/devices/${handle}`), 204)
          assert.isUndefined(jar.cookie)
        }))

      test("guests have none", () =>
        Effect.gen(function*() {
          const { send } = yield* setup
          assertRefused(yield* send("GET", "/api/devices"), 401)
          assertRefused(yield* send("DELETE", "/api/devices/x"), 401)
        }))
    })
  })
}
