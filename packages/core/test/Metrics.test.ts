import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Metric, References } from "effect"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as MemoryStore from "../src/MemoryStore.ts"
import * as Metrics from "../src/Metrics.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionManager from "../src/SessionManager.ts"
import { down, preceded } from "./FaultyStore.ts"
import { increment, layer, loginAs, secret, setup, UserSession } from "./Fixture.ts"

/** Every record a test makes, as `name value {tags}`. */
const recording = <A, E, R>(test: (records: Array<string>) => Effect.Effect<A, E, R>) => {
  const records: Array<string> = []
  const record = (name: string, tags: Metrics.Tags) => (value: number) => {
    records.push(`${name} ${value} ${JSON.stringify(tags)}`)
  }
  return Effect.provideService(test(records), Metrics.Metrics, {
    counter: (name, tags) => () => record(name, tags)(1),
    timer: record,
    gauge: record
  })
}

const work = Effect.gen(function*() {
  const { run, start, store } = yield* setup
  const token = yield* start
  yield* TestClock.adjust("2 minutes")
  yield* run(token, UserSession.get)
  const { token: ada } = yield* run(token, loginAs("ada"))
  const slow = yield* Effect.map(SessionManager.make(UserSession), ({ open }) => open({ token: ada }))
  yield* slow.update((data) => ({ ...data, n: 5 }))
  yield* run(ada, increment)
  yield* slow.finish("success")
  store.next("load", down)
  yield* Effect.exit(run(ada, UserSession.get))
  yield* run(ada, UserSession.destroy)
  return ada
})

describe("Metrics", () => {
  it.effect("count what happens once, by the name of the backend", () =>
    recording((records) =>
      Effect.gen(function*() {
        yield* work
        const count = (name: string) => records.filter((record) => record.startsWith(`${name} `)).length
        assert.strictEqual(count("session.created"), 1)
        assert.strictEqual(count("session.touched"), 1)
        assert.strictEqual(count("session.regenerated"), 1)
        assert.strictEqual(count("session.conflict"), 1)
        assert.strictEqual(count("session.saved"), 2)
        assert.strictEqual(count("session.deleted"), 1)
        assert.strictEqual(count("session.error"), 1)
        assert.strictEqual(count("session.loaded"), 6)
        assert.isTrue(records.includes("session.error 1 {\"store\":\"faulty\",\"error\":\"Unavailable\"}"))
        for (const record of records) assert.include(record, "\"store\":\"faulty\"")
      })
    ).pipe(Effect.provide(layer())))

  it.effect("time what the store took, loads and writes apart", () =>
    recording((records) =>
      Effect.gen(function*() {
        const { manager, start, store } = yield* setup
        const token = yield* start
        records.length = 0
        store.next("load", preceded(TestClock.adjust(7)))
        store.next("save", preceded(TestClock.adjust(11)))
        yield* manager.run(token, increment)
        const timed = records.filter((record) => record.includes("_time"))
        assert.deepStrictEqual(timed.map((record) => record.split(" ").slice(0, 2).join(" ")), [
          "session.load_time 7",
          "session.store_time 11"
        ])
      })
    ).pipe(Effect.provide(layer())))

  it.effect("have few and fixed tags, whatever clients send", () =>
    recording((records) =>
      Effect.gen(function*() {
        const { open, start } = yield* setup
        const token = yield* start
        const series = () => new Set(records.map((record) => record.replace(/ .* \{/, " {"))).size
        yield* open("garbage").status
        yield* open(token.slice(0, 4) + Buffer.alloc(32, 0).toString("base64url")).status
        const before = series()
        for (let i = 1; i < 20_000; i++) {
          const id = Buffer.alloc(32)
          id.writeUInt32BE(i)
          yield* open(i % 2 === 0 ? `garbage${i}` : token.slice(0, 4) + id.toString("base64url")).status
        }
        assert.strictEqual(series(), before)
      })
    ).pipe(Effect.provide(layer())))

  it.effect("show in the registry of effect's Metric by default", () =>
    Effect.gen(function*() {
      const counts = Effect.map(Metric.snapshot, (snapshots) => {
        const found = new Map<string, number>()
        for (const { attributes, id, state } of snapshots) {
          if (attributes?.store !== "faulty") continue
          found.set(id, "count" in state ? Number(state.count) : 0)
        }
        return found
      })
      const before = yield* counts
      const token = yield* work
      const after = yield* counts
      const moved = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0)
      assert.strictEqual(moved("session.created"), 1)
      assert.strictEqual(moved("session.deleted"), 1)
      assert.strictEqual(moved("session.conflict"), 1)
      assert.isAbove(moved("session.load_time"), 5)
      assert.notInclude(inspect(yield* Metric.snapshot, { depth: 10 }), token!)
    }).pipe(Effect.provide(layer())))

  it.effect("show how many sessions the memory store holds, every five seconds", () =>
    recording((records) =>
      Effect.gen(function*() {
        const manager = yield* SessionManager.make(UserSession)
        const gauges = () => records.filter((record) => record.startsWith("session.active_count"))
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(gauges(), ["session.active_count 0 {\"store\":\"memory\"}"])
        const { token } = yield* manager.run(undefined, increment)
        yield* manager.run(undefined, increment)
        yield* TestClock.adjust("5 seconds")
        yield* manager.run(token, UserSession.destroy)
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(gauges().map((record) => record.split(" ")[1]), ["0", "2", "1"])
      }).pipe(
        Effect.provide(
          MemoryStore.layer().pipe(
            Layer.provideMerge(CryptoNode.layer),
            Layer.provideMerge(SessionConfig.layer({ preset: "testing", secrets: secret }))
          )
        )
      )
    ))

  it.effect("write to the log at debug level, or nowhere", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel} ${message}`))
    return Effect.gen(function*() {
      const once = Effect.gen(function*() {
        const { counter, gauge, timer } = yield* Metrics.Metrics
        counter("session.created", { store: "x" })()
        timer("session.load_time", { store: "x" })(3)
        gauge("session.active_count", { store: "x" })(9)
        yield* Effect.yieldNow
      })
      yield* Effect.provide(once, Metrics.layerNoop)
      assert.deepStrictEqual(lines, [])
      yield* Effect.provide(once, Metrics.layerLog)
      assert.deepStrictEqual(lines, [
        "Debug METRIC counter session.created=1",
        "Debug METRIC timer session.load_time=3",
        "Debug METRIC gauge session.active_count=9"
      ])
    }).pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, "Debug")
    )
  })
})
