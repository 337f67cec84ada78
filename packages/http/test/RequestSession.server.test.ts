import type { SessionError } from "@effect-session/core"
import { RequestSession } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Queue, Stream } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Socket } from "effect/socket"
import { TestClock } from "effect/testing"
import * as Http from "node:http"
import * as App from "./SessionApp.ts"

const { UserSession } = App

const config = {
  preset: "testing",
  sliding: true,
  idleTimeout: "5 minutes",
  lifetime: "10 hours",
  renewalInterval: "2 minutes",
  renewalGrace: "1 second"
} as const

const reason = <A, R>(effect: Effect.Effect<A, SessionError.SessionError, R>) =>
  Effect.match(effect, { onFailure: (error) => error.reason._tag, onSuccess: () => "done" })

/** Answers each message of a socket until it is closed. */
const serve = <E, R>(socket: Socket.Socket, answer: (message: string) => Effect.Effect<string, E, R>) =>
  Effect.gen(function*() {
    const write = yield* socket.writer
    const pull = yield* Socket.readerString(socket)
    yield* Effect.forever(
      Effect.flatMap(pull, Effect.forEach((message) => Effect.flatMap(answer(message), write.write)))
    )
  }).pipe(Effect.catchTag("SocketError", () => Effect.void))

// What a client sends names what the socket does.
const chat = Effect.gen(function*() {
  const { session, socket } = yield* RequestSession.upgrade(UserSession)
  yield* serve(socket, (message) => {
    switch (message) {
      case "inc":
        return Effect.map(session.run(App.increment), ({ n }) => String(n))
      case "touch":
        return reason(session.touch)
      case "login":
        return reason(session.run(UserSession.login("eve")))
      case "late":
        return reason(App.increment)
      default:
        return Effect.map(Effect.all([session.subject, session.get]), ([subject, { n }]) => `${subject} ${n}`)
    }
  }).pipe(session.whileLive, Effect.catchReason("SessionError", "Gone", () => Effect.void))
  return HttpServerResponse.empty()
})

// Without any help: the session is read before the upgrade, and committed when the socket is closed.
const echo = Effect.gen(function*() {
  const { upgrade } = yield* HttpServerRequest.HttpServerRequest
  yield* UserSession.get
  yield* serve(yield* upgrade, Effect.succeed)
  return HttpServerResponse.empty()
})

// As the handler of an application does that knows another address of its client.
const viewed = <A, E, R>(handler: Effect.Effect<A, E, R>) =>
  Effect.updateService(
    handler,
    HttpServerRequest.HttpServerRequest,
    (request) => request.modify({ remoteAddress: request.peerAddress })
  )

/** Sends a frame for each thing that happens. */
const events = (happened: Queue.Queue<string>) =>
  Effect.gen(function*() {
    const session = yield* RequestSession.make(UserSession)
    yield* App.increment
    const frames = Stream.fromQueue(happened).pipe(
      Stream.mapEffect((name) => Effect.map(session.run(App.increment), ({ n }) => `data: ${name} ${n}\n\n`)),
      Stream.encodeText
    )
    const first = Stream.make(new TextEncoder().encode(": hello\n\n"))
    return HttpServerResponse.stream(Stream.concat(first, session.streamWhileLive(frames)), {
      contentType: "text/event-stream"
    })
  })

const routes = (happened: Queue.Queue<string>) =>
  Layer.mergeAll(
    App.routes,
    HttpRouter.add("GET", "/chat", chat),
    HttpRouter.add("GET", "/echo", echo),
    HttpRouter.add("GET", "/view", viewed(echo)),
    HttpRouter.add("GET", "/events", events(happened)),
    HttpRouter.add("GET", "/late-login", Effect.andThen(UserSession.login("eve"), chat)),
    HttpRouter.add("GET", "/first-write", Effect.andThen(App.increment, chat)),
    HttpRouter.add("GET", "/write", Effect.andThen(App.increment, chat))
  )

const start = Effect.gen(function*() {
  const store = yield* App.makeStore()
  const happened = yield* Queue.unbounded<string>()
  const client = yield* App.transports["Node server"](App.withSession(routes(happened), store, { config }))
  const browser = App.browser(client)
  const login = browser.send("POST", "/login")
  return { browser, client, happened, login, store }
})

