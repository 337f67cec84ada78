import { RedisClient, type RedisError } from "@effect-session/redis"
import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import {
  Clock,
  Config,
  ConfigProvider,
  Context,
  Duration,
  Effect,
  Exit,
  Fiber,
  Latch,
  Layer,
  Random,
  Redacted,
  Schedule,
  Scope
} from "effect"
import { execFileSync, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { fileURLToPath } from "node:url"
import { table } from "../src/RedisError.ts"
import * as RedisServer from "./RedisServer.ts"

const client = (options: RedisClient.Options) =>
  Effect.map(Layer.build(RedisClient.layer(options)), (context) => Context.get(context, RedisClient.RedisClient))

const tagOf = <A, R>(effect: Effect.Effect<A, RedisError.RedisError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.retry(effect, Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(500)]))

/** Files of a certificate of this machine, signed by itself, and of its key. */
const selfSigned = Effect.gen(function*() {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "redis-tls-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
  )
  const [certificate, key] = [join(directory, "cert.pem"), join(directory, "key.pem")]
  const subject = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
  const request = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 ${subject}`
  execFileSync("openssl", [...request.split(" "), "-out", certificate, "-keyout", key], { stdio: "ignore" })
  return { certificate, key }
})

let consoleCalls: ReadonlyArray<{ readonly mock: { readonly calls: ReadonlyArray<unknown> } }> = []
beforeEach(() => {
  consoleCalls = [vi.spyOn(console, "error"), vi.spyOn(console, "warn")]
})
afterEach(() => {
  assert.deepStrictEqual(consoleCalls.flatMap((spy) => spy.mock.calls), [], "the driver printed")
})

describe("send", () => {
  it.live("sends and returns bytes unchanged", () =>
    Effect.gen(function*() {
      const redis = yield* client({ url: (yield* RedisServer.make()).url })
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
      const view = new Uint8Array(bytes).subarray(1, 255)
      assert.deepStrictEqual(yield* redis.send("SET", "bytes", view), Buffer.from("OK"))
      assert.deepStrictEqual(yield* redis.send("get", "bytes"), bytes.subarray(1, 255))
      assert.isNull(yield* redis.send("GET", "missing"))
      assert.strictEqual(yield* redis.send("DEL", "bytes"), 1)
    }))

  it.live("returns nested replies as they are, whatever the case of the command", () =>
    Effect.gen(function*() {
      const redis = yield* client({ url: (yield* RedisServer.make()).url })
      yield* redis.send("HSET", "hash", "field", "value")
      assert.deepStrictEqual(yield* redis.send("hgetall", "hash"), [Buffer.from("field"), Buffer.from("value")])
      const script = "return {1, {ARGV[1], false}}"
      assert.deepStrictEqual(yield* redis.send("EVAL", script, "0", "a"), [1, [Buffer.from("a"), null]])
    }))

  it.live("fails on an error inside an array", () =>
    Effect.gen(function*() {
      const redis = yield* client({ url: (yield* RedisServer.make()).url })
      const script = "return {1, redis.error_reply('OOM no')}"
      assert.strictEqual(yield* tagOf(redis.send("EVAL", script, "0")), "OutOfMemory")
    }))

  it.live("shares the connection between concurrent commands without mixing replies", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const redis = yield* client({ url: server.url })
      const replies = yield* Effect.forEach(
        Array.from({ length: 500 }, (_, index) => String(index)),
        (text) => Effect.map(redis.send("ECHO", text), (reply) => String(reply) === text),
        { concurrency: "unbounded" }
      )
      assert.isTrue(replies.every((same) => same))
      // one client of ours, one of the question
      assert.strictEqual(String(yield* server.admin("CLIENT", "LIST")).trim().split("\n").length, 2)
    }))

  it.live("an interrupted command does not disturb the next one", () =>
    Effect.gen(function*() {
      const redis = yield* client({ url: (yield* RedisServer.make()).url })
      const fiber = yield* Effect.forkChild(redis.send("BLPOP", "none", "0.2"), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(String(yield* redis.send("ECHO", "next")), "next")
    }))

  it.live("dies on a command that would change the shared connection", () =>
    Effect.gen(function*() {
      const redis = yield* client({ url: (yield* RedisServer.make()).url })
      for (const command of ["multi", "SUBSCRIBE", "SELECT"]) {
        assert.isTrue(Exit.hasDies(yield* Effect.exit(redis.send(command, "1"))))
      }
    }))
})

describe("faults", () => {
  it.live("every command ends while the server is frozen, and the client works again afterwards", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const redis = yield* client({ url: server.url, commandTimeout: "200 millis" })
      yield* server.pause
      const tags = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, index) => index),
        (index) => tagOf(Effect.delay(redis.send("SET", "frozen", "x"), index * 20)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(tags[0], "Timeout")
      // the silent connection has been given up, so later commands are not even sent
      assert.strictEqual(tags[49], "NotConnected")
      yield* server.resume
      assert.strictEqual(String(yield* eventually(redis.send("ECHO", "back"))), "back")
    }))

  it.live("a killed server fails commands at once, and a restarted one is found again", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const redis = yield* client({ url: server.url })
      const waiting = yield* Effect.forkChild(tagOf(redis.send("BLPOP", "none", "0")), { startImmediately: true })
      yield* eventually(Effect.filterOrFail(
        server.admin("CLIENT", "LIST"),
        (list) => String(list).includes("cmd=blpop")
      ))
      yield* server.kill
      assert.strictEqual(yield* Fiber.join(waiting), "ConnectionLost")
      const refused = yield* eventually(Effect.flatMap(Effect.flip(redis.send("GET", "a")), (error) =>
        error.reason.code === "ECONNREFUSED" ? Effect.succeed(error) : Effect.fail(error)))
      assert.strictEqual(refused.reason._tag, "NotConnected")
      assert.isFalse(refused.reason.outcomeUnknown)
      yield* server.start()
      assert.strictEqual(String(yield* eventually(redis.send("ECHO", "back"))), "back")
    }))

  it.live("nothing sent during an outage is applied after it", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const redis = yield* client({ url: server.url })
      yield* server.kill
      yield* Effect.flip(redis.send("SET", "replayed", "x"))
      yield* server.start()
      yield* eventually(redis.send("PING"))
      assert.isNull(yield* redis.send("GET", "replayed"))
    }))

  it.live("a command that got no reply may have been executed, but never twice", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const redis = yield* client({ url: server.url, commandTimeout: "200 millis" })
      yield* server.pause
      const error = yield* Effect.flip(redis.send("INCR", "count"))
      assert.isTrue(error.reason.outcomeUnknown)
      yield* eventually(Effect.filterOrFail(tagOf(redis.send("PING")), (tag) => tag === "NotConnected"))
      yield* server.resume
      assert.strictEqual(String(yield* eventually(redis.send("GET", "count"))), "1")
    }))

  it.live("a server that turned into a replica is left, and found again as a master", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const redis = yield* client({ url: server.url })
      const id = yield* redis.send("CLIENT", "ID")
      yield* server.admin("REPLICAOF", "127.0.0.1", "1")
      assert.strictEqual(yield* tagOf(redis.send("SET", "a", "b")), "ReadOnly")
      yield* server.admin("REPLICAOF", "NO", "ONE")
      assert.notStrictEqual(yield* eventually(redis.send("CLIENT", "ID")), id)
      assert.strictEqual(String(yield* redis.send("SET", "a", "b")), "OK")
    }))

  it.live("draws the delays between attempts from the random service, up to a limit that doubles", () =>
    Effect.gen(function*() {
      const url = Redacted.make(`redis://127.0.0.1:${yield* RedisServer.freePort}`)
      const live = yield* Clock.Clock
      const delays: Array<number> = []
      const enough = yield* Latch.make()
      const recording: Clock.Clock = {
        currentTimeMillisUnsafe: () => live.currentTimeMillisUnsafe(),
        currentTimeMillis: live.currentTimeMillis,
        currentTimeNanosUnsafe: () => live.currentTimeNanosUnsafe(),
        currentTimeNanos: live.currentTimeNanos,
        monotonicTimeNanosUnsafe: () => live.monotonicTimeNanosUnsafe(),
        monotonicTimeNanos: live.monotonicTimeNanos,
        sleep: (duration) =>
          Effect.suspend(() => {
            delays.push(Duration.toMillis(duration))
            return delays.length < 7 ? Effect.void : Effect.andThen(Latch.open(enough), Effect.never)
          })
      }
      yield* client({ url, onUnavailableAtStart: "continue" }).pipe(
        Effect.provideService(Random.Random, { nextIntUnsafe: () => 0, nextDoubleUnsafe: () => 0.5 }),
        Effect.provideService(Clock.Clock, recording)
      )
      yield* Latch.await(enough)
      assert.deepStrictEqual(delays, [50, 100, 200, 400, 500, 500, 500])
    }))
})

