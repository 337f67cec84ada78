import { SessionStore } from "@effect-session/core"
import { RedisClient, RedisError, RedisStore } from "@effect-session/redis"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Logger } from "effect"
import * as CrossBucketScripts from "../src/internal/crossBucketScripts.ts"
import * as Scripts from "../src/internal/scripts.ts"
import { change, keyOf, layerServer, newRecord, open } from "./StoreFixture.ts"

// What Redis 6.2 has of it: no version, and no GT.
const asOf62 = `
local server = redis
local redis = {error_reply = server.error_reply, call = function(name, ...)
  if name == 'PEXPIREAT' and select('#', ...) > 2 then error('ERR wrong number of arguments') end
  return server.call(name, ...)
end}
`

const old = /older than Redis 7/

/** A client of a server that runs scripts as Redis 6.2 does. */
const aged = (client: RedisClient.RedisClient["Service"], fails = false): RedisClient.RedisClient["Service"] => {
  const send: typeof client.send = (command, ...args) => {
    const [script, ...rest] = args
    if (command === "EVAL" && fails) {
      return Effect.fail(new RedisError.RedisError({ reason: RedisError.table.Loading, command }))
    }
    return command === "EVAL" || (command === "SCRIPT" && script === "LOAD")
      ? client.send(
        command,
        ...args.map((arg) => arg === (command === "EVAL" ? script : rest[0]) ? `${asOf62}${String(arg)}` : arg)
      )
      : client.send(command, ...args)
  }
  return { ...client, send, masters: Effect.succeed([{ send }]) }
}

const storeOver = (client: RedisClient.RedisClient["Service"]) =>
  Effect.map(
    Layer.build(RedisStore.layerStore().pipe(Layer.provide(Layer.succeed(RedisClient.RedisClient, client)))),
    (context) => Context.get(context, SessionStore.SessionStore)
  )

layer(layerServer, { excludeTestServices: true })("RedisStore on a server older than Redis 7", (it) => {
  it.effect("does not start", () =>
    Effect.gen(function*() {
      const { client } = yield* open("refused:")
      const { reason } = yield* Effect.flip(storeOver(aged(client)))
      assert.match(reason.description, old)
      assert.deepStrictEqual([reason.transient, reason.infrastructure, reason.applied], [false, false, "no"])
    }))

  it.effect("refuses every operation before it writes, if it could not be asked at the start", () =>
    Effect.gen(function*() {
      const { client, server } = yield* open("later:")
      const store = yield* storeOver(aged(client, true)).pipe(Effect.provide(Logger.layer([])))
      const key = keyOf("ada", "a")
      const writes: ReadonlyArray<Effect.Effect<unknown, SessionStore.SessionStoreError>> = [
        store.create(newRecord(key, { subject: "ada" })),
        store.save(key, 1, change()),
        store.touch(key),
        store.destroy(key)
      ]
      for (const write of writes) assert.match((yield* Effect.flip(write)).reason.description, old)
      assert.deepStrictEqual(yield* server.admin("KEYS", "later:*"), [])
    }))

  it.effect("is refused by every script", () =>
    Effect.gen(function*() {
      const { client, server } = yield* open("every:")
      const scripts = [...Object.values(Scripts), ...Object.values(CrossBucketScripts)]
      assert.isAbove(scripts.length, 12)
      for (const script of scripts) {
        const reply = yield* client.send("EVAL", `${asOf62}${script}`, "1", "every:{aa}x", "every:", "1", "9", "9", "9")
        assert.deepStrictEqual(Array.isArray(reply) ? [String(reply[0]), String(reply[2])] : reply, ["Bad", "old"])
      }
      assert.deepStrictEqual(yield* server.admin("KEYS", "every:*"), [])
    }))
})
