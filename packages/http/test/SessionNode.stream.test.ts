import { type SessionError, SessionStore } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import * as Http from "node:http"
import { connect, type Socket } from "node:net"
import { Readable, Transform } from "node:stream"
import { pipeline } from "node:stream/promises"
import { createGzip, gunzipSync } from "node:zlib"
import * as Adapters from "./AdapterApp.ts"
import * as App from "./SessionApp.ts"

type Listener = (request: Http.IncomingMessage, response: Http.ServerResponse, session: Adapters.Session) => unknown

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
const far = () => turn
const { increment } = Adapters

const setUp = Effect.fnUntraced(function*(listener: Listener, before?: (response: Http.ServerResponse) => void) {
  const store = yield* App.makeStore()
  const sessions = yield* Adapters.nodeSessions(store)
  const listen = sessions.listener((request, response) => {
    if (request.url === "/me") return Adapters.show(sessions.of(request)).then(({ body }) => response.end(body))
    return listener(request, response, sessions.of(request))
  })
  const client = yield* Adapters.listen(Http.createServer((request, response) => {
    before?.(response)
    listen(request, response)
  }))
  const token = App.tokenOf(yield* client.send("GET", "/me"))
  assert.isUndefined(token)
  store.before = far
  const me = (answer: App.Reply) =>
    Effect.map(
      client.send("GET", "/me", { headers: { cookie: `session=${App.tokenOf(answer)}` } }),
      App.shown
    )
  return { client, store, sessions, me }
})

