import { Session, SessionConfig, SessionManager, SessionQuery } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { SqlStore } from "@effect-session/sql"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import { inspect } from "node:util"
import * as Recorded from "../../core/test/Recorded.ts"
import { layerClient, layerServer } from "./StoreFixture.ts"

const secrets = Redacted.make("Pq5-Zr8_Wt2.Hn7+Vm4/Xc9=Bb3~Ld6^Js1?")

class UserSession extends Session.Service<UserSession>()("test/UserSession", {
  data: Schema.Struct({ note: Schema.String }),
  initial: { note: "" }
}) {}

type Data = (typeof UserSession)["definition"] extends Session.Definition<infer A> ? A : never
class Manager extends Context.Service<Manager, SessionManager.SessionManager<UserSession, Data>>()("test/Manager") {}

/** What an application has in production: payloads are sealed. */
const node = (table: string) =>
  Layer.effect(Manager, SessionManager.make(UserSession)).pipe(
    Layer.provideMerge(SqlStore.layer({ table })),
    Layer.provideMerge(layerClient()),
    Layer.provide(CryptoNode.layer),
    Layer.provide(SessionConfig.layer({ preset: "production", secrets }))
  )

layer(layerServer, { excludeTestServices: true })("SqlStore in production", (it) => {
  it.effect("sessions of one node are those of another one, and sign-out everywhere is final", () =>
    Effect.gen(function*() {
      const start = Effect.map(Layer.build(Layer.fresh(node("nodes"))), (context) => Context.get(context, Manager))
      const [first, second] = [yield* start, yield* start]
      const phone = (yield* first.run(undefined, UserSession.login("ada"))).token
      const laptop = (yield* second.run(undefined, UserSession.login("ada"))).token
      yield* first.run(phone, UserSession.set({ note: "from the phone" }))
      assert.deepStrictEqual((yield* second.run(phone, UserSession.get)).value, { note: "from the phone" })
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => i % 2 === 0 ? first : second),
        (node) => node.run(laptop, UserSession.update(({ note }) => ({ note: `${note}x` }))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual((yield* first.run(laptop, UserSession.get)).value.note, "x".repeat(20))
      const query = yield* Effect.map(Layer.build(Layer.fresh(node("nodes"))), Context.get(SessionQuery.SessionQuery))
      assert.strictEqual((yield* query.destroyBySubject("ada")).length, 2)
      for (const token of [phone, laptop]) {
        assert.strictEqual((yield* first.run(token, UserSession.status)).value, "anonymous")
      }
    }))

  it.effect("no id and no payload is in the table, in logs or in spans", () =>
    Effect.gen(function*() {
      const { lines, services, spans } = Recorded.make()
      const token = yield* Effect.gen(function*() {
        const context = yield* Layer.build(node("secret"))
        const manager = Context.get(context, Manager)
        const { token } = yield* manager.run(undefined, UserSession.login("ada"))
        yield* manager.run(token, UserSession.set({ note: "payload-canary" }))
        assert.strictEqual((yield* Context.get(context, SessionQuery.SessionQuery).bySubject("ada")).length, 1)
        const sql = Context.get(context, PgClient.PgClient)
        const rows = yield* sql`SELECT *, encode(payload, 'escape') AS text FROM secret`
        assert.strictEqual(rows.length, 1)
        assert.notInclude(inspect(rows, { depth: 5, maxStringLength: null }), "payload-canary")
        assert.notInclude(inspect(rows, { depth: 5 }), String(token).slice(4))
        return token
      }).pipe(Effect.provide(services))
      assert.isAbove(spans.length, 0)
      const said = inspect([lines, spans.map(({ attributes, name, status }) => [name, attributes, status])], {
        depth: 20
      })
      assert.notInclude(said, "payload-canary")
      assert.notInclude(said, String(token))
    }))
})
