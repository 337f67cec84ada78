import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import * as RedisSentinel from "../test/RedisSentinel.ts"
import * as Lab from "./Lab.ts"

/** Creates sessions, keeps one half and ends the other later, until it is interrupted. Holds what was acknowledged. */
const ledger = ({ store }: Lab.Opened) => {
  const live: Array<string> = []
  const ended: Array<string> = []
  const doomed: Array<string> = []
  let created = 0
  let failed = 0
  let untyped = 0
  const once = Effect.gen(function*() {
    const key = Lab.newKey()
    const made = yield* Effect.exit(store.create(Lab.newRecord(key)))
    if (Exit.isSuccess(made) && made.value._tag === "Created") {
      if (++created % 2 === 0) return void live.push(key)
      doomed.push(key)
      // An old one, so that its creation is safe when its end is lost. Of a failed end nobody knows.
      const oldest = doomed.length > 20 ? doomed.shift() : undefined
      if (oldest === undefined) return
      const destroyed = yield* Effect.exit(store.destroy(oldest))
      if (Exit.isSuccess(destroyed)) return void ended.push(oldest)
    }
    failed++
    if (Exit.isFailure(made) && made.cause.reasons.some(({ _tag }) => _tag === "Die")) untyped++
  })
  return {
    writes: Effect.forever(Effect.delay(once, 10)),
    /** What of it another client does not find any more, or finds again. */
    losses: Effect.gen(function*() {
      let lost = 0
      let revived = 0
      for (const key of live) if (!Lab.isLive(yield* Lab.confirmed(store.load(key)))) lost++
      for (const key of ended) if (Lab.isLive(yield* Lab.confirmed(store.load(key)))) revived++
      return { lost, revived, live: live.length, ended: ended.length, failed, untyped }
    })
  }
}

const planned = Effect.fnUntraced(function*(args: ReadonlyArray<string>) {
  const redis = yield* RedisSentinel.make({ args })
  const opened = yield* Lab.openSentinel(redis)
  const { losses, writes } = ledger(opened)
  const writer = yield* Effect.forkChild(writes, { startImmediately: true })
  yield* Effect.sleep(Lab.rounds(500, 5000))
  const before = yield* redis.master
  const after = yield* redis.failover
  assert.notStrictEqual(before, after)
  yield* Effect.sleep(Lab.rounds(1500, 12_000))
  // Before the old master follows, it may still be written to.
  yield* redis.settled
  yield* Fiber.interrupt(writer)
  return yield* losses
})

describe("a failover under Sentinel", () => {
  it.live("behind a frozen master, writes succeed again within two seconds of it", () =>
    Effect.gen(function*() {
      const redis = yield* RedisSentinel.make()
      const opened = yield* Lab.openSentinel(redis)
      for (let round = 0; round < Lab.rounds(1, 5); round++) {
        const { losses, writes } = ledger(opened)
        const kept = Lab.newKey()
        yield* Lab.confirmed(opened.store.create(Lab.newRecord(kept)))
        const writer = yield* Effect.forkChild(writes, { startImmediately: true })
        yield* Effect.sleep(300)
        const master = yield* redis.master
        const start = performance.now()
        yield* redis.freeze(master)
        yield* redis.movedFrom(master)
        const moved = performance.now() - start
        const back = moved + (yield* Lab.untilWorks(opened.store.create(Lab.newRecord(Lab.newKey()))))
        yield* Effect.sleep(500)
        yield* Fiber.interrupt(writer)
        yield* redis.thaw(master)
        yield* redis.settled
        const sum = yield* losses
        yield* Lab.report(
          `frozen master: failover ${Math.round(moved)} ms, writes again after ${Math.round(back)} ms, ` +
            `${sum.failed} typed failures, ${sum.lost} of ${sum.live} sessions lost`
        )
        assert.isBelow(back, moved + 2000)
        assert.strictEqual(sum.untyped, 0)
        assert.isTrue(Lab.isLive(yield* Lab.confirmed(opened.store.load(kept))))
      }
    }), 180_000)

  it.live("loses acknowledged writes, and says how many: replication is asynchronous", () =>
    Effect.gen(function*() {
      const sum = yield* planned([])
      yield* Lab.report(
        `planned failover, one replica: ${sum.lost} of ${sum.live} acknowledged sessions lost, ` +
          `${sum.revived} of ${sum.ended} acknowledged ends undone, ${sum.failed} failures`
      )
      assert.strictEqual(sum.untyped, 0)
      assert.isAbove(sum.live, 10)
    }), 120_000)

  it.live("loses none with min-replicas-to-write 1, which refuses writes meanwhile", () =>
    Effect.gen(function*() {
      const sum = yield* planned(["--min-replicas-to-write", "1", "--min-replicas-max-lag", "1"])
      yield* Lab.report(
        `planned failover, min-replicas-to-write 1: ${sum.lost} of ${sum.live} acknowledged sessions lost, ` +
          `${sum.revived} of ${sum.ended} acknowledged ends undone, ${sum.failed} failures`
      )
      assert.strictEqual(sum.untyped, 0)
      assert.isAbove(sum.live, 10)
    }), 120_000)
})