describe("start", () => {
  const absent = Effect.map(RedisServer.freePort, (port) => Redacted.make(`redis://127.0.0.1:${port}`))

  it.live("fails by default when there is no server", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(client({ url: yield* absent }))
      assert.strictEqual(error.message, `Redis failed: ${table.NotConnected.description} (ECONNREFUSED)`)
    }))

  it.live("waits for a server that comes later", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      yield* server.kill
      const building = yield* Effect.forkChild(client({ url: server.url, onUnavailableAtStart: "wait" }), {
        startImmediately: true
      })
      yield* server.start()
      assert.strictEqual(String(yield* (yield* Fiber.join(building)).send("PING")), "PONG")
    }))

  it.live("a wait ends with a typed failure", () =>
    Effect.gen(function*() {
      const options = { url: yield* absent, onUnavailableAtStart: "wait", startTimeout: "300 millis" } as const
      assert.strictEqual(yield* tagOf(client(options)), "NotConnected")
    }))

  it.live("continues without a server and finds it later", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      yield* server.kill
      const redis = yield* client({ url: server.url, onUnavailableAtStart: "continue" })
      assert.strictEqual(yield* tagOf(redis.send("GET", "a")), "NotConnected")
      yield* server.start()
      assert.strictEqual(String(yield* eventually(redis.send("PING"))), "PONG")
    }))

  it.live("a frozen server is no server", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      yield* server.pause
      assert.strictEqual(
        yield* tagOf(client({ url: server.url, commandTimeout: "100 millis" })),
        "NotConnected"
      )
      yield* server.resume
    }))

  it.live("what waiting cannot mend fails in every mode", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make("--requirepass", "right")
      const url = (userinfo: string) => Redacted.make(`redis://${userinfo}127.0.0.1:${server.port}`)
      for (const onUnavailableAtStart of ["fail", "wait", "continue"] as const) {
        assert.strictEqual(yield* tagOf(client({ url: url(":wrong@"), onUnavailableAtStart })), "WrongPassword")
        assert.strictEqual(yield* tagOf(client({ url: url(""), onUnavailableAtStart })), "NoAuth")
      }
      const redis = yield* client({ url: url(":right@") })
      assert.strictEqual(String(yield* redis.send("PING")), "PONG")
    }))

  it.live("a password with special characters works percent-encoded, as does one that is not asked for", () =>
    Effect.gen(function*() {
      const password = "p@ss/w:ö#%"
      const server = yield* RedisServer.make("--requirepass", password)
      const other = yield* RedisServer.make()
      for (const { port } of [server, other]) {
        const url = Redacted.make(`redis://:${encodeURIComponent(password)}@127.0.0.1:${port}`)
        assert.strictEqual(String(yield* (yield* client({ url })).send("PING")), "PONG")
      }
    }))

  it.live("uses the database of the url, also after a reconnect, and never another one", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const at = (database: number) => Redacted.make(`${Redacted.value(server.url)}/${database}`)
      const redis = yield* client({ url: at(3) })
      const database = Effect.map(redis.send("CLIENT", "INFO"), (info) => / db=(\d+)/.exec(String(info))?.[1])
      assert.strictEqual(yield* database, "3")
      yield* server.admin("CLIENT", "KILL", "TYPE", "normal")
      assert.strictEqual(yield* eventually(database), "3")
      assert.strictEqual(yield* tagOf(client({ url: at(99), onUnavailableAtStart: "wait" })), "Rejected")
    }))

  it.live("refuses urls that are none, and those that would set options of the driver", () =>
    Effect.gen(function*() {
      const urls = [
        "",
        "127.0.0.1:6379",
        "http://127.0.0.1",
        "redis://",
        "redis:///1",
        "redis://h/one",
        "redis://h/1/2"
      ]
      for (const url of [...urls, "redis://h?enableOfflineQueue=true", "redis://:a#b@h", "redis://:%@h"]) {
        assert.strictEqual(yield* tagOf(client({ url: Redacted.make(url) })), "InvalidUrl", url)
      }
    }))

  it.live("something that does not speak the protocol is not taken for a server", () =>
    Effect.gen(function*() {
      const sockets = new Set<Socket>()
      const server = createServer((socket) => {
        sockets.add(socket.on("error", () => {}))
        socket.on("data", () => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"))
      })
      const port = yield* Effect.acquireRelease(
        Effect.callback<number>((resume) => {
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
          })
        }),
        () =>
          Effect.sync(() => {
            for (const socket of sockets) socket.destroy()
            server.close()
          })
      )
      assert.strictEqual(yield* tagOf(client({ url: Redacted.make(`redis://127.0.0.1:${port}`) })), "Protocol")
    }))

  it.live("rediss connects to a server whose certificate is trusted, and to no other", () =>
    Effect.gen(function*() {
      const tlsPort = String(yield* RedisServer.freePort)
      const { certificate, key } = yield* selfSigned
      const files = ["--tls-cert-file", certificate, "--tls-key-file", key]
      yield* RedisServer.make("--tls-port", tlsPort, ...files, "--tls-auth-clients", "no")
      const connect = (host: string) => client({ url: Redacted.make(`rediss://${host}:${tlsPort}`) })

      const error = yield* Effect.flip(connect("localhost"))
      assert.deepStrictEqual(error.reason, { ...table.NotConnected, code: "DEPTH_ZERO_SELF_SIGNED_CERT" })
      const authorities = getCACertificates("default")
      yield* Effect.acquireRelease(
        Effect.sync(() => setDefaultCACertificates([...authorities, readFileSync(certificate, "utf8")])),
        () => Effect.sync(() => setDefaultCACertificates(authorities))
      )
      for (const host of ["localhost", "127.0.0.1"]) {
        assert.strictEqual(String(yield* (yield* connect(host)).send("PING")), "PONG")
      }
    }))

  it.live("a certificate authority of one's own is trusted, and the server may ask for a certificate", () =>
    Effect.gen(function*() {
      const tlsPort = String(yield* RedisServer.freePort)
      const { certificate, key } = yield* selfSigned
      yield* RedisServer.make(
        "--tls-port",
        tlsPort,
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        certificate
      )
      const ca = readFileSync(certificate, "utf8")
      const connect = (tls?: RedisClient.TlsOptions) =>
        client({ url: Redacted.make(`rediss://localhost:${tlsPort}`), tls })
      assert.strictEqual(yield* tagOf(connect()), "NotConnected")
      assert.include(["NotConnected", "ConnectionLost"], yield* tagOf(connect({ ca })))
      const redis = yield* connect({ ca, cert: ca, key: Redacted.make(readFileSync(key, "utf8")) })
      assert.strictEqual(String(yield* redis.send("PING")), "PONG")
      assert.strictEqual(
        String(yield* Effect.scoped(Effect.flatMap(redis.dedicated, ({ send }) => send("PING")))),
        "PONG"
      )
    }))

  it.live("layerConfig reads the url", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const reply = yield* RedisClient.RedisClient.use((redis) => redis.send("PING")).pipe(
        Effect.provide(RedisClient.layerConfig({ url: Config.Redacted("REDIS_URL"), prefix: Config.succeed("app:") })),
        Effect.provideService(
          ConfigProvider.ConfigProvider,
          ConfigProvider.fromUnknown({ REDIS_URL: Redacted.value(server.url) })
        )
      )
      assert.strictEqual(String(reply), "PONG")
    }))

  it.live("layerConfig reads REDIS_URL when it is told nothing", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const provide = (config: Record<string, string>) =>
        RedisClient.RedisClient.use((redis) => redis.send("PING")).pipe(
          Effect.provide(RedisClient.layerConfig()),
          Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(config))
        )
      assert.strictEqual(String(yield* provide({ REDIS_URL: Redacted.value(server.url) })), "PONG")
      assert.strictEqual((yield* Effect.flip(provide({})))._tag, "ConfigError")
    }))

  it.live("masters are the one server", () =>
    Effect.gen(function*() {
      const redis = yield* client({ url: (yield* RedisServer.make()).url })
      assert.isFalse(redis.clustered)
      const masters = yield* redis.masters
      assert.strictEqual(masters.length, 1)
      assert.strictEqual(String(yield* masters[0].send("PING")), "PONG")
    }))

  it.live("dies on a time limit that is none", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(client({ url: yield* absent, commandTimeout: "0 millis" }))
      assert.isTrue(Exit.hasDies(exit))
    }))
})

