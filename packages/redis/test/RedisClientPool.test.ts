import { RedisClient, type RedisError } from "@effect-session/redis"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Schedule, Scope } from "effect"
import { table } from "../src/RedisError.ts"
import * as RedisServer from "./RedisServer.ts"

const tagOf = <A, R>(effect: Effect.Effect<A, RedisError.RedisError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.retry(effect, Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(500)]))

const make = (options: Partial<RedisClient.Options> = {}) =>
  Effect.gen(function*() {
    const server = yield* RedisServer.make()
    const redis = yield* RedisClient.make({ url: server.url, commandTimeout: "300 millis", ...options })
    return { server, redis }
  })

const connections = (server: RedisServer.RedisServer) =>
  Effect.map(server.admin("CLIENT", "LIST"), (list) => String(list).trim().split("\n").length - 1)

/** Borrows a connection for one command. */
const once = (redis: RedisClient.RedisClient["Service"], command: string, ...args: ReadonlyArray<string>) =>
  Effect.scoped(Effect.flatMap(redis.dedicated, (server) => server.send(command, ...args)))

const blocked = (server: RedisServer.RedisServer, count: number) =>
  eventually(Effect.filterOrFail(
    server.admin("INFO", "clients"),
    (info) => String(info).includes(`blocked_clients:${count}\r\n`)
  ))