const socketTo = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<Socket>((resume) => {
      const socket = connect({ port, host: "127.0.0.1", noDelay: true }, () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** Sends a request as text and returns all that comes back until the server closes. */
const exchange = Effect.fnUntraced(function*(port: number, text: string) {
  const socket = yield* socketTo(port)
  return yield* Effect.callback<string>((resume) => {
    const received: Array<Buffer> = []
    socket.on("data", (bytes) => received.push(bytes))
    socket.on("close", () => resume(Effect.succeed(Buffer.concat(received).toString("latin1"))))
    socket.write(text)
  })
}, Effect.scoped)

const lines = (first: string, ...headers: ReadonlyArray<string>) => [first, ...headers, "", ""].join("\r\n")

const codeOf = (f: () => unknown): unknown => {
  try {
    f()
  } catch (error) {
    return error instanceof Error && "code" in error ? error.code : error
  }
  return "none"
}

// What a handler can do with a response, none of which a session may change.
const scripts: Readonly<Record<string, (response: Http.ServerResponse) => unknown>> = {
  "end": (response) => response.end(),
  "end with text": (response) => response.end("text"),
  "end with bytes": (response) => response.end(new Uint8Array([111, 107])),
  "end with an encoding": (response) => response.end("6f6b", "hex"),
  "end with null": (response) => response.end(null),
  "a status and a message": (response) => {
    response.statusCode = 418
    response.statusMessage = "Short and stout"
    response.end("x")
  },
  "writeHead and end": (response) => response.writeHead(201, { "X-A": "1", "x-b": ["2", "3"] }).end("text"),
  "writeHead with a message": (response) => response.writeHead(201, "Made", { "X-A": 1 }).end("text"),
  "writeHead with a length": (response) => response.writeHead(200, { "Content-Length": 4 }).end("text"),
  "writeHead with pairs": (response) => response.writeHead(200, ["X-A", "1", "X-A", "2", "X-B", "3"]).end("text"),
  "writeHead over headers": (response) => {
    response.setHeader("X-A", "old")
    response.setHeader("X-C", "kept")
    response.writeHead(200, ["x-a", "1", "X-A", "2"])
    response.end("text")
  },
  "writes": (response) => {
    response.write("one ")
    response.write(Buffer.from("two "))
    response.write("dGhyZWU=", "base64")
    response.end(" four")
  },
  "a status that changes after the first byte": (response) => {
    response.write("one")
    response.statusCode = 500
    response.end()
  },
  "an empty write": (response) => {
    response.write("")
    response.end("text")
  },
  "writes between cork and uncork": (response) => {
    response.cork()
    response.write("one ")
    response.write("two ")
    response.uncork()
    response.end("three")
  },
  "trailers": (response) => {
    if (response.req.method === "HEAD") return response.end()
    response.writeHead(200, { Trailer: "X-Sum" })
    response.write("text")
    response.addTrailers({ "X-Sum": "1" })
    return response.end()
  },
  "flushHeaders": (response) => {
    response.flushHeaders()
    response.end("text")
  },
  "no content": (response) => response.writeHead(204).end(),
  "not modified": (response) => response.writeHead(304, { ETag: "\"1\"" }).end(),
  "early hints": (response) => {
    response.writeEarlyHints({ link: "</a.css>; rel=preload" })
    response.end("text")
  },
  "continue": (response) => {
    response.writeContinue()
    response.end("text")
  },
  "a pipe": (response) => Readable.from(["one ", "two ", "three"]).pipe(response),
  "a pipeline": (response) => pipeline(Readable.from(["one ", "two "]), new Transform({ transform: upper }), response),
  "a connection that closes": (response) => response.writeHead(200, { Connection: "close" }).end("text"),
  "without a date": (response) => {
    response.sendDate = false
    response.end("text")
  },
  "end twice": (response) => {
    response.end("one")
    response.end()
  }
}

function upper(chunk: Buffer, _encoding: string, done: (error: null, chunk: string) => void) {
  done(null, chunk.toString().toUpperCase())
}

const withoutOurs = (text: string) =>
  text.replace(/^(?:vary: cookie|set-cookie: session=.*|cache-control: no-store)\r\n/gim, "")
    .replace(/^(date: ).*$/gim, "$1now")

describe("SessionNode, responses", () => {
  it.effect.each(Object.keys(scripts))("arrive as they do without a session: %s", (name) =>
    Effect.gen(function*() {
      const bare = yield* Adapters.listen(Http.createServer((_request, response) => void scripts[name](response)))
      const { client, store } = yield* setUp(async (request, response, session) => {
        if (request.url === "/write") await increment(session)
        if (request.url === "/read") await session.get()
        return scripts[name](response)
      })
      for (const method of ["GET", "HEAD"]) {
        const headers = ["Host: a", "Connection: close"]
        const expected = yield* exchange(bare.port, lines(`${method} / HTTP/1.1`, ...headers))
        for (const pause of [() => Effect.void, far]) {
          store.before = pause
          for (const path of ["/", "/read", "/write"]) {
            const text = yield* exchange(client.port, lines(`${method} ${path} HTTP/1.1`, ...headers))
            assert.strictEqual(withoutOurs(text), withoutOurs(expected), `${method} ${path}`)
            const cookies = text.match(/^set-cookie: session=/gim)?.length ?? 0
            assert.strictEqual(cookies, path === "/write" ? 1 : 0)
            assert.strictEqual(/^vary: cookie/im.test(text), path !== "/")
          }
        }
      }
    }))

  it.effect("while the store is asked, a response looks like one that has begun", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const { client } = yield* setUp(async (_request, response, session) => {
        await increment(session)
        response.setHeader("x-a", "1")
        response.write("one ")
        seen.push(response.headersSent, response.writableEnded)
        for (
          const change of [
            () => response.setHeader("x-a", "2"),
            () => response.appendHeader("x-a", "2"),
            () => response.removeHeader("x-a"),
            () => response.setHeaders(new Headers({ "x-a": "2" })),
            () => response.writeHead(500)
          ]
        ) seen.push(codeOf(change))
        seen.push(response.getHeader("x-a"))
        response.end("two")
        seen.push(response.headersSent, response.writableEnded)
        await new Promise((resolve) => response.on("finish", resolve))
        seen.push(response.headersSent, response.writableEnded, response.writableLength, response.writableNeedDrain)
      })
      const answer = yield* client.send("POST", "/")
      assert.deepStrictEqual([answer.status, answer.body, answer.header("x-a")], [200, "one two", "1"])
      const refused = Array(5).fill("ERR_HTTP_HEADERS_SENT")
      yield* turn
      assert.deepStrictEqual(seen, [true, false, ...refused, "1", true, true, true, true, 0, false])
    }))

  it.effect("so does one that other code has put methods upon, and gets them back", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const framework: object = Object.create(Http.ServerResponse.prototype)
      const patched = new WeakMap<Http.ServerResponse, unknown>()
      const { client } = yield* setUp(async (_request, response, session) => {
        await increment(session)
        response.write("one ")
        seen.push(response.writableLength, codeOf(() => response.setHeader("x-a", "2")))
        response.end("two")
        await new Promise((resolve) => response.on("finish", resolve))
        seen.push(response.setHeader === patched.get(response), Object.getPrototypeOf(response) === framework)
      }, (response) => {
        // As Express and others do.
        Object.setPrototypeOf(response, framework)
        response.setHeader = response.setHeader.bind(response)
        patched.set(response, response.setHeader)
        response.setHeader("x-a", "1")
      })
      const answer = yield* client.send("POST", "/")
      assert.deepStrictEqual([answer.status, answer.body, answer.header("x-a")], [200, "one two", "1"])
      yield* turn
      assert.deepStrictEqual(seen, [4, "ERR_HTTP_HEADERS_SENT", true, true])
    }))

  it.effect("so does one that other code guards or changes meanwhile, as far as it lets others", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const kept = () => "kept"
      const { client } = yield* setUp(async (_request, response, session) => {
        await increment(session)
        response.write("one ")
        Object.assign(response, { appendHeader: kept, writableEnded: "mine" })
        seen.push(response.headersSent, codeOf(() => response.setHeader("x-a", "2")))
        response.end("two")
        await new Promise((resolve) => response.on("finish", resolve))
        seen.push(response.headersSent, Object.is(response.appendHeader, kept), response.writableEnded)
      }, (response) => {
        Object.defineProperty(response, "headersSent", { get: () => false })
      })
      assert.strictEqual((yield* client.send("POST", "/")).body, "one two")
      yield* turn
      assert.deepStrictEqual(seen, [false, "ERR_HTTP_HEADERS_SENT", false, true, "mine"])
    }))

  it.effect("what Node throws for is thrown at once, and leaves nothing behind", () =>
    Effect.gen(function*() {
      const wrong: Record<string, (response: Http.ServerResponse) => unknown> = {
        ERR_INVALID_ARG_TYPE: (response) => response.write(5),
        ERR_STREAM_NULL_VALUES: (response) => response.write(null),
        ERR_HTTP_INVALID_STATUS_CODE: (response) => response.writeHead(1000, { "x-left": "1" }),
        ERR_INVALID_CHAR: (response) => response.writeHead(200, { "x-left": "1", "x-b": "a\nb" }),
        ERR_HTTP_INVALID_HEADER_VALUE: (response) =>
          Reflect.apply(response.writeHead, response, [200, { "x-left": "1", "x-b": undefined }])
      }
      for (const [code, script] of Object.entries(wrong)) {
        const { client, me } = yield* setUp(async (_request, response, session) => {
          await increment(session)
          const thrown = codeOf(() => script(response))
          response.end(String(thrown))
        })
        const answer = yield* client.send("POST", "/")
        assert.deepStrictEqual([answer.status, answer.body, answer.header("x-left")], [200, code, undefined])
        assert.strictEqual((yield* me(answer)).n, 1)
      }
    }))

  it.effect("writers are held up while the store is asked, and go on afterwards", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const asked = yield* Deferred.make<void>()
      const seen: Array<unknown> = []
      const part = "x".repeat(10_000)
      const { client, store } = yield* setUp(async (_request, response, session) => {
        await increment(session)
        let writes = 0
        while (response.write(part, () => seen.push("written"))) writes++
        seen.push(response.writableNeedDrain, response.writableLength >= writes * part.length, writes < 100)
        await new Promise<void>((resolve) => response.once("drain", resolve))
        seen.push("drained")
        response.end("end", () => seen.push("ended"))
      })
      store.before = (method) =>
        method === "create" ? Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(gate)) : Effect.void
      const fiber = yield* Effect.forkChild(client.send("POST", "/"))
      yield* Deferred.await(asked)
      yield* turn
      assert.deepStrictEqual(seen, [true, true, true])
      yield* Deferred.succeed(gate, undefined)
      const answer = yield* Fiber.join(fiber)
      const parts = seen.filter((event) => event === "written").length
      assert.strictEqual(answer.body, part.repeat(parts) + "end")
      assert.isAbove(parts, 1)
      assert.includeMembers(seen, ["drained", "ended"])
    }))

  it.effect("a pipe takes no more from its source than the response would hold", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const asked = yield* Deferred.make<void>()
      let taken = 0
      const { client, store } = yield* setUp(async (_request, response, session) => {
        await increment(session)
        const source = Readable.from(
          (function*() {
            for (let i = 0; i < 200; i++) {
              taken++
              yield Buffer.alloc(16_384, 120)
            }
          })(),
          { highWaterMark: 1 }
        )
        await pipeline(source, response)
      })
      store.before = (method) =>
        method === "create" ? Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(gate)) : Effect.void
      const fiber = yield* Effect.forkChild(client.send("POST", "/"))
      yield* Deferred.await(asked)
      for (let i = 0; i < 50; i++) yield* turn
      assert.isBelow(taken, 20)
      yield* Deferred.succeed(gate, undefined)
      const answer = yield* Fiber.join(fiber)
      assert.deepStrictEqual([answer.body.length, answer.setCookies.length], [200 * 16_384, 1])
    }))

  it.effect("flushed headers carry the cookie, and no write can follow them", () =>
    Effect.gen(function*() {
      const late = yield* Deferred.make<string>()
      const head = yield* Deferred.make<void>()
      const { client, me } = yield* setUp(async (_request, response, session) => {
        await increment(session)
        response.flushHeaders()
        await Effect.runPromise(Deferred.await(head))
        const told = await increment(session).then(
          () => "stored",
          (error: SessionError.SessionError) => error.reason._tag
        )
        Deferred.doneUnsafe(late, Effect.succeed(told))
        response.end("data: x\n\n")
      })
      const fiber = yield* Effect.forkChild(Effect.callback<App.Reply>((resume) => {
        const request = Http.request({ port: client.port, host: "127.0.0.1", method: "POST" }, (response) => {
          const setCookies = response.headers["set-cookie"] ?? []
          Deferred.doneUnsafe(head, Effect.void)
          response.resume()
          response.on("end", () =>
            resume(Effect.succeed({ status: 200, headers: [], header: () => undefined, setCookies, body: "" })))
        })
        request.end()
      }))
      const answer = yield* Fiber.join(fiber)
      assert.strictEqual(yield* Deferred.await(late), "Finished")
      assert.strictEqual((yield* me(answer)).n, 1)
    }))

  it.effect("when the commit fails, an error takes the place of what was written, and no writer gets stuck", () =>
    Effect.gen(function*() {
      const over: Array<string> = []
      const { client, store } = yield* setUp(async (request, response, session) => {
        await increment(session)
        response.writeHead(201, { "Content-Type": "text/html", "Content-Length": "1000000" })
        if (request.url === "/pipe") {
          // Whoever watches the response sees that it closed before all was written.
          await pipeline(Readable.from(Array(100).fill("x".repeat(10_000))), response).catch((error) =>
            over.push(error.code)
          )
        } else if (request.url === "/wait") {
          const drained = new Promise((resolve) => response.once("drain", resolve))
          while (response.write("x".repeat(10_000)));
          await drained
          over.push("drained")
          response.end()
        } else {
          response.write("x", () => over.push("written"))
          response.end("y".repeat(999_999), () => over.push("ended"))
          response.end("again")
        }
      }, (response) => response.setHeader("X-Frame-Options", "DENY"))
      store.before = (method) => method === "create" ? Effect.andThen(turn, App.down) : turn
      for (const path of ["/", "/pipe", "/wait"]) {
        const answer = yield* client.send("POST", path)
        assert.deepStrictEqual([answer.status, answer.body, answer.setCookies], [503, "", []])
        assert.strictEqual(answer.header("content-type"), undefined)
        assert.strictEqual(answer.header("content-length"), "0")
        // What stood before the session is not the handler's.
        assert.strictEqual(answer.header("x-frame-options"), "DENY")
      }
      for (let i = 0; i < 5; i++) yield* turn
      assert.sameMembers(over, ["written", "ended", "ERR_STREAM_PREMATURE_CLOSE", "drained"])
    }))

  it.effect("a cookie of the session's name is the session's alone", () =>
    Effect.gen(function*() {
      const { client } = yield* setUp(async (_request, response, session) => {
        await increment(session)
        response.writeHead(200, { "Set-Cookie": ["session=forged; Path=/", "theme=dark"] })
        response.end()
      })
      const { setCookies } = yield* client.send("POST", "/")
      assert.strictEqual(setCookies.length, 2)
      assert.strictEqual(setCookies[0], "theme=dark")
      assert.match(setCookies[1], /^session=[\w-]{47};/)
    }))
})

