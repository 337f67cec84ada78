import type { SessionQuery, SessionStore } from "@effect-session/core"
import { SqlStore } from "@effect-session/sql"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Result, Schedule, Scope, Stream } from "effect"
import { change, layerClient, layerServer, newRecord, open, recorded, replacement } from "./StoreFixture.ts"

const ok = <A extends { readonly _tag: string }>(result: A, tag: string) => assert.strictEqual(result._tag, tag)

const all = { concurrency: "unbounded" } as const

const refusalOf = <A, E extends SessionStore.SessionStoreError, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

layer(layerServer, { excludeTestServices: true })("SqlStore", (it) => {
  it.effect("a load, a save, a touch, a destroy and a sign-up are one statement each", () =>
    Effect.gen(function*() {
      const { sent, store } = yield* recorded("statements")
      yield* store.create(newRecord("a"))
      const steps: ReadonlyArray<readonly [string, () => Effect.Effect<unknown, unknown>]> = [
        ["load", () => store.load("a")],
        ["save", () => store.save("a", 1, change())],
        ["touch", () => store.touch("a")],
        ["destroy", () => store.destroy("a")],
        ["create", () => store.create(newRecord("a", { subject: "ada" }))]
      ]
      for (const [name, step] of steps) {
        sent.length = 0
        yield* step()
        assert.strictEqual(sent.length, 1, name)
      }
    }))

  it.effect("what the application does in a transaction of its own does not undo a step", () =>
    Effect.gen(function*() {
      const { sql, store } = yield* open("alone")
      yield* store.create(newRecord("a", { subject: "ada" }))
      yield* store.create(newRecord("b"))
      const exit = yield* Effect.exit(sql.withTransaction(Effect.gen(function*() {
        yield* sql`CREATE TABLE of_the_application (id integer)`
        assert.isTrue(yield* store.destroy("a"))
        ok(yield* store.save("b", 1, change()), "Saved")
        ok(yield* store.renew("b", 2, replacement("c")), "Renewed")
        return yield* Effect.fail("rolled back")
      })))
      assert.isTrue(Exit.isFailure(exit))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(sql`SELECT FROM of_the_application`)))
      ok(yield* store.load("a"), "Absent")
      ok(yield* store.load("b"), "Absent")
      ok(yield* store.load("c"), "Live")
    }))

  it.effect("nodes with a client each lose no update, and agree who has ended a session", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* open("nodes"), yield* open("nodes")]
      yield* one.store.create(newRecord("a", { payload: "0" }))
      const add = (store: SessionStore.SessionStore["Service"]): Effect.Effect<void, SessionStore.SessionStoreError> =>
        Effect.flatMap(store.load("a"), (lookup) => {
          if (lookup._tag !== "Live") return Effect.die(lookup._tag)
          const payload = String(Number(lookup.record.payload) + 1)
          return Effect.flatMap(
            store.save("a", lookup.record.version, change({ payload })),
            ({ _tag }) => _tag === "Conflict" ? add(store) : Effect.void
          )
        })
      yield* Effect.forEach(Array.from({ length: 100 }, (_, i) => i), (i) => add((i % 2 === 0 ? one : two).store), all)
      const lookup = yield* one.store.load("a")
      assert.isTrue(lookup._tag === "Live" && lookup.record.payload === "100" && lookup.record.version === 101)
      const ended = yield* Effect.forEach([one, two, one, two, one], ({ store }) => store.destroy("a"), all)
      assert.strictEqual(ended.filter(Boolean).length, 1)
    }))

  it.effect("a session that is renewed again and again is found by the key it began with, and ends through it", () =>
    Effect.gen(function*() {
      const { query, sql, store } = yield* open("chain")
      yield* store.create(newRecord("k0", { subject: "ada" }))
      for (let i = 0; i < 20; i++) {
        ok(
          yield* store.renew(`k${i}`, 1, replacement(`k${i + 1}`, { subject: "ada" }), { grace: 60_000 }),
          "Renewed"
        )
      }
      for (const key of ["k0", "k3"]) ok(yield* store.load(key), "Absent")
      for (const key of ["k4", "k19"]) {
        const lookup = yield* store.load(key)
        assert.isTrue(lookup._tag === "Live" && lookup.alias === "k20", key)
      }
      assert.deepStrictEqual((yield* query.bySubject("ada")).map(({ key }) => key), ["k20"])
      assert.isTrue(yield* store.destroy("k4"))
      assert.deepStrictEqual(yield* sql`SELECT key FROM chain`, [])
    }))

  it.effect("a revocation of all sessions that waits for a renewal ends the renewed one", () =>
    Effect.gen(function*() {
      const { query, sql, store } = yield* open("waits")
      yield* store.create(newRecord("a", { subject: "ada" }))
      // The row is held as a renewal holds it.
      const revoked = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`UPDATE waits SET key = 'b' WHERE key = 'a'`
        const fiber = yield* Effect.forkChild(query.destroyBySubject("ada"), { startImmediately: true })
        yield* Effect.sleep(100)
        assert.isUndefined(fiber.pollUnsafe())
        return fiber
      }))
      yield* Effect.sleep(100)
      assert.deepStrictEqual(revoked.pollUnsafe(), Exit.succeed(["b"]))
    }))

  it.effect("an end that could not be decided from what was read is decided by the row", () =>
    Effect.gen(function*() {
      const { sql, store } = yield* open("late")
      yield* store.create(newRecord("a", { idleTimeout: 300 }))
      const loaded = yield* sql.withTransaction(Effect.gen(function*() {
        // A save in time, which is not confirmed before the old deadline is over.
        yield* sql`UPDATE late SET idle_timeout = 60000 WHERE key = 'a'`
        yield* Effect.sleep(400)
        const fiber = yield* Effect.forkChild(store.load("a"), { startImmediately: true })
        yield* Effect.sleep(100)
        assert.isUndefined(fiber.pollUnsafe())
        return fiber
      }))
      yield* Effect.sleep(100)
      const exit = loaded.pollUnsafe()
      assert.isTrue(exit !== undefined && Exit.isSuccess(exit) && exit.value._tag === "Live")
    }))

  it.effect("clients that rename columns, share connections or do not prepare statements work the same", () =>
    Effect.gen(function*() {
      const camel = (text: string) => text.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
      const snake = (text: string) => text.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
      const clients = [
        { transformResultNames: camel, transformQueryNames: snake },
        { multiplex: true },
        { prepare: false }
      ]
      for (const [i, client] of clients.entries()) {
        const { query, store } = yield* open("clients", {}, client)
        const key = `key${i}`
        ok(yield* store.create(newRecord(key, { subject: `s${i}`, payload: Uint8Array.of(0, 255) })), "Created")
        ok(yield* store.save(key, 1, change({ payload: "{\"a\":1}" })), "Saved")
        ok(
          yield* store.renew(key, 2, replacement(`${key}b`, { subject: `s${i}` }), {
            grace: 1000,
            limit: { max: 1, onLimit: "evict" }
          }),
          "Renewed"
        )
        const lookup = yield* store.load(key)
        assert.isTrue(lookup._tag === "Live" && lookup.alias === `${key}b` && lookup.record.payload === "renewed")
        assert.deepStrictEqual(yield* query.destroyBySubject(`s${i}`), [`${key}b`])
      }
    }))

  it.effect("the sweep removes what is over, with what led to it, and stops with its layer", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { sql } = yield* open("swept")
      const { store } = yield* Scope.provide(open("swept", { sweepInterval: 50 }), scope)
      yield* store.create(newRecord("old", { idleTimeout: 60 }))
      yield* store.renew("old", 1, replacement("new", { idleTimeout: 60 }), { grace: 60_000 })
      yield* store.create(newRecord("stays"))
      // Leads nowhere.
      yield* sql`INSERT INTO swept (key, successor, until) VALUES ('lost', 'nothing', 0)`
      const keys = Effect.map(
        sql<{ readonly key: string }>`SELECT key FROM swept`,
        (rows) => rows.map(({ key }) => key)
      )
      assert.include(yield* keys, "old")
      yield* Effect.sleep(500)
      assert.deepStrictEqual(yield* keys, ["stays"])
      yield* Scope.close(scope, Exit.void)
      yield* sql`UPDATE swept SET idle_timeout = 0`
      yield* Effect.sleep(300)
      assert.deepStrictEqual(yield* keys, ["stays"])
    }))

  it.effect("a sweep of many takes them in parts, and says how far it is", () =>
    Effect.gen(function*() {
      const { query, sql } = yield* open("many")
      yield* sql`INSERT INTO many (key) SELECT 'k' || n FROM generate_series(1, 1200) AS n`
      const progress = yield* Stream.runCollect(query.purgeExpired)
      assert.deepStrictEqual(progress.map(({ removed }) => removed), [500, 1000, 1200, 1200])
      yield* sql`INSERT INTO many (key, idle_timeout, expires_at, last_seen_at)
        SELECT 'k' || n, 9e12, 9e12, 9e12 FROM generate_series(1, 1200) AS n`
      assert.strictEqual((yield* Stream.runCollect(query.scan)).length, 1200)
      assert.strictEqual(yield* query.count, 1200)
      assert.deepStrictEqual((yield* Stream.runCollect(query.clear)).map(({ removed }) => removed), [
        500,
        1000,
        1200,
        1200
      ])
      assert.strictEqual(yield* query.count, 0)
    }))

  it.effect("no step of a session goes through the whole table, and no sweep", () =>
    Effect.gen(function*() {
      const { query, sent, sql, store } = yield* recorded("plans")
      yield* sql`INSERT INTO plans (key, subject, idle_timeout, expires_at, last_seen_at)
        SELECT 'k' || n, 's' || n, 9e12, 9e12, 9e12 FROM generate_series(1, 5000) AS n`
      yield* sql`INSERT INTO plans (key, successor, until) SELECT 'a' || n, 'k' || n, 9e12 FROM generate_series(1, 500) AS n`
      yield* sql`ANALYZE plans`
      const limit = { max: 1, onLimit: "evict" } as const
      yield* store.load("a1")
      yield* store.create(newRecord("k1", { subject: "ada" }), limit)
      yield* store.create(newRecord("ada1", { subject: "ada" }), limit)
      yield* store.create(newRecord("ada2", { subject: "ada" }), limit)
      yield* store.save("ada2", 7, change())
      yield* store.renew("ada2", 1, replacement("ada3", { subject: "ada" }), { grace: 1000, limit })
      yield* store.renew("ada3", 1, replacement("ada4", { subject: "ada" }))
      yield* store.touch("ada4")
      yield* Effect.sleep(5)
      yield* store.load("ada4", { touchAfter: 1 })
      yield* store.destroy("a2")
      yield* query.bySubject("ada")
      yield* query.destroyBySubject("ada")
      yield* store.create(newRecord("over", { idleTimeout: 1 }))
      yield* Effect.sleep(5)
      yield* store.load("over")
      yield* Stream.runDrain(query.purgeExpired)
      const statements = [...new Set(sent)].filter((statement) => statement.includes("\"plans\""))
      assert.isAbove(statements.length, 15)
      const values: Record<string, string> = {
        integer: "5",
        float8: "5",
        bigint: "5",
        boolean: "true",
        bytea: "''",
        "text[]": "'{k7}'"
      }
      for (const statement of statements) {
        const text = statement.replace(/\$\d+(?:::(\w+(?:\[\])?))?/g, (_, type) => values[type] ?? "'k7'")
        const rows = yield* sql.unsafe<{ readonly "QUERY PLAN": string }>(`EXPLAIN ${text}`)
        const plan = rows.map((row) => row["QUERY PLAN"]).join("\n")
        assert.notInclude(plan, "Seq Scan on plans", `${statement}\n${plan}`)
      }
    }))

  it.effect("clears everything beside a renewal that is under way", () =>
    Effect.gen(function*() {
      const { query, sql } = yield* open("cleared")
      yield* sql`INSERT INTO cleared (key, idle_timeout, expires_at, last_seen_at)
        SELECT 'k' || n, 9e12, 9e12, 9e12 FROM generate_series(1, 1200) AS n`
      const fiber = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`UPDATE cleared SET key = 'z' WHERE key = 'k1'`
        const fiber = yield* Effect.forkChild(Stream.runDrain(query.clear), { startImmediately: true })
        yield* Effect.sleep(100)
        return fiber
      }))
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* sql`SELECT key FROM cleared`, [])
    }))

  it.effect("looks again at a session that was active after it was chosen", () =>
    Effect.gen(function*() {
      const { query, sql, store } = yield* open("chosen")
      yield* store.create(newRecord("a"))
      yield* sql`UPDATE chosen SET last_seen_at = last_seen_at - 60000`
      const seen: Array<number> = []
      let touched: Promise<unknown> | undefined
      const idle = ({ record }: SessionQuery.SessionEntry) => {
        seen.push(record.lastSeenAt)
        touched ??= Effect.runPromise(store.touch("a"))
        return Date.now() - record.lastSeenAt > 30_000
      }
      // The touch waits for nobody, and the end waits for it.
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT FROM chosen WHERE key = 'a' FOR UPDATE`
        const fiber = yield* Effect.forkChild(Stream.runDrain(query.destroyWhere(idle)), { startImmediately: true })
        yield* Effect.sleep(200)
        return fiber
      })).pipe(Effect.flatMap(Fiber.join))
      yield* Effect.promise(async () => touched)
      assert.lengthOf(seen, 2)
      ok(yield* store.load("a"), "Live")
    }))

  it.effect("the grace window of a renewal that had to wait is as long as any", () =>
    Effect.gen(function*() {
      const { sql, store } = yield* open("graced")
      yield* store.create(newRecord("a"))
      const fiber = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT FROM graced WHERE key = 'a' FOR UPDATE`
        const fiber = yield* Effect.forkChild(store.renew("a", 1, replacement("b"), { grace: 400 }), {
          startImmediately: true
        })
        yield* Effect.sleep(600)
        return fiber
      }))
      ok(yield* Fiber.join(fiber), "Renewed")
      ok(yield* store.load("a"), "Live")
    }))

  it.effect("a new session waits for who counts those of its subject, with a limit of its own or without", () =>
    Effect.gen(function*() {
      const { sql, store } = yield* open("turns")
      const limit = { max: 3, onLimit: "evict" } as const
      const fibers = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT pg_advisory_xact_lock(hashtextextended('ada', 'turns'::regclass::oid::bigint))`
        const fibers = yield* Effect.forEach(
          [store.create(newRecord("a", { subject: "ada" })), store.create(newRecord("b", { subject: "ada" }), limit)],
          (step) => Effect.forkChild(step, { startImmediately: true })
        )
        // Others do not wait.
        ok(yield* store.create(newRecord("c", { subject: "bob" })), "Created")
        ok(yield* store.create(newRecord("d")), "Created")
        yield* Effect.sleep(100)
        for (const fiber of fibers) assert.isUndefined(fiber.pollUnsafe())
        return fibers
      }))
      for (const fiber of fibers) ok(yield* Fiber.join(fiber), "Created")
    }))

  it.effect("one table is one table, however it is spelled", () =>
    Effect.gen(function*() {
      const [short, long] = [yield* open("spelled"), yield* open("public.spelled")]
      const limit = { max: 1, onLimit: "refuse" } as const
      for (let round = 0; round < 10; round++) {
        const subject = `s${round}`
        const results = yield* Effect.all([
          short.store.create(newRecord(`${round}a`, { subject }), limit),
          long.store.create(newRecord(`${round}b`, { subject }), limit)
        ], all)
        assert.deepStrictEqual(results.map(({ _tag }) => _tag).toSorted(), ["Created", "LimitReached"])
      }
    }))

  it.effect("a table whose keys are not unique is refused, and a rule of somebody else's is no taken key", () =>
    Effect.gen(function*() {
      const { sql, store } = yield* open("ruled")
      yield* sql`CREATE UNIQUE INDEX theirs ON ruled (subject)`
      yield* store.create(newRecord("a", { subject: "ada" }))
      yield* store.create(newRecord("b"))
      const reason = yield* refusalOf(store.renew("b", 1, replacement("c", { subject: "ada" })))
      assert.match(reason.description, /23505/)
      ok(yield* store.renew("b", 1, replacement("a")), "KeyTaken")
      yield* sql`ALTER TABLE ruled DROP CONSTRAINT ruled_pkey`
      assert.match((yield* refusalOf(open("ruled"))).description, /not unique/)
    }))

  it.effect("octets are those of the call, whatever becomes of them afterwards", () =>
    Effect.gen(function*() {
      const { sql, store } = yield* open("octets", {}, { maxConnections: 1 })
      const payload = Uint8Array.of(1, 2, 3)
      const fiber = yield* sql.withTransaction(Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(store.create(newRecord("a", { payload })), { startImmediately: true })
        payload.fill(0)
        return fiber
      }))
      yield* Fiber.join(fiber)
      const lookup = yield* store.load("a")
      assert.isTrue(lookup._tag === "Live")
      assert.deepStrictEqual(lookup._tag === "Live" && lookup.record.payload, Uint8Array.of(1, 2, 3))
    }))

  it.effect("saves and touches of a session leave its index entries alone, most of the time", () =>
    Effect.gen(function*() {
      const { sql, store } = yield* open("hot")
      yield* store.create(newRecord("a", { subject: "ada" }))
      for (let version = 1; version <= 50; version++) {
        yield* store.save("a", version, change())
        yield* store.touch("a")
      }
      yield* Effect.flatMap(
        sql<{ readonly updates: number; readonly hot: number }>`SELECT n_tup_upd::integer AS updates,
          n_tup_hot_upd::integer AS hot FROM pg_stat_user_tables WHERE relname = 'hot'`,
        ([{ hot, updates }]) => updates === 100 ? Effect.succeed(hot) : Effect.fail("not counted yet")
      ).pipe(
        Effect.retry(Schedule.max([Schedule.spaced("100 millis"), Schedule.recurs(100)])),
        Effect.map((hot) => assert.isAbove(hot, 80))
      )
    }))

  it.effect("processes that start at the same time create the table once", () =>
    Effect.gen(function*() {
      const stores = yield* Effect.forEach(Array.from({ length: 8 }), () => open("together"), all)
      yield* stores[0].store.create(newRecord("a"))
      for (const { store } of stores) ok(yield* store.load("a"), "Live")
    }))

  it.effect("a migration creates the table in its schema, and a store without the right to create one takes it", () =>
    Effect.gen(function*() {
      const client = yield* Layer.build(layerClient())
      const sql = Context.get(client, PgClient.PgClient)
      const table = "auth.user_sessions"
      yield* sql`CREATE SCHEMA auth`
      assert.match(
        (yield* refusalOf(open(table, { createTable: false }))).description,
        /^the table of sessions is missing, .* \(42P01\)$/
      )
      const half = sql.withTransaction(Effect.andThen(SqlStore.migration({ table }), Effect.fail("rolled back")))
      assert.isTrue(Exit.isFailure(yield* Effect.provide(Effect.exit(half), client)))
      assert.deepStrictEqual(yield* sql`SELECT FROM pg_tables WHERE schemaname = 'auth'`, [])
      yield* Effect.provide(SqlStore.migration({ table }), client)
      yield* Effect.provide(SqlStore.migration({ table }), client)
      yield* sql`CREATE ROLE clerk LOGIN`
      yield* sql`GRANT USAGE ON SCHEMA auth TO clerk`
      yield* sql`GRANT SELECT, INSERT, UPDATE, DELETE ON auth.user_sessions TO clerk`
      const { store } = yield* open(table, {}, { username: "clerk" })
      ok(yield* store.create(newRecord("a", { subject: "ada" }), { max: 1, onLimit: "evict" }), "Created")
      ok(yield* store.renew("a", 1, replacement("b", { subject: "ada" }), { grace: 1000 }), "Renewed")
      assert.isTrue(yield* store.destroy("a"))
    }))

  it.effect("a table that is another one is refused at the start", () =>
    Effect.gen(function*() {
      const sql = Context.get(yield* Layer.build(layerClient()), PgClient.PgClient)
      yield* sql`CREATE TABLE other (key text PRIMARY KEY, sess json)`
      const reason = yield* refusalOf(open("other"))
      assert.match(reason.description, /^the table of sessions is missing, or not what this version expects/)
      assert.isFalse(reason.transient)
    }))

  it.effect("tables are namespaces", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* open("apart_one"), yield* open("apart_two")]
      yield* one.store.create(newRecord("a", { subject: "ada" }))
      ok(yield* two.store.load("a"), "Absent")
      yield* two.store.create(newRecord("a", { subject: "ada" }))
      assert.deepStrictEqual(yield* two.query.destroyBySubject("ada"), ["a"])
      yield* Stream.runDrain(two.query.clear)
      ok(yield* one.store.load("a"), "Live")
    }))

  it.effect("options out of range are refused before anything is asked", () =>
    Effect.sync(() => {
      for (const table of ["", "a b", "a;b", "a\"b", "a.b.c", "1a", "a".repeat(49), "š"]) {
        assert.throws(() => SqlStore.make({ table }), RangeError, "table must be")
        assert.throws(() => SqlStore.migration({ table }), RangeError, "table must be")
      }
      for (const timeout of [0, -1, "25 days", Infinity] as const) {
        assert.throws(() => SqlStore.make({ timeout }), RangeError, "timeout must be")
        assert.throws(() => SqlStore.make({ sweepInterval: timeout }), RangeError, "sweepInterval must be")
      }
      for (const rememberedActivity of [-1, 0.5, Infinity, Number.NaN]) {
        assert.throws(() => SqlStore.make({ rememberedActivity }), RangeError, "rememberedActivity must be")
      }
      const accepted = { table: "a.B_1", timeout: 1, rememberedActivity: 0 }
      assert.isTrue(Result.isSuccess(Result.try(() => SqlStore.make(accepted))))
    }))
})
