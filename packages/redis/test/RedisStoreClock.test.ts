import { SessionStore } from "@effect-session/core"
import { assert, layer } from "@effect/vitest"
import { Clock, Context, Effect, Layer } from "effect"
import { keyOf, layerServer, layerStore, newRecord, replacement } from "./StoreFixture.ts"

const hour = 3_600_000

layer(layerServer, { excludeTestServices: true })("RedisStore in processes whose clocks are wrong", (it) => {
  it.effect("stamps and judges by the server's time", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const nodes = yield* Effect.forEach([-hour, 0, hour], (skew) => {
        const skewed: Clock.Clock = {
          ...clock,
          sleep: (duration) => clock.sleep(duration),
          currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + skew,
          currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe() + BigInt(skew) * 1_000_000n,
          monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
          currentTimeMillis: Effect.sync(() => clock.currentTimeMillisUnsafe() + skew),
          currentTimeNanos: Effect.sync(() => clock.currentTimeNanosUnsafe() + BigInt(skew) * 1_000_000n),
          monotonicTimeNanos: Effect.sync(() => clock.monotonicTimeNanosUnsafe())
        }
        return Effect.map(
          Effect.provideService(Layer.build(layerStore("skewed:")), Clock.Clock, skewed),
          (context) => Context.get(context, SessionStore.SessionStore)
        )
      })
      const before = clock.currentTimeMillisUnsafe()
      for (const [i, writer] of nodes.entries()) {
        const key = keyOf("ada", `${i}`)
        const next = keyOf("ada", `${i} next`)
        const made = yield* writer.create(newRecord(key, { subject: "ada", idleTimeout: 300 }))
        assert.isTrue(made._tag === "Created" && Math.abs(made.record.createdAt - before) < 10_000)
        for (const reader of nodes) {
          const lookup = yield* reader.load(key, { touchAfter: 0 })
          assert.isTrue(lookup._tag === "Live" && Math.abs(lookup.now - before) < 10_000)
        }
        const renewed = yield* writer.renew(key, 1, replacement(next, { subject: "ada", idleTimeout: 300 }))
        assert.isTrue(renewed._tag === "Renewed" && Math.abs(renewed.record.issuedAt - before) < 10_000)
        for (const reader of nodes) assert.strictEqual((yield* reader.load(next))._tag, "Live")
      }
      yield* Effect.sleep(350)
      for (const reader of nodes) {
        for (const i of nodes.keys()) {
          assert.notStrictEqual((yield* reader.load(keyOf("ada", `${i} next`)))._tag, "Live")
        }
      }
    }))
})