describe("SessionNode, other code that wraps responses", () => {
  // As the middleware of the name: it writes through what it finds.
  const compress = (response: Http.ServerResponse) => {
    const { end, write, writeHead } = response
    const gzip = createGzip()
    let fired = false
    const bare = response as unknown as Record<string, unknown> & { _header: unknown; _implicitHeader: () => void }
    bare.writeHead = (...args: ReadonlyArray<unknown>) => {
      if (!fired) {
        fired = true
        response.setHeader("Content-Encoding", "gzip")
        response.removeHeader("Content-Length")
      }
      return Reflect.apply(writeHead, response, args)
    }
    bare.write = (chunk: string) => {
      if (!bare._header) bare._implicitHeader()
      return gzip.write(chunk)
    }
    bare.end = (chunk?: string) => {
      if (!bare._header) bare._implicitHeader()
      gzip.end(chunk)
      return response
    }
    gzip.on("data", (chunk) => {
      if (Reflect.apply(write, response, [chunk]) === false) gzip.pause()
    })
    gzip.on("end", () => Reflect.apply(end, response, []))
    response.on("drain", () => gzip.resume())
  }

  const fetchBytes = (port: number) =>
    Effect.promise(() =>
      new Promise<{ readonly headers: Http.IncomingHttpHeaders; readonly body: Buffer }>((resolve, reject) => {
        Http.get({ port, host: "127.0.0.1", path: "/" }, (response) => {
          const parts: Array<Buffer> = []
          response.on("data", (part) => parts.push(part))
          response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(parts) }))
        }).on("error", reject)
      })
    )

  it.effect.each(["inside", "outside"])("compresses %s of the session", (place) =>
    Effect.gen(function*() {
      for (const pause of [() => Effect.void, far]) {
        const large = Array.from({ length: 2000 }, (_, i) => `line ${i} ${Math.imul(i, 2_654_435_761)}\n`)
        const { client, store } = yield* setUp(
          async (_request, response, session) => {
            if (place === "inside") compress(response)
            await increment(session)
            for (const line of large) response.write(line)
            response.end("end")
          },
          (response) => place === "outside" && compress(response)
        )
        store.before = pause
        const { body, headers } = yield* fetchBytes(client.port)
        assert.strictEqual(headers["content-encoding"], "gzip")
        assert.strictEqual(headers["set-cookie"]?.length, 1)
        assert.strictEqual(gunzipSync(body).toString(), large.join("") + "end")
      }
    }))

  it.effect("a response that begins past the session is broken off if something of it would be lost", () =>
    Effect.gen(function*() {
      const { client, store } = yield* setUp(async (request, response, session) => {
        if (request.url === "/read") await session.get()
        if (request.url === "/write") await increment(session)
        if (request.url === "/commit") await session.login("ada").then(() => session.commit())
        Http.ServerResponse.prototype.writeHead.call(response, 200, { "Content-Length": "4" })
        response.write("te")
        setImmediate(() => setImmediate(() => response.end("xt")))
      })
      const ask = (path: string) =>
        exchange(client.port, lines(`POST ${path} HTTP/1.1`, "Host: a", "Connection: close", "Content-Length: 0"))
      store.before = () => Effect.void
      for (const path of ["/", "/read"]) assert.match(yield* ask(path), /\r\n\r\ntext$/)
      assert.notMatch(yield* ask("/write"), /text$/)
      assert.deepStrictEqual(yield* store.keys, [])
      // What is stored already, and the client cannot learn of, is lost as well.
      assert.notMatch(yield* ask("/commit"), /text$/)
    }))
})