describe("dedicated", () => {
  it.live("a command may block longer than others take, and holds nobody up", () =>
    Effect.gen(function*() {
      const { redis, server } = yield* make()
      const popping = yield* Effect.forkChild(once(redis, "BLPOP", "list", "5"), { startImmediately: true })
      yield* blocked(server, 1)
      assert.strictEqual(String(yield* redis.send("PING")), "PONG")
      yield* Effect.sleep("600 millis")
      yield* redis.send("RPUSH", "list", "value")
      assert.deepStrictEqual(yield* Fiber.join(popping), [Buffer.from("list"), Buffer.from("value")])
      assert.isNull(yield* once(redis, "XREAD", "BLOCK", "700", "STREAMS", "stream", "$"))
    }))

  it.live("a connection is used again, and closed with the client", () =>
    Effect.gen(function*() {
      const { redis, server } = yield* make()
      const id = yield* once(redis, "CLIENT", "ID")
      assert.strictEqual(yield* once(redis, "CLIENT", "ID"), id)
      const scope = yield* Scope.make()
      const own = yield* Scope.provide(RedisClient.make({ url: server.url }), scope)
      yield* once(own, "PING")
      assert.strictEqual(yield* connections(server), 4)
      yield* Scope.close(scope, Exit.void)
      yield* eventually(Effect.filterOrFail(connections(server), (now) => now === 2))
      assert.strictEqual(yield* tagOf(once(own, "PING")), "NotConnected")
    }))

  it.live("no more than the size are lent; who comes later waits, and fails as PoolTimeout", () =>
    Effect.gen(function*() {
      const { redis, server } = yield* make({ checkoutTimeout: "200 millis" })
      const scope = yield* Scope.make()
      const servers = yield* Effect.forEach(Array.from({ length: 5 }), () => Scope.provide(redis.dedicated, scope))
      assert.strictEqual(new Set(yield* Effect.forEach(servers, ({ send }) => send("CLIENT", "ID"))).size, 5)
      const error = yield* Effect.flip(once(redis, "PING"))
      assert.deepStrictEqual(error.reason, table.PoolTimeout)
      // It says nothing about Redis, so a circuit breaker does not count it.
      assert.isFalse(error.reason.infrastructure)
      const waiting = yield* Effect.forkChild(once(redis, "PING"), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(String(yield* Fiber.join(waiting)), "PONG")
      assert.strictEqual(yield* connections(server), 6)
    }))

  it.live("a connection that broke is not lent again", () =>
    Effect.gen(function*() {
      const { redis, server } = yield* make()
      const id = yield* once(redis, "CLIENT", "ID")
      yield* server.admin("CLIENT", "KILL", "ID", String(id))
      assert.notStrictEqual(yield* eventually(once(redis, "CLIENT", "ID")), id)

      const popping = yield* Effect.forkChild(tagOf(once(redis, "BLPOP", "none", "5")), { startImmediately: true })
      yield* blocked(server, 1)
      const list = String(yield* server.admin("CLIENT", "LIST"))
      const blocking = /id=(\d+) .*cmd=blpop/.exec(list)?.[1]
      yield* server.admin("CLIENT", "KILL", "ID", String(blocking))
      assert.strictEqual(yield* Fiber.join(popping), "ConnectionLost")
      assert.notStrictEqual(yield* once(redis, "CLIENT", "ID"), Number(blocking))
    }))

  it.live("a connection whose reply nobody waits for any more is not lent again", () =>
    Effect.gen(function*() {
      const { redis, server } = yield* make()
      const popping = yield* Effect.forkChild(once(redis, "BLPOP", "list", "60"), { startImmediately: true })
      yield* blocked(server, 1)
      yield* Fiber.interrupt(popping)
      yield* blocked(server, 0)
      yield* redis.send("RPUSH", "list", "kept")
      assert.strictEqual(String(yield* once(redis, "ECHO", "mine")), "mine")
      assert.strictEqual(String(yield* redis.send("LPOP", "list")), "kept")
    }))

  it.live("a frozen server ends a blocking command after its time, and the connection goes", () =>
    Effect.gen(function*() {
      const { redis, server } = yield* make()
      const scope = yield* Scope.make()
      const own = yield* Scope.provide(redis.dedicated, scope)
      const id = yield* own.send("CLIENT", "ID")
      yield* server.pause
      const error = yield* Effect.flip(own.send("BLPOP", "none", "0.2"))
      assert.deepStrictEqual(error.reason, table.Timeout)
      yield* Scope.close(scope, Exit.void)
      yield* server.resume
      assert.notStrictEqual(yield* eventually(once(redis, "CLIENT", "ID")), id)
    }))

  it.live("closing the client ends what still blocks", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const scope = yield* Scope.make()
      const redis = yield* Scope.provide(RedisClient.make({ url: server.url }), scope)
      const popping = yield* Effect.forkChild(tagOf(once(redis, "BLPOP", "none", "60")), { startImmediately: true })
      yield* blocked(server, 1)
      yield* Effect.timeout(Scope.close(scope, Exit.void), "1 second")
      assert.strictEqual(yield* Fiber.join(popping), "ConnectionLost")
    }))

  it.live("an interrupted checkout leaves no permit and no connection behind", () =>
    Effect.gen(function*() {
      const { redis, server } = yield* make({ dedicatedConnections: 1, checkoutTimeout: "500 millis" })
      for (let round = 0; round < 50; round++) {
        const fiber = yield* Effect.forkChild(once(redis, "PING"), { startImmediately: true })
        yield* Effect.sleep(round / 10)
        yield* Fiber.interrupt(fiber)
      }
      assert.strictEqual(String(yield* once(redis, "PING")), "PONG")
      yield* eventually(Effect.filterOrFail(connections(server), (now) => now === 2))
    }))

  it.live("dies on a command that would block for ever, and on one that would change the connection", () =>
    Effect.gen(function*() {
      const { redis } = yield* make()
      const commands = [["BLPOP", "a", "0"], ["XREAD", "BLOCK", "0", "STREAMS", "a", "$"], ["MULTI"]] as const
      for (const [command, ...args] of commands) {
        const exit = yield* Effect.exit(once(redis, command, ...args))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause), command)
      }
    }))

  it.live("fails at once without a connection, with the reason", () =>
    Effect.gen(function*() {
      const { redis, server } = yield* make()
      yield* server.kill
      const error = yield* eventually(Effect.flatMap(Effect.flip(once(redis, "PING")), (error) =>
        error.reason.code === "ECONNREFUSED" ? Effect.succeed(error) : Effect.fail(error)))
      assert.deepStrictEqual([error.reason._tag, error.reason.outcomeUnknown], ["NotConnected", false])
    }))

  it.live("dies on a size that is none", () =>
    Effect.gen(function*() {
      assert.isTrue(Exit.hasDies(yield* Effect.exit(make({ dedicatedConnections: 0 }))))
    }))
})
