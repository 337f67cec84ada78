import { PayloadCodec, SessionBackend, SessionConfig, SessionStore } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { RedisClient, RedisError, RedisStore } from "@effect-session/redis"
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Redacted, Schedule, Stream } from "effect"
import { Redis } from "ioredis"
import { connect } from "node:net"
import { deflateRawSync } from "node:zlib"
import { fromRedis } from "../src/internal/storeFault.ts"
import * as RedisServer from "./RedisServer.ts"
import {
  change,
  keyIn,
  keyOf,
  layerClient,
  layerServer,
  lifetimes,
  logged,
  newRecord,
  open,
  replacement,
  Server
} from "./StoreFixture.ts"

const key = keyIn("aa", "secret")
const other = keyIn("aa", "other")
const redisKey = (prefix: string, key: string) => `${prefix}{${key.slice(0, 2)}}${key.slice(2)}`

type Store = SessionStore.SessionStore["Service"]

const failing = Effect.fnUntraced(
  function*(what: string, effect: Effect.Effect<unknown, SessionStore.SessionStoreError>) {
    const error = yield* Effect.flip(effect)
    const { reason } = error
    assert.deepStrictEqual([reason.transient, reason.infrastructure, reason.applied], [false, false, "no"], what)
    const text = `${error.message} ${JSON.stringify(error)} ${String(error.cause)} ${error.stack}`
    for (const secret of [key, key.slice(2), "secret payload"]) assert.notInclude(text, secret)
    return reason.description
  }
)

const writes = (
  store: Store
): ReadonlyArray<readonly [string, Effect.Effect<unknown, SessionStore.SessionStoreError>]> => [
  ["create", store.create(newRecord(key, { payload: "secret payload" }))],
  ["save", store.save(key, 1, change({ payload: "secret payload" }))],
  ["touch", store.touch(key)],
  ["renew", store.renew(key, 1, replacement(other), { grace: 1000 })],
  ["renew to it", store.renew(other, 1, replacement(key), { grace: 1000 })],
  ["destroy", store.destroy(key)]
]

const noNumbers = "return redis.call('HSET', KEYS[1], 'h', '1t' .. string.rep('\\255', 56), 'p', 'x')"

