import { RedisClient, RedisError } from "@effect-session/redis"
import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import { Effect, Redacted, Schedule, type Scope } from "effect"
import { Redis } from "ioredis"
import { tracingChannel } from "node:diagnostics_channel"
import { rmSync } from "node:fs"
import { inspect } from "node:util"
import * as RedisServer from "./RedisServer.ts"

const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.retry(effect, Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(500)]))

type Client = RedisClient.RedisClient["Service"]

/** A fault, and the command that meets it. */
interface Fault {
  readonly tag: RedisError.Tag
  readonly server?: ReadonlyArray<string>
  readonly provoke?: (
    server: RedisServer.RedisServer,
    client: Client
  ) => Effect.Effect<unknown, unknown, Scope.Scope>
  readonly command: readonly [string, ...ReadonlyArray<string>]
}

const faults: ReadonlyArray<Fault> = [
  {
    tag: "Timeout",
    provoke: (server) =>
      Effect.andThen(Effect.forkChild(server.admin("DEBUG", "SLEEP", "0.6")), Effect.sleep("50 millis")),
    command: ["GET", "a"]
  },
  {
    tag: "Timeout",
    provoke: (server) => server.admin("CLIENT", "PAUSE", 600, "WRITE"),
    command: ["SET", "a", "b"]
  },
  {
    tag: "ConnectionLost",
    provoke: (server) =>
      Effect.forkChild(eventually(
        Effect.filterOrFail(
          server.admin("CLIENT", "KILL", "TYPE", "normal"),
          (killed) => killed === 1
        ).pipe(Effect.delay("50 millis"))
      )),
    command: ["BLPOP", "none", "0"]
  },
  {
    tag: "Loading",
    provoke: (server, client) =>
      Effect.gen(function*() {
        yield* server.admin("DEBUG", "POPULATE", "20000")
        yield* server.admin("SAVE")
        yield* server.kill
        yield* server.start("--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024")
        yield* eventually(Effect.catchReason(client.send("GET", "a"), "RedisError", "Loading", () => Effect.void))
      }),
    command: ["GET", "a"]
  },
  {
    tag: "Busy",
    server: ["--busy-reply-threshold", "50"],
    provoke: (server) =>
      Effect.andThen(
        Effect.forkChild(server.admin("EVAL", "while true do end", 0)),
        Effect.andThen(
          Effect.addFinalizer(() => Effect.ignore(server.admin("SCRIPT", "KILL"))),
          Effect.sleep("100 millis")
        )
      ),
    command: ["GET", "a"]
  },
  { tag: "ReadOnly", provoke: (server) => server.admin("REPLICAOF", "127.0.0.1", 1), command: ["SET", "a", "b"] },
  {
    tag: "ReadOnly",
    provoke: (server) => server.admin("REPLICAOF", "127.0.0.1", 1),
    command: ["EVAL", "return redis.call('SET', KEYS[1], 'b')", "1", "a"]
  },
  {
    tag: "MasterDown",
    server: ["--replica-serve-stale-data", "no"],
    provoke: (server) => server.admin("REPLICAOF", "127.0.0.1", 1),
    command: ["GET", "a"]
  },
  {
    tag: "NoReplicas",
    provoke: (server) => server.admin("CONFIG", "SET", "min-replicas-to-write", 1),
    command: ["SET", "a", "b"]
  },
  {
    tag: "Misconf",
    provoke: (server) =>
      Effect.gen(function*() {
        yield* server.admin("CONFIG", "SET", "save", "3600 1")
        rmSync(server.directory, { recursive: true })
        yield* server.admin("BGSAVE")
        yield* eventually(Effect.filterOrFail(
          server.admin("INFO", "persistence"),
          (info) => String(info).includes("rdb_last_bgsave_status:err")
        ))
      }),
    command: ["SET", "a", "b"]
  },
  {
    tag: "OutOfMemory",
    provoke: (server) => server.admin("CONFIG", "SET", "maxmemory", 1),
    command: ["EVAL", "return redis.call('SET', KEYS[1], 'b')", "1", "a"]
  },
  {
    tag: "OutOfMemory",
    provoke: (server) => server.admin("CONFIG", "SET", "maxmemory", 1),
    command: ["SET", "a", "b"]
  },
  {
    tag: "NoPermission",
    provoke: (server) => server.admin("ACL", "SETUSER", "default", "-@all", "+ping"),
    command: ["GET", "a"]
  },
  { tag: "NoScript", command: ["EVALSHA", "0".repeat(40), "0"] },
  { tag: "WrongType", provoke: (_, client) => client.send("SET", "a", "b"), command: ["LPUSH", "a", "b"] },
  { tag: "Rejected", command: ["NOSUCHCOMMAND", "a"] },
  { tag: "Rejected", command: ["SET", "a"] },
  { tag: "ClusterDown", server: ["--cluster-enabled", "yes"], command: ["SET", "a", "b"] },
  {
    tag: "CrossSlot",
    server: ["--cluster-enabled", "yes"],
    provoke: (server) => server.admin("CLUSTER", "ADDSLOTSRANGE", 0, 16_383),
    command: ["MGET", "a", "b"]
  }
]

