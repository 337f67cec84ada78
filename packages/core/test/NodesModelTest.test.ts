import { MemoryStore, SessionQuery, SessionStore } from "@effect-session/core"
import * as NodesModelTest from "@effect-session/core/testing/NodesModelTest"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"

type Tell = (forget: () => void) => void

// Nodes that forget everything with every write of one of them, as they are told.
const make = (tell: Tell, tellItself: Tell = (forget) => forget()) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(MemoryStore.layerStore())
    const store = Context.get(context, SessionStore.SessionStore)
    const query = Context.get(context, SessionQuery.SessionQuery)
    const copies = [0, 1, 2].map(() => new Map<string, SessionStore.Lookup>())
    const node = (own: Map<string, SessionStore.Lookup>): NodesModelTest.Node => {
      let hits = 0
      const told = <A, E>(write: Effect.Effect<A, E>) =>
        Effect.tap(write, () =>
          Effect.sync(() => {
            tellItself(() => own.clear())
            tell(() => {
              for (const other of copies) if (other !== own) other.clear()
            })
          }))
      return {
        hits: Effect.sync(() => hits),
        store: {
          load: (key) =>
            Effect.suspend(() => {
              const copy = own.get(key)
              if (copy !== undefined) {
                hits++
                return Effect.succeed(copy)
              }
              return Effect.tap(store.load(key), (lookup) =>
                Effect.sync(() => {
                  if (lookup._tag === "Live" && lookup.alias === undefined) own.set(key, lookup)
                }))
            }),
          create: (record, limit) => told(store.create(record, limit)),
          save: (key, version, change) => told(store.save(key, version, change)),
          touch: (key) => told(store.touch(key)),
          renew: (key, version, replacement, options) => told(store.renew(key, version, replacement, options)),
          destroy: (key) => told(store.destroy(key))
        },
        query: {
          ...query,
          destroyBySubject: (subject, options) => told(query.destroyBySubject(subject, options))
        }
      }
    }
    const [a, b, c] = copies
    const nodes: NodesModelTest.Options["nodes"] = [node(a), node(b), node(c)]
    const run = (staleFor: number) =>
      Effect.provide(
        NodesModelTest.parallel({ nodes, staleFor, elapse: Effect.sleep, exactTime: false, runs: 200 }),
        context
      )
    return { run }
  })

const late = (millis: number): Tell => (forget) => void setTimeout(forget, millis)

describe("NodesModelTest", () => {
  it.live("accepts nodes that are told before a write returns, with no delay at all", () =>
    Effect.gen(function*() {
      const { run } = yield* make((others) => others())
      const { hits, stale } = yield* run(0)
      assert.isAbove(hits, 0)
      assert.strictEqual(stale, 0)
    }))

  it.live("accepts nodes that are told within the bound, and counts what they have told of the past", () =>
    Effect.gen(function*() {
      const { run } = yield* make(late(2))
      assert.isAbove((yield* run(100)).stale, 0)
    }))

  it.live("refuses the same nodes where no delay is allowed", () =>
    Effect.gen(function*() {
      const { run } = yield* make(late(2))
      assert.include((yield* Effect.flip(run(0))).message, "after 0 ms every node says")
    }))

  it.live("refuses nodes that are told after the bound", () =>
    Effect.gen(function*() {
      const { run } = yield* make(late(150))
      assert.include((yield* Effect.flip(run(20))).message, "after 20 ms every node says")
    }))

  it.live("refuses nodes that are told nothing", () =>
    Effect.gen(function*() {
      const { run } = yield* make(() => {})
      assert.include((yield* Effect.flip(run(20))).message, "after 20 ms every node says")
    }))

  it.live("refuses a node that does not read what it wrote, however soon it does", () =>
    Effect.gen(function*() {
      const { run } = yield* make((others) => others(), late(2))
      assert.notInclude((yield* Effect.flip(run(100))).message, "every node says")
    }))
})