layer(layerServer, { excludeTestServices: true })("RedisStore", (it) => {
  const strange: ReadonlyArray<
    readonly [string, ReadonlyArray<ReadonlyArray<string>>, loads: "Absent" | "fails", description: RegExp]
  > = [
    ["text", [["SET", "$", "something"]], "fails", /WRONGTYPE/],
    ["a list", [["RPUSH", "$", "1", "2"]], "fails", /WRONGTYPE/],
    ["a hash of somebody else", [["HSET", "$", "name", "value"]], "Absent", /no session/],
    ["a record of a newer version", [["HSET", "$", "h", "2 whatever", "p", "x"]], "fails", /newer version/],
    ["a record of another kind", [["HSET", "$", "h", `1x${"X".repeat(56)}`, "p", "x"]], "fails", /damaged/],
    ["a cut off record", [["HSET", "$", "h", `1t${"X".repeat(55)}`, "p", "x"]], "fails", /damaged/],
    ["a record whose index is cut off", [["HSET", "$", "h", `1t${"X".repeat(79)}`, "p", "x"]], "fails", /damaged/],
    ["a record with numbers that are none", [["EVAL", noNumbers, "1", "$"]], "fails", /damaged/],
    ["a cut off alias", [["HSET", "$", "h", "1aXXXXXXXX"]], "fails", /damaged/],
    ["an alias of nothing that is a key", [["HSET", "$", "h", "1aXXXXXXXX{}"]], "fails", /damaged/]
  ]

  for (const [name, commands, loads, description] of strange) {
    it.effect(`${name} at the key of a session is refused, and left as it is`, () =>
      Effect.gen(function*() {
        const prefix = `strange ${name}:`
        const { query, server, store } = yield* open(prefix, { events: false })
        const at = redisKey(prefix, key)
        yield* store.create(newRecord(other))
        for (const [command, ...args] of commands) {
          yield* server.admin(command, ...args.map((arg) => arg === "$" ? at : arg))
        }
        const before = yield* server.admin("DEBUG", "DIGEST-VALUE", at)
        if (loads === "Absent") assert.deepStrictEqual(yield* store.load(key), { _tag: "Absent" })
        else assert.match(yield* failing("load", store.load(key)), description)
        for (const [what, write] of writes(store)) assert.match(yield* failing(what, write), description)
        const found = yield* Stream.runCollect(query.scan).pipe(Effect.provide(Logger.layer([])))
        assert.deepStrictEqual(found.map(({ key }) => key), [other])
        yield* Effect.provide(Stream.runDrain(query.purgeExpired), Logger.layer([]))
        assert.deepStrictEqual(yield* server.admin("DEBUG", "DIGEST-VALUE", at), before)
        // What is no record of this layout is not the store's to clear.
        yield* Stream.runDrain(query.clear)
        const kept = ["text", "a list", "a hash of somebody else"].includes(name)
        assert.strictEqual(yield* server.admin("EXISTS", at), kept ? 1 : 0)
      }))
  }

  it.effect("clear leaves alone what is under the prefix and not of the store, and what is under others", () =>
    Effect.gen(function*() {
      const { query, server, store } = yield* open("a*b?[c]:", { events: false })
      const foreign = [
        "a*b?[c]:note",
        "a*b?[c]:{aa}!x",
        "aXbYc:{aa}x",
        redisKey("aXbYc:", key),
        "other",
        redisKey("other:", key)
      ]
      for (const name of foreign) yield* server.admin("SET", name, "x")
      yield* server.admin("HSET", redisKey("axb1c:", key), "h", "1", "p", "2")
      yield* store.create(newRecord(keyOf("ada", "a"), { subject: "ada" }))
      const steps = yield* Stream.runCollect(query.clear)
      assert.deepStrictEqual(steps[steps.length - 1], { scanned: 1, removed: 1 })
      for (const name of [...foreign, redisKey("axb1c:", key)]) {
        assert.strictEqual(yield* server.admin("EXISTS", name), 1, name)
      }
      assert.deepStrictEqual(yield* server.admin("KEYS", "a\\*b\\?\\[c\\]:{*"), ["a*b?[c]:{aa}!x"])
    }))

  it.effect("something else in the place of the events or of an index fails an operation before it writes", () =>
    Effect.gen(function*() {
      const { query, server, store } = yield* open("inplace:")
      const a = keyOf("ada", "a")
      yield* server.admin("SET", "inplace:!events", "x")
      assert.match(yield* failing("create", store.create(newRecord(a, { subject: "ada" }))), /WRONGTYPE/)
      assert.deepStrictEqual(yield* store.load(a), { _tag: "Absent" })
      yield* server.admin("DEL", "inplace:!events")
      yield* store.create(newRecord(a, { subject: "ada" }))
      const [index] = (yield* lifetimes(server, "inplace:")).map(([name]) => name).filter((name) => name.includes("@"))
      yield* server.admin("SET", index, "x")
      assert.match(yield* failing("destroy", store.destroy(a)), /WRONGTYPE/)
      assert.match(yield* failing("bySubject", query.bySubject("ada")), /WRONGTYPE/)
      assert.match(yield* failing("revoke", query.destroyBySubject("ada")), /WRONGTYPE/)
      assert.match(
        yield* failing("create", store.create(newRecord(keyOf("ada", "b"), { subject: "ada" }))),
        /WRONGTYPE/
      )
      assert.strictEqual((yield* store.load(a))._tag, "Live")
      assert.strictEqual(yield* server.admin("GET", index), "x")
    }))

  it.effect("payloads that were swapped, cut off or made up come back as unreadable", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const context = yield* Layer.build(
        RedisStore.layer().pipe(
          Layer.provide(layerClient(server.url, "swap:")),
          Layer.provideMerge(CryptoNode.layer),
          Layer.provide(SessionConfig.layer({ preset: "production", secrets: secret }))
        )
      )
      const backend = Context.get(context, SessionBackend.SessionBackend)
      const create = Effect.flatMap(
        backend.apply({
          _tag: "Create",
          record: { idleTimeout: 60_000, lifetime: 60_000, subject: undefined, format: 1, payload: "words ".repeat(9) },
          limit: undefined
        }),
        (applied) => applied._tag === "Stored" ? Effect.succeed(applied) : Effect.die(applied._tag)
      )
      const formatOf = (token: string) =>
        Effect.map(backend.load(token), (found) =>
          found._tag === "Found" && found.lookup._tag === "Live" ? found.lookup.record.format : "not live")
      const own = new Redis({ port: server.port, protocol: 2 })
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => own.disconnect())
      )
      const payloadOf = ({ key }: { readonly key: string }) =>
        Effect.promise(() => own.hgetBuffer(redisKey("swap:", key), "p")).pipe(Effect.map((bytes) => bytes!))
      const [one, two] = [yield* create, yield* create]
      const [sealed, foreign] = [yield* payloadOf(one), yield* payloadOf(two)]
      assert.strictEqual(yield* formatOf(one.token), 1)
      const bomb = deflateRawSync(Buffer.alloc(64 * 1024 * 1024))
      for (const bytes of [foreign, sealed.subarray(0, -1), Buffer.alloc(0), Buffer.from("words"), bomb]) {
        yield* Effect.promise(() => own.hset(redisKey("swap:", one.key), "p", bytes))
        assert.strictEqual(yield* formatOf(one.token), PayloadCodec.unreadable)
        assert.deepStrictEqual(yield* payloadOf(one), bytes)
      }
      yield* Effect.promise(() => own.hset(redisKey("swap:", one.key), "p", sealed))
      assert.strictEqual(yield* formatOf(one.token), 1)
    }))

  it.effect("the server sees no session id, no subject's name as a key, and no payload", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const config = SessionConfig.layer({ preset: "production", secrets: secret })
      const context = yield* Layer.build(
        RedisStore.layer().pipe(
          Layer.provide(layerClient(server.url, "monitor:")),
          Layer.provideMerge(CryptoNode.layer),
          Layer.provide(config)
        )
      )
      const backend = Context.get(context, SessionBackend.SessionBackend)
      assert.strictEqual(backend.name, "redis")
      const monitor = yield* monitored(server)
      yield* server.admin("CONFIG", "SET", "slowlog-log-slower-than", "0")
      const created = yield* backend.apply({
        _tag: "Create",
        record: {
          idleTimeout: 60_000,
          lifetime: 60_000,
          subject: "ada@example.org",
          format: 1,
          payload: "plain words of the payload"
        },
        limit: undefined
      })
      if (created._tag !== "Stored") return assert.fail(created._tag)
      const { token } = created
      const found = yield* backend.load(token)
      assert.isTrue(found._tag === "Found" && found.lookup._tag === "Live")
      const guessed = yield* backend.load(token.slice(0, -2) + (token.endsWith("AA") ? "QA" : "AA"))
      assert.isTrue(guessed._tag === "Found" && guessed.lookup._tag === "Absent")
      const slow = JSON.stringify(yield* server.admin("SLOWLOG", "GET", "-1"))
      yield* server.admin("CONFIG", "SET", "slowlog-log-slower-than", "10000")
      const seen = yield* monitor
      assert.include(seen, created.key.slice(2), "the monitor has seen the key")
      for (const text of [seen, slow]) {
        for (const secret of [token, token.slice(4), "plain words"]) assert.notInclude(text, secret)
      }
      assert.notMatch(seen, /monitor:[^"]*ada@example/)
    }))
})

