import { RedisClient, type RedisError } from "@effect-session/redis"
import { assert, describe, it, layer } from "@effect/vitest"
import { Clock, ConfigProvider, Context, Effect, Exit, Fiber, Layer, Redacted, Schedule, Scope } from "effect"
import * as Slot from "../src/internal/slot.ts"
import { table } from "../src/RedisError.ts"
import * as RedisCluster from "./RedisCluster.ts"
import * as RedisServer from "./RedisServer.ts"

class Cluster extends Context.Service<Cluster, RedisCluster.RedisCluster>()("test/Cluster") {}

const seeds = (cluster: RedisCluster.RedisCluster) => ({ nodes: cluster.nodes.map(({ url }) => url) })

const tagOf = <A, R>(effect: Effect.Effect<A, RedisError.RedisError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.retry(effect, Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(750)]))

const keys = Array.from({ length: 60 }, (_, index) => `{${index}}key`)

const millis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

const connections = (cluster: RedisCluster.RedisCluster) =>
  Effect.map(
    Effect.forEach(cluster.nodes, (node) => node.admin("CLIENT", "LIST", "TYPE", "NORMAL")),
    (lists) => lists.flatMap((list) => String(list).trim().split("\n")).length - cluster.nodes.length
  )

layer(Layer.effect(Cluster, RedisCluster.make()), { excludeTestServices: true })("Cluster", (it) => {
  it.effect("computes the slots that the servers compute", () =>
    Effect.gen(function*() {
      const { nodes } = yield* Cluster
      for (const key of ["foo", "session:{ab}xyz", "{}a", "a{b", "{a}{b}", "ä", "", "}{a}", "{a{b}}"]) {
        assert.strictEqual(Slot.of(key), yield* nodes[0].admin("CLUSTER", "KEYSLOT", key), key)
        assert.strictEqual(Slot.of(Buffer.from(key)), Slot.of(key))
      }
    }))

  it.effect("commands go to the master of their key, those without one to any", () =>
    Effect.gen(function*() {
      const cluster = yield* Cluster
      // One node is enough to find the others; a replica will do.
      const redis = yield* RedisClient.makeCluster({ nodes: [cluster.nodes[4].url] })
      assert.isTrue(redis.clustered)
      for (const key of keys) {
        assert.strictEqual(String(yield* redis.send("SET", key, key)), "OK")
        assert.strictEqual(String(yield* redis.send("EVAL", "return redis.call('GET', KEYS[1])", "1", key)), key)
      }
      assert.strictEqual(String(yield* redis.send("PING")), "PONG")
      assert.strictEqual(String(yield* redis.send("EVAL", "return 'none'", "0")), "none")
      assert.strictEqual(yield* tagOf(redis.send("EVAL", "return 1", "many", "a")), "Rejected")
      yield* redis.send("XADD", "{s}stream", "*", "a", "b")
      assert.isNotNull(yield* redis.send("XREAD", "COUNT", "1", "STREAMS", "{s}stream", "0"))
      assert.strictEqual((yield* redis.ready)._tag, "Ready")
    }))

  it.effect("keys of different slots in one command are CrossSlot", () =>
    Effect.gen(function*() {
      const redis = yield* RedisClient.makeCluster(seeds(yield* Cluster))
      const error = yield* Effect.flip(redis.send("MGET", "{a}1", "{b}1"))
      assert.deepStrictEqual(error.reason, table.CrossSlot)
    }))

  it.effect("masters are all masters, and each answers for its own keys", () =>
    Effect.gen(function*() {
      const cluster = yield* Cluster
      const redis = yield* RedisClient.makeCluster(seeds(cluster))
      yield* Effect.forEach(keys, (key) => redis.send("SET", key, key))
      const masters = yield* redis.masters
      const found = yield* Effect.forEach(masters, (master) => master.send("KEYS", "*key"))
      assert.strictEqual(masters.length, 3)
      assert.deepStrictEqual(
        found.flatMap((list) => Array.isArray(list) ? list.map(String) : []).toSorted(),
        keys.toSorted()
      )
      const [first] = masters
      const tags = yield* Effect.forEach(keys, (key) => Effect.exit(first.send("GET", key)))
      assert.isTrue(tags.some(Exit.isFailure))
    }))

  it.effect("a connection of its own goes to the master of the key, and the pool keeps no more than its size", () =>
    Effect.gen(function*() {
      const cluster = yield* Cluster
      const before = yield* connections(cluster)
      const redis = yield* RedisClient.makeCluster({ ...seeds(cluster), dedicatedConnections: 1 })
      for (const key of keys.slice(0, 12)) {
        const set = Effect.flatMap(redis.dedicatedFor(key), ({ send }) => send("SET", key, "own"))
        assert.strictEqual(String(yield* Effect.scoped(set)), "OK")
      }
      assert.strictEqual(
        String(yield* Effect.scoped(Effect.flatMap(redis.dedicated, ({ send }) => send("PING")))),
        "PONG"
      )
      // one to each master, and the last of its own
      yield* eventually(Effect.filterOrFail(connections(cluster), (now) => now === before + 4))
    }))

  it.effect(
    "MOVED and ASK are followed while a slot moves under load, and no write is lost or done twice",
    () =>
      Effect.gen(function*() {
        const cluster = yield* Cluster
        const redis = yield* RedisClient.makeCluster(seeds(cluster))
        const slot = Slot.of("moving")
        const counters = Array.from({ length: 100 }, (_, index) => `{moving}${index}`)
        yield* Effect.forEach(counters, (key) => redis.send("SET", key, "0"), { concurrency: "unbounded" })
        const from = yield* cluster.masterOf(slot)
        const to = cluster.nodes.slice(0, 3).find((node) => node !== from)!
        const done = new Map<string, number>()
        const failures = new Set<string>()
        const writer = yield* Effect.forkChild(Effect.forever(
          Effect.forEach(counters, (key) =>
            Effect.matchEffect(redis.send("INCR", key), {
              onSuccess: () => Effect.sync(() => void done.set(key, (done.get(key) ?? 0) + 1)),
              onFailure: ({ reason }) => Effect.sync(() => void failures.add(reason._tag))
            }), { concurrency: 10 })
        ))
        const migration = yield* cluster.migration(slot, to)
        yield* migration.begin
        assert.isNull(yield* redis.send("GET", "{moving}new"))
        assert.strictEqual(yield* tagOf(redis.send("MGET", "{moving}1", "{moving}new")), "TryAgain")
        while ((yield* migration.moveKeys(10)) > 0) yield* Effect.sleep("20 millis")
        yield* migration.finish
        yield* Effect.sleep("100 millis")
        yield* Fiber.interrupt(writer)
        assert.deepStrictEqual([...failures], [])
        yield* Effect.sleep("100 millis")
        for (const key of counters) {
          const count = Number(String(yield* redis.send("GET", key)))
          // The writer may have been interrupted between a write and its reply.
          assert.include([done.get(key), (done.get(key) ?? 0) + 1], count)
        }
        assert.strictEqual(String(yield* to.admin("GET", "{moving}1")), String(yield* redis.send("GET", "{moving}1")))
        yield* cluster.migrateSlot(slot, from)
        yield* cluster.settled()
      }),
    60_000
  )

  it.effect("a command that is sent round and round fails as Redirected, in time", () =>
    Effect.gen(function*() {
      const cluster = yield* Cluster
      const redis = yield* RedisClient.makeCluster(seeds(cluster))
      const slot = Slot.of("round")
      const from = yield* cluster.masterOf(slot)
      const other = cluster.nodes.slice(0, 3).find((node) => node !== from)!
      const [fromId, otherId] = [
        String(yield* from.admin("CLUSTER", "MYID")),
        String(yield* other.admin("CLUSTER", "MYID"))
      ]
      // Each of the two says that the other one has the slot.
      yield* from.admin("CLUSTER", "SETSLOT", slot, "NODE", otherId)
      const error = yield* Effect.flip(redis.send("GET", "round"))
      yield* from.admin("CLUSTER", "SETSLOT", slot, "NODE", fromId)
      assert.deepStrictEqual(error.reason, table.Redirected)
      yield* cluster.settled()
    }), 60_000)

  it.effect("a killed master fails only its slots, and its replica is followed", () =>
    Effect.gen(function*() {
      const cluster = yield* Cluster
      const redis = yield* RedisClient.makeCluster(seeds(cluster))
      yield* Effect.forEach(keys, (key) => redis.send("SET", key, key))
      const victim = yield* cluster.masterOf(0)
      const lost = new Set(keys.filter((key) => Slot.of(key) <= 5460))
      yield* cluster.kill(victim)
      const exits = yield* Effect.forEach(keys, (key) => Effect.exit(redis.send("GET", key)))
      for (const [index, key] of keys.entries()) {
        assert.strictEqual(Exit.isFailure(exits[index]), lost.has(key), key)
      }
      const key = [...lost][0]
      assert.include(["NotConnected", "ConnectionLost", "ClusterDown"], yield* tagOf(redis.send("GET", key)))
      // One that takes writes is enough for the application to be ready.
      assert.strictEqual((yield* redis.ready)._tag, "Ready")
      // A new client starts without that master.
      const other = yield* RedisClient.makeCluster(seeds(cluster))
      const alive = keys.find((key) => !lost.has(key))!
      assert.strictEqual(String(yield* other.send("GET", alive)), alive)

      yield* cluster.movedFrom(0, victim)
      const moved = yield* millis
      for (const client of [redis, other]) {
        yield* eventually(client.send("GET", key))
        assert.isAtMost((yield* millis) - moved, 2000)
      }
      assert.strictEqual((yield* redis.masters).length, 3)
      yield* victim.start()
      yield* cluster.settled()
    }), 60_000)

  it.effect(
    "a frozen master is left within two seconds of the failover, and every command ends in time",
    () =>
      Effect.gen(function*() {
        const cluster = yield* Cluster
        const redis = yield* RedisClient.makeCluster(seeds(cluster))
        const slot = Slot.of("frozen")
        const victim = yield* cluster.masterOf(slot)
        yield* cluster.freeze(victim)
        let longest = 0
        const writing = Effect.gen(function*() {
          const start = yield* millis
          const exit = yield* Effect.exit(redis.send("SET", "frozen", "x"))
          longest = Math.max(longest, (yield* millis) - start)
          return exit
        })
        const recovered = yield* Effect.forkChild(
          Effect.andThen(
            Effect.repeat(writing, { until: Exit.isSuccess, schedule: Schedule.spaced("20 millis") }),
            millis
          ),
          { startImmediately: true }
        )
        yield* cluster.movedFrom(slot, victim)
        const moved = yield* millis
        assert.isAtMost((yield* Fiber.join(recovered)) - moved, 2000)
        assert.isAtMost(longest, 1250)
        yield* cluster.thaw(victim)
        yield* cluster.settled()
      }),
    60_000
  )

  it.effect("reads its urls from REDIS_NODES, and closes all it opened", () =>
    Effect.gen(function*() {
      const cluster = yield* Cluster
      const before = yield* connections(cluster)
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(RedisClient.layerClusterConfig(), scope).pipe(
        Effect.provideService(
          ConfigProvider.ConfigProvider,
          ConfigProvider.fromUnknown({ REDIS_NODES: seeds(cluster).nodes.map(Redacted.value).join(",") })
        )
      )
      const redis = Context.get(context, RedisClient.RedisClient)
      yield* Effect.scoped(Effect.flatMap(redis.dedicated, (server) => server.send("PING")))
      assert.isAtLeast(yield* connections(cluster), before + 4)
      yield* Scope.close(scope, Exit.void)
      yield* eventually(Effect.filterOrFail(connections(cluster), (now) => now <= before))
      assert.strictEqual(yield* tagOf(redis.send("GET", "a")), "NotConnected")
    }))
})