/** A WebSocket client as browsers are: an open socket, its messages, and its end. */
const connect = Effect.fnUntraced(function*(port: number | undefined, path: string, cookie: string | undefined) {
  const messages = yield* Queue.unbounded<string>()
  const closed = yield* Deferred.make<number>()
  const opened = yield* Deferred.make<void, Error>()
  const socket = yield* Effect.acquireRelease(
    // The second argument is what Node knows and browsers do not.
    Effect.sync((): WebSocket =>
      Reflect.construct(WebSocket, [`ws://127.0.0.1:${port}${path}`, { headers: { cookie } }])
    ),
    (socket) => Effect.sync(() => socket.close())
  )
  socket.addEventListener("open", () => Deferred.doneUnsafe(opened, Effect.void))
  socket.addEventListener(
    "error",
    () => Deferred.doneUnsafe(opened, Effect.fail(new Error("the handshake was refused")))
  )
  socket.addEventListener("close", ({ code }) => Deferred.doneUnsafe(closed, Effect.succeed(code)))
  socket.addEventListener("message", ({ data }) => void Queue.offerUnsafe(messages, String(data)))
  yield* Deferred.await(opened)
  const ask = (message: string) => Effect.andThen(Effect.sync(() => socket.send(message)), Queue.take(messages))
  return {
    ask,
    closed: Deferred.await(closed),
    close: Effect.andThen(Effect.sync(() => socket.close()), Deferred.await(closed))
  }
})

/** The head of the answer to a handshake. */
const handshake = (port: number | undefined, path: string, cookie: string | undefined) =>
  Effect.callback<{ readonly status: number | undefined; readonly setCookies: ReadonlyArray<string> }>((resume) => {
    const request = Http.request({
      port,
      host: "127.0.0.1",
      path,
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        ...(cookie === undefined ? {} : { cookie })
      }
    })
    const answer = ({ headers, statusCode }: Http.IncomingMessage) => {
      resume(Effect.succeed({ status: statusCode, setCookies: headers["set-cookie"] ?? [] }))
      request.destroy()
    }
    request.on("response", answer)
    request.on("upgrade", answer)
    request.on("error", () => {})
    request.end()
  })

describe("RequestSession, WebSockets", () => {
  it.effect("reads anew, commits at once, and refuses what would need a new cookie", () =>
    Effect.gen(function*() {
      const { browser, client, login } = yield* start
      yield* login
      const { ask } = yield* connect(client.port, "/chat", browser.cookie())
      assert.strictEqual(yield* ask("show"), "ada 0")
      yield* browser.send("POST", "/inc")
      assert.strictEqual(yield* ask("show"), "ada 1")
      assert.strictEqual(yield* ask("inc"), "2")
      assert.strictEqual(App.shown(yield* browser.send("GET", "/me")).n, 2)
      assert.strictEqual(yield* ask("login"), "Undeliverable")
      assert.strictEqual(yield* ask("late"), "Finished")
      assert.strictEqual(App.shown(yield* browser.send("GET", "/me")).n, 2)
    }))

  it.effect("is closed when the user signs out elsewhere", () =>
    Effect.gen(function*() {
      const { browser, client, login } = yield* start
      yield* login
      const { ask, closed } = yield* connect(client.port, "/chat", browser.cookie())
      assert.strictEqual(yield* ask("show"), "ada 0")
      yield* browser.send("POST", "/logout")
      yield* TestClock.adjust("10 seconds")
      yield* closed
    }))

  it.effect("does not keep the session alive by being open; its messages do if they are said to", () =>
    Effect.gen(function*() {
      const { browser, client, login } = yield* start
      yield* login
      const { ask, closed } = yield* connect(client.port, "/chat", browser.cookie())
      for (let minute = 0; minute < 8; minute++) {
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* ask("touch"), "done")
      }
      for (let minute = 0; minute < 4; minute++) {
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* ask("show"), "ada 0")
      }
      yield* TestClock.adjust("61 seconds")
      yield* closed
    }))

  it.effect("stays while other requests renew the id", () =>
    Effect.gen(function*() {
      const { browser, client, login } = yield* start
      yield* login
      const first = browser.cookie()
      const { ask } = yield* connect(client.port, "/chat", first)
      for (let round = 0; round < 3; round++) {
        yield* TestClock.adjust("3 minutes")
        yield* browser.send("POST", "/inc")
      }
      assert.notStrictEqual(browser.cookie(), first)
      assert.strictEqual(yield* ask("inc"), "4")
      assert.strictEqual(App.shown(yield* browser.send("GET", "/me")).subject, "ada")
    }))

  it.effect("what was written before the upgrade is stored before the 101, which has no cookie", () =>
    Effect.gen(function*() {
      const { browser, client, login } = yield* start
      yield* login
      const { setCookies, status } = yield* handshake(client.port, "/write", browser.cookie())
      assert.deepStrictEqual([status, setCookies], [101, []])
      assert.strictEqual(App.shown(yield* browser.send("GET", "/me")).n, 1)
    }))

  it.effect("what would need a cookie is no upgrade, and an error that brings the cookie", () =>
    Effect.gen(function*() {
      const { browser, client, login, store } = yield* start
      const first = yield* handshake(client.port, "/first-write", undefined)
      assert.deepStrictEqual([first.status, first.setCookies], [500, []])
      assert.deepStrictEqual(yield* store.entries, [])
      yield* login
      const signedIn = yield* handshake(client.port, "/late-login", browser.cookie())
      assert.strictEqual(signedIn.status, 500)
      assert.match(signedIn.setCookies.join(), /^session=[^;]{47};/)
    }))

  it.effect("where nothing can be upgraded, nothing happens to the session", () =>
    Effect.gen(function*() {
      const { browser, login, store } = yield* start
      yield* login
      store.calls.length = 0
      const answer = yield* browser.send("GET", "/chat")
      assert.isAtLeast(answer.status, 400)
      assert.notInclude(store.calls, "save")
    }))

  it.effect.each(["/echo", "/view"])(
    "a socket without any help does not renew the id when it is closed: nobody would get the new one, %s",
    (path) =>
      Effect.gen(function*() {
        const { browser, client, login } = yield* start
        yield* login
        const { ask, close } = yield* connect(client.port, path, browser.cookie())
        assert.strictEqual(yield* ask("hello"), "hello")
        yield* TestClock.adjust("3 minutes")
        yield* close
        // Reading after the grace window of a renewal that had happened would be a theft.
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(App.shown(yield* browser.send("GET", "/me")).subject, "ada")
      })
  )

  it.effect("a handshake that its route does not know renews the id as any request does", () =>
    Effect.gen(function*() {
      const { browser, client, login } = yield* start
      yield* login
      yield* TestClock.adjust("3 minutes")
      const { setCookies, status } = yield* handshake(client.port, "/me", browser.cookie())
      assert.strictEqual(status, 200)
      assert.match(setCookies.join(), /^session=[^;]{47};/)
    }))
})

