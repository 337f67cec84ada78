import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as RedisCluster from "./RedisCluster.ts"
import * as RedisSentinel from "./RedisSentinel.ts"

class Sentinels extends Context.Service<Sentinels, RedisSentinel.RedisSentinel>()("test/Sentinels") {}
class Cluster extends Context.Service<Cluster, RedisCluster.RedisCluster>()("test/Cluster") {}

describe("RedisSentinel", () => {
  layer(Layer.effect(Sentinels, RedisSentinel.make()), { excludeTestServices: true })((it) => {
    it.effect(
      "a planned failover and a frozen master both move the master, and the old one follows",
      () =>
        Effect.gen(function*() {
          const redis = yield* Sentinels
          const first = yield* redis.master
          assert.strictEqual(first, redis.servers[0])
          // A write that comes at once is one that the replica gets.
          yield* first.admin("SET", "kept", "value")
          yield* Effect.sleep("100 millis")
          const second = yield* redis.failover
          assert.strictEqual(yield* second.admin("GET", "kept"), "value")
          assert.strictEqual(second, redis.servers[1])
          yield* redis.settled
          yield* redis.freeze(second)
          assert.strictEqual(yield* redis.movedFrom(second), first)
          yield* redis.thaw(second)
          yield* redis.settled
          assert.strictEqual(yield* redis.master, first)
        }),
      60_000
    )
  })
})

describe("RedisCluster", () => {
  layer(Layer.effect(Cluster, RedisCluster.make()), { excludeTestServices: true })((it) => {
    it.effect("computes the slots that the server computes", () =>
      Effect.gen(function*() {
        const { nodes } = yield* Cluster
        for (const key of ["foo", "session:{ab}xyz", "{}a", "a{b", "{a}{b}", "ä"]) {
          assert.strictEqual(RedisCluster.slotOf(key), yield* nodes[0].admin("CLUSTER", "KEYSLOT", key), key)
        }
      }))

    it.effect("moves a slot with its keys", () =>
      Effect.gen(function*() {
        const cluster = yield* Cluster
        const slot = RedisCluster.slotOf("{moved}")
        const from = yield* cluster.masterOf(slot)
        for (let i = 0; i < 250; i++) yield* from.admin("SET", `{moved}${i}`, "v")
        const to = cluster.nodes.slice(0, 3).find((node) => node !== from)!
        yield* cluster.migrateSlot(slot, to)
        assert.strictEqual(yield* to.admin("CLUSTER", "COUNTKEYSINSLOT", slot), 250)
        assert.strictEqual(yield* cluster.masterOf(slot), to)
      }))

    it.effect(
      "the replica takes the slots of a killed master, which comes back as a replica",
      () =>
        Effect.gen(function*() {
          const cluster = yield* Cluster
          const [first, , , fourth] = cluster.nodes
          yield* cluster.kill(first)
          assert.strictEqual(yield* cluster.movedFrom(1, first), fourth)
          yield* cluster.settled(cluster.nodes.slice(1))
          yield* first.start()
          yield* cluster.settled()
          assert.strictEqual(yield* cluster.masterOf(1), fourth)
        }),
      60_000
    )
  })
})