describe("SessionNode, clients that leave", () => {
  it.effect("data, sign-in and renewal are discarded, the end stands, and what follows is refused", () =>
    Effect.gen(function*() {
      const operations: Record<string, (session: Adapters.Session) => Promise<unknown>> = {
        write: increment,
        login: (session) => session.login("ada"),
        renew: (session) => session.renew(),
        logout: (session) => session.destroy()
      }
      let arrived = () => {}
      let left = (_told: string) => {}
      const { client, me, store } = yield* setUp(async (request, response, session) => {
        if (request.url === "/inc") {
          await increment(session)
          return response.end()
        }
        await operations[request.url?.slice(1) ?? ""](session)
        const closed = new Promise((resolve) => response.on("close", resolve))
        arrived()
        await closed
        left(await increment(session).then(() => "stored", (error: SessionError.SessionError) => error.reason._tag))
        return response.end("nobody reads this")
      })
      for (const operation of Object.keys(operations)) {
        const first = yield* client.send("POST", "/inc")
        const inside = yield* Deferred.make<void>()
        const told = yield* Deferred.make<string>()
        arrived = () => Deferred.doneUnsafe(inside, Effect.void)
        left = (text) => Deferred.doneUnsafe(told, Effect.succeed(text))
        const headers = { cookie: `session=${App.tokenOf(first)}` }
        const fiber = yield* Effect.forkChild(client.send("POST", `/${operation}`, { headers }))
        yield* Deferred.await(inside)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* Deferred.await(told), "Finished")
        for (let i = 0; i < 5; i++) yield* turn
        const { n, status, subject } = yield* me(first)
        assert.deepStrictEqual(
          [status, subject, n],
          operation === "logout" ? ["anonymous", null, 0] : ["active", null, 1],
          operation
        )
      }
      assert.strictEqual((yield* store.keys).length, 3)
    }))

  it.effect("a commit that is under way is carried out, and its writers are told", () =>
    Effect.gen(function*() {
      const saving = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const saved = yield* Deferred.make<void>()
      const written = yield* Deferred.make<string>()
      const closed = yield* Deferred.make<void>()
      const { client, me, store } = yield* setUp(async (request, response, session) => {
        await increment(session)
        if (request.url === "/inc") return response.end()
        response.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
        response.write("x", (error) => Deferred.doneUnsafe(written, Effect.succeed(String(error !== undefined))))
        return response.end()
      })
      const first = yield* client.send("POST", "/inc")
      store.before = (method) =>
        method === "save" ? Effect.andThen(Deferred.succeed(saving, undefined), Deferred.await(gate)) : Effect.void
      store.after = (method) => method === "save" ? Effect.asVoid(Deferred.succeed(saved, undefined)) : Effect.void
      const headers = { cookie: `session=${App.tokenOf(first)}` }
      const fiber = yield* Effect.forkChild(client.send("POST", "/", { headers }))
      yield* Deferred.await(saving)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(closed)
      yield* Deferred.succeed(gate, undefined)
      yield* Deferred.await(saved)
      assert.strictEqual(yield* Deferred.await(written), "true")
      assert.strictEqual((yield* me(first)).n, 2)
    }))

  it.effect("requests of many users on one connection stay apart", () =>
    Effect.gen(function*() {
      const { client } = yield* setUp(async (request, response, session) => {
        await session.login(request.url?.slice(1) ?? "")
        await increment(session)
        response.end(`[${await session.subject()}]`)
      })
      const users = ["ada", "eve", "bob", "ada"]
      const requests = users.map((user, i) =>
        lines(
          `POST /${user} HTTP/1.1`,
          "Host: a",
          "Content-Length: 0",
          ...(i === 3 ? ["Connection: close"] : [])
        )
      )
      const text = yield* exchange(client.port, requests.join(""))
      assert.deepStrictEqual(Array.from(text.matchAll(/\[(\w+)\]/g), ([, user]) => user), users)
      assert.strictEqual(text.match(/^set-cookie: session=/gim)?.length, 4)
    }))
})