let consoleCalls: ReadonlyArray<{ readonly mock: { readonly calls: ReadonlyArray<unknown> } }> = []
beforeEach(() => {
  consoleCalls = [vi.spyOn(console, "error"), vi.spyOn(console, "warn")]
})
afterEach(() => {
  assert.deepStrictEqual(consoleCalls.flatMap((spy) => spy.mock.calls), [], "the driver printed")
})

const options = { commandTimeout: "250 millis" } as const

describe("classification on a real server", () => {
  for (const { command, provoke, server: args, tag } of faults) {
    it.live(`${command[0]} fails as ${tag}`, () =>
      Effect.gen(function*() {
        const server = yield* RedisServer.make(
          ...args ?? [],
          ...args?.includes("--cluster-enabled") ? ["--cluster-port", String(yield* RedisServer.freePort)] : []
        )
        const redis = yield* RedisClient.make({ url: server.url, ...options })
        if (provoke !== undefined) yield* provoke(server, redis)
        const error = yield* Effect.flip(redis.send(...command))
        assert.deepStrictEqual(error.reason, RedisError.table[tag])
        assert.strictEqual(error.command, command[0])
      }))
  }

  it.live("keys of another node are Moved, of a slot that is being moved TryAgain", () =>
    Effect.gen(function*() {
      const make = Effect.gen(function*() {
        const bus = String(yield* RedisServer.freePort)
        const server = yield* RedisServer.make("--cluster-enabled", "yes", "--cluster-port", bus)
        const redis = yield* RedisClient.make({ url: server.url, ...options })
        return { ...server, bus: Number(bus), redis, id: String(yield* server.admin("CLUSTER", "MYID")) }
      })
      const [owner, other] = [yield* make, yield* make]
      yield* owner.admin("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
      yield* owner.admin("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus)
      const tagOf = (node: typeof owner, ...command: readonly [string, ...ReadonlyArray<string>]) =>
        Effect.map(Effect.flip(node.redis.send(...command)), (error) => error.reason._tag)
      yield* eventually(Effect.filterOrFail(tagOf(other, "GET", "{t}a"), (tag) => tag === "Moved"))
      yield* owner.redis.send("SET", "{t}a", "x")
      const slot = String(yield* owner.admin("CLUSTER", "KEYSLOT", "t"))
      yield* eventually(owner.admin("CLUSTER", "SETSLOT", slot, "MIGRATING", other.id))
      assert.strictEqual(yield* tagOf(owner, "MGET", "{t}a", "{t}b"), "TryAgain")
      assert.strictEqual(yield* tagOf(owner, "GET", "{t}b"), "Moved") // ASK
    }))

  it.live("a server with all its clients is MaxClients", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make("--maxclients", "1")
      yield* RedisClient.make({ url: server.url, ...options })
      const error = yield* Effect.flip(RedisClient.make({ url: server.url, ...options }))
      assert.strictEqual(error.reason._tag, "MaxClients")
    }))

  it.live("a transaction with a bad command is ExecAborted", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const raw = yield* Effect.acquireRelease(
        Effect.sync(() => new Redis(server.port, { disableClientInfo: true })),
        (raw) => Effect.sync(() => raw.disconnect())
      )
      const cause = yield* Effect.promise(() =>
        Promise.all([raw.call("MULTI"), raw.call("SET", "a").catch(() => {})])
          .then(() => raw.call("EXEC")).catch((cause: unknown) => cause)
      )
      assert.strictEqual(RedisError.classify(cause), RedisError.table.ExecAborted)
    }))
})

