import type {
  Crypto,
  Revocations,
  SessionBackend,
  SessionConfig,
  SessionQuery,
  SessionStore
} from "@effect-session/core"
import { SqlRevocations, SqlStore } from "@effect-session/sql"
import type { Config, Effect, Layer, Scope } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { describe, expect, test } from "tstyche"

type Stores = SessionStore.SessionStore | SessionQuery.SessionQuery
type Needs = SqlClient.SqlClient | Crypto.Crypto | SessionConfig.SessionConfig

describe("SqlStore", () => {
  test("the store alone needs a client, and brings a store that can be asked", () => {
    expect(SqlStore.layerStore()).type.toBe<
      Layer.Layer<Stores, SessionStore.SessionStoreError, SqlClient.SqlClient>
    >()
    expect(SqlStore.layerStoreConfig({})).type.toBe<
      Layer.Layer<Stores, SessionStore.SessionStoreError | Config.ConfigError, SqlClient.SqlClient>
    >()
    expect(SqlStore.make()).type.toBe<
      Effect.Effect<SqlStore.Services, SessionStore.SessionStoreError, SqlClient.SqlClient | Scope.Scope>
    >()
  })

  test("with its seam it needs secrets and settings too", () => {
    expect(SqlStore.layer()).type.toBe<
      Layer.Layer<Stores | SessionBackend.SessionBackend, SessionStore.SessionStoreError, Needs>
    >()
    expect(SqlStore.layerConfig({})).type.toBe<
      Layer.Layer<
        Stores | SessionBackend.SessionBackend,
        SessionStore.SessionStoreError | Config.ConfigError,
        Needs
      >
    >()
  })

  test("migrations need the client only", () => {
    expect(SqlStore.migration()).type.toBe<Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient>>()
    expect(SqlRevocations.migration()).type.toBe<Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient>>()
  })
})

describe("SqlRevocations", () => {
  test("is a list for cookie mode", () => {
    expect(SqlRevocations.layer()).type.toBe<
      Layer.Layer<Revocations.Revocations, SessionStore.SessionStoreError, SqlClient.SqlClient>
    >()
    expect(SqlRevocations.layerConfig({})).type.toBe<
      Layer.Layer<
        Revocations.Revocations,
        SessionStore.SessionStoreError | Config.ConfigError,
        SqlClient.SqlClient
      >
    >()
  })
})