describe("SessionNode, stores that fail in odd ways", () => {
  it.effect("a store with a bug is a 500, and the request ends", () =>
    Effect.gen(function*() {
      const { client, store } = yield* setUp(async (_request, response, session) => {
        await increment(session)
        response.end("done")
      })
      for (const pause of [Effect.void, turn]) {
        store.before = (method) =>
          method === "create" ? Effect.andThen(pause, Effect.die(new Error("bug with a-secret"))) : pause
        const answer = yield* client.send("POST", "/")
        assert.deepStrictEqual([answer.status, answer.body, answer.setCookies], [500, "", []])
        assert.notInclude(JSON.stringify(answer), "a-secret")
      }
    }))

  it.effect("an error of the store says nothing about the store", () =>
    Effect.gen(function*() {
      const { client, store } = yield* setUp(async (_request, response, session) => {
        await increment(session)
        response.end("done")
      })
      store.before = () =>
        Effect.fail(
          new SessionStore.SessionStoreError({
            reason: new SessionStore.StoreUnavailable({ description: "redis at 10.0.0.1 refused" })
          })
        )
      const answer = yield* client.send("POST", "/")
      assert.deepStrictEqual([answer.status, answer.body], [503, ""])
      assert.notInclude(JSON.stringify(answer), "10.0.0.1")
    }))
})
