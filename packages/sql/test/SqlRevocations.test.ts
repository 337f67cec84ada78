import { CookieStore, Session, SessionConfig, SessionManager } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { type Revocable, Revocations as CookieList } from "@effect-session/core/Revocations"
import { RevocationsConformance } from "@effect-session/core/testing"
import { SqlRevocations } from "@effect-session/sql"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it, layer } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Layer, Redacted, Schema } from "effect"
import { layerClient, layerServer, Server } from "./StoreFixture.ts"

const secrets = Redacted.make("Kq5-Zr8_Wt2.Hn7+Vm4/Xc9=Bb3~Ld6^Js1?")

class UserSession extends Session.Service<UserSession>()("test/UserSession", {
  data: Schema.Struct({ n: Schema.Number }),
  initial: { n: 0 }
}) {}

type Data = (typeof UserSession)["definition"] extends Session.Definition<infer A> ? A : never
class Manager extends Context.Service<Manager, SessionManager.SessionManager<UserSession, Data>>()("test/Manager") {}

let tables = 0

/** Two lists of one application, as two processes have them. */
const lists = (options?: SqlRevocations.Options) =>
  Effect.gen(function*() {
    const table = `revocations_${tables++}`
    const list = SqlRevocations.layer({ table, ...options }).pipe(Layer.provideMerge(layerClient()))
    const make = Effect.map(Layer.build(list), (context) => Context.get(context, CookieList))
    const sql = Context.get(yield* Layer.build(layerClient()), PgClient.PgClient)
    return { sql, rows: sql(table), make, a: yield* make, b: yield* make }
  })

const session = (key: string, at: number, subject?: string): Revocable => ({
  key,
  subject,
  authenticatedAt: subject === undefined ? undefined : at,
  issuedAt: at
})

const now = Clock.currentTimeMillis

