/** Over HTTP/2, besides what `Adapters.test.ts` asks of every adapter. */
import { SessionStore } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import * as Http2 from "node:http2"
import { Readable } from "node:stream"
import * as Adapters from "./AdapterApp.ts"
import * as App from "./SessionApp.ts"

type Listener = (
  request: Http2.Http2ServerRequest,
  response: Http2.Http2ServerResponse,
  session: Adapters.Session
) => unknown

const { increment } = Adapters
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
const cookie = (token: string | undefined) => ({ headers: { cookie: `session=${token}` } })

const setUp = Effect.fnUntraced(function*(listener: Listener) {
  const store = yield* App.makeStore()
  const sessions = yield* Adapters.nodeSessions(store)
  const client = yield* Adapters.http2Client(Http2.createServer(sessions.listener(async (request, response) => {
    const session = sessions.of(request)
    if (request.url === "/me") return response.end((await Adapters.show(session)).body ?? "")
    if (request.url === "/inc") return response.end(String((await increment(session)).n))
    return listener(request, response, session)
  })))
  store.before = () => turn
  const me = (token: string | undefined) => Effect.map(client.send("GET", "/me", cookie(token)), App.shown)
  return { client, me, store }
})

describe("SessionNode over HTTP/2", () => {
  it.effect("puts an error in the place of what cannot be stored, without a reason that Node would warn of", () =>
    Effect.gen(function*() {
      // The first test of the file, because Node gives each warning once.
      const warnings: Array<string> = []
      const note = ({ name }: Error) => void warnings.push(name)
      yield* Effect.acquireRelease(
        Effect.sync(() => process.on("warning", note)),
        () => Effect.sync(() => process.off("warning", note))
      )
      const { client, store } = yield* setUp(async (_request, response, session) => {
        await increment(session)
        response.writeHead(200, { "content-type": "text/html", "content-length": 4 })
        response.write("te")
        response.end("xt")
      })
      store.before = (method) =>
        Effect.andThen(
          turn,
          method === "create"
            ? Effect.fail(
              new SessionStore.SessionStoreError({
                reason: new SessionStore.StoreUnavailable({ description: "connection refused", retryAfter: 2000 })
              })
            )
            : Effect.void
        )
      const answer = yield* client.send("POST", "/")
      assert.deepStrictEqual([answer.status, answer.body, answer.setCookies], [503, "", []])
      assert.deepStrictEqual([answer.header("retry-after"), answer.header("content-type")], ["2", undefined])
      yield* turn
      assert.deepStrictEqual(warnings, [])
    }))

  it.effect("finds its cookie among those that were sent one by one, and two of its name are none", () =>
    Effect.gen(function*() {
      const { client } = yield* setUp(() => {})
      const token = App.tokenOf(yield* client.send("POST", "/inc"))
      const one = yield* client.send("GET", "/me", { headers: { cookie: ["theme=dark", `session=${token}`, "a=b"] } })
      assert.deepStrictEqual([App.shown(one).status, App.shown(one).n], ["active", 1])
      const two = yield* client.send("GET", "/me", { headers: { cookie: [`session=${token}`, `session=${token}`] } })
      assert.strictEqual(App.shown(two).status, "invalid")
    }))

  it.effect("commits before the first byte of a body that is piped, and takes all of it", () =>
    Effect.gen(function*() {
      const body = "0123456789".repeat(50_000)
      const { client, me } = yield* setUp(async (_request, response, session) => {
        await session.login("ada")
        Readable.from([body.slice(0, 100), body.slice(100, 300_000), body.slice(300_000)]).pipe(response)
      })
      const answer = yield* client.send("POST", "/")
      assert.isTrue(answer.body === body)
      assert.strictEqual(answer.setCookies.length, 1)
      assert.strictEqual((yield* me(App.tokenOf(answer))).subject, "ada")
    }))

  it.effect("holds back a head with a reason, flushed headers and single writes", () =>
    Effect.gen(function*() {
      const listeners: Record<string, Listener> = {
        "/head": (_request, response) => response.writeHead(201, "Created", { "x-a": "b" }).end("text"),
        "/flush": (_request, response) => {
          response.setHeader("x-a", "b")
          // Node has it; its types do not.
          Reflect.apply(Reflect.get(response, "flushHeaders"), response, [])
          response.end("text")
        },
        "/writes": (_request, response) => {
          response.setHeader("x-a", "b")
          response.write("te")
          response.end("xt")
        }
      }
      const { client, me } = yield* setUp(async (request, response, session) => {
        await increment(session)
        return listeners[request.url](request, response, session)
      })
      for (const path of Object.keys(listeners)) {
        const answer = yield* client.send("POST", path)
        assert.deepStrictEqual([answer.body, answer.header("x-a"), answer.setCookies.length], ["text", "b", 1], path)
        assert.strictEqual((yield* me(App.tokenOf(answer))).n, 1)
      }
    }))

  it.effect("sends what was written, and not an octet more, when the last text is empty", () =>
    Effect.gen(function*() {
      const { client, store } = yield* setUp(async (_request, response, session) => {
        await increment(session)
        response.write("o")
        response.write("k")
        response.end("")
      })
      for (const pause of [turn, Effect.void]) {
        store.before = () => pause
        for (let i = 0; i < 20; i++) assert.strictEqual((yield* client.send("POST", "/")).body, "ok")
      }
    }))

  it.effect("a client that left keeps the end of its session only, and the connection goes on", () =>
    Effect.gen(function*() {
      const operations: Record<string, (session: Adapters.Session) => Promise<unknown>> = {
        "/write": increment,
        "/login": (session) => session.login("ada"),
        "/logout": (session) => session.destroy()
      }
      let arrived = yield* Deferred.make<void>()
      let over = yield* Deferred.make<void>()
      const { client, me, store } = yield* setUp((request, response, session) => {
        Deferred.doneUnsafe(arrived, Effect.void)
        response.on("close", async () => {
          await operations[request.url](session).catch(() => {})
          response.end("nobody reads this")
          Deferred.doneUnsafe(over, Effect.void)
        })
      })
      for (const path of ["/write", "/login"]) {
        const token = App.tokenOf(yield* client.send("POST", "/inc"))
        arrived = yield* Deferred.make<void>()
        over = yield* Deferred.make<void>()
        const stream = client.connection.request({ ":method": "POST", ":path": path, cookie: `session=${token}` })
        stream.on("error", () => {})
        yield* Deferred.await(arrived)
        stream.close(Http2.constants.NGHTTP2_CANCEL)
        yield* Deferred.await(over)
        assert.deepStrictEqual(yield* me(token), { status: "active", subject: null, n: 1, note: "" })
      }
      assert.strictEqual((yield* store.keys).length, 2)
    }))

  it.effect("a client that leaves while the session is ended is signed out", () =>
    Effect.gen(function*() {
      const { client, me, store } = yield* setUp(async (_request, response, session) => {
        await session.destroy()
        response.end()
      })
      const token = App.tokenOf(yield* client.send("POST", "/inc"))
      const arrived = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const destroyed = yield* Deferred.make<void>()
      store.before = (method) =>
        method === "destroy"
          ? Effect.andThen(Deferred.succeed(arrived, undefined), Deferred.await(gate))
          : Effect.void
      store.after = (method) => method === "destroy" ? Deferred.succeed(destroyed, undefined) : Effect.void
      const stream = client.connection.request({ ":method": "POST", ":path": "/out", cookie: `session=${token}` })
      stream.on("error", () => {})
      yield* Deferred.await(arrived)
      stream.close(Http2.constants.NGHTTP2_CANCEL)
      yield* turn
      yield* Deferred.succeed(gate, undefined)
      yield* Deferred.await(destroyed)
      assert.strictEqual((yield* me(token)).status, "anonymous")
    }))
})
