import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as RedisServer from "./RedisServer.ts"

export interface Options {
  /** Replicas of the master, one by default. */
  readonly replicas?: number | undefined
  /** Silence after which a sentinel holds a server for down, 1000 milliseconds by default. */
  readonly downAfter?: number | undefined
  readonly password?: string | undefined
  readonly sentinelPassword?: string | undefined
  /** More arguments of the servers. */
  readonly args?: ReadonlyArray<string> | undefined
}

/** A master with replicas in sync, watched by three sentinels that agree. For tests on real time. */
export interface RedisSentinel {
  /** What the sentinels call the master. */
  readonly name: string
  /** The servers: the first was the master at the start. */
  readonly servers: ReadonlyArray<RedisServer.RedisServer>
  readonly sentinels: ReadonlyArray<RedisServer.RedisServer>
  readonly addresses: ReadonlyArray<{ readonly host: string; readonly port: number }>
  /** The master that all sentinels which answer name, and that calls itself one. */
  readonly master: Effect.Effect<RedisServer.RedisServer, RedisServer.ServerError>
  readonly freeze: (server: RedisServer.RedisServer) => Effect.Effect<void>
  readonly thaw: (server: RedisServer.RedisServer) => Effect.Effect<void>
  readonly kill: (server: RedisServer.RedisServer) => Effect.Effect<void>
  /** A planned failover, until another server is the master. */
  readonly failover: Effect.Effect<RedisServer.RedisServer, RedisServer.ServerError>
  /** Waits until there is a master other than this one. */
  readonly movedFrom: (
    server: RedisServer.RedisServer
  ) => Effect.Effect<RedisServer.RedisServer, RedisServer.ServerError>
  /** Waits until every server but the master follows it and the sentinels would agree on a failover. */
  readonly settled: Effect.Effect<void, RedisServer.ServerError>
}

const host = "127.0.0.1"
const name = "main"

// Sentinels write what they learn into their file, so it is theirs alone.
const sentinelArgs = (master: number, downAfter: number, options: Options) => (directory: string, port: number) => {
  const file = join(directory, "sentinel.conf")
  const lines = [
    `port ${port}`,
    `bind ${host}`,
    `dir ${directory}`,
    `sentinel monitor ${name} ${host} ${master} 2`,
    `sentinel down-after-milliseconds ${name} ${downAfter}`,
    `sentinel failover-timeout ${name} 5000`,
    `sentinel parallel-syncs ${name} 1`,
    ...options.password === undefined ? [] : [`sentinel auth-pass ${name} ${options.password}`],
    ...options.sentinelPassword === undefined ? [] : [`requirepass ${options.sentinelPassword}`]
  ]
  writeFileSync(file, `${lines.join("\n")}\n`)
  return [file, "--sentinel"]
}

export const make: (options?: Options) => Effect.Effect<RedisSentinel, RedisServer.ServerError, Scope.Scope> = Effect
  .fnUntraced(function*(options = {}) {
    const { password, sentinelPassword: secret } = options
    const server = (...args: ReadonlyArray<string>) =>
      RedisServer.makeWith({
        password,
        args: [
          // Without a disk, a replica that says it is in sync gets no write for up to a second.
          "--repl-diskless-sync",
          "no",
          "--repl-ping-replica-period",
          "1",
          ...password === undefined ? [] : ["--requirepass", password, "--masterauth", password],
          ...options.args ?? [],
          ...args
        ]
      })

    const first = yield* server()
    const follow = server("--replicaof", host, String(first.port))
    const replicas = yield* Effect.all(Array.from({ length: options.replicas ?? 1 }, () => follow), { concurrency: 3 })
    const servers = [first, ...replicas]
    yield* Effect.forEach(
      replicas,
      (replica) => RedisServer.waitUntil("replica in sync", 200, RedisServer.inSync(replica, servers))
    )
    const watch = RedisServer.makeWith({
      password: secret,
      only: sentinelArgs(first.port, options.downAfter ?? 1000, options)
    })
    const sentinels = yield* Effect.all([watch, watch, watch], { concurrency: 3 })
    // Every 10 and every 2 seconds otherwise: a demoted master would wait four such periods for its new role.
    for (const sentinel of sentinels) {
      yield* sentinel.admin("SENTINEL", "DEBUG", "INFO-PERIOD", 1000, "PUBLISH-PERIOD", 500)
    }

    const named = (sentinel: RedisServer.RedisServer) =>
      sentinel.admin("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name).pipe(
        Effect.timeout("1 second"),
        Effect.map((address) => Array.isArray(address) ? Number(address[1]) : 0),
        Effect.catch(() => Effect.succeed(undefined))
      )
    const master = Effect.gen(function*() {
      const ports = (yield* Effect.forEach(sentinels, named, { concurrency: 3 })).filter((port) => port !== undefined)
      const candidate = servers.find(({ port }) => ports.length > 0 && ports.every((other) => other === port))
      if (candidate === undefined) return yield* new RedisServer.ServerError({ message: "the sentinels do not agree" })
      const role = yield* candidate.admin("ROLE").pipe(
        Effect.timeout("1 second"),
        Effect.catchTag("TimeoutError", () => new RedisServer.ServerError({ message: "the master is silent" }))
      )
      if (Array.isArray(role) && role[0] === "master") return candidate
      return yield* new RedisServer.ServerError({ message: "the master is none" })
    })

    const agreed = (sentinel: RedisServer.RedisServer) =>
      Effect.gen(function*() {
        const reply = yield* sentinel.admin("SENTINEL", "MASTER", name)
        const list = Array.isArray(reply) ? reply.map(String) : []
        const field = (key: string) => list[list.indexOf(key) + 1]
        yield* sentinel.admin("SENTINEL", "CKQUORUM", name)
        return field("flags") === "master" && field("num-other-sentinels") === "2" &&
          Number(field("num-slaves")) >= replicas.length
      })
    const every = (checks: ReadonlyArray<Effect.Effect<boolean, RedisServer.ServerError>>) =>
      Effect.map(Effect.all(checks, { concurrency: "unbounded" }), (all) => all.every(Boolean))
    const settled = RedisServer.waitUntil(
      "sentinels agree and replicas follow",
      600,
      Effect.flatMap(master, (current) =>
        every([
          ...sentinels.map(agreed),
          ...servers.filter((server) => server !== current).map((server) => RedisServer.inSync(server, [current]))
        ]))
    )
    yield* settled

    const movedFrom = (server: RedisServer.RedisServer) =>
      Effect.andThen(
        RedisServer.waitUntil("another master", 600, Effect.map(master, (current) => current !== server)),
        master
      )
    return {
      name,
      servers,
      sentinels,
      addresses: sentinels.map(({ port }) => ({ host, port })),
      master,
      freeze: (server) => server.pause,
      thaw: (server) => server.resume,
      kill: (server) => server.kill,
      failover: Effect.gen(function*() {
        const before = yield* master
        yield* sentinels[0].admin("SENTINEL", "FAILOVER", name)
        return yield* movedFrom(before)
      }),
      movedFrom,
      settled
    }
  })
