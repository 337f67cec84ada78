/** What only a client that writes its own frames can send over HTTP/2. A character stands for one octet. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Http2 from "node:http2"
import * as Net from "node:net"
import * as Adapters from "./AdapterApp.ts"
import { requests } from "./HostileRequests.ts"
import * as App from "./SessionApp.ts"

type Field = readonly [name: string, value: string]

const frame = (type: number, flags: number, stream: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

// An integer of HPACK with a prefix of seven bits.
const integer = (value: number): Buffer => {
  if (value < 127) return Buffer.from([value])
  const octets = [127]
  let rest = value - 127
  for (; rest >= 128; rest = Math.floor(rest / 128)) octets.push(rest % 128 + 128)
  return Buffer.from([...octets, rest])
}

const text = (value: string): Buffer => Buffer.concat([integer(value.length), Buffer.from(value, "latin1")])

// Literal fields that no table keeps, so that every octet arrives as it is.
const block = (fields: ReadonlyArray<Field>): Buffer =>
  Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]))

const limit = 16_384

const headers = (fields: ReadonlyArray<Field>, endStream = true): Buffer => {
  const bytes = block(fields)
  const frames: Array<Buffer> = []
  for (let at = 0; at === 0 || at < bytes.length; at += limit) {
    const isLast = at + limit >= bytes.length
    const flags = (isLast ? 4 : 0) + (at === 0 && endStream ? 1 : 0)
    frames.push(frame(at === 0 ? 1 : 9, flags, 1, bytes.subarray(at, at + limit)))
  }
  return Buffer.concat(frames)
}

const opening = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(4, 0, 0, Buffer.alloc(0))])

const pseudo = (path = "/me", method = "GET"): ReadonlyArray<Field> => [
  [":method", method],
  [":path", path],
  [":scheme", "http"],
  [":authority", "app.test"]
]

/** The `Cookie` headers of the table, each as one field. */
const cookies = requests.flatMap(({ bytes, title }): ReadonlyArray<readonly [string, Buffer]> => {
  const value = /\r\nCookie: (.*?)\r\nConnection/s.exec(bytes)?.[1]
  return value === undefined ? [] : [[title, headers([...pseudo(), ["cookie", value]])]]
})

const odd = "\x80\xa0\xed\xa0\x80\xff"

const strange: ReadonlyArray<readonly [string, Buffer]> = [
  [
    "many cookie fields",
    headers([...pseudo(), ...Array.from({ length: 100 }, (_, i): Field => ["cookie", `c${i}=${i}`])])
  ],
  ["many of the session", headers([...pseudo(), ...Array.from({ length: 100 }, (): Field => ["cookie", "session=a"])])],
  ["10,000 fields", headers([...pseudo(), ...Array.from({ length: 10_000 }, (_, i): Field => [`x-${i}`, "a"])])],
  ["a line break in a field", headers([...pseudo(), ["cookie", "session=a\r\nset-cookie: x=y"]])],
  ["NUL in a field", headers([...pseudo(), ["cookie", "session=a\0b"]])],
  ["a name in capitals", headers([...pseudo(), ["Cookie", "session=a"]])],
  ["a name of odd octets", headers([...pseudo(), [odd, "a"]])],
  ["no name", headers([...pseudo(), ["", "a"]])],
  ["a name of the prototype", headers([...pseudo(), ["__proto__", "a"], ["constructor", "b"]])],
  ["fields of HTTP/1", headers([...pseudo(), ["connection", "close"], ["transfer-encoding", "chunked"]])],
  ["a user agent of odd octets", headers([...pseudo(), ["user-agent", odd.repeat(100)], ["sec-purpose", odd]])],
  ["no pseudo-headers", headers([["cookie", "session=a"]])],
  ["pseudo-headers twice", headers([...pseudo(), ...pseudo()])],
  ["a pseudo-header that is none", headers([...pseudo(), [":cookie", "session=a"]])],
  ["a path that is none", headers(pseudo(odd))],
  ["an empty path", headers(pseudo(""))],
  ["a path of 100 kB", headers(pseudo(`/${"x".repeat(100_000)}`))],
  ["CONNECT", headers([[":method", "CONNECT"], [":authority", "app.test:443"]])],
  [
    "a body that is shorter than it says",
    Buffer.concat([
      headers([...pseudo("/inc", "POST"), ["content-length", "100"]], false),
      frame(0, 1, 1, Buffer.from("abc"))
    ])
  ],
  [
    "a stream that is reset at once",
    Buffer.concat([
      headers(pseudo("/inc", "POST"), false),
      frame(3, 0, 1, Buffer.from([0, 0, 0, 8]))
    ])
  ],
  ["a block that is no HPACK", frame(1, 5, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]))],
  ["a frame that is too large", frame(1, 5, 1, Buffer.alloc(100_000, 0x82))],
  ["a continuation of nothing", frame(9, 4, 1, Buffer.alloc(10))],
  ["octets", Buffer.from(Array.from({ length: 256 }, (_, i) => i))]
]

const ping = frame(6, 0, 0, Buffer.alloc(8))
const pong = frame(6, 1, 0, Buffer.alloc(8))

/** Writes frames, and returns when the server has dealt with them, or has had enough of the connection. */
const exchange = (port: number, bytes: Buffer, isAnswered: () => boolean) =>
  Effect.callback<void>((resume) => {
    const socket = Net.connect({ port, host: "127.0.0.1", noDelay: true })
    let received = Buffer.alloc(0)
    const next = () => {
      if (!socket.destroyed) socket.write(ping)
    }
    socket.on("data", (more) => {
      received = Buffer.concat([received, more])
      if (!received.includes(pong)) return
      received = Buffer.alloc(0)
      if (isAnswered()) socket.destroy()
      else setImmediate(next)
    })
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.void))
    socket.write(Buffer.concat([opening, bytes, ping]))
    return Effect.sync(() => socket.destroy())
  })

describe("hostile requests over HTTP/2", () => {
  it.effect("never fail the server, start no session, and leave the next one alone", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.nodeSessions(store, {
        config: { preset: "testing", binding: { address: true, userAgent: true } },
        client: true
      })
      const statuses: Array<number> = []
      const underWay = new Set<Http2.Http2ServerResponse>()
      const listener = sessions.listener<Http2.Http2ServerRequest, Http2.Http2ServerResponse>(
        async (request, response) => {
          const session = sessions.of(request)
          if (request.url === "/inc") await Adapters.increment(session)
          response.end((await Adapters.show(session)).body ?? "")
        }
      )
      const server = Http2.createServer({ maxHeaderListPairs: 20_000 }, (request, response) => {
        underWay.add(response)
        response.on("close", () => {
          underWay.delete(response)
          statuses.push(response.statusCode)
        })
        listener(request, response)
      })
      const { port, send } = yield* Adapters.http2Client(server)
      for (const [title, bytes] of [...cookies, ...strange]) {
        yield* exchange(port, bytes, () => underWay.size === 0)
        const { body, setCookies, status } = yield* send("GET", "/me")
        assert.deepStrictEqual([status, setCookies], [200, []], title)
        assert.strictEqual(JSON.parse(body).subject, null, title)
      }
      assert.deepStrictEqual(statuses.filter((status) => status >= 500), [])
      // The server has served more than the honest client.
      assert.isAbove(statuses.length, cookies.length + strange.length + 100)
      assert.notInclude(store.calls, "save")
      assert.notInclude(store.calls, "destroy")
    }), 60_000)
})