describe("without a cluster", () => {
  it.live("fails, waits or continues, as with one server", () =>
    Effect.gen(function*() {
      const absent = Redacted.make(`redis://127.0.0.1:${yield* RedisServer.freePort}`)
      const base = { nodes: [absent, absent] }
      const error = yield* Effect.flip(RedisClient.makeCluster(base))
      assert.deepStrictEqual([error.reason._tag, error.reason.code], ["NotConnected", "ECONNREFUSED"])
      const waiting = { ...base, onUnavailableAtStart: "wait", startTimeout: "300 millis" } as const
      assert.strictEqual(yield* tagOf(RedisClient.makeCluster(waiting)), "NotConnected")
      const redis = yield* RedisClient.makeCluster({ ...base, onUnavailableAtStart: "continue" })
      assert.strictEqual(yield* tagOf(redis.send("GET", "a")), "NotConnected")
      assert.strictEqual(yield* tagOf(redis.masters), "NotConnected")
      assert.strictEqual(yield* tagOf(Effect.scoped(redis.dedicatedFor("a"))), "NotConnected")
      assert.strictEqual((yield* redis.ready)._tag, "NotReady")
    }))

  it.live("a server that is part of none fails in every mode", () =>
    Effect.gen(function*() {
      const { url } = yield* RedisServer.make()
      for (const onUnavailableAtStart of ["fail", "wait", "continue"] as const) {
        assert.strictEqual(yield* tagOf(RedisClient.makeCluster({ nodes: [url], onUnavailableAtStart })), "Rejected")
      }
    }))

  it.live("refuses urls that are none, and a database", () =>
    Effect.gen(function*() {
      for (const nodes of [[], [Redacted.make("redis://h/1")], [Redacted.make("h:6379")]]) {
        assert.strictEqual(yield* tagOf(RedisClient.makeCluster({ nodes })), "InvalidUrl")
      }
    }))
})
