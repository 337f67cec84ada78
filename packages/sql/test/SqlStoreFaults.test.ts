import type { SessionStore } from "@effect-session/core"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, Schedule, Scope, Stream } from "effect"
import { inspect } from "node:util"
import * as Recorded from "../../core/test/Recorded.ts"
import { change, layerClient, layerServer, newRecord, open, replacement, Server } from "./StoreFixture.ts"

const admin = Effect.map(Layer.build(layerClient()), (context) => Context.get(context, PgClient.PgClient))

const reasonOf = <A, R>(step: Effect.Effect<A, SessionStore.SessionStoreError, R>) =>
  Effect.map(Effect.flip(step), ({ reason }) => reason)

const isAnswered = <A, E, R>(step: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(Effect.timeout(step, "2 seconds")), Exit.isSuccess)

/** Each statement of a session of the database is refused in the same way. */
const states = (options: string, table: string) => open(table, {}, { startupOptions: options })

layer(layerServer, { excludeTestServices: true })("SqlStore under faults", (it) => {
  it.effect("a database that has fallen silent fails each step in time, and is used again when it is back", () =>
    Effect.gen(function*() {
      const { query, server, store } = yield* open("silent", { timeout: 200 })
      yield* store.create(newRecord("a", { subject: "ada" }))
      yield* server.pause
      const steps: ReadonlyArray<Effect.Effect<unknown, SessionStore.SessionStoreError>> = [
        store.load("a"),
        store.save("a", 1, change()),
        store.touch("a"),
        store.renew("a", 1, replacement("b")),
        store.destroy("a"),
        store.create(newRecord("c")),
        query.bySubject("ada"),
        query.destroyBySubject("ada"),
        query.count,
        Stream.runDrain(query.scan),
        Stream.runDrain(query.purgeExpired),
        // In a region that cannot be interrupted, as a commit is.
        Effect.uninterruptible(store.load("a"))
      ]
      const started = Date.now()
      const reasons = yield* Effect.forEach(steps, reasonOf, { concurrency: "unbounded" }).pipe(
        Effect.ensuring(server.resume)
      )
      assert.isBelow(Date.now() - started, 2000)
      for (const reason of reasons) {
        assert.deepInclude(reason, {
          description: "there was no answer within 200 ms",
          applied: "unknown",
          transient: true,
          infrastructure: true,
          problem: "timeout"
        })
      }
      yield* Effect.retry(store.load("z"), { times: 100 })
      assert.isTrue(yield* isAnswered(store.load("z")))
    }))

  it.effect("who is interrupted does not wait for a silent database", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("interrupted", { timeout: "10 seconds" })
      yield* server.pause
      const fiber = yield* Effect.forkChild(store.load("a"), { startImmediately: true })
      yield* Effect.sleep(50)
      const started = Date.now()
      yield* Fiber.interrupt(fiber).pipe(Effect.ensuring(server.resume))
      assert.isBelow(Date.now() - started, 1000)
    }))

  it.effect("a database that is gone fails at once, and is used again when it is back", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("gone")
      yield* store.create(newRecord("a"))
      yield* server.kill
      const reason = yield* reasonOf(store.load("a"))
      assert.deepInclude(reason, { transient: true, infrastructure: true, retryAfter: 1000 })
      // No connection: nothing was sent.
      assert.strictEqual((yield* reasonOf(store.save("a", 1, change()))).applied, "no")
      const start = yield* reasonOf(open("gone"))
      assert.deepInclude(start, { transient: true, infrastructure: true })
      yield* server.start
      assert.isTrue(yield* isAnswered(Effect.retry(store.load("a"), { times: 20 })))
    }))

  it.effect("every refusal of the database is classified, and quotes nothing of the row", () =>
    Effect.gen(function*() {
      const sql = yield* admin
      const { store } = yield* open("refused")
      yield* store.create(newRecord("key-canary", { payload: "payload-canary", subject: "subject-canary" }))
      const load = ({ store }: { readonly store: SessionStore.SessionStore["Service"] }) => store.load("key-canary")
      const save = ({ store }: { readonly store: SessionStore.SessionStore["Service"] }) =>
        store.save("key-canary", 1, change({ payload: "payload-canary" }))
      const held = <A, E, R>(step: Effect.Effect<A, E, R>) =>
        sql.withTransaction(Effect.andThen(sql`SELECT FROM refused WHERE key = 'key-canary' FOR UPDATE`, step))

      yield* sql`ALTER TABLE refused ADD CONSTRAINT theirs CHECK (format < 9)`
      yield* sql`CREATE ROLE reader LOGIN`
      yield* sql`GRANT SELECT ON refused TO reader`
      const statement = yield* states("-c statement_timeout=60", "refused")
      const lock = yield* states("-c lock_timeout=60", "refused")
      const readOnly = yield* states("-c default_transaction_read_only=on", "refused")
      const reader = yield* open("refused", {}, { username: "reader" })

      const cases: ReadonlyArray<
        readonly [RegExp, Partial<SessionStore.StoreUnavailable>, Effect.Effect<unknown, unknown>]
      > = [
        [/statement \(57014\)/, { transient: true, infrastructure: true, applied: "no" }, held(save(statement))],
        [/locked for too long \(55P03\)/, { transient: true, infrastructure: false, applied: "no" }, held(save(lock))],
        [/replica, or read-only \(25006\)/, { transient: true, infrastructure: true, applied: "no" }, save(readOnly)],
        [/may not do that.* \(42501\)/, { transient: false, infrastructure: false, applied: "no" }, save(reader)],
        [
          /constraint.* \(23514\)/,
          { transient: false, infrastructure: false, applied: "no" },
          store.save("key-canary", 1, change({ format: 9 }))
        ],
        [
          /cannot keep such a value \(22/,
          { transient: false, infrastructure: false, applied: "no" },
          store.create(newRecord("key-canary-2", { subject: "subject-canary\u0000" }))
        ],
        [
          /missing.* \(42P01\)/,
          { transient: false, infrastructure: false, applied: "no" },
          Effect.andThen(sql`ALTER TABLE refused RENAME TO kept`, load({ store }))
        ]
      ]
      for (const [description, flags, step] of cases) {
        const error = yield* Effect.flip(step)
        assert.isTrue(typeof error === "object" && error !== null && "_tag" in error && "reason" in error)
        const { reason } = error as SessionStore.SessionStoreError
        assert.match(reason.description, description)
        assert.deepInclude(reason, flags, reason.description)
        assert.notMatch(inspect(error, { depth: 10, showHidden: true }), /canary/)
      }
    }))

  it.effect("steps that meet under a stricter isolation, or in a deadlock, are taken again", () =>
    Effect.gen(function*() {
      const sql = yield* admin
      const { query, store } = yield* states(
        "-c default_transaction_isolation=serializable -c deadlock_timeout=300",
        "meet"
      )
      yield* store.create(newRecord("a"))
      const saved = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`UPDATE meet SET idle_timeout = 500000 WHERE key = 'a'`
        const fiber = yield* Effect.forkChild(store.save("a", 1, change()), { startImmediately: true })
        yield* Effect.sleep(100)
        return fiber
      }))
      assert.strictEqual((yield* Fiber.join(saved))._tag, "Saved")
      const all = { concurrency: "unbounded" } as const
      const limit = { max: 3, onLimit: "evict" } as const
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => i),
        (i) => store.create(newRecord(`k${i}`, { subject: "ada" }), limit),
        all
      )
      assert.strictEqual((yield* query.bySubject("ada")).length, 3)
      // The step holds one row and waits for the other, which is held by who comes to wait for the first.
      yield* store.create(newRecord("first", { subject: "bob" }))
      yield* store.create(newRecord("second", { subject: "bob" }))
      const ended = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`UPDATE meet SET idle_timeout = 500000 WHERE key = 'second'`
        const fiber = yield* Effect.forkChild(query.destroyBySubject("bob"), { startImmediately: true })
        // Until it waits.
        yield* Effect.flatMap(
          sql`SELECT FROM pg_locks WHERE NOT granted`,
          (rows) => rows.length > 0 ? Effect.void : Effect.fail("nobody waits")
        ).pipe(Effect.retry(Schedule.max([Schedule.spaced("2 millis"), Schedule.recurs(500)])))
        yield* sql`UPDATE meet SET idle_timeout = 500000 WHERE key = 'first'`
        return fiber
      }))
      assert.deepStrictEqual((yield* Fiber.join(ended)).toSorted(), ["first", "second"])
      // The database counts them when a process of it has time.
      yield* Effect.flatMap(
        sql<{ readonly n: number }>`SELECT deadlocks::integer AS n FROM pg_stat_database WHERE datname = 'postgres'`,
        ([{ n }]) => n > 0 ? Effect.void : Effect.fail("no deadlock")
      ).pipe(Effect.retry(Schedule.max([Schedule.spaced("100 millis"), Schedule.recurs(100)])))
    }))

  it.effect("a database without room for connections, or that shuts down, says so", () =>
    Effect.gen(function*() {
      const sql = yield* admin
      yield* open("rooms")
      yield* sql`CREATE ROLE lonely LOGIN CONNECTION LIMIT 1`
      yield* sql`GRANT ALL ON rooms TO lonely`
      yield* open("rooms", { createTable: false }, { username: "lonely", maxConnections: 1, minConnections: 1 })
      const reason = yield* reasonOf(open("rooms", {}, { username: "lonely", maxConnections: 1 }))
      assert.match(reason.description, /no room.* \(53300\)/)
      assert.deepInclude(reason, { transient: true, infrastructure: true })
      const ended = yield* open("rooms", {}, { maxConnections: 1, applicationName: "ended" })
      const fiber = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`LOCK TABLE rooms`
        const fiber = yield* Effect.forkChild(Effect.flip(ended.store.load("a")), { startImmediately: true })
        yield* Effect.sleep(100)
        yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ended'`
        return fiber
      }))
      const { reason: terminated } = yield* Fiber.join(fiber)
      assert.deepInclude(terminated, { transient: true, infrastructure: true, applied: "unknown" })
      assert.isTrue(yield* isAnswered(ended.store.load("a")))
    }))

  it.effect("a sweep that fails is said without what the database quotes, and tried again", () =>
    Effect.gen(function*() {
      const sql = yield* admin
      const lines: Array<string> = []
      const logger = Logger.layer([
        Logger.make(({ logLevel, message }) => lines.push(`${logLevel} ${inspect(message)}`))
      ])
      yield* open("failing", { sweepInterval: 50 }).pipe(Effect.provide(logger))
      yield* sql`ALTER TABLE failing RENAME TO away`
      yield* Effect.sleep(300)
      assert.isAbove(lines.length, 0)
      for (const line of lines) assert.match(line, /^Warn .*SQL session store, sweep: .*42P01/s)
      yield* sql`ALTER TABLE away RENAME TO failing`
      yield* sql`INSERT INTO failing (key) VALUES ('over')`
      yield* Effect.sleep(300)
      assert.deepStrictEqual(yield* sql`SELECT key FROM failing`, [])
    }))

  it.effect("a layer that is closed in the middle of a sweep says nothing", () =>
    Effect.gen(function*() {
      const sql = yield* admin
      const lines: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => lines.push(inspect(message)))])
      const scope = yield* Scope.make()
      yield* open("closing", { sweepInterval: 50 }).pipe(Scope.provide(scope), Effect.provide(logger))
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`LOCK TABLE closing`
        yield* Effect.sleep(300)
        yield* Scope.close(scope, Exit.void)
      }))
      assert.deepStrictEqual(lines, [])
    }))

  it.effect("a connection that is lost in a transaction is an outage like any other", () =>
    Effect.gen(function*() {
      const sql = yield* admin
      const limit = { max: 3, onLimit: "evict" } as const
      const { query, store } = yield* open("lost", {}, { applicationName: "lost" })
      yield* store.create(newRecord("a", { subject: "ada" }))
      const steps: ReadonlyArray<() => Effect.Effect<unknown, SessionStore.SessionStoreError>> = [
        () => store.renew("a", 1, replacement("b", { subject: "ada" })),
        () => store.create(newRecord("a", { subject: "ada" }), limit),
        () => query.destroyBySubject("ada")
      ]
      for (const step of steps) {
        const { reason } = yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`SELECT FROM lost FOR UPDATE`
          yield* sql`LOCK TABLE lost IN SHARE MODE`
          const fiber = yield* Effect.forkChild(Effect.flip(step()), { startImmediately: true })
          yield* Effect.sleep(100)
          yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lost'`
          return yield* Fiber.join(fiber)
        }))
        assert.deepInclude(reason, { transient: true, infrastructure: true, applied: "unknown" })
      }
      assert.strictEqual((yield* store.load("a"))._tag, "Live")
    }))

  it.effect("what is too large to keep says nothing of the health of the database", () =>
    Effect.gen(function*() {
      const { store } = yield* open("large")
      const subject = Array.from({ length: 20_000 }, (_, i) => String.fromCharCode(33 + (i * i * 7919) % 90)).join("")
      const noise = Array.from({ length: 4000 }, () => crypto.randomUUID()).join("")
      for (const step of [store.create(newRecord("a", { subject: noise })), store.create(newRecord(noise))]) {
        const reason = yield* reasonOf(step)
        assert.deepInclude(reason, { transient: false, infrastructure: false, applied: "no" })
        assert.notInclude(reason.description, subject.slice(0, 5))
      }
      for (const lifetime of [Infinity, 1e21, Number.NaN]) {
        const reason = yield* reasonOf(store.create(newRecord("a", { lifetime })))
        assert.deepInclude(reason, { transient: false, infrastructure: false, applied: "no" }, String(lifetime))
      }
    }))

  it.effect("spans show nothing of a row, whatever the database says of it", () =>
    Effect.gen(function*() {
      const sql = yield* admin
      const { store } = yield* open("spans")
      yield* sql`ALTER TABLE spans ADD CONSTRAINT theirs CHECK (format < 9)`
      const { services, spans } = Recorded.make()
      const limit = { max: 1, onLimit: "refuse" } as const
      yield* Effect.gen(function*() {
        yield* store.create(newRecord("key-canary", { subject: "subject-canary", payload: "payload-canary" }))
        yield* store.create(newRecord("key-canary-2"))
        yield* store.create(newRecord("key-canary-3", { subject: "subject-canary" }), limit)
        yield* store.renew("key-canary-2", 1, replacement("key-canary"))
        yield* Effect.exit(store.save("key-canary", 1, change({ format: 9, payload: "payload-canary" })))
      }).pipe(Effect.withSpan("request"), Effect.provide(services))
      assert.isAbove(spans.length, 0)
      const said = inspect(spans.map(({ attributes, name, status }) => [name, attributes, status]), { depth: 20 })
      assert.notMatch(said, /canary|7061796c/)
    }))

  it.effect("an answer that came while the process was held up counts", () =>
    Effect.gen(function*() {
      const { store } = yield* open("held", { timeout: 150 })
      yield* store.create(newRecord("a"))
      const fiber = yield* Effect.forkChild(store.load("a"), { startImmediately: true })
      yield* Effect.yieldNow
      const until = Date.now() + 250
      while (Date.now() < until);
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Live")
    }))

  it.effect("who asks a store that is being closed is told so, and nobody is interrupted", () =>
    Effect.gen(function*() {
      const sql = yield* admin
      const scope = yield* Scope.make()
      const { store } = yield* Scope.provide(open("closing"), scope)
      yield* store.create(newRecord("a"))
      const fiber = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT FROM closing FOR UPDATE`
        const fiber = yield* Effect.forkChild(reasonOf(store.save("a", 1, change())), { startImmediately: true })
        yield* Effect.sleep(50)
        yield* Scope.close(scope, Exit.void)
        return fiber
      }))
      assert.deepInclude(yield* Fiber.join(fiber), { problem: "closing", applied: "unknown", infrastructure: false })
      assert.deepInclude(yield* reasonOf(store.load("a")), { problem: "closing" })
    }))

  it.effect("a layer that is closed while the database is silent ends when the driver gives up", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const scope = yield* Scope.make()
      const { store } = yield* Scope.provide(open("closed", { timeout: 100 }), scope)
      yield* server.pause
      yield* reasonOf(store.load("a"))
      const started = Date.now()
      yield* Scope.close(scope, Exit.void).pipe(Effect.ensuring(server.resume))
      // The driver waits 5 seconds for the answer to what it has cancelled.
      assert.isBelow(Date.now() - started, 8000)
    }))
})
