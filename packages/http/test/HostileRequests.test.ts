/** Whatever a client sends, over a real socket: no 5xx, no end of the server, and the next client is served. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as v8 from "node:v8"
import * as vm from "node:vm"
import { type Hostile as Request, names, requests } from "./HostileRequests.ts"
import * as Hostile from "./HostileServers.ts"
import { exchange } from "./RawSocket.ts"
import * as App from "./SessionApp.ts"

const send = (port: number, { bytes, unfinished = false }: Request) =>
  exchange(port, bytes, (socket) => {
    if (unfinished) socket.end()
  })

const visit = (port: number) => exchange(port, "GET /me HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")

const setCookies = (answer: string) =>
  answer.split("\r\n\r\n")[0].split("\r\n").filter((line) => /^set-cookie:/i.test(line))

v8.setFlagsFromString("--expose-gc")
const collect: () => void = vm.runInNewContext("gc")

const heap = () => {
  collect()
  return process.memoryUsage().heapUsed
}

describe.each(Object.entries(Hostile.servers))("hostile requests to %s", (_name, serve) => {
  it.effect("never fail it, start no session, and leave the next one alone", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const { port, statuses } = yield* serve(store)
      const usual = (yield* visit(port)).split("\r\n")[0]
      assert.match(usual, /^HTTP\/1\.1 (200|401) /)
      for (const request of requests) {
        const { title } = request
        const answer = yield* send(port, request)
        if (request.unfinished !== true) assert.match(answer, /^HTTP\/1\.1 \d/, title)
        assert.notMatch(answer, /^HTTP\/1\.1 5/, title)
        for (const line of setCookies(answer)) {
          assert.match(line, new RegExp(`^set-cookie: (?:${names.join("|")})(?:\\.[1-7])?=[\\w-]*; `, "i"), title)
        }
        assert.strictEqual((yield* visit(port)).split("\r\n")[0], usual, title)
      }
      assert.deepStrictEqual(statuses.filter((status) => status >= 500), [])
      // Nothing that was sent has got as far as a key of the store; what `/inc` has written has a key of its own.
      assert.notInclude(store.calls, "save")
      assert.notInclude(store.calls, "destroy")
    }), 60_000)

  it.effect("hold no memory", () =>
    Effect.gen(function*() {
      const { port } = yield* serve(yield* App.makeStore())
      const large = requests.filter(({ bytes }) => bytes.length > 50_000 && bytes.startsWith("GET"))
      const round = Effect.forEach(large, (request) => send(port, request), { discard: true })
      yield* round
      const before = heap()
      yield* round
      yield* round
      // Each round sends more than 5 MB.
      assert.isAbove(large.reduce((sum, { bytes }) => sum + bytes.length, 0), 5_000_000)
      assert.isBelow(heap() - before, 4_000_000)
    }), 60_000)

  it.effect("that stream a form without end are cut off, or not held", () =>
    Effect.gen(function*() {
      const { port, statuses } = yield* serve(yield* App.makeStore())
      const chunk = Buffer.concat([Buffer.from("10000\r\n"), Buffer.alloc(65_536, 0x61), Buffer.from("\r\n")])
      const limit = 64 * 1024 * 1024
      const before = process.memoryUsage()
      let sent = 0
      const answer = yield* exchange(
        port,
        "POST /note HTTP/1.1\r\nHost: app.test\r\nContent-Type: application/x-www-form-urlencoded\r\n" +
          "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        (socket) => {
          const more = () => {
            while (socket.writable && sent < limit) {
              sent += chunk.length
              if (!socket.write(chunk)) return void socket.once("drain", more)
            }
            if (socket.writable) socket.end("0\r\n\r\n")
          }
          more()
        }
      )
      assert.notMatch(answer, /^HTTP\/1\.1 5/)
      collect()
      const after = process.memoryUsage()
      assert.isBelow(after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed, 16_000_000)
      assert.deepStrictEqual(statuses.filter((status) => status >= 500), [])
      assert.match(yield* visit(port), /^HTTP\/1\.1 (200|401) /)
    }), 60_000)
})
