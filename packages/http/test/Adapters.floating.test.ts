/** Operations that a handler starts and does not wait for. */
import { SessionFetch } from "@effect-session/http"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import * as Adapters from "./AdapterApp.ts"
import * as App from "./SessionApp.ts"

const { increment, show } = Adapters

/** A turn of the event loop. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

const distances = { "at once": Effect.void, "after a while": Effect.promise(turn) } as const

const cases = Object.entries(Adapters.servers).flatMap(([name, serve]) =>
  Object.entries(distances).map(([distance, pause]) => ({ name: `${name}, ${distance}`, serve, pause }))
)

const routes: Adapters.Routes = {
  "/me": show,
  "/inc": async (session) => {
    await increment(session)
    return show(session)
  },
  "/forgotten": async (session) => {
    void session.login("ada")
    // By the time of the answer it has failed.
    for (let i = 0; i < 5; i++) await turn()
    return { body: "signed in" }
  },
  "/immediate": async (session) => {
    void session.login("ada")
    return { body: "signed in" }
  },
  "/broken": async (session) => {
    void session.update(() => {
      throw new Error("a bug of the application")
    })
    for (let i = 0; i < 5; i++) await turn()
    return { body: "updated" }
  },
  "/handled": async (session) => {
    const said = await session.login("ada").then(() => "signed in", () => "not signed in")
    const tried = await Promise.allSettled([session.login("ada"), session.get()])
    void session.login("ada").catch(() => {})
    await turn()
    await turn()
    return { body: [said, ...tried.map(({ status }) => status)].join() }
  },
  "/later": async (session) => {
    const login = session.login("ada")
    await turn()
    await turn()
    return { body: await login.then(() => "signed in", () => "not signed in") }
  },
  "/finished": async (session) => {
    void (async () => {
      for (let i = 0; i < 5; i++) await turn()
      void increment(session)
    })()
    return { body: "answered" }
  }
}

// What nobody has handled ends a program; here it is written down.
const unhandled: Array<unknown> = []
const others = process.listeners("unhandledRejection")
const listener = (reason: unknown) => void unhandled.push(reason)

beforeAll(() => {
  process.removeAllListeners("unhandledRejection")
  process.on("unhandledRejection", listener)
})

afterAll(() => {
  process.removeAllListeners("unhandledRejection")
  for (const other of others) process.on("unhandledRejection", other)
})

/** Waits until what nobody has handled would be known. */
const nothingUnhandled = Effect.promise(async () => {
  for (let i = 0; i < 10; i++) await turn()
  assert.deepStrictEqual(unhandled.splice(0), [])
})

describe.each(cases)("Adapters, operations that nobody waits for, $name", ({ pause, serve }) => {
  const setUp = Effect.gen(function*() {
    const store = yield* App.makeStore()
    store.before = () => pause
    const client = yield* serve(routes, store)
    const token = App.tokenOf(yield* client.send("POST", "/inc"))
    const send = (method: string, path: string) =>
      client.send(method, path, { headers: { cookie: `session=${token}` } })
    const fail = () => {
      store.before = (method) => method === "load" ? Effect.andThen(pause, App.down) : pause
    }
    const heal = () => {
      store.before = () => pause
    }
    return { send, fail, heal }
  })

  it.effect.each(["/forgotten", "/immediate"])(
    "one that fails, fails the request: %s",
    (path) =>
      Effect.gen(function*() {
        const { fail, heal, send } = yield* setUp
        fail()
        const answer = yield* send("POST", path)
        assert.deepStrictEqual([answer.status, answer.body, answer.setCookies.length], [503, "", 0])
        yield* nothingUnhandled
        heal()
        assert.deepStrictEqual([App.shown(yield* send("GET", "/me")).subject], [null])
        assert.strictEqual((yield* send("POST", path)).body, "signed in")
      })
  )

  it.effect("one that throws is a 500, and changes nothing", () =>
    Effect.gen(function*() {
      const { send } = yield* setUp
      const answer = yield* send("POST", "/broken")
      assert.deepStrictEqual([answer.status, answer.body], [500, ""])
      yield* nothingUnhandled
      assert.strictEqual(App.shown(yield* send("GET", "/me")).n, 1)
    }))

  it.effect("a failure that the handler has seen is the handler's matter", () =>
    Effect.gen(function*() {
      const { fail, send } = yield* setUp
      fail()
      assert.strictEqual((yield* send("POST", "/handled")).body, "not signed in,rejected,rejected")
      assert.strictEqual((yield* send("POST", "/later")).body, "not signed in")
      yield* nothingUnhandled
    }))

  it.effect("one that is refused after the answer takes no server down", () =>
    Effect.gen(function*() {
      const { send } = yield* setUp
      assert.strictEqual((yield* send("POST", "/finished")).body, "answered")
      yield* nothingUnhandled
      assert.strictEqual(App.shown(yield* send("GET", "/me")).n, 1)
    }))
})

it.effect("what comes too late is logged, where nobody waits for it", () =>
  Effect.gen(function*() {
    const store = yield* App.makeStore()
    const logged: Array<unknown> = []
    const logs = Logger.layer([Logger.make(({ message }) => void logged.push(message))])
    const layer = Layer.merge(yield* Adapters.layerOf(store, undefined), logs)
    const sessions = yield* Effect.promise(() => SessionFetch.make(App.UserSession, layer))
    const kept: Array<Adapters.Session> = []
    const handler = sessions.handler(async (request) => {
      kept.push(sessions.of(request))
      return new Response()
    })
    yield* Effect.promise(() => handler(new Request("http://app.test/")))
    yield* Effect.promise(() => increment(kept[0]).catch(() => {}))
    yield* nothingUnhandled
    assert.deepStrictEqual(logged, [])
    void increment(kept[0])
    yield* nothingUnhandled
    assert.deepStrictEqual(logged.flat()[0], "An operation came too late, and nobody waited for it")
    yield* Effect.promise(sessions.close)
  }))
