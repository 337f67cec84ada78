import { ClusterStore, Invalidation, RedisInvalidation } from "@effect-session/cluster"
import { SessionStore } from "@effect-session/core"
import * as MemoryStore from "@effect-session/core/MemoryStore"
import { RedisClient } from "@effect-session/redis"
import { assert, describe, it } from "@effect/vitest"
import { Context, type Duration, Effect, Exit, Layer, Redacted, Scope } from "effect"
import * as LongestPause from "../../redis/test/LongestPause.ts"
import * as RedisCluster from "../../redis/test/RedisCluster.ts"
import * as RedisServer from "../../redis/test/RedisServer.ts"
import * as TcpProxy from "../../redis/test/TcpProxy.ts"
import * as Nodes from "./Nodes.ts"

const heartbeat = 200

interface Where {
  readonly client: Layer.Layer<RedisClient.RedisClient, unknown>
  readonly urls: ReadonlyArray<Redacted.Redacted<string>>
}

const at = (server: { readonly url: Redacted.Redacted<string> }, listenAt = server): Where => ({
  client: RedisClient.layer({ url: server.url, commandTimeout: "500 millis" }),
  urls: [listenAt.url]
})

const join = (where: Where, options: Partial<RedisInvalidation.Options> = {}) =>
  Effect.map(
    Layer.build(
      RedisInvalidation.layer({ heartbeat, urls: where.urls, ...options }).pipe(
        Layer.provide(Layer.fresh(where.client)),
        Layer.provide(Nodes.crypto)
      )
    ),
    (context) => Context.get(context, Invalidation.Invalidation)
  )

type Node = Invalidation.Invalidation["Service"]

/** Waits until it holds, and says how long that took. */
const until = (what: string, holds: Effect.Effect<boolean>, limit: Duration.Input = "5 seconds") =>
  Effect.gen(function*() {
    const started = performance.now()
    while (!(yield* holds)) yield* Effect.sleep(5)
    return performance.now() - started
  }).pipe(Effect.timeoutOrElse({ duration: limit, orElse: () => Effect.die(new Error(`not in time: ${what}`)) }))

const trusted = (...nodes: ReadonlyArray<Node>) =>
  until("every node hears itself", Effect.sync(() => nodes.every((node) => node.trustUnsafe() === Infinity)))

const cached = (node: Node, shared: Context.Context<SessionStore.SessionStore>, options?: ClusterStore.Options) =>
  Effect.map(
    Layer.build(
      ClusterStore.layer(options).pipe(
        Layer.provide(Layer.succeed(Invalidation.Invalidation, node)),
        Layer.provide(Nodes.crypto),
        Layer.provide(Layer.succeedContext(shared))
      )
    ),
    (context) => ({
      store: Context.get(context, SessionStore.SessionStore),
      cluster: Context.get(context, ClusterStore.ClusterStore)
    })
  )

const record = (key: string) => Nodes.newRecord(key, { lifetime: 600_000 })

const subscribers = (server: RedisServer.RedisServer) =>
  Effect.map(
    Effect.orDie(server.admin("PUBSUB", "NUMSUB", Invalidation.defaultChannel)),
    (reply) => Array.isArray(reply) ? Number(reply[1]) : -1
  )

describe("options over Redis", () => {
  const urls = [Redacted.make("redis://127.0.0.1:1")]

  it("that make no sense are refused where the layer is written", () => {
    const tooLong = { heartbeat: undefined, silentTtl: "4 seconds" } as const
    for (const options of [{ heartbeat: 0 }, { silentTtl: -1 }, { capacity: 0 }, { channel: "" }, tooLong]) {
      assert.throws(() => RedisInvalidation.layer({ urls, ...options }), RangeError)
    }
  })

  it("are no urls that the client would refuse", () => {
    for (const url of ["redis://app:12#x@host", "redis://host/zero", "redis://host?db=1", "http://host"]) {
      assert.throws(() => RedisInvalidation.layer({ urls: [Redacted.make(url)] }), RangeError, "urls")
    }
  })
})

