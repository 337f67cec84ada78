import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { connect, type Socket } from "node:net"
import * as App from "./SessionApp.ts"

const { UserSession } = App
const serve = App.transports["Node server"]

const socketTo = (port: number | undefined) =>
  Effect.acquireRelease(
    Effect.callback<Socket>((resume) => {
      const socket = connect(
        { port: port ?? 0, host: "127.0.0.1", noDelay: true },
        () => resume(Effect.succeed(socket))
      )
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** Sends text as bytes, one per UTF-16 unit, and returns all that comes back until the server closes. */
const exchange = Effect.fnUntraced(function*(port: number | undefined, text: string) {
  const socket = yield* socketTo(port)
  return yield* Effect.callback<string>((resume) => {
    const received: Array<Buffer> = []
    socket.on("data", (bytes) => received.push(bytes))
    socket.on("close", () => resume(Effect.succeed(Buffer.concat(received).toString("latin1"))))
    socket.write(Buffer.from(text, "latin1"))
  })
}, Effect.scoped)

const lines = (first: string, ...headers: ReadonlyArray<string>) => [first, ...headers, "", ""].join("\r\n")

const bodies = (text: string) => [...text.matchAll(/\{[^}]*\}/g)].map(([json]): App.Shown => JSON.parse(json))

const setUp = Effect.fnUntraced(function*(...more: ReadonlyArray<typeof App.routes>) {
  const store = yield* App.makeStore()
  const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, ...more), store))
  const signIn = (as: string) => Effect.map(client.send("POST", `/login?as=${as}`), (answer) => App.tokenOf(answer)!)
  return { store, client, signIn, port: client.port }
})

