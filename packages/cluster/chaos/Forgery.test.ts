import { ClusterStore, Invalidation, RedisInvalidation } from "@effect-session/cluster"
import { SessionStore } from "@effect-session/core"
import * as MemoryStore from "@effect-session/core/MemoryStore"
import { RedisClient } from "@effect-session/redis"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as RedisServer from "../../redis/test/RedisServer.ts"
import * as Nodes from "../test/Nodes.ts"

const count = process.env.CHAOS === "long" ? 100_000 : 10_000

const record = (key: string) => Nodes.newRecord(key, { lifetime: 600_000 })

/** Microseconds of CPU that every one of so many costs. */
const cpu = <E, R>(count: number, effect: Effect.Effect<void, E, R>) =>
  Effect.suspend(() => {
    const before = process.cpuUsage()
    return Effect.map(effect, () => {
      const { system, user } = process.cpuUsage(before)
      return (system + user) / count
    })
  })

const forged = (i: number): string => {
  const code = String(i).padStart(45, "A")
  switch (i % 5) {
    case 0:
      return `${code}{"v":1,"node":"n${i}","sequence":1,"message":{"_tag":"SessionEnded","key":"key"}}`
    case 1:
      return `${code}{"v":1,"node":"n${i}","sequence":1,"message":{"_tag":"Flush"}}`
    case 2:
      return `garbage ${i}`
    case 3:
      return "x".repeat(5000)
    default:
      return `${code}{"v":2}`
  }
}

describe("messages of strangers", () => {
  it.effect(
    "and those of nodes that were heard before evict nothing, are counted, and cost little",
    () =>
      Effect.gen(function*() {
        const { bus, nodes: [a, b] } = yield* Nodes.make(2)
        const recorded: Array<string> = []
        yield* bus.join((frame) => void recorded.push(frame))
        yield* a.store.create(record("key"))
        for (let version = 1; version <= 5; version++) {
          yield* a.invalidation.publish({ _tag: "SessionChanged", key: "key", version })
        }
        const genuine = [...recorded]
        yield* b.store.load("key")
        const before = yield* b.cluster.stats
        const each = yield* cpu(
          count,
          Effect.sync(() => {
            for (let i = 0; i < count; i++) bus.sendUnsafe(i % 2 === 0 ? forged(i / 2) : genuine[i % genuine.length])
          })
        )
        const { channel, flushes, gaps, size } = yield* Effect.map(b.cluster.stats, (stats) => ({
          ...stats,
          gaps: stats.channel.gaps
        }))
        process.stdout.write(
          `forgery: ${count} frames on two nodes, ${(each / 2).toFixed(2)} microseconds of CPU each\n`
        )
        assert.strictEqual(channel.forged + channel.oversized + channel.malformed - before.channel.forged, count / 2)
        assert.strictEqual(channel.replayed, count / 2)
        assert.deepStrictEqual([size, flushes, gaps], [1, before.flushes, before.channel.gaps])
        assert.isDefined(yield* b.cluster.age("key"))
        assert.isTrue((yield* b.cluster.stats).trusted)
        assert.isBelow(each / 2, 100)
      }),
    60_000
  )

  it.live("on Redis evict nothing and are counted", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const context = yield* Layer.build(
        ClusterStore.layer().pipe(
          Layer.provideMerge(RedisInvalidation.layer({ urls: [server.url] })),
          Layer.provide(RedisClient.layer({ url: server.url })),
          Layer.provide(Nodes.crypto),
          Layer.provide(MemoryStore.layerStore())
        )
      )
      const cluster = Context.get(context, ClusterStore.ClusterStore)
      const store = Context.get(context, SessionStore.SessionStore)
      const { stats, trustUnsafe } = Context.get(context, Invalidation.Invalidation)
      while (trustUnsafe() !== Infinity) yield* Effect.sleep(5)
      yield* store.create(record("key"))
      const dropped = Effect.map(stats, ({ forged, malformed, oversized }) => forged + malformed + oversized)
      const arrived = (all: number): Effect.Effect<void> =>
        Effect.flatMap(dropped, (count) =>
          count === all ? Effect.void : Effect.delay(Effect.suspend(() => arrived(all)), 2))
      const script = "for i = 1, ARGV[2] do redis.call('PUBLISH', KEYS[1], ARGV[1]) end"
      // In portions that Redis keeps for a subscriber: of one that is further behind it closes the connection.
      const portion = 2000
      const each = yield* cpu(
        count,
        Effect.gen(function*() {
          for (let sent = 0; sent < count;) {
            yield* server.admin("EVAL", script, 1, Invalidation.defaultChannel, forged(sent / portion % 4), portion)
            sent += portion
            yield* arrived(sent)
          }
        })
      )
      process.stdout.write(`forgery over Redis: ${count} messages, ${each.toFixed(2)} microseconds of CPU each\n`)
      const { gaps, reconnects } = yield* stats
      assert.deepStrictEqual([gaps, reconnects], [0, 0])
      assert.isDefined(yield* cluster.age("key"))
      assert.isBelow(each, 100)
    }).pipe(Effect.scoped), 60_000)
})