describe("on one server", () => {
  it.live("every other node hears a message, and a node that is closed leaves no subscriber", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const scope = yield* Scope.make()
      const [a, b, c] = yield* Scope.provide(Effect.all([join(at(server)), join(at(server)), join(at(server))]), scope)
      yield* trusted(a, b, c)
      assert.strictEqual(yield* subscribers(server), 3)
      const heard: Array<string> = []
      for (const [name, node] of [["a", a], ["b", b], ["c", c]] as const) {
        yield* node.listen((received) => {
          if (received._tag === "Message") heard.push(`${name} ${received.message._tag}`)
        })
      }
      yield* a.publish({ _tag: "SessionEnded", key: "k" })
      yield* until("both have heard it", Effect.sync(() => heard.length === 2))
      assert.deepStrictEqual(heard.toSorted(), ["b SessionEnded", "c SessionEnded"])
      yield* Scope.close(scope, Exit.void)
      yield* until("nobody is subscribed", Effect.map(subscribers(server), (count) => count === 0))
      const clients = String(yield* server.admin("CLIENT", "LIST")).trim().split("\n")
      assert.lengthOf(clients, 1)
    }).pipe(Effect.scoped))

  it.live("a subscriber that is cut off makes the node ask the store at once, and it flushes before it trusts again", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const proxy = yield* TcpProxy.make(server.port)
      const [a, b] = [yield* join(at(server)), yield* join(at(server, proxy))]
      yield* trusted(a, b)
      const shared = yield* Layer.build(MemoryStore.layerStore())
      const [atA, atB] = [yield* cached(a, shared), yield* cached(b, shared)]
      yield* atA.store.create(record("k"))
      yield* atB.store.load("k")
      assert.isDefined(yield* atB.cluster.age("k"))
      const pause = yield* LongestPause.make
      yield* proxy.always(TcpProxy.blackHole)
      yield* proxy.cutAll("reset")
      const took = yield* until("b knows", Effect.sync(() => b.trustUnsafe() === 0))
      assert.isAtMost(took, 50 + 2 * (yield* pause))
      yield* atA.store.destroy("k")
      assert.strictEqual((yield* atB.store.load("k"))._tag, "Absent")
      yield* proxy.everywhere({})
      yield* trusted(b)
      assert.isUndefined(yield* atB.cluster.age("k"))
      assert.isAtLeast((yield* b.stats).reconnects, 1)
    }).pipe(Effect.scoped))

  for (
    const [name, plan] of [
      ["is silent", TcpProxy.blackHole],
      ["drips", { toClient: { drip: 200 } }]
    ] as const
  ) {
    it.live(`a subscriber that ${name} is noticed within two heartbeats, and replaced`, () =>
      Effect.gen(function*() {
        const server = yield* RedisServer.make()
        const proxy = yield* TcpProxy.make(server.port)
        const [a, b] = [yield* join(at(server)), yield* join(at(server, proxy))]
        yield* trusted(a, b)
        const pause = yield* LongestPause.make
        for (const connection of proxy.connections()) yield* connection.follow(plan)
        const took = yield* until("b knows", Effect.sync(() => b.trustUnsafe() === 0))
        assert.isAtMost(took, 2 * heartbeat + 50 + 2 * (yield* pause))
        yield* trusted(b)
        assert.isAtLeast(proxy.connections().length, 2)
        assert.strictEqual(a.trustUnsafe(), Infinity)
      }).pipe(Effect.scoped))
  }

  it.live("a server that restarts is subscribed to again, once", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const [a, b] = [yield* join(at(server)), yield* join(at(server))]
      yield* trusted(a, b)
      yield* server.kill
      yield* until("both know", Effect.sync(() => a.trustUnsafe() === 0 && b.trustUnsafe() === 0))
      yield* server.start()
      yield* trusted(a, b)
      assert.strictEqual(yield* subscribers(server), 2)
    }).pipe(Effect.scoped))

  it.live("what strangers publish evicts nothing, and is counted", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const a = yield* join(at(server), { heartbeat: "1 second" })
      yield* trusted(a)
      const { cluster, store } = yield* cached(a, yield* Layer.build(MemoryStore.layerStore()))
      yield* store.create(record("k"))
      const forged = (i: number) =>
        `${"A".repeat(45)}{"v":1,"node":"n${i}","sequence":1,"message":{"_tag":"SessionEnded","key":"k"}}`
      const script = "for i = 1, ARGV[2] do redis.call('PUBLISH', KEYS[1], ARGV[1]) end"
      const publish = (frame: string, times: number) =>
        server.admin("EVAL", script, 1, Invalidation.defaultChannel, frame, times)
      // In portions that Redis keeps for a subscriber: of one that is further behind it closes the connection.
      for (let i = 1; i <= 3; i++) {
        yield* publish(forged(i), 2000)
        yield* publish("x".repeat(3000), 200)
        yield* until("all of it came", Effect.map(a.stats, ({ forged, oversized }) => forged + oversized === i * 2200))
      }
      assert.isDefined(yield* cluster.age("k"))
      assert.strictEqual((yield* a.stats).gaps, 0)
    }).pipe(Effect.scoped))

  it.live("a publish that fails makes the end of a session fail, and the node trust no copy", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const a = yield* join(at(server))
      const b = yield* join(at(server))
      yield* trusted(a, b)
      const shared = yield* Layer.build(MemoryStore.layerStore())
      const atA = yield* cached(a, shared)
      yield* atA.store.create(record("k"))
      yield* server.admin("ACL", "SETUSER", "default", "-publish")
      const error = yield* Effect.flip(atA.store.destroy("k"))
      assert.match(error.message, /other nodes could not be told/)
      assert.strictEqual(a.trustUnsafe(), 0)
      yield* server.admin("ACL", "SETUSER", "default", "+publish")
      assert.isFalse(yield* Effect.retry(atA.store.destroy("k"), { times: 3 }))
      yield* trusted(a, b)
      assert.isAtLeast((yield* b.stats).gaps, 1)
    }).pipe(Effect.scoped))

  it.live("a subscription that does not come about in time fails the start, or is waited for without copies", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const proxy = yield* TcpProxy.make(server.port)
      yield* proxy.always(TcpProxy.blackHole)
      const started = performance.now()
      const exit = yield* Effect.exit(join(at(server, proxy), { subscribeTimeout: "300 millis" }))
      assert.isTrue(Exit.isFailure(exit))
      assert.isBelow(performance.now() - started, 1500)
      const node = yield* join(at(server, proxy), { subscribeTimeout: "100 millis", onUnavailableAtStart: "continue" })
      assert.strictEqual(node.trustUnsafe(), 0)
      yield* proxy.everywhere({})
      yield* trusted(node)
    }).pipe(Effect.scoped))
})

