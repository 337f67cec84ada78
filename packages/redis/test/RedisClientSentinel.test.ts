import { RedisClient, type RedisError } from "@effect-session/redis"
import { assert, describe, it, layer } from "@effect/vitest"
import { Clock, ConfigProvider, Context, Effect, Exit, Fiber, Layer, Redacted, Schedule, Scope } from "effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as RedisSentinel from "./RedisSentinel.ts"
import * as RedisServer from "./RedisServer.ts"

class Sentinels extends Context.Service<Sentinels, RedisSentinel.RedisSentinel>()("test/Sentinels") {}

const urlsOf = (servers: ReadonlyArray<RedisServer.RedisServer>) => servers.map(({ url }) => url)

const options = (redis: RedisSentinel.RedisSentinel): RedisClient.SentinelOptions => ({
  url: Redacted.make(`redis://${redis.name}`),
  sentinels: urlsOf(redis.sentinels)
})

const tagOf = <A, R>(effect: Effect.Effect<A, RedisError.RedisError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.retry(effect, Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(500)]))

const portOf = (redis: RedisClient.RedisClient["Service"]) =>
  Effect.map(redis.send("CONFIG", "GET", "port"), (reply) => Array.isArray(reply) ? Number(String(reply[1])) : 0)

const connections = (server: RedisServer.RedisServer) =>
  Effect.map(
    server.admin("CLIENT", "LIST", "TYPE", "NORMAL"),
    (list) => String(list).trim().split("\n").filter((line) => !line.includes("cmd=client|list")).length
  )

/** A sentinel that names this server, all by itself. */
const sentinelOf = (server: RedisServer.RedisServer, epoch = 0) =>
  RedisServer.makeWith({
    only: (directory, port) => {
      const file = join(directory, "sentinel.conf")
      const lines = [
        `port ${port}`,
        "bind 127.0.0.1",
        `sentinel monitor main 127.0.0.1 ${server.port} 9`,
        `sentinel config-epoch main ${epoch}`
      ]
      writeFileSync(file, `${lines.join("\n")}\n`)
      return [file, "--sentinel"]
    }
  })

layer(Layer.effect(Sentinels, RedisSentinel.make()), { excludeTestServices: true })("Sentinel", (it) => {
  it.effect("writes go to the master, from the start and after a planned failover", () =>
    Effect.gen(function*() {
      const sentinels = yield* Sentinels
      const redis = yield* RedisClient.makeSentinel(options(sentinels))
      assert.isFalse(redis.clustered)
      const before = yield* sentinels.master
      assert.strictEqual(yield* portOf(redis), before.port)
      const after = yield* sentinels.failover
      yield* eventually(Effect.filterOrFail(portOf(redis), (port) => port === after.port))
      assert.strictEqual(String(yield* redis.send("SET", "a", "b")), "OK")
      assert.strictEqual((yield* redis.ready)._tag, "Ready")
      yield* sentinels.settled
    }), 60_000)

  it.effect(
    "a frozen master is left within two seconds of the failover, and every command ends in time",
    () =>
      Effect.gen(function*() {
        const sentinels = yield* Sentinels
        const redis = yield* RedisClient.makeSentinel(options(sentinels))
        const millis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)
        const before = yield* sentinels.master
        yield* sentinels.freeze(before)
        let longest = 0
        const writing = Effect.gen(function*() {
          const start = yield* millis
          const exit = yield* Effect.exit(redis.send("SET", "a", "b"))
          longest = Math.max(longest, (yield* millis) - start)
          return exit
        })
        const recovered = yield* Effect.forkChild(
          Effect.andThen(
            Effect.repeat(writing, {
              until: Exit.isSuccess,
              schedule: Schedule.spaced("20 millis")
            }),
            millis
          ),
          { startImmediately: true }
        )
        yield* sentinels.movedFrom(before)
        const moved = yield* millis
        const late = (yield* Fiber.join(recovered)) - moved
        assert.isAtMost(late, 2000)
        assert.isAtMost(longest, 1250)
        yield* sentinels.thaw(before)
        yield* sentinels.settled
      }),
    60_000
  )

  it.effect(
    "a frozen sentinel, or none at all, changes nothing while the master is there",
    () =>
      Effect.gen(function*() {
        const sentinels = yield* Sentinels
        const redis = yield* RedisClient.makeSentinel(options(sentinels))
        const id = yield* redis.send("CLIENT", "ID")
        yield* Effect.forEach(sentinels.sentinels, (sentinel) => sentinel.pause)
        yield* Effect.sleep("2500 millis")
        assert.strictEqual(yield* redis.send("CLIENT", "ID"), id)
        yield* Effect.forEach(sentinels.sentinels.slice(1), (sentinel) => sentinel.resume)
        const other = yield* RedisClient.makeSentinel(options(sentinels))
        assert.strictEqual(String(yield* other.send("PING")), "PONG")
        yield* sentinels.sentinels[0].resume
        yield* sentinels.settled
      }),
    60_000
  )

  it.effect("a name that the sentinels do not know is said so, in every mode", () =>
    Effect.gen(function*() {
      const sentinels = yield* Sentinels
      for (const onUnavailableAtStart of ["fail", "wait", "continue"] as const) {
        const made = RedisClient.makeSentinel({
          ...options(sentinels),
          url: Redacted.make("redis://other"),
          onUnavailableAtStart
        })
        assert.strictEqual(yield* tagOf(made), "NoMaster")
      }
    }))

  it.effect("a server that calls itself a replica is not used", () =>
    Effect.gen(function*() {
      const sentinels = yield* Sentinels
      const master = yield* sentinels.master
      const replica = sentinels.servers.find((server) => server !== master)!
      const { url } = yield* sentinelOf(replica)
      const made = RedisClient.makeSentinel({ url: Redacted.make("redis://main"), sentinels: [url] })
      assert.strictEqual(yield* tagOf(made), "ReadOnly")
    }))

  it.effect("reads its urls from REDIS_URL and REDIS_SENTINELS, and closes all it opened", () =>
    Effect.gen(function*() {
      const sentinels = yield* Sentinels
      const all = [yield* sentinels.master, ...sentinels.sentinels]
      const before = yield* Effect.forEach(all, connections)
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(RedisClient.layerSentinelConfig(), scope).pipe(
        Effect.provideService(
          ConfigProvider.ConfigProvider,
          ConfigProvider.fromUnknown({
            REDIS_URL: "redis://main",
            REDIS_SENTINELS: urlsOf(sentinels.sentinels).map(Redacted.value).join(", ")
          })
        )
      )
      const redis = Context.get(context, RedisClient.RedisClient)
      yield* Effect.scoped(Effect.flatMap(redis.dedicated, (server) => server.send("PING")))
      assert.isAbove(yield* connections(all[0]), before[0])
      yield* Scope.close(scope, Exit.void)
      yield* eventually(Effect.gen(function*() {
        const now = yield* Effect.forEach(all, connections)
        if (now.some((count, index) => count > before[index])) return yield* Effect.fail("still connected")
      }))
      assert.strictEqual(yield* tagOf(redis.send("PING")), "NotConnected")
    }))
})

