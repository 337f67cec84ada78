import type { RedisClient, RedisError } from "@effect-session/redis"
import type { Effect } from "effect"
import { describe, expect, test } from "tstyche"

declare const redis: RedisClient.RedisClient["Service"]

describe("RedisClient", () => {
  test("send fails with RedisError only", () => {
    expect(redis.send("GET", "key")).type.toBe<Effect.Effect<RedisClient.Reply, RedisError.RedisError>>()
  })

  test("send takes text and bytes", () => {
    expect(redis.send).type.toBeCallableWith("SET", "key", new Uint8Array())
    expect(redis.send).type.not.toBeCallableWith("SET", "key", undefined)
  })
})
