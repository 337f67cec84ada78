/**
 * A client of the database, and the store of this library on it.
 */
import { SessionStore } from "@effect-session/core"
import { SqlStore } from "@effect-session/sql"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Effect, Layer, Scope } from "effect"

export const host = "127.0.0.1"
export const username = "bench"
export const database = "postgres"

/** How many connections each contender may have. It keeps them while others have their turn. */
export const connections = 10

const layerClient = (port: number, multiplex: boolean) =>
  PgClient.layer({ host, port, username, database, multiplex, maxConnections: connections, idleTimeout: "1 hour" })

/** Opens a client, for the life of the process. */
export const connect = (port: number, multiplex: boolean): Promise<PgClient.PgClient> =>
  Effect.runPromise(Effect.map(
    Layer.buildWithScope(layerClient(port, multiplex), Scope.makeUnsafe()),
    (context) => Context.get(context, PgClient.PgClient)
  ))

/** Opens a store, for the life of the process. */
export const open = (port: number, multiplex: boolean, table: string): Promise<SessionStore.SessionStore["Service"]> =>
  Effect.runPromise(Effect.map(
    Layer.buildWithScope(
      SqlStore.layerStore({ table }).pipe(Layer.provide(layerClient(port, multiplex))),
      Scope.makeUnsafe()
    ),
    (context) => Context.get(context, SessionStore.SessionStore)
  ))