describe("ready", () => {
  const tag = (redis: RedisClient.RedisClient["Service"]) =>
    Effect.map(redis.ready, (readiness) => readiness._tag === "Ready" ? "Ready" : readiness.reason._tag)

  it.live("is false while the server refuses writes, and true again afterwards", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const redis = yield* client({ url: server.url })
      assert.strictEqual(yield* tag(redis), "Ready")
      const faults = [
        ["NoReplicas", ["CONFIG", "SET", "min-replicas-to-write", 1], ["CONFIG", "SET", "min-replicas-to-write", 0]],
        ["OutOfMemory", ["CONFIG", "SET", "maxmemory", 1], ["CONFIG", "SET", "maxmemory", 0]],
        ["ReadOnly", ["REPLICAOF", "127.0.0.1", 1], ["REPLICAOF", "NO", "ONE"]]
      ] as const
      for (const [expected, [broken, ...how], [repaired, ...back]] of faults) {
        yield* server.admin(broken, ...how)
        assert.strictEqual(yield* tag(redis), expected)
        assert.strictEqual(String(yield* eventually(redis.send("PING"))), "PONG")
        yield* server.admin(repaired, ...back)
        yield* eventually(Effect.filterOrFail(tag(redis), (now) => now === "Ready"))
      }
      yield* server.kill
      assert.include(["ConnectionLost", "NotConnected"], yield* tag(redis))
    }))

  it.live("leaves one key under the prefix, for a second", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const redis = yield* client({ url: server.url, prefix: "app:" })
      yield* redis.ready
      assert.deepStrictEqual(yield* redis.send("KEYS", "*"), [Buffer.from("app:ready")])
      assert.isAtMost(Number(yield* redis.send("PTTL", "app:ready")), 1000)
    }))

  it.live("needs no right but to write under the prefix", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      yield* server.admin("ACL", "SETUSER", "app", "on", ">secret", "~session:*", "+set")
      const redis = yield* client({ url: Redacted.make(`redis://app:secret@127.0.0.1:${server.port}`) })
      assert.strictEqual(yield* tag(redis), "Ready")
      assert.strictEqual(yield* tagOf(redis.send("GET", "session:a")), "NoPermission")
      assert.strictEqual(yield* tagOf(redis.send("SET", "other:a", "b")), "NoPermission")
    }))
})

