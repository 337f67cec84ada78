/**
 * The near cache: what a hit costs beside a read of the memory store, and how
 * many requests reach the store with 1, 3 and 10 nodes.
 *
 *     node bench/cluster.ts [--sessions=2000] [--minutes=10]
 *
 * The second part is a simulation in virtual time: nodes are caches of their own
 * over one store in one process, and every message arrives at once. Ratios of one
 * run can be compared, its absolute numbers belong to its machine.
 */
import { ClusterStore, Invalidation } from "@effect-session/cluster"
import { MemoryStore, SessionConfig, SessionStore } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { Clock, Context, Effect, Layer, Redacted } from "effect"

const option = (name: string, otherwise: number) => {
  const given = process.argv.find((argument) => argument.startsWith(`--${name}=`))
  return given === undefined ? otherwise : Number(given.slice(name.length + 3))
}
const sessions = option("sessions", 2000)
const minutes = option("minutes", 10)

const print = (...cells: ReadonlyArray<string | number>) =>
  process.stdout.write(
    `${cells.map((cell, i) => i === 0 ? String(cell).padEnd(34) : String(cell).padStart(14)).join("")}\n`
  )

type Store = SessionStore.SessionStore["Service"]

const keys = Array.from({ length: sessions }, (_, i) => `aa${String(i).padStart(43, "0")}`)

const create = (store: Store) =>
  Effect.forEach(keys, (key) =>
    store.create({
      key,
      idleTimeout: 86_400_000,
      lifetime: 86_400_000,
      subject: undefined,
      format: 1,
      payload: "x".repeat(300)
    }), { discard: true })

// One secret for all: nodes that have another one do not hear each other.
const secrets = Redacted.make("bench-Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1?")
const crypto = CryptoNode.layer.pipe(Layer.provide(SessionConfig.layer({ preset: "development", secrets })))

/** A cache over a store, on the bus of the context. */
const node = (store: Store, heartbeat?: "1 second") =>
  Effect.map(
    Layer.build(
      ClusterStore.layer().pipe(
        Layer.provide(Invalidation.layerMemory({ heartbeat })),
        Layer.provide(crypto),
        Layer.provide(Layer.succeed(SessionStore.SessionStore, store))
      )
    ),
    (context) => ({
      ...Context.get(context, SessionStore.SessionStore),
      stats: Context.get(context, ClusterStore.ClusterStore).stats
    })
  )

const memory = Effect.map(
  Layer.build(MemoryStore.layerStore({ sweepInterval: "400 days" })),
  (context) => Context.get(context, SessionStore.SessionStore)
)

const loadsPerRound = 200_000

const load = (store: Store) =>
  Effect.suspend(() => {
    let i = 0
    return Effect.whileLoop({
      while: () => i < loadsPerRound,
      body: () => store.load(keys[(i * 7919) % sessions]),
      step: () => {
        i++
      }
    })
  })

const cost = Effect.gen(function*() {
  const below = yield* memory
  const cached = yield* node(below, "1 second")
  yield* create(below)
  yield* Effect.sleep("50 millis")
  const best = new Map<string, number>()
  for (let round = 0; round < 9; round++) {
    for (const [name, store] of [["memory store", below], ["cached", cached]] as const) {
      const start = process.cpuUsage()
      yield* load(store)
      const { system, user } = process.cpuUsage(start)
      best.set(name, Math.min(best.get(name) ?? Infinity, (user + system) / loadsPerRound))
    }
  }
  print("load", "CPU us")
  for (const [name, micros] of best) print(name, micros.toFixed(2))
})

// A request reads its session; one in ten writes it. Activity is recorded once a minute.
const simulate = Effect.fnUntraced(function*(nodes: number, sticky: boolean) {
  let now = 0
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => now,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
    monotonicTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
    sleep: () => Effect.never
  }
  return yield* Effect.gen(function*() {
    const below = yield* memory
    let reads = 0
    const counted: Store = {
      ...below,
      load: (key, options) =>
        Effect.suspend(() => {
          reads++
          return below.load(key, options)
        })
    }
    const stores = yield* Effect.forEach(Array.from({ length: nodes }), () => node(counted))
    yield* create(below)
    let state = 1
    const random = (limit: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return Math.floor(state / 0x1_0000_0000 * limit)
    }
    // On average every session is asked for once in five seconds.
    const requests = Math.floor(sessions * minutes * 60 / 5)
    const step = minutes * 60_000 / requests
    for (let i = 0; i < requests; i++) {
      now = Math.floor(i * step)
      const session = random(sessions)
      const store = stores[sticky ? session % nodes : random(nodes)]
      const lookup = yield* store.load(keys[session])
      if (lookup._tag !== "Live") continue
      if (random(10) === 0) {
        const { format, idleTimeout, payload } = lookup.record
        yield* store.save(keys[session], lookup.record.version, {
          format,
          payload,
          idleTimeout,
          lifetime: undefined,
          active: true
        })
      } else if (lookup.now - lookup.record.lastSeenAt >= 60_000) {
        yield* store.touch(keys[session])
      }
    }
    for (const { stats } of stores) {
      const { channel } = yield* stats
      if (channel.forged > 0) return yield* Effect.die(new Error("the nodes do not understand each other"))
    }
    return reads / requests
  }).pipe(Effect.provideService(Clock.Clock, clock))
})

const routing = Effect.gen(function*() {
  print("\nreads of the store per request", "sticky", "random")
  for (const nodes of [1, 3, 10]) {
    const [sticky, spread] = [yield* simulate(nodes, true), yield* simulate(nodes, false)]
    print(`${nodes} node${nodes === 1 ? "" : "s"}`, sticky.toFixed(3), spread.toFixed(3))
  }
})

await Effect.runPromise(
  Effect.andThen(cost, routing).pipe(Effect.scoped, Effect.provide(Invalidation.layerMemoryBus))
)
