import { RedisClient, type RedisError } from "@effect-session/redis"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Schedule } from "effect"
import { readFileSync } from "node:fs"
import { table } from "../src/RedisError.ts"
import * as LongestPause from "./LongestPause.ts"
import * as RedisServer from "./RedisServer.ts"
import * as TcpProxy from "./TcpProxy.ts"

const tagOf = <A, R>(effect: Effect.Effect<A, RedisError.RedisError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.retry(effect, Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(500)]))

const millis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

const make = Effect.gen(function*() {
  const server = yield* RedisServer.make()
  const proxy = yield* TcpProxy.make(server.port)
  const redis = yield* RedisClient.make({ url: proxy.url, commandTimeout: "300 millis" })
  return { server, proxy, redis }
})

describe("defaults", () => {
  it("are those of the table in the README", () => {
    const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8")
    const rows = Array.from(readme.matchAll(/^\| `(\w+)` +\| ([^|]+?) +\|/gm), ([, name, value]) => [name, value])
    const table: Record<string, string | undefined> = Object.fromEntries(rows)
    for (const [name, value] of Object.entries(RedisClient.defaults)) {
      assert.strictEqual(table[name]?.replaceAll("`", ""), String(value), name)
    }
  })
})

describe("a process that is held up longer than a command may take", () => {
  it.live("reads what has come in meanwhile before it gives up", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const redis = yield* RedisClient.make({ url: server.url, commandTimeout: "300 millis" })
      yield* redis.send("PING")
      for (let round = 0; round < 3; round++) {
        const reply = yield* Effect.forkChild(redis.send("PING"), { startImmediately: true })
        // Right after the command has left, and before its reply can be read.
        yield* Effect.promise(() =>
          new Promise<void>((resolve) =>
            setImmediate(() => {
              Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 380)
              resolve()
            })
          )
        )
        assert.strictEqual(String(yield* Fiber.join(reply)), "PONG")
      }
    }))
})

describe("network", () => {
  it.live("a reset is ConnectionLost with its code, and the client works again", () =>
    Effect.gen(function*() {
      const { proxy, redis } = yield* make
      yield* proxy.everywhere({ toClient: { cutAfter: 0, cut: "reset" } })
      const error = yield* Effect.flip(redis.send("INCR", "count"))
      assert.strictEqual(error.reason._tag, "ConnectionLost")
      assert.isTrue(error.reason.outcomeUnknown)
      const while_ = yield* eventually(Effect.flatMap(Effect.flip(redis.send("PING")), ({ reason }) =>
        reason.code === "ECONNRESET" ? Effect.succeed(reason) : Effect.fail(reason)))
      assert.deepStrictEqual(while_, { ...table.NotConnected, code: "ECONNRESET" })
      yield* proxy.everywhere({})
      // Executed once, although the reply was cut off and the client came back.
      assert.strictEqual(String(yield* eventually(redis.send("GET", "count"))), "1")
    }))

  for (const [name, plan] of [["black hole", TcpProxy.blackHole], ["drip", { toClient: { drip: 200 } }]] as const) {
    it.live(`every one of 200 commands ends in time in a ${name}, and the client works again after it`, () =>
      Effect.gen(function*() {
        const { proxy, redis } = yield* make
        const pause = yield* LongestPause.make
        yield* proxy.everywhere(plan)
        const durations = yield* Effect.forEach(
          Array.from({ length: 200 }, (_, index) => index),
          (index) =>
            Effect.delay(
              Effect.gen(function*() {
                const start = yield* millis
                const exit = yield* Effect.exit(redis.send("ECHO", "a text that is long enough to be cut"))
                assert.isTrue(Exit.isFailure(exit))
                return (yield* millis) - start
              }),
              index * 5
            ),
          { concurrency: "unbounded" }
        )
        assert.isAtMost(Math.max(...durations), 550 + 2 * (yield* pause))
        yield* proxy.everywhere({})
        assert.strictEqual(String(yield* eventually(redis.send("ECHO", "back"))), "back")
      }))
  }

  it.live("nothing queues while there is no server: 10,000 commands fail at once", () =>
    Effect.gen(function*() {
      const { redis, server } = yield* make
      yield* server.kill
      yield* eventually(Effect.filterOrFail(tagOf(redis.send("PING")), (tag) => tag === "NotConnected"))
      const start = yield* millis
      for (let index = 0; index < 10_000; index++) {
        assert.strictEqual(yield* tagOf(redis.send("SET", "a", "b")), "NotConnected")
      }
      assert.isAtMost(((yield* millis) - start) / 10_000, 5)
    }))

  it.live("commands of one turn leave in two writes at most", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const redis = yield* RedisClient.make({ url: server.url })
      const reads = Effect.map(server.admin("INFO", "stats"), (info) =>
        Number(/total_reads_processed:(\d+)/.exec(String(info))?.[1]))
      const before = yield* reads
      yield* Effect.forEach(Array.from({ length: 500 }), () =>
        redis.send("PING"), { concurrency: "unbounded" })
      // One read of the server for each 16 KiB, and those of the two questions.
      assert.isAtMost((yield* reads) - before, 12)
    }))
})