layer(layerServer, { excludeTestServices: true })("a list of revocations in PostgreSQL", (it) => {
  const laws = RevocationsConformance.laws({
    elapse: Effect.sleep,
    unit: 50,
    exactTime: false,
    open: (_, settings) => Effect.map(lists({ clockSkew: 0, ...settings }), ({ make }) => make)
  })
  for (const law of laws) it.effect(law.name, () => law.run)

  it.effect("outlives its sessions by as much as the clocks of two processes may be apart", () =>
    Effect.gen(function*() {
      const { a, rows, sql } = yield* lists({ clockSkew: "1 minute", subjectLifetime: "1 hour" })
      const at = yield* now
      // Over for this process, and by the clock of another one not yet.
      assert.isTrue(yield* a.revoke("k", at - 50_000))
      assert.isTrue(yield* a.isRevoked(session("k", at + 60_000)))
      assert.isFalse(yield* a.revoke("late", at - 70_000))
      yield* a.revoke("long", at + 600_000)
      const epoch = yield* a.revokeSubject("ada")
      const ends = (pattern: string) =>
        Effect.map(
          sql<{ readonly until: number }>`SELECT until::float8 AS until FROM ${rows} WHERE key LIKE ${pattern}`,
          ([{ until }]) => until
        )
      assert.strictEqual(yield* ends("klong"), at + 660_000)
      assert.strictEqual(yield* ends("s%"), epoch + 3_600_000 + 60_000)
    }))

  it.effect("ends what a subject signed in to, with clocks that are apart, and nothing that comes after", () =>
    Effect.gen(function*() {
      const { a, b } = yield* lists({ clockSkew: "2 seconds" })
      const at = yield* now
      const ahead = session("k", at + 1500, "ada")
      assert.isFalse(yield* a.isRevoked(ahead))
      const epoch = yield* a.revokeSubject("ada")
      assert.strictEqual(yield* b.epoch("ada"), epoch)
      assert.isTrue(yield* b.isRevoked(ahead))
      assert.isTrue(yield* b.isRevoked(session("k", epoch, "ada")))
      assert.isFalse(yield* b.isRevoked(session("k", epoch + 1, "ada")))
      assert.isFalse(yield* b.isRevoked(session("k", at + 1500, "bob")))
      assert.isFalse(yield* b.isRevoked(session("k", at + 1500)))
      assert.isAbove(yield* b.revokeSubject("ada"), epoch)
      assert.isUndefined(yield* a.epoch("bob"))
    }))

  it.effect("refuses what was issued before it began, also after its table was emptied", () =>
    Effect.gen(function*() {
      const before = yield* now
      yield* Effect.sleep(20)
      const { a, b, make, rows, sql } = yield* lists()
      assert.isTrue(yield* a.isRevoked(session("k", before)))
      yield* Effect.sleep(20)
      const after = yield* now
      assert.isFalse(yield* a.isRevoked(session("k", after)))
      // A process that starts later does not begin the list anew.
      yield* Effect.sleep(20)
      assert.isFalse(yield* (yield* make).isRevoked(session("k", after)))
      yield* a.revoke("ended", after + 60_000)
      yield* sql`DELETE FROM ${rows}`
      yield* Effect.sleep(5)
      assert.isTrue(yield* b.isRevoked(session("ended", after)))
      yield* Effect.sleep(20)
      assert.isFalse(yield* b.isRevoked(session("new", yield* now)))
    }))

  it.effect("forgets what is over by itself, and shows no subject", () =>
    Effect.gen(function*() {
      const { a, rows, sql } = yield* lists({ clockSkew: 0, subjectLifetime: 100, sweepInterval: 50 })
      const at = yield* now
      yield* a.revoke("short", at + 100)
      yield* a.revoke("long", at + 60_000)
      yield* a.revokeSubject("ada@example.com")
      const keys = Effect.map(
        sql<{ readonly key: string }>`SELECT key FROM ${rows} ORDER BY key`,
        (rows) => rows.map(({ key }) => key)
      )
      for (const key of yield* keys) assert.notInclude(key, "ada")
      yield* Effect.sleep(500)
      assert.deepStrictEqual(yield* keys, ["", "klong"])
      assert.isUndefined(yield* a.epoch("ada@example.com"))
    }))

  it.effect("fails while the database does not answer, and lets nobody in", () =>
    Effect.gen(function*() {
      const { a } = yield* lists({ timeout: 100 })
      const server = yield* Server
      yield* server.pause
      const questions: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        a.isRevoked(session("k", yield* now)),
        a.revoke("k", 9e12),
        a.revokeSubject("ada"),
        a.epoch("ada")
      ]
      const exits = yield* Effect.forEach(questions, (question) => Effect.exit(question), { concurrency: "unbounded" })
        .pipe(Effect.ensuring(server.resume))
      for (const exit of exits) assert.isTrue(Exit.isFailure(exit))
    }))

  it.effect("a migration creates its table", () =>
    Effect.gen(function*() {
      const client = yield* Layer.build(layerClient())
      const start = (createTable: boolean) =>
        Effect.scoped(
          Layer.build(SqlRevocations.layer({ table: "migrated", createTable }).pipe(Layer.provide(layerClient())))
        )
      assert.isTrue(Exit.isFailure(yield* Effect.exit(start(false))))
      yield* Effect.provide(SqlRevocations.migration({ table: "migrated" }), client)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(start(false))))
    }))

  it.effect("makes logout final in cookie mode, in every process", () =>
    Effect.gen(function*() {
      const node = Layer.effect(Manager, SessionManager.make(UserSession)).pipe(
        Layer.provide(CookieStore.layer()),
        Layer.provide(SqlRevocations.layer()),
        Layer.provide(layerClient()),
        Layer.provide(CryptoNode.layer),
        Layer.provide(SessionConfig.layer({ preset: "production", secrets }))
      )
      const start = Effect.flatMap(Layer.build(Layer.fresh(node)), (context) => Effect.provide(Manager, context))
      const [first, second] = [yield* start, yield* start]
      yield* Effect.sleep(20)
      const { token } = yield* first.run(undefined, UserSession.login("ada"))
      assert.strictEqual((yield* second.run(token, UserSession.subject)).value, "ada")
      yield* first.run(token, UserSession.destroy)
      assert.strictEqual((yield* second.run(token, UserSession.status)).value, "anonymous")
    }))
})

describe("options of a list of revocations", () => {
  it("that make no sense are refused", () => {
    for (const subjectLifetime of [0, -1, "401 days", Infinity] as const) {
      assert.throws(() => SqlRevocations.make({ subjectLifetime }), RangeError)
    }
    for (const table of ["", "a b", "a.b.c"]) assert.throws(() => SqlRevocations.make({ table }), RangeError)
    for (const clockSkew of [-1, "2 hours"] as const) {
      assert.throws(() => SqlRevocations.make({ clockSkew }), RangeError)
    }
  })
})
