import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { createConnection, createServer, type Socket } from "node:net"
import * as TcpProxy from "./TcpProxy.ts"

/** Sends everything back. */
const echo = Effect.acquireRelease(
  Effect.callback<{ readonly port: number; readonly got: () => string; readonly close: () => void }>((resume) => {
    let got = ""
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on("error", () => {})
      socket.on("data", (bytes) => {
        got += bytes.toString()
        socket.write(bytes)
      })
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      const close = () => {
        for (const socket of sockets) socket.destroy()
        server.close()
      }
      resume(Effect.succeed({ port, got: () => got, close }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

interface Heard {
  readonly text: string
  readonly error: string | undefined
  readonly pieces: number
}

/** Sends a text and listens until the connection ends, or for `patience` milliseconds. */
const talk = (port: number, text: string, patience = 2000) =>
  Effect.callback<Heard>((resume) => {
    let got = ""
    let error: string | undefined
    let pieces = 0
    const socket = createConnection({ port, host: "127.0.0.1" }, () => socket.write(text))
    const timer = setTimeout(() => socket.destroy(), patience)
    socket.on("data", (bytes) => {
      got += bytes.toString()
      pieces++
      if (got.length === text.length) socket.end()
    })
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      error = cause.code
    })
    socket.on("close", () => {
      clearTimeout(timer)
      resume(Effect.succeed({ text: got, error, pieces }))
    })
  })

const setup = Effect.gen(function*() {
  const server = yield* echo
  return { server, proxy: yield* TcpProxy.make(server.port) }
})

describe("TcpProxy", () => {
  it.live("passes both directions and counts the bytes", () =>
    Effect.gen(function*() {
      const { proxy } = yield* setup
      assert.strictEqual((yield* talk(proxy.port, "hello")).text, "hello")
      assert.strictEqual((yield* talk(proxy.port, "again!")).text, "again!")
      assert.deepStrictEqual([proxy.passed("toServer"), proxy.passed("toClient")], [11, 11])
      assert.strictEqual(proxy.connections()[1].greeting(), "again!")
    }))

  it.live("cuts after so many bytes to the server, which sees just these", () =>
    Effect.gen(function*() {
      const { proxy, server } = yield* setup
      yield* proxy.next({ toServer: { cutAfter: 3 } })
      const heard = yield* talk(proxy.port, "hello")
      assert.strictEqual(heard.error, "ECONNRESET")
      yield* Effect.sleep("20 millis")
      assert.strictEqual(server.got(), "hel")
      assert.strictEqual((yield* talk(proxy.port, "next")).text, "next", "only the one connection was meant")
    }))

  it.live("cuts after so many bytes to the client, with an end or a reset", () =>
    Effect.gen(function*() {
      const { proxy } = yield* setup
      yield* proxy.next({ toClient: { cutAfter: 2, cut: "end" } }, { toClient: { cutAfter: 0 } })
      assert.deepStrictEqual(yield* talk(proxy.port, "hello"), { text: "he", error: undefined, pieces: 1 })
      assert.deepStrictEqual(yield* talk(proxy.port, "hello"), { text: "", error: "ECONNRESET", pieces: 0 })
    }))

  it.live("a black hole holds everything back, and lets it go on when its plan changes", () =>
    Effect.gen(function*() {
      const { proxy, server } = yield* setup
      yield* proxy.next(TcpProxy.blackHole, { toServer: { holeAfter: 2 } })
      assert.deepStrictEqual(yield* talk(proxy.port, "hello", 100), { text: "", error: undefined, pieces: 0 })
      assert.strictEqual(server.got(), "")
      const late = yield* Effect.forkChild(talk(proxy.port, "hello"), { startImmediately: true })
      while (server.got() !== "he") yield* Effect.sleep("2 millis")
      yield* proxy.connections()[1].follow({})
      assert.strictEqual((yield* Fiber.join(late)).text, "hello")
    }))

  it.live("what was sent before the client gave up arrives when the hole closes", () =>
    Effect.gen(function*() {
      const { proxy, server } = yield* setup
      yield* proxy.next({ toServer: { holeAfter: 0 } })
      yield* talk(proxy.port, "late", 30)
      yield* Effect.sleep("20 millis")
      assert.strictEqual(server.got(), "")
      yield* proxy.connections()[0].follow({})
      while (server.got() !== "late") yield* Effect.sleep("2 millis")
    }))

  it.live("drips byte by byte and delays", () =>
    Effect.gen(function*() {
      const { proxy } = yield* setup
      yield* proxy.next({ toClient: { drip: 5 } }, { toClient: { delay: 60 } })
      const dripped = yield* talk(proxy.port, "0123456789")
      assert.strictEqual(dripped.text, "0123456789")
      assert.isAbove(dripped.pieces, 5)
      assert.strictEqual((yield* talk(proxy.port, "hello", 30)).text, "")
    }))

  it.live("cuts an open connection by hand and lets its peers be", () =>
    Effect.gen(function*() {
      const { proxy } = yield* setup
      yield* proxy.always({ toServer: { delay: 60 } })
      const both = yield* Effect.forkChild(
        Effect.all([talk(proxy.port, "first"), talk(proxy.port, "second")], { concurrency: 2 }),
        { startImmediately: true }
      )
      while (proxy.connections().length < 2) yield* Effect.sleep("2 millis")
      const one = proxy.connections()[0]
      yield* one.cut("reset")
      const texts = (yield* Fiber.join(both)).map(({ text }) => text)
      assert.strictEqual(texts.filter((text) => text === "").length, 1)
      assert.isFalse(one.isOpen())
    }))

  it.live("leaves no socket behind when its scope closes", () =>
    Effect.gen(function*() {
      const server = yield* echo
      const port = yield* Effect.scoped(Effect.gen(function*() {
        const proxy = yield* TcpProxy.make(server.port)
        yield* proxy.always(TcpProxy.blackHole)
        yield* Effect.forkChild(talk(proxy.port, "hello", 5000), { startImmediately: true })
        while (proxy.connections().length < 1) yield* Effect.sleep("2 millis")
        return proxy.port
      }))
      assert.strictEqual((yield* talk(port, "late")).error, "ECONNREFUSED")
    }))
})
