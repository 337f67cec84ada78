import {
  type Crypto,
  MemoryStore,
  Resilience,
  SessionBackend,
  type SessionConfig,
  type SessionQuery,
  type SessionStore
} from "@effect-session/core"
import { RedisClient, type RedisError, RedisStore, SessionStream } from "@effect-session/redis"
import { Config, type Effect, Layer, type Redacted, type Stream } from "effect"
import { describe, expect, test } from "tstyche"

declare const url: Redacted.Redacted<string>

type Stores = SessionStore.SessionStore | SessionQuery.SessionQuery
type Needs = RedisClient.RedisClient | Crypto.Crypto | SessionConfig.SessionConfig

describe("RedisStore", () => {
  test("the store alone needs a client, and brings a store that can be asked", () => {
    expect(RedisStore.layerStore()).type.toBe<
      Layer.Layer<Stores, SessionStore.SessionStoreError, RedisClient.RedisClient>
    >()
    expect(RedisStore.layerStoreConfig({})).type.toBe<
      Layer.Layer<Stores, SessionStore.SessionStoreError | Config.ConfigError, RedisClient.RedisClient>
    >()
    expect(RedisStore.make()).type.toBe<
      Effect.Effect<RedisStore.Services, SessionStore.SessionStoreError, RedisClient.RedisClient>
    >()
  })

  test("with its seam it needs secrets and settings too", () => {
    expect(RedisStore.layer()).type.toBe<
      Layer.Layer<Stores | SessionBackend.SessionBackend, SessionStore.SessionStoreError, Needs>
    >()
    expect(RedisStore.layerConfig({})).type.toBe<
      Layer.Layer<
        Stores | SessionBackend.SessionBackend,
        SessionStore.SessionStoreError | Config.ConfigError,
        Needs
      >
    >()
  })

  test("every client fits under it", () => {
    const store = RedisStore.layerStore()
    type Provided = Layer.Layer<Stores, SessionStore.SessionStoreError | RedisError.RedisError>
    expect(Layer.provide(store, RedisClient.layer({ url }))).type.toBe<Provided>()
    expect(Layer.provide(store, RedisClient.layerSentinel({ url, sentinels: [url] }))).type.toBe<Provided>()
    expect(Layer.provide(store, RedisClient.layerCluster({ nodes: [url] }))).type.toBe<Provided>()
  })

  test("resilience goes over the store alone, not over the seam", () => {
    const resilient = RedisStore.layerStore().pipe(Resilience.over())
    expect(resilient).type.toBe<
      Layer.Layer<Stores | Resilience.Resilience, SessionStore.SessionStoreError, RedisClient.RedisClient>
    >()
    expect(Layer.provideMerge(SessionBackend.layer("redis", { sealByDefault: true }), resilient)).type.toBe<
      Layer.Layer<
        Stores | Resilience.Resilience | SessionBackend.SessionBackend,
        SessionStore.SessionStoreError,
        Needs
      >
    >()
    expect(Resilience.over()).type.not.toBeCallableWith(RedisStore.layer())
  })

  test("a store in memory stands in its place without a change above it", () => {
    expect(MemoryStore.layerStore()).type.toBeAssignableTo<
      Layer.Layer<Stores, SessionStore.SessionStoreError, RedisClient.RedisClient>
    >()
  })

  test("options are checked by name, and may come from the configuration", () => {
    expect(RedisStore.layer).type.not.toBeCallableWith({ eventCapacity: "100" })
    expect(RedisStore.layer).type.not.toBeCallableWith({ onEviction: "ignore" })
    expect(RedisStore.layer).type.not.toBeCallableWith({ replicas: 1 })
    expect(RedisStore.layerConfig).type.toBeCallableWith({
      events: Config.Boolean("EVENTS"),
      linger: Config.Duration("LINGER")
    })
  })
})

describe("SessionStream", () => {
  test("needs a client, and fails with its errors", () => {
    expect(SessionStream.consume({ group: "app", consumer: "one" })).type.toBe<
      Stream.Stream<SessionStream.SessionEvent, RedisError.RedisError, RedisClient.RedisClient>
    >()
    expect(SessionStream.consume).type.not.toBeCallableWith({ group: "app" })
  })

  test("names are those that there are", () => {
    expect<SessionStream.Name>().type.toBe<
      "created" | "renewed" | "destroyed" | "revoked" | "expired" | "theftSuspected"
    >()
  })
})
