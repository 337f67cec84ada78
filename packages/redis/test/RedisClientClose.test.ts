import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as RedisCluster from "./RedisCluster.ts"
import * as RedisSentinel from "./RedisSentinel.ts"
import type { RedisServer } from "./RedisServer.ts"

const child = fileURLToPath(new URL("./CloseTopologyChild.ts", import.meta.url))

const closing = (kind: string, nodes: ReadonlyArray<RedisServer>, fault: Effect.Effect<void>) =>
  Effect.callback<string, Error>((resume) => {
    const urls = nodes.map(({ url }) => Redacted.value(url))
    const running = spawn(process.execPath, [child, kind, ...urls], { stdio: ["pipe", "pipe", "inherit"] })
    let output = ""
    running.stdout.on("data", (chunk) => {
      output += chunk
      if (output === "open\n") Effect.runFork(Effect.andThen(fault, Effect.sync(() => running.stdin.end())))
    })
    running.on("close", (code) => resume(code === 0 ? Effect.succeed(output) : Effect.fail(new Error(`exit ${code}`))))
    return Effect.sync(() => running.kill())
  })

const clean = "open\nclosed, left: \n"

describe("close leaves no socket and no timer behind", () => {
  it.live("of sentinels and their master: connected, frozen, absent", () =>
    Effect.gen(function*() {
      const redis = yield* RedisSentinel.make()
      const frozen = Effect.forEach([...redis.servers, redis.sentinels[0]], redis.freeze, { discard: true })
      assert.strictEqual(yield* closing("sentinel", redis.sentinels, Effect.void), clean)
      assert.strictEqual(yield* closing("sentinel", redis.sentinels, frozen), clean)
      yield* Effect.forEach([...redis.servers, ...redis.sentinels], redis.kill, { discard: true })
      assert.strictEqual(yield* closing("sentinel", redis.sentinels, Effect.void), clean)
    }), 60_000)

  it.live("of a cluster: connected, frozen, absent", () =>
    Effect.gen(function*() {
      const redis = yield* RedisCluster.make()
      const frozen = Effect.forEach(redis.nodes, redis.freeze, { discard: true })
      assert.strictEqual(yield* closing("cluster", redis.nodes, Effect.void), clean)
      assert.strictEqual(yield* closing("cluster", redis.nodes, frozen), clean)
      yield* Effect.forEach(redis.nodes, redis.kill, { discard: true })
      assert.strictEqual(yield* closing("cluster", redis.nodes, Effect.void), clean)
    }), 60_000)
})