/** The frames of a stream of events, as they come, and the head of its response. */
const eventSource = Effect.fnUntraced(function*(port: number | undefined, path: string, cookie: string | undefined) {
  const frames = yield* Queue.unbounded<string>()
  const ended = yield* Deferred.make<void>()
  const response = yield* Effect.callback<Http.IncomingMessage>((resume) => {
    const request = Http.get({ port, host: "127.0.0.1", path, headers: cookie === undefined ? {} : { cookie } })
    request.on("response", (response) => resume(Effect.succeed(response)))
    request.on("error", () => {})
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => response.destroy()))
  response.setEncoding("utf8")
  response.on("data", (text: string) => {
    for (const [, data] of text.matchAll(/data: (.*)\n/g)) Queue.offerUnsafe(frames, String(data))
  })
  response.on("end", () => Deferred.doneUnsafe(ended, Effect.void))
  response.on("error", () => {})
  return { response, next: Queue.take(frames), ended: Deferred.await(ended) }
})

describe("RequestSession, server-sent events", () => {
  it.effect("sets the cookie of a new session before the first byte, and works with it afterwards", () =>
    Effect.gen(function*() {
      const { browser, client, happened } = yield* start
      const { next, response } = yield* eventSource(client.port, "/events", undefined)
      const [cookie = ""] = response.headers["set-cookie"] ?? []
      assert.match(cookie, /^session=[^;]{47};/)
      assert.strictEqual(response.headers["vary"], "Cookie")
      yield* Queue.offer(happened, "a")
      assert.strictEqual(yield* next, "a 2")
      const headers = { cookie: cookie.slice(0, cookie.indexOf(";")) }
      assert.strictEqual(App.shown(yield* browser.send("POST", "/inc", { headers })).n, 3)
      yield* Queue.offer(happened, "b")
      assert.strictEqual(yield* next, "b 4")
    }))

  it.effect("ends by itself when the session does", () =>
    Effect.gen(function*() {
      const { browser, client, login } = yield* start
      yield* login
      const { ended, response } = yield* eventSource(client.port, "/events", browser.cookie())
      assert.strictEqual(response.statusCode, 200)
      yield* browser.send("POST", "/logout")
      yield* TestClock.adjust("10 seconds")
      yield* ended
    }))

  it.effect("ends when it is the first to find out", () =>
    Effect.gen(function*() {
      const { browser, client, happened, login } = yield* start
      yield* login
      const { ended, next } = yield* eventSource(client.port, "/events", browser.cookie())
      yield* Queue.offer(happened, "a")
      assert.strictEqual(yield* next, "a 2")
      yield* browser.send("POST", "/logout")
      yield* Queue.offer(happened, "b")
      yield* ended
    }))
})
