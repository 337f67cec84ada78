import { SessionQuery, SessionStore } from "@effect-session/core"
import { RedisClient, RedisRevocations, RedisStore, SessionStream } from "@effect-session/redis"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Context, Effect, Exit, Layer, Logger, Redacted, type Scope, Stream } from "effect"
import { readFileSync } from "node:fs"
import * as RedisCluster from "./RedisCluster.ts"
import * as RedisSentinel from "./RedisSentinel.ts"
import * as RedisServer from "./RedisServer.ts"
import { change, keyIn, keyOf, newRecord, replacement, subjectIn } from "./StoreFixture.ts"

/** The rules of the guide: what stands after the name of each of its rows. */
const rules: ReadonlyMap<string, ReadonlyArray<string>> = new Map(
  Array.from(
    readFileSync(new URL("../../../docs/redis.md", import.meta.url), "utf8").matchAll(
      /^\| ([\w ]+?) +\| `(\+[^`]+)`/gm
    ),
    ([, name, commands]) => [name, commands.replaceAll("\\|", "|").split(" ")]
  )
)
const rule = (...names: ReadonlyArray<string>) => names.flatMap((name) => rules.get(name) ?? [])

interface Opened {
  readonly redis: RedisClient.RedisClient["Service"]
  readonly query: SessionQuery.SessionQuery["Service"]
  readonly store: SessionStore.SessionStore["Service"]
}

const open = <E>(client: Layer.Layer<RedisClient.RedisClient, E>, options?: RedisStore.Options) =>
  Effect.map(
    Layer.build(RedisStore.layerStore(options).pipe(Layer.provideMerge(client))),
    (context): Opened => ({
      redis: Context.get(context, RedisClient.RedisClient),
      store: Context.get(context, SessionStore.SessionStore),
      query: Context.get(context, SessionQuery.SessionQuery)
    })
  )

/** All that a store does, and what of it has to come out. */
const work = Effect.fnUntraced(function*(
  { query, store }: Opened,
  round: string,
  flush: Effect.Effect<unknown, unknown> = Effect.void
) {
  const subject = `subject ${round}`
  const key = (label: string) => keyOf(subject, label)
  const anonymous = keyIn("aa", `${round} anonymous`)
  const evict = { max: 1, onLimit: "evict" } as const
  yield* store.create(newRecord(anonymous))
  yield* store.create(newRecord(key("short"), { subject, idleTimeout: 5 }))
  yield* store.create(newRecord(key("a"), { subject }))
  yield* Effect.sleep(10)
  yield* store.create(newRecord(key("b"), { subject }), evict)
  assert.strictEqual((yield* store.load(key("b")))._tag, "Live")
  yield* store.save(key("b"), 1, change({ lifetime: 3_600_000 }))
  yield* store.touch(key("b"))
  yield* store.load(key("b"), { touchAfter: 0 })
  yield* flush
  yield* store.renew(key("b"), 2, replacement(key("c"), { subject }), { grace: 5000 })
  assert.strictEqual((yield* store.load(key("b")))._tag, "Live")
  yield* store.renew(anonymous, 1, replacement(key("d"), { subject, authenticated: true }))
  assert.strictEqual((yield* query.bySubject(subject)).length, 2)
  yield* store.destroy(key("d"))
  yield* query.destroyBySubject(subject)
  yield* store.create(newRecord(keyIn("bb", round)))
  yield* Stream.runDrain(query.destroyWhere(({ key }) => key === keyIn("bb", round)))
  yield* store.create(newRecord(keyIn("cc", round), { subject: subjectIn("cc", round) }))
  yield* Stream.runDrain(query.purgeExpired)
  yield* Stream.runDrain(query.clear)
  assert.strictEqual(yield* query.count, 0)
})

const read = ({ redis, store }: Opened, round: string) =>
  Effect.gen(function*() {
    yield* store.create(newRecord(keyIn("aa", round)))
    yield* store.destroy(keyIn("aa", round))
    const events = yield* SessionStream.consume({ group: round, consumer: "one", batch: 1, interval: 10 }).pipe(
      Stream.take(2),
      Stream.runCollect,
      Effect.provideService(RedisClient.RedisClient, redis)
    )
    assert.deepStrictEqual(events.map(({ name }) => name), ["created", "destroyed"])
  })

const userOf = (server: RedisServer.RedisServer, commands: ReadonlyArray<string>, name = "app") =>
  Effect.as(
    server.admin("ACL", "SETUSER", name, "reset", "on", ">pw", "~session:*", ...commands),
    Redacted.make(`redis://${name}:pw@127.0.0.1:${server.port}`)
  )

