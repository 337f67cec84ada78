import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as RedisServer from "../test/RedisServer.ts"
import { commandCounts } from "../test/StoreFixture.ts"
import * as Lab from "./Lab.ts"

const throttle = 100

describe("reads of sessions that nobody changes", () => {
  it.live("write no value, and record activity once in an interval at most", () =>
    Effect.gen(function*() {
      const reads = Lab.rounds(2000, 10_000)
      const server = yield* RedisServer.make()
      const nodes = yield* Effect.all([Lab.openUrl(server.url), Lab.openUrl(server.url)])
      const keys = Array.from({ length: 20 }, () => Lab.newKey())
      yield* Effect.forEach(keys, (key) => nodes[0].store.create(Lab.newRecord(key)))
      yield* Effect.sleep(throttle)
      yield* server.admin("CONFIG", "RESETSTAT")
      const start = performance.now()
      let touched = 0
      yield* Effect.forEach(Array.from({ length: reads }), (_, n) =>
        Effect.gen(function*() {
          const { store } = nodes[n % 2]
          const key = keys[(n >> 1) % keys.length]
          const lookup = yield* store.load(key, { touchAfter: throttle })
          if (lookup._tag !== "Live") return assert.fail(lookup._tag)
          if (lookup.touched === true) touched++
          if (lookup.now - lookup.record.lastSeenAt < throttle) return
          // A process that has not read the session before learns with this read that a touch is due.
          const again = yield* store.load(key, { touchAfter: throttle })
          if (again._tag === "Live" && again.touched === true) touched++
        }), { concurrency: 10, discard: true })
      const millis = performance.now() - start
      const counts = yield* commandCounts(server)
      const count = (name: string) => counts.get(name) ?? 0
      yield* Lab.report(
        `${reads} reads in ${Math.round(millis)} ms: ${
          count("hmget")
        } plain reads, ${touched} touches of 20 sessions, ` +
          `${count("hset") - touched} other writes`
      )
      assert.isAtLeast(count("hmget"), reads - count("evalsha"))
      assert.strictEqual(count("hset"), touched)
      assert.isAbove(touched, 0)
      assert.isAtMost(touched, keys.length * (Math.floor(millis / throttle) + 1))
      for (const key of keys) {
        const lookup = yield* nodes[1].store.load(key)
        assert.isTrue(lookup._tag === "Live" && lookup.record.version === 1)
      }
    }), 60_000)
})
