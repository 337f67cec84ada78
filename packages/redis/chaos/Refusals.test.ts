import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted } from "effect"
import * as RedisClient from "../src/RedisClient.ts"
import * as RedisServer from "../test/RedisServer.ts"
import * as Lab from "./Lab.ts"

interface Refusal {
  readonly name: string
  readonly args?: ReadonlyArray<string>
  readonly begin: (server: RedisServer.RedisServer) => Effect.Effect<unknown, RedisServer.ServerError>
  readonly end: (server: RedisServer.RedisServer) => Effect.Effect<unknown, RedisServer.ServerError>
  /** Whether what only frees memory is carried out all the same: a destroy, and a renewal that begins with it. */
  readonly destroys?: boolean
}

const refusals: ReadonlyArray<Refusal> = [
  {
    name: "READONLY: the server has become a replica",
    begin: (server) => server.admin("REPLICAOF", "127.0.0.1", 1),
    end: (server) => server.admin("REPLICAOF", "NO", "ONE")
  },
  {
    name: "OOM: the memory is full",
    begin: (server) => server.admin("CONFIG", "SET", "maxmemory", 1),
    end: (server) => server.admin("CONFIG", "SET", "maxmemory", 0),
    destroys: true
  },
  {
    name: "NOREPLICAS: too few replicas",
    begin: (server) => server.admin("CONFIG", "SET", "min-replicas-to-write", 1),
    end: (server) => server.admin("CONFIG", "SET", "min-replicas-to-write", 0)
  },
  {
    name: "NOPERM: scripts and hash writes are not allowed",
    begin: (server) => server.admin("ACL", "SETUSER", "default", "-eval", "-evalsha", "-hset"),
    end: (server) => server.admin("ACL", "SETUSER", "default", "+@all")
  },
  {
    name: "BUSY: a script does not end",
    args: ["--busy-reply-threshold", "20"],
    begin: (server) =>
      Effect.andThen(
        Effect.forkDetach(Effect.ignore(server.admin("EVAL", "while true do end", 0)), { startImmediately: true }),
        Effect.sleep(200)
      ),
    end: (server) => server.admin("SCRIPT", "KILL")
  },
  {
    name: "writes paused",
    begin: (server) => server.admin("CLIENT", "PAUSE", 10_000, "WRITE"),
    end: (server) => server.admin("CLIENT", "UNPAUSE")
  }
]

describe("a server that refuses", () => {
  for (const refusal of refusals) {
    it.live(`${refusal.name}: typed failures, and nothing of the session is lost`, () =>
      Effect.gen(function*() {
        const server = yield* RedisServer.make(...refusal.args ?? [])
        const { store } = yield* Lab.openUrl(server.url)
        const [key, other] = [Lab.newKey("subject"), Lab.newKey("subject")]
        yield* Effect.forEach([key, other], (key) => store.create(Lab.newRecord(key, "subject")))
        yield* store.save(key, 1, Lab.change("kept"))

        yield* refusal.begin(server)
        const next = Lab.newKey("subject")
        const writes: ReadonlyArray<Lab.Timed<unknown>> = yield* Effect.all([
          Lab.timed(store.save(key, 2, Lab.change("lost"))),
          Lab.timed(store.create(Lab.newRecord(next, "subject"))),
          ...refusal.destroys === true ? [] : [Lab.timed(store.renew(key, 2, Lab.replacement(next, "subject")))]
        ])
        const destroyed = yield* Lab.timed(store.destroy(other))
        for (const { exit, millis } of [...writes, destroyed]) {
          Lab.assertTyped(exit, key, next, other, "subject")
          assert.isBelow(millis, Lab.commandTimeout + Lab.slack)
        }
        assert.isTrue(writes.every(({ exit }) => Exit.isFailure(exit)), "a write was not refused")
        assert.strictEqual(Exit.isSuccess(destroyed.exit), refusal.destroys === true)
        yield* refusal.end(server)

        const lookup = yield* Lab.confirmed(store.load(key))
        if (refusal.name !== "writes paused") {
          assert.strictEqual(lookup._tag === "Live" ? lookup.record.payload : lookup._tag, Lab.payloadOf("kept"))
          assert.strictEqual((yield* Lab.confirmed(store.load(next)))._tag, "Absent")
        }
        yield* Lab.confirmed(store.destroy(other))
        assert.strictEqual((yield* Lab.confirmed(store.load(other)))._tag, "Absent")
      }))
  }

  it.live("LOADING and a restart: typed failures until the data is there, then all of it", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const { store } = yield* Lab.openUrl(server.url)
      const key = Lab.newKey()
      yield* store.create(Lab.newRecord(key))
      yield* server.admin("DEBUG", "POPULATE", 4000)
      yield* server.admin("SAVE")
      yield* server.kill
      yield* server.start("--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024")
      const tags: Array<string> = []
      let lookup = yield* Lab.timed(store.load(key))
      while (Exit.isFailure(lookup.exit)) {
        Lab.assertTyped(lookup.exit, key)
        assert.isBelow(lookup.millis, Lab.commandTimeout + Lab.slack)
        tags.push("failed")
        yield* Effect.sleep(20)
        lookup = yield* Lab.timed(store.load(key))
      }
      assert.strictEqual(lookup.exit.value._tag, "Live")
      assert.isAbove(tags.length, 0, "there was nothing to load")
    }))

  it.live("killed and started again on its log: acknowledged writes are there", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make("--appendonly", "yes", "--appendfsync", "always")
      const { store } = yield* Lab.openUrl(server.url)
      const acknowledged = new Map<string, "live" | "ended">()
      for (let round = 0; round < Lab.rounds(2, 20); round++) {
        const write = Effect.gen(function*() {
          const key = Lab.newKey()
          yield* store.create(Lab.newRecord(key))
          acknowledged.set(key, "live")
          if (Math.random() < 0.5) return
          yield* Effect.onError(store.destroy(key), () => Effect.sync(() => acknowledged.delete(key)))
          acknowledged.set(key, "ended")
        })
        const writers = Effect.forEach(Array.from({ length: 8 }), () => Effect.ignore(Effect.forever(write)), {
          concurrency: "unbounded"
        })
        yield* Effect.race(writers, Effect.delay(server.kill, 50 + Math.random() * 100))
        yield* server.start()
        yield* Lab.confirmed(store.load(Lab.newKey()))
      }
      for (const [key, state] of acknowledged) {
        assert.strictEqual(Lab.isLive(yield* store.load(key)), state === "live")
      }
      yield* Lab.report(`killed and started again: ${acknowledged.size} acknowledged writes, 0 lost`)
      assert.isAbove(acknowledged.size, 50)
    }), 120_000)

  it.live("no right to keys of another prefix: a refused password and a foreign prefix are typed", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      yield* server.admin("ACL", "SETUSER", "app", "on", ">pass", "~mine:*", "+@all")
      const url = Redacted.make(`redis://app:pass@127.0.0.1:${server.port}`)
      const { store } = yield* Lab.open(RedisClient.layer({ ...Lab.clientOptions, url, prefix: "yours:" }))
      const exit = yield* Effect.exit(store.create(Lab.newRecord(Lab.newKey())))
      assert.isTrue(Exit.isFailure(exit))
      Lab.assertTyped(exit, "pass")
    }))
})