describe("classify", () => {
  it("tells an attempt that reached nobody from a connection that broke", () => {
    const socket = (code: string) => RedisError.classify(Object.assign(new Error("secret"), { code }))
    for (const code of ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH"]) {
      assert.deepStrictEqual(socket(code), { ...RedisError.table.NotConnected, code })
    }
    for (const code of ["ECONNRESET", "EPIPE", "ETIMEDOUT"]) {
      assert.deepStrictEqual(socket(code), { ...RedisError.table.ConnectionLost, code })
    }
  })

  it("what nobody knows is Protocol, whatever it is", () => {
    for (const cause of [undefined, "text", new Error("?"), new TypeError("?"), { message: "OOM" }]) {
      assert.strictEqual(RedisError.classify(cause)._tag, "Protocol")
    }
  })

  it("mistakes of the program are neither retried nor counted", () => {
    const expected = [
      "CrossSlot",
      "ExecAborted",
      "InvalidUrl",
      "Moved",
      "NoAuth",
      "NoMaster",
      "NoPermission",
      "NoScript",
      "Rejected",
      "WrongPassword",
      "WrongType"
    ] as const
    const mistakes = Object.values(RedisError.table).filter((row) => !row.infrastructure && !row.transient)
    assert.deepStrictEqual(new Set(mistakes.map((row) => row._tag)), new Set<RedisError.Tag>(expected))
  })
})

describe("secrecy", () => {
  const canary = "CANARY7f3a"

  it.live("no argument, key, value, script or password shows in an error", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      yield* server.admin("ACL", "SETUSER", "app", "on", `>${canary}`, "~*", "+@all", "-get")
      const url = (password: string) => Redacted.make(`redis://app:${password}@127.0.0.1:${server.port}`)
      const redis = yield* RedisClient.make({ url: url(canary), ...options })
      yield* redis.send("SET", canary, canary)
      const commands: ReadonlyArray<readonly [string, ...ReadonlyArray<string>]> = [
        ["NOSUCHCOMMAND", canary],
        ["GET", canary],
        ["LPUSH", canary, canary],
        ["SET", canary],
        ["EVAL", "error(ARGV[1])", "0", canary],
        ["EVAL", "return redis.error_reply(ARGV[1])", "0", canary],
        ["EVAL", "return {redis.error_reply(ARGV[1])}", "0", canary],
        ["EVAL", `return ${canary}`, "0"],
        ["BLPOP", "none" + canary, "0"]
      ]
      const errors = yield* Effect.forEach(commands, (command) => Effect.flip(redis.send(...command)))
      errors.push(yield* Effect.flip(RedisClient.make({ url: url("wrong" + canary), ...options })))
      errors.push(yield* Effect.flip(RedisClient.make({ url: Redacted.make(`redis://${canary}:1:2`), ...options })))
      for (const error of errors) {
        const shown = inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error) + String(error.stack)
        assert.notInclude(shown, canary)
      }
    }))

  it.live("nothing of a command reaches the driver's diagnostics channels", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const channels = ["ioredis:command", "ioredis:batch", "ioredis:connect"].map((name) => tracingChannel(name))
      const record = (context: object) => void seen.push({ ...context })
      const subscriber = { start: record, end: record, asyncStart: record, asyncEnd: record, error: record }
      yield* Effect.acquireRelease(
        Effect.sync(() => channels.forEach((channel) => channel.subscribe(subscriber))),
        () => Effect.sync(() => channels.forEach((channel) => channel.unsubscribe(subscriber)))
      )
      const server = yield* RedisServer.make("--requirepass", canary)
      const url = Redacted.make(`redis://:${canary}@127.0.0.1:${server.port}`)
      const redis = yield* RedisClient.make({ url, ...options })
      yield* redis.send("SET", canary, canary)
      yield* redis.send("EVAL", "return ARGV[1]", "1", canary, canary)
      assert.isAbove(seen.length, 0)
      assert.notInclude(inspect(seen, { depth: 20 }), canary)
    }))
})
