import { RedisClient, type RedisError } from "@effect-session/redis"
import type { Config, Effect, Layer, Redacted, Scope } from "effect"
import { describe, expect, test } from "tstyche"

declare const redis: RedisClient.RedisClient["Service"]
declare const url: Redacted.Redacted<string>

describe("RedisClient", () => {
  test("send fails with RedisError only", () => {
    expect(redis.send("GET", "key")).type.toBe<Effect.Effect<RedisClient.Reply, RedisError.RedisError>>()
  })

  test("send takes text and bytes", () => {
    expect(redis.send).type.toBeCallableWith("SET", "key", new Uint8Array())
    expect(redis.send).type.not.toBeCallableWith("SET", "key", undefined)
  })

  test("a dedicated connection needs a scope", () => {
    expect(redis.dedicated).type.toBe<Effect.Effect<RedisClient.Server, RedisError.RedisError, Scope.Scope>>()
    expect(redis.dedicatedFor("key")).type.toBe<typeof redis.dedicated>()
  })

  test("layers ask for what they cannot do without", () => {
    expect(RedisClient.layer).type.not.toBeCallableWith({})
    expect(RedisClient.layer).type.not.toBeCallableWith({ url: "redis://localhost" })
    expect(RedisClient.layerSentinel).type.not.toBeCallableWith({ url })
    expect(RedisClient.layerCluster).type.not.toBeCallableWith({ url })
    expect(RedisClient.layerCluster).type.toBeCallableWith({ nodes: [url] })
  })

  test("no option reads from replicas", () => {
    expect(RedisClient.layerCluster).type.not.toBeCallableWith({ nodes: [url], scaleReads: "slave" })
    expect(RedisClient.layerSentinel).type.not.toBeCallableWith({ url, sentinels: [url], role: "slave" })
  })

  test("layers from configuration fail with ConfigError too", () => {
    type Configured = Layer.Layer<RedisClient.RedisClient, RedisError.RedisError | Config.ConfigError>
    expect(RedisClient.layerConfig()).type.toBe<Configured>()
    expect(RedisClient.layerSentinelConfig()).type.toBe<Configured>()
    expect(RedisClient.layerClusterConfig()).type.toBe<Configured>()
  })
})
