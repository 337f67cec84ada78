import * as SessionCookie from "@effect-session/http/SessionCookie"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { connect } from "node:net"

const name = "__Host-session"
const cookie = SessionCookie.make()
// Both look like tokens: a forged one must fail because of its cookie, not because of its form.
const genuine = "G".repeat(47)
const forged = "F".repeat(47)
const now = Date.UTC(2026, 0, 1)

/** What the server saw: the raw header, and what `read` made of it. */
interface Seen {
  readonly header: string | null
  readonly candidate: string
}

const answer = (header: string | undefined): string => {
  const candidate = SessionCookie.read(cookie, header)
  const seen: Seen = {
    header: header ?? null,
    candidate: candidate === SessionCookie.Duplicate
      ? "duplicate"
      : candidate === undefined
      ? "none"
      : `one ${candidate}`
  }
  return JSON.stringify(seen)
}

const setHeader = (path: string | undefined) =>
  path === "/clear" ? SessionCookie.clear(cookie) : SessionCookie.set(cookie, genuine, { maxAge: 60_000, now })

class Server extends Context.Service<Server, { readonly port: number }>()("test/Server") {}

const nodeServer = Layer.effect(
  Server,
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: Effect.Effect<void> }>((resume) => {
      const server = createServer((request, response) => {
        if (request.url === "/read") return response.end(answer(request.headers.cookie))
        response.setHeader("Set-Cookie", setHeader(request.url))
        return response.end()
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        if (address === null || typeof address === "string") throw new Error("the server has no port")
        const close = Effect.callback<void>((done) => {
          server.close(() => done(Effect.void))
        })
        resume(Effect.succeed({ port: address.port, close }))
      })
    }),
    ({ close }) => close
  )
)

const effectServer = Layer.effect(
  Server,
  Effect.map(HttpServer.HttpServer, ({ address }) => {
    if (address._tag === "UnixPathAddress") throw new Error("the server has no port")
    return { port: address.port }
  })
).pipe(
  Layer.provideMerge(
    HttpServer.serve(Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
      request.url === "/read"
        ? HttpServerResponse.text(answer(request.headers.cookie))
        : HttpServerResponse.empty().pipe(HttpServerResponse.setHeader("Set-Cookie", setHeader(request.url)))))
  ),
  Layer.provide(NodeHttpServer.layer(() => createServer(), { port: 0, host: "127.0.0.1" }))
)

/** Sends header lines as bytes, one per UTF-16 unit, and returns what came back. */
const exchange = Effect.fnUntraced(function*(path: string, lines: ReadonlyArray<string>) {
  const { port } = yield* Server
  return yield* Effect.callback<
    { readonly status: number; readonly head: ReadonlyArray<string>; readonly body: string }
  >(
    (resume) => {
      const socket = connect(port, "127.0.0.1")
      const received: Array<Buffer> = []
      socket.on("data", (bytes) => received.push(bytes))
      socket.on("error", (error) => resume(Effect.die(error)))
      socket.on("end", () => {
        const text = Buffer.concat(received).toString()
        const cut = text.indexOf("\r\n\r\n")
        const [status, ...head] = text.slice(0, cut).split("\r\n")
        resume(Effect.succeed({ status: Number(status.split(" ")[1]), head, body: text.slice(cut + 4) }))
      })
      socket.end(Buffer.from([`GET ${path} HTTP/1.1`, ...lines, "Connection: close", "", ""].join("\r\n"), "latin1"))
      return Effect.sync(() => socket.destroy())
    }
  )
})

const readBy = Effect.fnUntraced(function*(...cookieLines: ReadonlyArray<string>) {
  const { body, status } = yield* exchange("/read", [
    "Host: a.example",
    ...cookieLines.map((line) => `Cookie: ${line}`)
  ])
  if (status !== 200) return { status, candidate: undefined, header: undefined }
  // Chunked or not, the body holds one line of JSON.
  const seen: Seen = JSON.parse(body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1))
  return { status, ...seen }
})

const one = (value: string) => `one ${value}`

interface Vector {
  readonly title: string
  readonly forgery: string
  /** Without a genuine cookie. `none` unless told. */
  readonly alone?: string
  /** With the genuine cookie, before or after. The genuine value unless told. */
  readonly beside?: string
}

const blanks: ReadonlyArray<readonly [string, string]> = [
  ["byte A0", "\xa0"],
  ["bytes EF BB BF", "\xef\xbb\xbf"],
  ["bytes C2 A0", "\xc2\xa0"],
  ["bytes E2 80 80", "\xe2\x80\x80"]
]