describe("on a cluster", () => {
  it.live(
    "sharded messages survive the migration of the slot and the death of its master",
    () =>
      Effect.gen(function*() {
        const cluster = yield* RedisCluster.make()
        const slot = RedisCluster.slotOf(Invalidation.defaultChannel)
        const where: Where = {
          client: RedisClient.layerCluster({ nodes: cluster.nodes.map(({ url }) => url) }),
          urls: cluster.nodes.map(({ url }) => url)
        }
        const [a, b] = yield* Effect.all([join(where), join(where)], { concurrency: 2 })
        yield* trusted(a, b)
        let heard = 0
        yield* b.listen((received) => {
          if (received._tag === "Message") heard++
        })
        const reaches = (what: string, limit: Duration.Input) =>
          Effect.gen(function*() {
            const before = heard
            yield* a.publish({ _tag: "SessionEnded", key: "k" })
            yield* until(what, Effect.sync(() => heard > before), limit)
            assert.strictEqual(heard, before + 1)
          })
        yield* reaches("at first", "1 second")

        const before = yield* cluster.masterOf(slot)
        const target = cluster.nodes.slice(0, 3).find((node) => node !== before)!
        yield* cluster.migrateSlot(slot, target)
        yield* until("trusted again", Effect.sync(() => a.trustUnsafe() === Infinity && b.trustUnsafe() === Infinity))
        yield* reaches("after the migration", "1 second")

        const dead = yield* cluster.masterOf(slot)
        yield* cluster.kill(dead)
        yield* until("b trusts nothing", Effect.sync(() => b.trustUnsafe() === 0))
        yield* cluster.movedFrom(slot, dead)
        const took = yield* until(
          "trusted after the failover",
          Effect.sync(() => a.trustUnsafe() === Infinity && b.trustUnsafe() === Infinity),
          "10 seconds"
        )
        assert.isAtMost(took, 2000)
        yield* reaches("after the failover", "1 second")
      }).pipe(Effect.scoped),
    60_000
  )
})