describe("close", () => {
  it.live("closes the connection, fails what comes later, and can be asked twice", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const scope = yield* Scope.make()
      const redis = yield* Scope.provide(RedisClient.make({ url: server.url }), scope)
      yield* Scope.close(scope, Exit.void)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* tagOf(redis.send("PING")), "NotConnected")
      assert.strictEqual(String(yield* server.admin("CLIENT", "LIST")).trim().split("\n").length, 1)
    }))

  it.live("lets commands in flight end", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const scope = yield* Scope.make()
      const redis = yield* Scope.provide(RedisClient.make({ url: server.url }), scope)
      yield* server.admin("CLIENT", "PAUSE", 200, "WRITE")
      const saving = yield* Effect.forkChild(redis.send("SET", "a", "b"), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(String(yield* Fiber.join(saving)), "OK")
    }))

  it.live("does not wait for a frozen server to agree", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const scope = yield* Scope.make()
      yield* Scope.provide(RedisClient.make({ url: server.url }), scope)
      yield* server.pause
      // the driver's own limit is longer
      yield* Effect.timeout(Scope.close(scope, Exit.void), "1500 millis")
      yield* server.resume
    }))

  for (const state of ["connected", "frozen", "killed", "absent"]) {
    it.live(`leaves no socket and no timer behind (${state})`, () =>
      Effect.gen(function*() {
        const server = yield* RedisServer.make()
        if (state === "absent") yield* server.kill
        const child = fileURLToPath(new URL("./CloseChild.ts", import.meta.url))
        const output = yield* Effect.callback<string, Error>((resume) => {
          const process_ = spawn(process.execPath, [child, Redacted.value(server.url)], {
            stdio: ["pipe", "pipe", "inherit"]
          })
          let output = ""
          process_.stdout.on("data", (chunk) => {
            output += chunk
            if (output === "open\n") {
              const fault = state === "frozen" ? server.pause : state === "killed" ? server.kill : Effect.void
              Effect.runFork(Effect.andThen(fault, Effect.sync(() => process_.stdin.end())))
            }
          })
          process_.on("close", (code) =>
            resume(code === 0 ? Effect.succeed(output) : Effect.fail(new Error(`exit ${code}`))))
          return Effect.sync(() =>
            process_.kill()
          )
        })
        yield* server.resume
        assert.strictEqual(output, "open\nclosed, left: \n")
      }))
  }
})