describe("the user of the guide", () => {
  it("has rules there", () => {
    const names = ["store", "events", "SessionStream", "ready", "Cluster", "Sentinel", "RedisRevocations"]
    assert.deepStrictEqual([...rules.keys()], names)
  })

  const silent = Logger.layer([])
  /** Works with rows of the guide, and fails without any command of the last one. */
  const isLeast = Effect.fnUntraced(function*(
    names: ReadonlyArray<string>,
    use: (
      url: Redacted.Redacted,
      round: string,
      server: RedisServer.RedisServer
    ) => Effect.Effect<unknown, unknown, Scope.Scope>
  ) {
    const server = yield* RedisServer.make()
    const run = (commands: ReadonlyArray<string>, round: string) =>
      Effect.flatMap(userOf(server, commands), (url) =>
        use(url, round, server).pipe(
          Effect.scoped,
          Effect.provide(silent),
          Effect.timeout("5 seconds"),
          Effect.exit
        ))
    const all = rule(...names)
    const exit = yield* run(all, "all")
    assert.isTrue(Exit.isSuccess(exit), Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")
    const superfluous: Array<string> = []
    for (const command of rule(names[names.length - 1])) {
      yield* server.admin("FLUSHALL")
      yield* server.admin("SCRIPT", "FLUSH")
      const without = yield* run(all.filter((other) => other !== command), command)
      if (Exit.isSuccess(without)) superfluous.push(command)
    }
    assert.deepStrictEqual(superfluous, [])
  })

  const cases: ReadonlyArray<
    readonly [
      name: string,
      rules: ReadonlyArray<string>,
      options: RedisStore.Options,
      use: (opened: Opened, round: string, flush: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown>
    ]
  > = [
    ["a store without events", ["store"], { events: false }, work],
    ["a store with events", ["store", "events"], {}, work],
    ["a reader of events", ["store", "events", "SessionStream"], {}, read]
  ]
  for (const [name, names, options, use] of cases) {
    it.live(`${name} works with it, and without none of its commands`, () =>
      isLeast(names, (url, round, server) =>
        Effect.flatMap(
          open(RedisClient.layer({ url }), options),
          (opened) => use(opened, round, server.admin("SCRIPT", "FLUSH"))
        )))
  }

  it.live("a list of revocations works with it, and without none of its commands", () =>
    isLeast(["RedisRevocations"], (url) =>
      Effect.gen(function*() {
        const list = yield* Effect.provide(RedisRevocations.make(), yield* Layer.build(RedisClient.layer({ url })))
        const issuedAt = (yield* Clock.currentTimeMillis) + 60_000
        const session = { key: "k", subject: "ada", authenticatedAt: issuedAt, issuedAt }
        assert.isFalse(yield* list.isRevoked(session))
        assert.isTrue(yield* list.revoke("k", issuedAt))
        assert.isFalse(yield* list.revoke("k", issuedAt + 1))
        assert.isTrue(yield* list.isRevoked(session))
        assert.strictEqual(yield* list.revokeSubject("ada"), yield* list.epoch("ada"))
      })))

  it.live("is not enough for keys of others, and for nothing that a store does not do", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const url = yield* userOf(server, rule("store", "events", "SessionStream", "ready"))
      const { redis } = yield* open(RedisClient.layer({ url })).pipe(Effect.provide(silent))
      for (
        const command of [
          ["HMGET", "other:a", "h"],
          ["EVAL", "return redis.call('DEL', 'other:a')", "0"],
          ["FLUSHALL"],
          ["KEYS", "*"],
          ["CONFIG", "GET", "*"],
          ["DEBUG", "SLEEP", "0"]
        ] as const
      ) {
        const [name, ...args] = command
        const { reason } = yield* Effect.flip(redis.send(name, ...args))
        assert.include(["NoPermission", "Rejected"], reason._tag, name)
      }
      assert.deepStrictEqual(yield* redis.ready, { _tag: "Ready" })
    }))

  it.live("is enough for a cluster, also while a slot moves", () =>
    Effect.gen(function*() {
      const cluster = yield* RedisCluster.make()
      const urls = yield* Effect.forEach(
        cluster.nodes,
        (node) => userOf(node, rule("store", "events", "ready", "Cluster"))
      )
      const opened = yield* open(RedisClient.layerCluster({ nodes: urls })).pipe(Effect.provide(silent))
      yield* work(opened, "cluster")
      const key = keyIn("aa", "moves")
      yield* opened.store.create(newRecord(key))
      const slot = RedisCluster.slotOf("aa")
      const source = yield* cluster.masterOf(slot)
      const target = cluster.nodes.slice(0, 3).find((node) => node !== source) ?? source
      const migration = yield* cluster.migration(slot, target)
      yield* migration.begin
      while ((yield* migration.moveKeys(10)) > 0);
      assert.strictEqual((yield* opened.store.load(key))._tag, "Live")
      // The key is where only ASK leads to.
      yield* userOf(target, rule("store", "events", "ready", "Cluster").filter((command) => command !== "+asking"))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(opened.store.load(key))))
      yield* userOf(target, rule("store", "events", "ready", "Cluster"))
      yield* migration.finish
      assert.strictEqual((yield* opened.store.load(key))._tag, "Live")
    }), 60_000)

  it.live("is enough under sentinels, whose own user asks for the master only", () =>
    Effect.gen(function*() {
      const sentinels = yield* RedisSentinel.make()
      for (const server of sentinels.servers) yield* userOf(server, rule("store", "events", "ready", "Sentinel"))
      for (const sentinel of sentinels.sentinels) yield* userOf(sentinel, ["+sentinel|master"], "watcher")
      const opened = yield* open(RedisClient.layerSentinel({
        url: Redacted.make(`redis://app:pw@${sentinels.name}`),
        sentinels: sentinels.addresses.map(({ host, port }) => Redacted.make(`redis://watcher:pw@${host}:${port}`))
      })).pipe(Effect.provide(silent))
      yield* work(opened, "sentinel")
      assert.deepStrictEqual(yield* opened.redis.ready, { _tag: "Ready" })
    }), 60_000)

  it.live("needs one more for a database of its own, and one more for the check of the eviction policy", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const lines: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => lines.push(String(message)))])
      const start = (...more: ReadonlyArray<string>) =>
        Effect.flatMap(
          userOf(server, [...rule("store", "events"), ...more]),
          (url) =>
            open(RedisClient.layer({ url: Redacted.make(`${Redacted.value(url)}/1`) })).pipe(
              Effect.flatMap((opened) => work(opened, more.join())),
              Effect.scoped,
              Effect.provide(logger),
              Effect.exit
            )
        )
      assert.isTrue(Exit.isFailure(yield* start()))
      assert.isTrue(Exit.isSuccess(yield* start("+select")))
      assert.lengthOf(lines, 1)
      assert.isTrue(Exit.isSuccess(yield* start("+select", "+info")))
      assert.isTrue(Exit.isSuccess(yield* start("+select", "+config|get")))
      assert.lengthOf(lines, 1)
    }))
})
