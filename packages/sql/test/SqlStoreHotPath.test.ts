import { Session, SessionConfig, SessionManager, type SessionStore } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { SqlStore } from "@effect-session/sql"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Redacted, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { change, layerClient, layerServer, newRecord, open, recorded, recording, replacement } from "./StoreFixture.ts"

class Visits extends Session.Service<Visits>()("test/Visits", {
  data: Schema.Struct({ count: Schema.Int }),
  initial: { count: 0 }
}) {}

const hour = 3_600_000
const due = { touchAfter: 20 }
const becomesDue = Effect.sleep(40)

const reading = /^SELECT/
const writing = /\bUPDATE\b/

const isTouched = (lookup: SessionStore.Lookup) => lookup._tag === "Live" && lookup.touched === true

const live = (lookup: SessionStore.Lookup) => {
  if (lookup._tag !== "Live") return assert.fail(lookup._tag)
  return lookup
}

/** Where a row lies and who has written it: what any write changes. */
const written = (sql: SqlClient.SqlClient, table: string) =>
  sql`SELECT key, ctid::text AS place, xmin::text AS writer FROM ${sql(table)} ORDER BY key`

layer(layerServer, { excludeTestServices: true })("SqlStore in every request", (it) => {
  it.effect("a load that is not due is one plain read, and writes nothing", () =>
    Effect.gen(function*() {
      const { sent, sql, store } = yield* recorded("calm")
      yield* store.create(newRecord("a"))
      const before = yield* written(sql, "calm")
      sent.length = 0
      for (let i = 0; i < 5; i++) assert.isFalse(isTouched(live(yield* store.load("a", { touchAfter: hour }))))
      assert.lengthOf(sent, 5)
      for (const statement of sent) assert.match(statement, reading)
      assert.deepStrictEqual(yield* written(sql, "calm"), before)
    }))

  it.effect("a load that is due is one statement, which records activity and nothing else", () =>
    Effect.gen(function*() {
      const { sent, store } = yield* recorded("due")
      yield* store.create(newRecord("a", { subject: "ada", payload: Uint8Array.of(0, 255) }))
      const before = live(yield* store.load("a", due))
      yield* becomesDue
      sent.length = 0
      const { alias, now, record, touched } = live(yield* store.load("a", due))
      assert.lengthOf(sent, 1)
      assert.match(sent[0], writing)
      assert.isTrue(touched)
      assert.isUndefined(alias)
      assert.isAbove(record.lastSeenAt, before.now)
      assert.isAtLeast(now, record.lastSeenAt)
      assert.deepStrictEqual(record, { ...before.record, lastSeenAt: record.lastSeenAt })
      assert.deepStrictEqual(live(yield* store.load("a")).record, record)
      sent.length = 0
      assert.isFalse(isTouched(live(yield* store.load("a", { touchAfter: hour }))))
      assert.match(sent.join(), reading)
    }))

  it.effect("what a store has written itself is due without a read before it", () =>
    Effect.gen(function*() {
      const { sent, store } = yield* recorded("own")
      const steps: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
        ["a", store.create(newRecord("a"))],
        ["a", store.save("a", 1, change())],
        ["a", store.touch("a")],
        ["b", store.renew("a", 2, replacement("b"))]
      ]
      for (const [key, step] of steps) {
        yield* step
        sent.length = 0
        assert.isFalse(isTouched(live(yield* store.load(key, { touchAfter: hour }))))
        assert.match(sent.join(), reading)
        yield* becomesDue
        sent.length = 0
        assert.isTrue(isTouched(yield* store.load(key, due)))
        assert.lengthOf(sent, 1)
      }
    }))

  it.effect("a save that is no activity puts nothing off", () =>
    Effect.gen(function*() {
      const { store } = yield* recorded("quiet")
      yield* store.create(newRecord("a"))
      yield* becomesDue
      yield* store.save("a", 1, change({ active: false }))
      assert.isTrue(isTouched(yield* store.load("a", due)))
    }))

  it.effect("a load that is due finds what is over or renewed as any other does, and brings nothing back", () =>
    Effect.gen(function*() {
      const { sent, sql, store } = yield* recorded("over")
      const other = (yield* open("over")).store
      const fates: Readonly<Record<string, Effect.Effect<unknown, unknown>>> = {
        ended: other.destroy("ended"),
        idle: sql`UPDATE over SET idle_timeout = 1 WHERE key = 'idle'`,
        absolute: sql`UPDATE over SET expires_at = last_seen_at WHERE key = 'absolute'`,
        renewed: other.renew("renewed", 1, replacement("successor")),
        alias: other.renew("alias", 1, replacement("alias successor"), { grace: hour }),
        stolen: other.renew("stolen", 1, replacement("stolen successor"), { grace: 1 })
      }
      const found: Record<string, unknown> = {}
      for (const [key, fate] of Object.entries(fates)) {
        yield* store.create(newRecord(key))
        yield* store.load(key, due)
        yield* fate
        yield* becomesDue
        const before = yield* written(sql, "over")
        sent.length = 0
        const lookup = yield* store.load(key, due)
        assert.match(sent[0], writing)
        found[key] = [sent.length, lookup._tag === "Live" ? [lookup.alias, lookup.touched] : lookup]
        const after = yield* written(sql, "over")
        assert.deepStrictEqual(after, lookup._tag === "Expired" ? before.filter((row) => row.key !== key) : before)
        sent.length = 0
        assert.deepStrictEqual((yield* store.load(key, due))._tag, lookup._tag === "Expired" ? "Absent" : lookup._tag)
        for (const statement of sent) assert.match(statement, reading, "it is known to be no session any more")
      }
      assert.deepStrictEqual(found, {
        ended: [1, { _tag: "Absent" }],
        idle: [2, { _tag: "Expired" }],
        absolute: [2, { _tag: "Expired" }],
        renewed: [1, { _tag: "Absent" }],
        alias: [2, ["alias successor", undefined]],
        stolen: [2, { _tag: "Superseded", successor: "stolen successor" }]
      })
    }))

  it.effect("reads in between put nothing off, also of what another process has recorded", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* open("between"), yield* open("between")]
      yield* one.store.create(newRecord("a"))
      for (let i = 0; i < 2; i++) {
        yield* Effect.sleep(200)
        assert.isFalse(isTouched(live(yield* two.store.load("a", { touchAfter: 500 }))))
      }
      yield* Effect.sleep(150)
      assert.isTrue(isTouched(yield* two.store.load("a", { touchAfter: 500 })))
    }))

  it.effect("activity that another process has recorded is found in the same statement, and not recorded again", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* recorded("elsewhere"), yield* recorded("elsewhere")]
      yield* one.store.create(newRecord("a"))
      yield* two.store.load("a", { touchAfter: 500 })
      yield* Effect.sleep(500)
      const recordedByOne = live(yield* one.store.load("a", { touchAfter: 500 }))
      assert.isTrue(recordedByOne.touched)
      const before = yield* written(one.sql, "elsewhere")
      two.sent.length = 0
      const lookup = live(yield* two.store.load("a", { touchAfter: 500 }))
      assert.lengthOf(two.sent, 1)
      assert.match(two.sent[0], writing)
      assert.isUndefined(lookup.touched)
      assert.deepStrictEqual(lookup.record, recordedByOne.record)
      assert.deepStrictEqual(yield* written(one.sql, "elsewhere"), before)
      two.sent.length = 0
      yield* two.store.load("a", { touchAfter: 500 })
      assert.match(two.sent.join(), reading)
    }))

  it.effect("of loads that are due at the same time one writes, and all see it", () =>
    Effect.gen(function*() {
      const nodes = [yield* open("parallel"), yield* open("parallel")]
      const [{ sql, store }] = nodes
      yield* sql`CREATE TABLE parallel_writes (key text)`
      yield* sql.unsafe(`CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN INSERT INTO parallel_writes VALUES (NEW.key); RETURN NEW; END'`)
      yield* store.create(newRecord("a"))
      yield* Effect.forEach(nodes, ({ store }) => store.load("a", { touchAfter: 500 }))
      yield* sql`CREATE TRIGGER counted BEFORE UPDATE ON parallel FOR EACH ROW EXECUTE FUNCTION count_write()`
      yield* Effect.sleep(500)
      // Each has seen that it is due, and waits for the row.
      const fibers = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT FROM parallel WHERE key = 'a' FOR UPDATE`
        const fibers = yield* Effect.forEach(
          [...nodes, ...nodes],
          ({ store }) => Effect.forkChild(store.load("a", { touchAfter: 500 }), { startImmediately: true })
        )
        yield* Effect.sleep(100)
        for (const fiber of fibers) assert.isUndefined(fiber.pollUnsafe())
        return fibers
      }))
      const lookups = (yield* Effect.forEach(fibers, Fiber.join)).map(live)
      assert.lengthOf(lookups.filter(isTouched), 1)
      assert.lengthOf(new Set(lookups.map(({ record }) => record.lastSeenAt)), 1)
      assert.lengthOf(yield* sql`SELECT FROM parallel_writes`, 1)
    }))

  it.effect("a load that has waited for a save, an end or a renewal tells what became of the session", () =>
    Effect.gen(function*() {
      const { sql, store } = yield* open("waited")
      const behind = Effect.fnUntraced(function*(key: string, step: Effect.Effect<unknown, unknown>) {
        yield* store.create(newRecord(key))
        yield* Effect.sleep(500)
        const fiber = yield* sql.withTransaction(Effect.gen(function*() {
          yield* step
          const fiber = yield* Effect.forkChild(store.load(key, { touchAfter: 500 }), { startImmediately: true })
          yield* Effect.sleep(100)
          assert.isUndefined(fiber.pollUnsafe())
          return fiber
        }))
        return yield* Fiber.join(fiber)
      })
      const now = sql`floor(date_part('epoch', clock_timestamp()) * 1000)::bigint`
      const saved = live(
        yield* behind("saved", sql`UPDATE waited SET version = 2, last_seen_at = ${now} WHERE key = 'saved'`)
      )
      assert.deepStrictEqual([saved.record.version, saved.touched], [2, undefined])
      const quiet = live(yield* behind("quiet", sql`UPDATE waited SET version = 2 WHERE key = 'quiet'`))
      assert.deepStrictEqual([quiet.record.version, quiet.touched], [2, true])
      const ended = yield* behind("ended", sql`DELETE FROM waited WHERE key = 'ended'`)
      assert.deepStrictEqual(ended, { _tag: "Absent" })
      const renewed = live(
        yield* behind(
          "renewed",
          Effect.andThen(
            sql`UPDATE waited SET key = 'successor' WHERE key = 'renewed'`,
            sql`INSERT INTO waited (key, successor, until) VALUES ('renewed', 'successor', 9e12)`
          )
        )
      )
      assert.deepStrictEqual([renewed.alias, renewed.touched], ["successor", undefined])
    }))

  it.effect("a database that may not be written is still read", () =>
    Effect.gen(function*() {
      const { store } = yield* open("readable")
      yield* store.create(newRecord("a"))
      const readOnly = yield* recorded("readable", {}, { startupOptions: "-c default_transaction_read_only=on" })
      const before = live(yield* readOnly.store.load("a", due))
      yield* becomesDue
      readOnly.sent.length = 0
      const lookup = live(yield* readOnly.store.load("a", due))
      assert.lengthOf(readOnly.sent, 2)
      assert.isUndefined(lookup.touched)
      assert.deepStrictEqual(lookup.record, before.record)
      const refusal = yield* Effect.flip(readOnly.store.touch("a"))
      assert.match(refusal.reason.description, /25006/)
    }))

  it.effect("a database that is silent or gone fails a load that is due like any other", () =>
    Effect.gen(function*() {
      const { sent, store } = yield* recorded("unreachable", { timeout: 200 })
      const server = (yield* open("unreachable")).server
      yield* store.create(newRecord("a"))
      yield* becomesDue
      const both = Effect.gen(function*() {
        sent.length = 0
        const [plain, rolling] = yield* Effect.forEach(
          [store.load("a"), store.load("a", due)],
          (load) => Effect.map(Effect.flip(load), ({ reason }) => ({ ...reason }))
        )
        assert.deepStrictEqual(rolling, plain)
        assert.lengthOf(sent, 2)
        assert.match(sent[1], writing)
        return rolling
      })
      yield* server.pause
      const silent = yield* both.pipe(Effect.ensuring(server.resume))
      assert.deepInclude(silent, { problem: "timeout", applied: "unknown", infrastructure: true })
      yield* Effect.retry(store.load("z"), { times: 100 })
      yield* server.kill
      // The connections that were there are noticed to be lost.
      yield* Effect.exit(store.load("z"))
      yield* Effect.sleep(100)
      const gone = yield* both.pipe(Effect.ensuring(Effect.ignore(server.start)))
      assert.deepInclude(gone, { transient: true, infrastructure: true, retryAfter: 1000 })
      yield* Effect.retry(store.load("a"), { times: 100 })
      assert.isTrue(isTouched(yield* store.load("a", due)))
    }))

  it.effect("remembers the activity of so many sessions as it is told, the latest ones", () =>
    Effect.gen(function*() {
      const remembering = Effect.fnUntraced(function*(rememberedActivity: number) {
        const { sent, store } = yield* recorded("remembered", { rememberedActivity })
        const keys = Array.from({ length: 20 }, (_, i) => `${rememberedActivity}-${i}`)
        for (const key of keys) yield* store.create(newRecord(key))
        yield* becomesDue
        const known: Array<boolean> = []
        for (const key of keys.toReversed()) {
          sent.length = 0
          yield* store.load(key, due)
          known.push(writing.test(sent.join()))
        }
        return known.filter(Boolean).length
      })
      assert.strictEqual(yield* remembering(0), 0)
      const some = yield* remembering(8)
      assert.isAtLeast(some, 3)
      assert.isAtMost(some, 8)
      assert.strictEqual(yield* remembering(100), 20)
    }))

  it.effect("a request that only keeps its session alive is one statement", () =>
    Effect.gen(function*() {
      const sent: Array<string> = []
      const client = Context.get(yield* Layer.build(layerClient()), PgClient.PgClient)
      const Backend = SqlStore.layer({ table: "requests" }).pipe(
        Layer.provide(Layer.succeed(SqlClient.SqlClient, recording(client, sent))),
        Layer.provideMerge(CryptoNode.layer),
        Layer.provideMerge(SessionConfig.layer({
          preset: "production",
          secrets: Redacted.make("Pq5-Zr8_Wt2.Hn7+Vm4/Xc9=Bb3~Ld6^Js1?"),
          touchInterval: "40 millis"
        }))
      )
      const manager = yield* Effect.provide(SessionManager.make(Visits), yield* Layer.build(Backend))
      const { token } = yield* manager.run(undefined, Visits.login("ada"))
      const lastSeenAt = Effect.map(
        client<{ readonly at: number }>`SELECT last_seen_at::float8 AS at FROM requests`,
        ([{ at }]) => at
      )
      for (let i = 0; i < 3; i++) {
        yield* Effect.sleep(60)
        const before = yield* lastSeenAt
        sent.length = 0
        assert.deepStrictEqual((yield* manager.run(token, Visits.get)).value, { count: 0 })
        assert.lengthOf(sent, 1)
        assert.isAbove(yield* lastSeenAt, before)
      }
    }))
})