describe("SessionMiddleware on raw sockets", () => {
  it.effect("two Cookie lines count as one header", () =>
    Effect.gen(function*() {
      const { port, signIn, store } = yield* setUp()
      const ada = yield* signIn("ada")
      const eve = yield* signIn("eve")
      const get = (...cookies: ReadonlyArray<string>) =>
        Effect.map(
          exchange(
            port,
            lines("GET /me HTTP/1.1", "Host: a", "Connection: close", ...cookies.map((line) => `Cookie: ${line}`))
          ),
          (text) => bodies(text)[0]
        )
      assert.strictEqual((yield* get("theme=dark", `session=${ada}`)).subject, "ada")
      store.calls.length = 0
      for (const [a, b] of [[ada, eve], [eve, ada], [ada, ada], [ada, "x"], ["", ada]]) {
        assert.deepStrictEqual(yield* get(`session=${a}`, `session=${b}`), {
          status: "invalid",
          subject: null,
          n: 0,
          note: ""
        })
      }
      assert.deepStrictEqual(store.calls, [])
    }))

  it.effect("bytes that no cookie has do not reach the store", () =>
    Effect.gen(function*() {
      const { client, port, signIn, store } = yield* setUp()
      const token = yield* signIn("ada")
      store.calls.length = 0
      for (let byte = 0; byte < 256; byte++) {
        const odd = String.fromCharCode(byte)
        if (odd === ";" || odd === " " || odd === "\t" || odd === "\r" || odd === "\n") continue
        for (const value of [odd + token, token + odd, token.slice(0, 20) + odd + token.slice(20)]) {
          const text = yield* exchange(
            port,
            lines("GET /me HTTP/1.1", "Host: a", "Connection: close", `Cookie: session=${value}`)
          )
          assert.match(text, /^HTTP\/1.1 (200|400) /)
          for (const seen of bodies(text)) assert.strictEqual(seen.status, "invalid")
          assert.notMatch(text, /set-cookie/i)
        }
      }
      assert.deepStrictEqual(store.calls, [])
      assert.strictEqual((yield* client.send("GET", "/plain")).status, 200)
    }))

  it.effect("requests of many users on one connection stay apart", () =>
    Effect.gen(function*() {
      const { port, signIn } = yield* setUp()
      const users = ["ada", "eve", undefined, "bob", "eve", undefined, "ada"]
      const tokens = new Map<string, string>()
      for (const user of ["ada", "eve", "bob"]) tokens.set(user, yield* signIn(user))
      const requests = users.map((user, i) =>
        lines(
          "GET /me HTTP/1.1",
          "Host: a",
          ...(user === undefined ? [] : [`Cookie: session=${tokens.get(user)}`]),
          ...(i === users.length - 1 ? ["Connection: close"] : [])
        )
      )
      const seen = bodies(yield* exchange(port, requests.join("")))
      assert.deepStrictEqual(seen.map(({ subject }) => subject ?? undefined), users)
    }))

  it.effect("nothing in the cookie comes from Host or the request target", () =>
    Effect.gen(function*() {
      const { port } = yield* setUp()
      const hosts = [
        "evil.test",
        "evil.test:80",
        "",
        "a b",
        "\xe9vil.test",
        "a.test; Domain=evil.test",
        "[::1]",
        "*",
        "."
      ]
      for (const host of hosts) {
        for (
          const target of ["/inc", "http://evil.test/inc", "//evil.test/inc", "/inc;Domain=evil.test", "/inc#a;Path=/x"]
        ) {
          const text = yield* exchange(
            port,
            lines(
              `POST ${target} HTTP/1.1`,
              `Host: ${host}`,
              "X-Forwarded-Host: evil.test",
              "Content-Length: 0",
              "Connection: close"
            )
          )
          const cookies = [...text.matchAll(/^set-cookie: (.*)\r$/gim)].map(([, line]) =>
            line.replace(/=[\w-]{47};/, "=T;")
          )
          assert.include(["", "session=T; Path=/; HttpOnly; SameSite=Lax"], cookies.join("|"))
          assert.notMatch(text.replace(/^location.*$/im, ""), /evil/)
        }
      }
    }))

  it.effect("a socket that breaks in the middle of a body disturbs nobody", () =>
    Effect.gen(function*() {
      const closed = yield* Deferred.make<void>()
      const endless = HttpRouter.add(
        "POST",
        "/endless",
        Effect.gen(function*() {
          yield* App.increment
          const body = Stream.forever(Stream.make(new Uint8Array(65_536))).pipe(
            Stream.ensuring(Deferred.succeed(closed, undefined))
          )
          return HttpServerResponse.stream(body)
        })
      )
      const { client, port, signIn } = yield* setUp(endless)
      const token = yield* signIn("ada")
      const cookie = `session=${token}`
      const socket = yield* socketTo(port)
      yield* Effect.callback<void>((resume) => {
        socket.once("data", () => resume(Effect.void))
        socket.write(lines("POST /endless HTTP/1.1", "Host: a", `Cookie: ${cookie}`, "Content-Length: 0"))
      })
      socket.destroy()
      yield* Deferred.await(closed)
      // The write was stored before the body began.
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", { headers: { cookie } })).n, 1)
    }))

  it.effect("a late write that nobody handles breaks its own body only", () =>
    Effect.gen(function*() {
      const late = HttpRouter.add(
        "POST",
        "/late",
        Effect.gen(function*() {
          const session = yield* UserSession
          const write = Effect.orDie(session.update((data) => ({ ...data, n: 100 })))
          const body = Stream.make("begun").pipe(Stream.concat(Stream.fromEffect(Effect.as(write, "done"))))
          return HttpServerResponse.stream(Stream.encodeText(body))
        })
      )
      const { client, port, signIn } = yield* setUp(late)
      const cookie = `session=${yield* signIn("ada")}`
      const text = yield* exchange(
        port,
        lines("POST /late HTTP/1.1", "Host: a", `Cookie: ${cookie}`, "Content-Length: 0", "Connection: close")
      )
      assert.notInclude(text, "done")
      // The last chunk of a complete body.
      assert.notMatch(text, /\r\n0\r\n\r\n$/)
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", { headers: { cookie } })).n, 0)
    }))

  it.live("a server that closes leaves nothing behind, and ends no session", () =>
    Effect.gen(function*() {
      const unhandled: Array<unknown> = []
      const listener = (reason: unknown) => void unhandled.push(reason)
      process.on("unhandledRejection", listener)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.off("unhandledRejection", listener)))
      // Two looks at the same moment of a timer's life.
      const resources = Effect.map(Effect.sleep(50), () =>
        process.getActiveResourcesInfo().filter((name) => /TCP|Timeout|Immediate/.test(name)).toSorted())
      const store = yield* App.makeStore()
      const before = yield* resources
      let interrupted = 0
      const waiting = HttpRouter.add(
        "POST",
        "/wait",
        UserSession.login("eve").pipe(
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() =>
            Effect.sync(() => void interrupted++)
          )
        )
      )
      for (let round = 0; round < 5; round++) {
        const scope = yield* Scope.make()
        const client = yield* Scope.provide(
          serve(App.withSession(Layer.mergeAll(App.routes, waiting), store)),
          scope
        )
        const token = App.tokenOf(yield* client.send("POST", "/login?as=ada"))
        const socket = yield* socketTo(client.port)
        socket.write(lines("POST /wait HTTP/1.1", "Host: a", `Cookie: session=${token}`, "Content-Length: 0"))
        while (store.calls.filter((method) => method === "load").length <= round) yield* Effect.sleep(1)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        socket.destroy()
        yield* Fiber.join(closing)
      }
      assert.strictEqual(interrupted, 5)
      assert.deepStrictEqual((yield* store.entries).map(({ record }) => record.subject), Array(5).fill("ada"))
      const after = yield* resources
      assert.isAtMost(after.length, before.length)
      assert.isFalse(after.some((name) => name.startsWith("TCP")))
      assert.deepStrictEqual(unhandled, [])
    }))
})
