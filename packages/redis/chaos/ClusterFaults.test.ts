import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer } from "effect"
import * as RedisCluster from "../test/RedisCluster.ts"
import * as Lab from "./Lab.ts"

class Cluster extends Context.Service<Cluster, RedisCluster.RedisCluster>()("chaos/Cluster") {}

// Redis keys carry the bucket, the first two characters of a store key, as their hash tag.
const slotOf = (key: string) => RedisCluster.slotOf(`{${key.slice(0, 2)}}`)

/** Store keys whose slot holds, each in a bucket of its own. */
const keysWhere = (count: number, holds: (slot: number) => boolean): ReadonlyArray<string> => {
  const keys: Array<string> = []
  for (let i = 0; keys.length < count; i++) {
    const key = Lab.newKey(`somebody-${i}`)
    if (holds(slotOf(key))) keys.push(key)
  }
  return keys
}

const firstThird = (slot: number) => slot < 5461

describe("a cluster", () => {
  layer(Layer.effect(Cluster, RedisCluster.make()), { excludeTestServices: true })((it) => {
    it.effect("a session moves to the slot of its subject, in both directions, and no call meets CROSSSLOT", () =>
      Effect.gen(function*() {
        const cluster = yield* Cluster
        const { query, store } = yield* Lab.openCluster(cluster)
        for (let i = 0; i < Lab.rounds(20, 200); i++) {
          const subject = `mover-${i}`
          const [guest, user] = [Lab.newKey(`guest-${i}`), Lab.newKey(subject)]
          yield* store.create(Lab.newRecord(guest))
          assert.strictEqual(
            (yield* store.renew(guest, 1, Lab.replacement(user, subject), { grace: 60_000 }))._tag,
            "Renewed"
          )
          const alias = yield* store.load(guest)
          assert.strictEqual(alias._tag === "Live" ? alias.alias : alias._tag, user)
          assert.isTrue(Lab.isLive(yield* store.load(user)))
          assert.deepStrictEqual((yield* query.bySubject(subject)).map(({ key }) => key), [user])
          assert.isTrue(yield* store.destroy(guest))
          assert.strictEqual((yield* store.load(user))._tag, "Absent")
          assert.deepStrictEqual(yield* query.bySubject(subject), [])
        }
      }))

    it.effect(
      "slots move under load: no call fails but with a typed error, and no update is lost",
      () =>
        Effect.gen(function*() {
          const cluster = yield* Cluster
          const { store } = yield* Lab.openCluster(cluster)
          const moving = keysWhere(1, firstThird)[0]
          const slot = slotOf(moving)
          const keys = Array.from({ length: 20 }, () => moving.slice(0, 2) + Lab.newKey().slice(2))
          const saved = new Map<string, number>(keys.map((key) => [key, 1]))
          yield* Effect.forEach(keys, (key) => store.create(Lab.newRecord(key)))
          let calls = 0
          const failures = new Map<string, number>()
          const work = (key: string) =>
            Effect.gen(function*() {
              const exit = yield* Effect.exit(store.save(key, saved.get(key)!, Lab.change("moved")))
              calls++
              Lab.assertTyped(exit, key)
              if (Exit.isSuccess(exit)) {
                // A save whose outcome was unknown had been done.
                const next = exit.value._tag === "Saved" ? exit.value.record.version : saved.get(key)! + 1
                saved.set(key, next)
              } else {
                const word = exit.cause.reasons[0]._tag === "Fail" ? exit.cause.reasons[0].error.message : "?"
                failures.set(word, (failures.get(word) ?? 0) + 1)
              }
            })
          const load = yield* Effect.forkChild(
            Effect.forEach(keys, (key) => Effect.forever(Effect.delay(work(key), 2)), { concurrency: "unbounded" }),
            { startImmediately: true }
          )
          const [first, second] = cluster.nodes
          for (let round = 0; round < Lab.rounds(3, 30); round++) {
            for (const target of [second, first]) {
              const { begin, finish, moveKeys } = yield* cluster.migration(slot, target)
              yield* begin
              while ((yield* moveKeys(3)) > 0) yield* Effect.sleep(10)
              yield* finish
            }
          }
          yield* Effect.sleep(100)
          yield* Fiber.interrupt(load)
          for (const key of keys) {
            const lookup = yield* store.load(key)
            assert.strictEqual(lookup._tag, "Live")
            if (lookup._tag !== "Live") continue
            assert.isAtLeast(lookup.record.version, saved.get(key)!)
            assert.isAtMost(lookup.record.version, saved.get(key)! + 1, "only the interrupted save may be unknown")
          }
          const words = [...failures].map(([word, count]) => `${count} x ${word}`)
          yield* Lab.report(
            `slot moved ${Lab.rounds(6, 60)} times: ${calls} saves, failures: ${words.join(", ") || "none"}`
          )
          assert.isAbove(calls, 100)
        }),
      120_000
    )

    it.effect("a killed master fails its own slots, typed, and they come back", () =>
      Effect.gen(function*() {
        const cluster = yield* Cluster
        const { store } = yield* Lab.openCluster(cluster)
        yield* cluster.settled()
        const master = yield* cluster.masterOf(0)
        const its = keysWhere(12, firstThird)
        const others = keysWhere(24, (slot) => !firstThird(slot))
        yield* Effect.forEach([...its, ...others], (key) => store.create(Lab.newRecord(key)))
        yield* Effect.sleep(200)

        const count = { its: 0, itsFailed: 0, others: 0, othersFailed: 0 }
        const probe = (group: "its" | "others", key: string) =>
          Effect.gen(function*() {
            const { exit, millis } = yield* Lab.timed<unknown, never>(
              Math.random() < 0.5 ? store.load(key) : store.touch(key)
            )
            count[group]++
            Lab.assertTyped(exit, key)
            assert.isBelow(millis, Lab.commandTimeout + Lab.slack)
            if (Exit.isFailure(exit)) count[`${group}Failed`]++
          })
        const probes = yield* Effect.forkChild(
          Effect.all([
            Effect.forEach(its, (key) => Effect.forever(Effect.delay(probe("its", key), 5)), {
              concurrency: "unbounded"
            }),
            Effect.forEach(others, (key) => Effect.forever(Effect.delay(probe("others", key), 5)), {
              concurrency: "unbounded"
            })
          ], { concurrency: "unbounded" }),
          { startImmediately: true }
        )
        const start = performance.now()
        yield* cluster.kill(master)
        yield* cluster.movedFrom(0, master)
        const moved = performance.now() - start
        const back = moved + (yield* Lab.untilWorks(Effect.forEach(its, (key) => store.touch(key))))
        yield* Fiber.interrupt(probes)
        const share = 1 - count.othersFailed / count.others
        yield* Lab.report(
          `killed master: failover ${Math.round(moved)} ms, its slots work after ${Math.round(back)} ms; ` +
            `${count.itsFailed} of ${count.its} calls to them failed, ` +
            `${count.othersFailed} of ${count.others} to the others (${(100 * share).toFixed(2)} % succeeded)`
        )
        assert.isAbove(count.itsFailed, 0)
        assert.isAtLeast(share, 0.999)
        assert.isBelow(back, moved + 2000)
        for (const key of its) assert.isTrue(Lab.isLive(yield* store.load(key)), "acknowledged long before the crash")
        yield* master.start()
        yield* cluster.settled()
      }), 60_000)

    it.effect("a frozen master is left for its replica", () =>
      Effect.gen(function*() {
        const cluster = yield* Cluster
        const { store } = yield* Lab.openCluster(cluster)
        yield* cluster.settled()
        const master = yield* cluster.masterOf(0)
        const [key] = keysWhere(1, firstThird)
        yield* store.create(Lab.newRecord(key))
        yield* Effect.sleep(200)
        const start = performance.now()
        yield* cluster.freeze(master)
        yield* cluster.movedFrom(0, master)
        const moved = performance.now() - start
        const back = moved + (yield* Lab.untilWorks(store.touch(key)))
        yield* Lab.report(
          `frozen cluster master: failover ${Math.round(moved)} ms, its slots work after ${Math.round(back)} ms`
        )
        assert.isBelow(back, moved + 2000)
        yield* cluster.thaw(master)
        yield* cluster.settled()
        assert.isTrue(Lab.isLive(yield* store.load(key)))
      }), 60_000)
  })
})
