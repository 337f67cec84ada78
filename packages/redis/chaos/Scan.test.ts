import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as RedisServer from "../test/RedisServer.ts"
import * as Lab from "./Lab.ts"
import type { Latency } from "./Probe.ts"

// Records as the store writes them, made by the server itself: 1 how many, 2 the number of the first.
const fill = `
  math.randomseed(tonumber(ARGV[2]) + 1)
  local letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  local function letter() local i = math.random(64) return string.sub(letters, i, i) end
  local now = redis.call('TIME')[1] * 1000
  local header = '1t' .. struct.pack('<I4I4dddddd', 1, 1, now, 3600000, now + 86400000, now, now, 0/0)
  for i = 1, tonumber(ARGV[1]) do
    local key = 'session:{' .. letter() .. letter() .. '}' .. string.format('%043d', i + tonumber(ARGV[2]))
    redis.call('HSET', key, 'h', header, 'p', string.rep('p', 200))
  end
`

/** Megabytes in use after a collection. */
const memory = () => {
  setFlagsFromString("--expose-gc")
  runInNewContext("gc")()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return (arrayBuffers + heapUsed) / 1e6
}

describe("a scan", () => {
  it.live("of many sessions meets each of them once, in bounded memory", () =>
    Effect.gen(function*() {
      const count = Lab.rounds(100_000, 1_000_000)
      const server = yield* RedisServer.make()
      const { query } = yield* Lab.openUrl(server.url)
      for (let made = 0; made < count; made += 20_000) yield* server.admin("EVAL", fill, 0, 20_000, made)
      const probe = yield* Effect.acquireRelease(
        Effect.sync(() => fork(fileURLToPath(new URL("Probe.ts", import.meta.url)), [String(server.port)])),
        (child) =>
          Effect.promise(async () => {
            child.kill()
            await once(child, "exit")
          })
      )
      const latency = Effect.promise(async () => {
        probe.send("report")
        const [found]: [Latency] = await once(probe, "message") as [Latency]
        return found
      })
      yield* Effect.sleep(1500)
      const before = yield* latency

      const numbers = new Uint8Array(count + 1)
      const start = performance.now()
      const base = memory()
      let growth = 0
      let met = 0
      yield* Stream.runForEach(query.scan, ({ key }) =>
        Effect.sync(() => {
          numbers[Number(key.slice(2))]++
          if (++met % 50_000 === 0) growth = Math.max(growth, memory() - base)
        }))
      const seconds = (performance.now() - start) / 1000
      const during = yield* latency
      yield* Lab.report(
        `${met} sessions scanned in ${seconds.toFixed(1)} s, memory grew by ${growth.toFixed(0)} MB at most; ` +
          `reads of others took ${before.p50} and ${before.p99} microseconds (p50, p99) before, ` +
          `${during.p50} and ${during.p99} during the scan`
      )
      assert.strictEqual(met, count)
      assert.isTrue(numbers.every((times, n) => times === (n === 0 ? 0 : 1)))
      assert.isBelow(growth, 50)
    }), 300_000)
})