const secret = Redacted.make("Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1?")

/**
 * Everything that a server is told from now on. By a connection of its own: the driver takes a command that is told of
 * with the answer to `MONITOR` for another answer.
 */
const monitored = Effect.fnUntraced(function*(server: RedisServer.RedisServer) {
  let seen = ""
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => connect(server.port, "127.0.0.1")),
    (socket) => Effect.sync(() => socket.destroy())
  )
  socket.setEncoding("latin1")
  socket.on("data", (text) => seen += text)
  socket.write("MONITOR\r\n")
  const includes = (text: string) =>
    RedisServer.waitUntil(`the monitor says ${text}`, 500, Effect.sync(() => seen.includes(text)))
  yield* includes("+OK\r\n")
  // It is told in the order in which commands are executed, and later than their clients.
  return Effect.gen(function*() {
    yield* server.admin("ECHO", "all before this")
    yield* includes("all before this")
    return seen
  })
})

const policies = [
  "noeviction",
  "allkeys-lru",
  "allkeys-lfu",
  "allkeys-random",
  "volatile-lru",
  "volatile-lfu",
  "volatile-random",
  "volatile-ttl"
]

describe("RedisStore at start", () => {
  it.live("warns of every policy that evicts sessions, and refuses allkeys where told to", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const start = (options: RedisStore.Options) =>
        logged(
          Effect.scoped(Layer.build(RedisStore.layerStore(options).pipe(Layer.provide(layerClient(server.url, "p:")))))
        )
      for (const policy of policies) {
        yield* server.admin("CONFIG", "SET", "maxmemory-policy", policy)
        const { exit, lines } = yield* start({})
        assert.strictEqual(exit._tag, "Success", policy)
        assert.strictEqual(lines.length, policy === "noeviction" ? 0 : 1, policy)
        if (policy !== "noeviction") assert.match(lines[0], new RegExp(`^Warn.*"${policy}"`))
        const strict = yield* start({ onEviction: "fail" })
        assert.strictEqual(strict.exit._tag, policy.startsWith("allkeys") ? "Failure" : "Success", policy)
      }
    }))

  it.live("tolerates a user who may read neither INFO nor CONFIG, with a line in the log", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      yield* server.admin(
        "ACL",
        "SETUSER",
        "app",
        "on",
        ">pw",
        "~session:*",
        "+@read",
        "+@write",
        "+@scripting",
        "+time",
        "+ping",
        "+role",
        "+select"
      )
      const url = Redacted.make(`redis://app:pw@127.0.0.1:${server.port}`)
      const { exit, lines } = yield* logged(
        Effect.scoped(Effect.gen(function*() {
          const context = yield* Layer.build(
            RedisStore.layerStore({ onEviction: "fail" }).pipe(
              Layer.provide(RedisClient.layer({ url }))
            )
          )
          const store = Context.get(context, SessionStore.SessionStore)
          yield* store.create(newRecord(keyOf("ada", "a"), { subject: "ada" }))
          assert.strictEqual((yield* store.load(keyOf("ada", "a")))._tag, "Live")
        }))
      )
      assert.strictEqual(exit._tag, "Success")
      assert.strictEqual(lines.length, 1)
      assert.match(lines[0], /^Info.*could not be read/)
    }))

  it.live("fails with a typed error while Redis is away, and works when it is back", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      yield* server.kill
      const context = yield* Layer.build(
        RedisStore.layerStore().pipe(
          Layer.provideMerge(
            RedisClient.layer({ url: server.url, onUnavailableAtStart: "continue", maxReconnectDelay: 100 })
          )
        )
      ).pipe(Effect.provide(Logger.layer([])))
      const store = Context.get(context, SessionStore.SessionStore)
      for (const [what, write] of [...writes(store), ["load", store.load(key)] as const]) {
        const { reason } = yield* Effect.flip(write)
        assert.deepStrictEqual([reason.applied, reason.transient, reason.infrastructure], ["no", true, true], what)
        assert.isAbove(reason.retryAfter ?? 0, 0)
      }
      yield* server.start()
      yield* Effect.retry(store.touch(key), Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(250)]))
      assert.strictEqual((yield* store.load(key))._tag, "Absent")
    }))

  it("options out of range throw", () => {
    for (
      const options of [
        { eventCapacity: 0 },
        { linger: -1 },
        { eventRetention: Number.POSITIVE_INFINITY },
        { rememberedActivity: 0.5 }
      ]
    ) assert.throws(() => RedisStore.make(options), RangeError)
  })

  it.live("a prefix that would change the hash slot of keys is refused", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      for (const prefix of ["app{1}:", "app{", "}"]) {
        const exit = yield* Effect.exit(
          Layer.build(RedisStore.layerStore().pipe(Layer.provide(layerClient(server.url, prefix))))
        )
        assert.match(String(exit), /prefix must not contain braces/)
      }
    }))

  it("every error of Redis keeps its meaning, and those that pass say when to come again", () => {
    for (const reason of Object.values(RedisError.table)) {
      const error = fromRedis(new RedisError.RedisError({ reason, command: "EVALSHA" })).reason
      assert.strictEqual(error.applied, reason.outcomeUnknown ? "unknown" : "no", reason._tag)
      assert.strictEqual(error.transient, reason.transient, reason._tag)
      assert.strictEqual(error.infrastructure, reason.infrastructure, reason._tag)
      if (reason.transient) assert.isAbove(error.retryAfter ?? 0, 0, reason._tag)
    }
  })
})
