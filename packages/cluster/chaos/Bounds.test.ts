import type { SessionStore } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Fiber } from "effect"
import { TestClock } from "effect/testing"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Nodes from "../test/Nodes.ts"

const long = process.env.CHAOS === "long"

/** A session that every key has. */
const live = (key: string, payload: string): SessionStore.Lookup => ({
  _tag: "Live",
  alias: undefined,
  now: 0,
  record: {
    version: 1,
    createdAt: 0,
    issuedAt: 0,
    authenticatedAt: undefined,
    lastSeenAt: 0,
    idleTimeout: 86_400_000,
    expiresAt: 86_400_000,
    subject: undefined,
    format: 1,
    // Bytes of its own: joined strings would share theirs.
    payload: Buffer.from(key + payload).toString("latin1")
  }
})

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

const heap = () => {
  collect()
  return process.memoryUsage().heapUsed
}

const mebibytes = (bytes: number) => (bytes / 1024 / 1024).toFixed(1)

describe("the copies of a node", () => {
  it.live(
    "stay within their number, their bytes and the heap, however many sessions there are",
    () =>
      Effect.gen(function*() {
        const count = long ? 1_000_000 : 50_000
        const cache = { maxEntries: 10_000, maxBytes: 8 * 1024 * 1024 }
        const payload = "x".repeat(600)
        const { nodes: [{ cluster, store }] } = yield* Nodes.make(1, { cache }, (store) => ({
          ...store,
          load: (key) => Effect.sync(() => live(key, payload))
        }))
        const before = heap()
        const times = new Float64Array(count)
        for (let i = 0; i < count; i++) {
          const begun = performance.now()
          yield* store.load(`aa${String(i).padStart(43, "0")}`)
          times[i] = performance.now() - begun
          if (i % 1000 === 0) {
            const { bytes, size } = yield* cluster.stats
            assert.isAtMost(size, cache.maxEntries)
            assert.isAtMost(bytes, cache.maxBytes)
          }
        }
        times.sort()
        const p99 = times[Math.floor(count * 0.99)]
        const { evictions, fills, size } = yield* cluster.stats
        // The measurements themselves are on no heap.
        const grown = heap() - before
        process.stdout.write(
          `bounds: ${count} reads that miss, p50 ${(times[count >> 1] * 1000).toFixed(1)}, p99 ${
            (p99 * 1000).toFixed(1)
          } microseconds; ${size} copies on ${mebibytes(grown)} MiB of heap\n`
        )
        assert.strictEqual(fills, count)
        assert.strictEqual(evictions, count - size)
        assert.isAtMost(grown, 2 * cache.maxBytes)
      }).pipe(Effect.scoped),
    120_000
  )

  /** Reads of the store while four nodes start with no copies at 2,000 requests per second. */
  const cold = Effect.fnUntraced(function*(route: (key: number) => number) {
    const distinct = 2000
    let reads = 0
    const asked = new Set<string>()
    const keys = new Set<number>()
    const { nodes } = yield* Nodes.make(4, {}, (store) => ({
      ...store,
      load: (key) =>
        Effect.suspend(() => {
          reads++
          return Effect.as(Effect.sleep(20), live(key, ""))
        })
    }))
    const seconds = long ? 10 : 3
    for (let tick = 0; tick < seconds * 100; tick++) {
      const fibers: Array<Fiber.Fiber<SessionStore.Lookup, SessionStore.SessionStoreError>> = []
      for (let i = 0; i < 20; i++) {
        // Some are asked for much more often than others.
        const key = Math.floor(distinct * Math.random() ** 2)
        const node = route(key)
        asked.add(`${node} ${key}`)
        keys.add(key)
        fibers.push(
          yield* Effect.forkChild(nodes[node].store.load(`key-of-session-${key}`), { startImmediately: true })
        )
      }
      yield* TestClock.adjust(10)
    }
    yield* TestClock.adjust(20)
    return { reads, asked: asked.size, keys: keys.size, requests: seconds * 2000 }
  })

  it.effect("cost one read for each session where it is routed to one of four cold nodes", () =>
    Effect.gen(function*() {
      const { keys, reads, requests } = yield* cold((key) => key % 4)
      process.stdout.write(`cold start, sticky: ${requests} requests, ${keys} sessions, ${reads} reads\n`)
      assert.strictEqual(reads, keys)
    }))

  it.effect("cost one read for each node and session where any of four cold nodes may be asked", () =>
    Effect.gen(function*() {
      const { asked, keys, reads, requests } = yield* cold(() => Math.floor(4 * Math.random()))
      process.stdout.write(`cold start, random: ${requests} requests, ${keys} sessions, ${reads} reads\n`)
      assert.strictEqual(reads, asked)
      assert.isAtMost(reads, 4 * keys)
    }))
})