const vectors: ReadonlyArray<Vector> = [
  ...blanks.flatMap(([title, bytes]) => [
    { title: `${title} before the name`, forgery: `${bytes}${name}=${forged}` },
    { title: `${title} after the name`, forgery: `${name}${bytes}=${forged}` },
    { title: `${title} and a space before the name`, forgery: `${bytes} ${name}x=1; ${bytes}${name}=${forged}` }
  ]),
  { title: "a percent-encoded name", forgery: `__%48ost-session=${forged}` },
  { title: "a nameless cookie", forgery: `=${name}=${forged}` },
  { title: "the name without an equal sign", forgery: name },
  { title: "the name in lower case", forgery: `__host-session=${forged}` },
  { title: "the name in upper case", forgery: `__HOST-SESSION=${forged}` },
  { title: "__proto__", forgery: `__proto__=${forged}` },
  { title: "a comma instead of a semicolon", forgery: `a=1, ${name}=${forged}` },
  { title: "the name as a value", forgery: `a=${name}=${forged}` },
  {
    title: "legacy $Version syntax",
    forgery: `$Version=1; ${name}="${forged}"; $Path=/`,
    alone: one(`"${forged}"`),
    beside: "duplicate"
  },
  {
    title: "a quoted value that contains the cookie",
    forgery: `a="1; ${name}=${forged}"`,
    alone: one(`${forged}"`),
    beside: "duplicate"
  },
  {
    title: "a quoted session value that contains the cookie",
    forgery: `${name}="1; ${name}=${forged}"`,
    alone: "duplicate",
    beside: "duplicate"
  },
  { title: "legacy $Version syntax without the name", forgery: `$Version=1; a="x"; $Path=/` },
  { title: "a quote that never ends", forgery: `$Version=1; a="x` },
  { title: "a true duplicate", forgery: `${name}=${forged}`, alone: one(forged), beside: "duplicate" },
  { title: "an empty duplicate", forgery: `${name}=`, alone: one(""), beside: "duplicate" }
]

const suite = (title: string, server: Layer.Layer<Server, unknown>) =>
  describe(title, () => {
    layer(server)((it) => {
      it.effect.each(vectors)("keeps the genuine cookie apart from $title", (vector) =>
        Effect.gen(function*() {
          const { alone = "none", beside = one(genuine), forgery } = vector
          const cookies = `${name}=${genuine}`
          assert.strictEqual((yield* readBy(forgery)).candidate, alone)
          assert.strictEqual((yield* readBy(`${forgery}; ${cookies}`)).candidate, beside)
          assert.strictEqual((yield* readBy(`${cookies}; ${forgery}`)).candidate, beside)
          assert.strictEqual((yield* readBy(forgery, cookies)).candidate, beside)
          assert.strictEqual((yield* readBy(cookies, forgery)).candidate, beside)
          // The header really reached the parser as it was sent.
          assert.strictEqual((yield* readBy(cookies, forgery)).header, `${cookies}; ${forgery}`)
        }))

      it.effect.each([["0B", "\x0b"], ["0C", "\x0c"], ["00", "\0"]] as const)(
        "never sees a header with the byte %s",
        ([, byte]) =>
          Effect.gen(function*() {
            for (const forgery of [`${byte}${name}=${forged}`, `${name}${byte}=${forged}`]) {
              assert.strictEqual((yield* readBy(forgery)).status, 400)
              assert.strictEqual((yield* readBy(`${forgery}; ${name}=${genuine}`)).status, 400)
              assert.strictEqual((yield* readBy(`${name}=${genuine}; ${forgery}`)).status, 400)
            }
          })
      )

      it.effect("reads the cookie from the second of two Cookie lines, and none without a line", () =>
        Effect.gen(function*() {
          assert.strictEqual((yield* readBy("a=1; b=2", `c=3; ${name}=${genuine}`)).candidate, one(genuine))
          assert.deepStrictEqual(yield* readBy(), { status: 200, header: null, candidate: "none" })
        }))

      it.effect("reads a header of nearly 16,384 bytes", () =>
        Effect.gen(function*() {
          const filler = `${name} `.repeat(1070)
          assert.strictEqual((yield* readBy(`a=${filler}; ${name}=${genuine}`)).candidate, one(genuine))
        }))

      it.effect("sends one Set-Cookie line whatever the request says of its host", () =>
        Effect.gen(function*() {
          const attributes = "Path=/; Secure; HttpOnly; SameSite=Lax"
          const setLine =
            `Set-Cookie: ${name}=${genuine}; Max-Age=60; Expires=Thu, 01 Jan 2026 00:01:00 GMT; ${attributes}`
          const clearLine = `Set-Cookie: ${name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; ${attributes}`
          const hosts = [
            "a.example",
            "evil.example",
            ".evil.example",
            "a.example:8443",
            "a.example; Domain=evil.example",
            "a.example, evil.example",
            "user@evil.example",
            "[::1]",
            "127.0.0.1",
            "evil.example/path",
            "\"evil.example\"",
            "%0d%0aSet-Cookie:x=y",
            "A.EXAMPLE",
            "xn--bcher-kva.example",
            "com",
            "localhost",
            "a.example.",
            "a.example\t",
            "*",
            "b\xfccher.example"
          ]
          for (const host of hosts) {
            const lines = [`Host: ${host}`, `X-Forwarded-Host: ${host}`, `Forwarded: host="${host}"`]
            for (const [path, expected] of [["/set?domain=evil.example", setLine], ["/clear", clearLine]] as const) {
              const { head } = yield* exchange(path, lines)
              const sent = head.filter((line) => /^set-cookie:/i.test(line))
              assert.deepStrictEqual(sent.map((line) => line.replace(/^set-cookie/i, "Set-Cookie")), [expected], host)
            }
          }
        }))
    })
  })

suite("a node:http server", nodeServer)
suite("an effect/http server", effectServer)

it("reads the header of a fetch Request", () => {
  const request = new Request("http://a.example/", {
    headers: [["cookie", `\u00a0${name}=${forged}`], ["cookie", `${name}=${genuine}`]]
  })
  assert.strictEqual(SessionCookie.read(cookie, request.headers.get("cookie") ?? undefined), genuine)
})
