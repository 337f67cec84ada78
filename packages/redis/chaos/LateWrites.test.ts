import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import * as RedisServer from "../test/RedisServer.ts"
import * as TcpProxy from "../test/TcpProxy.ts"
import * as Lab from "./Lab.ts"

const sessionsOfRound = 8

describe("an operation that was reported failed does no harm later", () => {
  it.live(
    "a save, touch or renewal that arrives late leaves a destroyed session dead",
    () =>
      Effect.gen(function*() {
        const count = Lab.rounds(14, 500)
        const server = yield* RedisServer.make()
        const proxy = yield* TcpProxy.make(server.port)
        const writer = yield* Lab.openUrl(proxy.url)
        const other = yield* Lab.openUrl(server.url)
        let failed = 0
        let revived = 0

        for (let round = 0; round < count; round++) {
          const sessions = Array.from({ length: sessionsOfRound }, () => ({ key: Lab.newKey(), next: Lab.newKey() }))
          yield* Effect.forEach(
            sessions,
            ({ key }) => Lab.confirmed(writer.store.create(Lab.newRecord(key))),
            { concurrency: "unbounded" }
          )
          const writes = yield* Effect.forkChild(
            Effect.forEach(
              sessions,
              ({ key, next }, index) => {
                const writes = [
                  writer.store.save(key, 1, Lab.change("late")),
                  writer.store.touch(key),
                  writer.store.renew(key, 1, Lab.replacement(next), { grace: 60_000 })
                ]
                return Effect.delay(Lab.timed<unknown, never>(writes[index % 3]), Math.random() * 30)
              },
              { concurrency: "unbounded" }
            ),
            { startImmediately: true }
          )
          yield* Effect.sleep(Math.random() * 30)
          // The server is frozen, or what is sent is held on its way while the server goes on.
          const frozen = round % 2 === 0
          yield* frozen ? server.pause : proxy.everywhere({ toServer: { holeAfter: 0 } })
          // Some of them end in the silence, and some after it.
          yield* Effect.sleep(Lab.commandTimeout * (0.5 + Math.random()))
          const destroys = yield* Effect.forkChild(
            Effect.forEach(sessions, ({ key }) => Lab.confirmed(other.store.destroy(key)), {
              concurrency: "unbounded"
            }),
            { startImmediately: true }
          )
          yield* Effect.sleep(Math.random() * 50)
          if (!frozen) yield* Fiber.join(destroys)
          yield* frozen ? server.resume : proxy.everywhere({})
          const ended = yield* Fiber.join(writes)
          yield* Fiber.join(destroys)
          failed += ended.filter(({ exit }) => Exit.isFailure(exit)).length
          for (const { exit } of ended) Lab.assertTyped(exit)

          yield* Effect.sleep(20)
          for (const { key, next } of sessions) {
            for (const one of [key, next]) {
              if ((yield* Lab.confirmed(other.store.load(one)))._tag === "Live") revived++
            }
          }
        }
        yield* Lab.report(
          `${count} rounds of ${sessionsOfRound} writes around a frozen server or a held connection: ` +
            `${failed} reported failed, ${revived} sessions revived`
        )
        assert.strictEqual(revived, 0)
        assert.isAbove(failed, count / 2, "the freeze has hardly failed anything")
      }),
    1_200_000
  )

  it.live("a save tried while the server was down is not made up for when it is back", () =>
    Effect.gen(function*() {
      const count = Lab.rounds(2, 20)
      const server = yield* RedisServer.make("--appendonly", "yes", "--appendfsync", "always")
      const writer = yield* Lab.openUrl(server.url)
      const other = yield* Lab.openUrl(server.url)
      for (let round = 0; round < count; round++) {
        const kept = Lab.newKey()
        const ended = Lab.newKey()
        yield* Effect.forEach([kept, ended], (key) => Lab.confirmed(writer.store.create(Lab.newRecord(key))))
        yield* server.kill
        const exits = yield* Effect.forEach([kept, ended], (key) =>
          Effect.exit(writer.store.save(key, 1, Lab.change("late"))))
        yield* server.start()
        yield* Lab.confirmed(other.store.destroy(ended))
        yield* Effect.sleep(Lab.rounds(300, 1500))
        assert.isTrue(exits.every(Exit.isFailure))
        assert.strictEqual((yield* Lab.confirmed(writer.store.load(ended)))._tag, "Absent")
        const lookup = yield* Lab.confirmed(writer.store.load(kept))
        assert.strictEqual(lookup._tag === "Live" ? lookup.record.payload : lookup._tag, Lab.payloadOf("old"))
      }
    }), 120_000)
})
