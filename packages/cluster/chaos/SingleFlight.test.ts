import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Nodes from "../test/Nodes.ts"

const rounds = process.env.CHAOS === "long" ? 1000 : 200

const random = (below: number) => Math.floor(Math.random() * below)

/** Lets others run so many times. */
const turns = (count: number): Effect.Effect<void> =>
  count === 0 ? Effect.void : Effect.andThen(Effect.yieldNow, Effect.suspend(() => turns(count - 1)))

describe("a read that many wait for", () => {
  it.effect(
    "answers all others, wherever its first caller is interrupted, and is made once",
    () =>
      Effect.gen(function*() {
        const read = { count: 0, before: 0, after: 0 }
        const { nodes: [{ store }], store: below } = yield* Nodes.make(1, {}, (store) => ({
          ...store,
          load: (key, options) =>
            Effect.suspend(() => {
              read.count++
              return turns(read.before).pipe(
                Effect.andThen(store.load(key, options)),
                Effect.tap(() => turns(read.after))
              )
            })
        }))
        let interrupted = 0
        for (let round = 0; round < rounds; round++) {
          const key = `key${round}`
          yield* below.create({
            key,
            idleTimeout: 60_000,
            lifetime: 60_000,
            subject: undefined,
            format: 1,
            payload: key
          })
          Object.assign(read, { count: 0, before: random(10), after: random(10) })
          const first = yield* Effect.forkChild(store.load(key), { startImmediately: true })
          const others = yield* Effect.forEach(
            Array.from({ length: 1 + random(20) }, () => random(10)),
            (late) => Effect.forkChild(Effect.andThen(turns(late), store.load(key)), { startImmediately: true })
          )
          yield* turns(random(24))
          if (first.pollUnsafe() === undefined) interrupted++
          yield* Fiber.interrupt(first)
          // Now and then all of them leave: whoever comes later is answered all the same.
          if (round % 5 === 0) yield* Fiber.interruptAll(others)
          else {
            for (const lookup of yield* Effect.forEach(others, Fiber.join)) {
              assert.strictEqual(lookup._tag === "Live" ? lookup.record.payload : lookup._tag, key)
            }
          }
          assert.strictEqual((yield* store.load(key))._tag, "Live")
          assert.strictEqual(read.count, 1)
        }
        process.stdout.write(`single flight: ${interrupted} of ${rounds} interrupted before there was an answer\n`)
        assert.isAbove(interrupted, rounds / 4)
        assert.isBelow(interrupted, rounds)
      }),
    60_000
  )
})