describe("sentinels that change their mind", () => {
  it.live("a master that still works is left when they name another one", () =>
    Effect.gen(function*() {
      const [first, second] = [yield* RedisServer.make(), yield* RedisServer.make()]
      const sentinel = yield* sentinelOf(first)
      const redis = yield* RedisClient.makeSentinel({ url: Redacted.make("redis://main"), sentinels: [sentinel.url] })
      assert.strictEqual(yield* portOf(redis), first.port)
      yield* sentinel.admin("SENTINEL", "REMOVE", "main")
      yield* sentinel.admin("SENTINEL", "MONITOR", "main", "127.0.0.1", second.port, 1)
      yield* eventually(Effect.filterOrFail(portOf(redis), (port) => port === second.port))
    }))

  it.live("of two that disagree the one that knows of the later failover is believed", () =>
    Effect.gen(function*() {
      const [old, current] = [yield* RedisServer.make(), yield* RedisServer.make()]
      const [late, early] = [yield* sentinelOf(old, 1), yield* sentinelOf(current, 7)]
      for (const sentinels of [[late.url, early.url], [early.url, late.url]]) {
        const redis = yield* RedisClient.makeSentinel({ url: Redacted.make("redis://main"), sentinels })
        yield* eventually(Effect.filterOrFail(portOf(redis), (port) => port === current.port))
        yield* Effect.sleep("1 second")
        assert.strictEqual(yield* portOf(redis), current.port)
      }
    }))
})

describe("without sentinels", () => {
  it.live("fails, waits or continues, as with one server", () =>
    Effect.gen(function*() {
      const absent = Redacted.make(`redis://127.0.0.1:${yield* RedisServer.freePort}`)
      const base = { url: Redacted.make("redis://main"), sentinels: [absent, absent] }
      const error = yield* Effect.flip(RedisClient.makeSentinel(base))
      assert.deepStrictEqual([error.reason._tag, error.reason.code], ["NotConnected", "ECONNREFUSED"])
      const waiting = { ...base, onUnavailableAtStart: "wait", startTimeout: "300 millis" } as const
      assert.strictEqual(yield* tagOf(RedisClient.makeSentinel(waiting)), "NotConnected")
      const redis = yield* RedisClient.makeSentinel({ ...base, onUnavailableAtStart: "continue" })
      assert.strictEqual(yield* tagOf(redis.send("PING")), "NotConnected")
      assert.strictEqual(yield* tagOf(Effect.scoped(redis.dedicated)), "NotConnected")
    }))

  it.live("refuses urls that are none", () =>
    Effect.gen(function*() {
      const url = Redacted.make("redis://main")
      for (const sentinels of [[], [Redacted.make("redis://h/1")], [Redacted.make("sentinel:26379")]]) {
        assert.strictEqual(yield* tagOf(RedisClient.makeSentinel({ url, sentinels })), "InvalidUrl")
      }
    }))

  it.live("sentinels and master have passwords of their own", () =>
    Effect.gen(function*() {
      const sentinels = yield* RedisSentinel.make({ password: "of-master", sentinelPassword: "of-sentinel" })
      const at = (password: string) =>
        sentinels.sentinels.map(({ port }) => Redacted.make(`redis://:${password}@127.0.0.1:${port}`))
      const url = Redacted.make("redis://:of-master@main")
      const redis = yield* RedisClient.makeSentinel({ url, sentinels: at("of-sentinel") })
      assert.strictEqual(String(yield* redis.send("PING")), "PONG")
      assert.strictEqual(yield* tagOf(RedisClient.makeSentinel({ url, sentinels: at("wrong") })), "WrongPassword")
      assert.strictEqual(
        yield* tagOf(RedisClient.makeSentinel({ url: Redacted.make("redis://main"), sentinels: at("of-sentinel") })),
        "NoAuth"
      )
    }), 60_000)
})
