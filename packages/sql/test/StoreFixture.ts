import { SessionQuery, SessionStore } from "@effect-session/core"
import { SqlStore } from "@effect-session/sql"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as PostgresServer from "./PostgresServer.ts"

export * from "../../core/test/Records.ts"

export class Server extends Context.Service<Server, PostgresServer.PostgresServer>()("test/Server") {}

export const layerServer = Layer.effect(Server, PostgresServer.make())

/** It connects when it is asked, so it is there without a server. */
export const layerClient = (options?: Omit<PgClient.PgPoolConfig, "url">) =>
  Layer.unwrap(Effect.map(Server, ({ url }) => Layer.orDie(PgClient.layer({ url, maxConnections: 12, ...options }))))

/** A client that notes what it is told to send. */
export const recording = (client: SqlClient.SqlClient, sent: Array<string>): SqlClient.SqlClient => {
  const recorder: SqlClient.SqlClient = new Proxy(client, {
    get: (target, name) => {
      if (name === "withoutTransforms") return () => recorder
      if (name !== "unsafe") return Reflect.get(target, name)
      return (statement: string, params: ReadonlyArray<unknown>) => {
        sent.push(statement)
        return target.unsafe(statement, params)
      }
    }
  })
  return recorder
}

/** A store on the server of the test, with its client. */
export const layerStore = (options?: SqlStore.Options) =>
  SqlStore.layerStore(options).pipe(Layer.provideMerge(layerClient()))

/** A store of its own, with its client, in the scope of the test. */
export const open = Effect.fnUntraced(function*(
  table: string,
  options?: SqlStore.Options,
  client?: Omit<PgClient.PgPoolConfig, "url">
) {
  const server = yield* Server
  const context = yield* Layer.build(
    SqlStore.layerStore({ table, ...options }).pipe(Layer.provideMerge(layerClient(client)))
  )
  return {
    server,
    sql: Context.get(context, PgClient.PgClient),
    store: Context.get(context, SessionStore.SessionStore),
    query: Context.get(context, SessionQuery.SessionQuery)
  }
})

/** A store of its own, and what it sends. */
export const recorded = Effect.fnUntraced(function*(
  table: string,
  options?: SqlStore.Options,
  client?: Omit<PgClient.PgPoolConfig, "url">
) {
  const sent: Array<string> = []
  const sql = Context.get(yield* Layer.build(layerClient(client)), PgClient.PgClient)
  const context = yield* Layer.build(
    SqlStore.layerStore({ table, ...options }).pipe(
      Layer.provide(Layer.succeed(SqlClient.SqlClient, recording(sql, sent)))
    )
  )
  sent.length = 0
  return {
    sent,
    sql,
    store: Context.get(context, SessionStore.SessionStore),
    query: Context.get(context, SessionQuery.SessionQuery)
  }
})
