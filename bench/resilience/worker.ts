/**
 * Measures one thing in a process of its own and prints it as JSON.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { performance } from "node:perf_hooks"
import * as MemoryStore from "../../packages/core/src/MemoryStore.ts"
import * as Resilience from "../../packages/core/src/Resilience.ts"
import { SessionStore, SessionStoreError, StoreUnavailable } from "../../packages/core/src/SessionStore.ts"
import { makeKey, makePayload, median } from "../memory/data.ts"

type Store = SessionStore["Service"]

const [task, calls] = [process.argv[2], Number(process.argv[3])]
const day = 86_400_000
const scope = Scope.makeUnsafe()

const collect = () => {
  globalThis.gc?.()
  globalThis.gc?.()
}

const decorate = (store: Store, options?: Resilience.Options): Promise<Store> =>
  Effect.runPromise(
    Resilience.make(options).pipe(
      Effect.provideService(SessionStore, store),
      Effect.map(({ store }) => store),
      Scope.provide(scope)
    )
  )

const memory = () =>
  Effect.runPromise(Scope.provide(MemoryStore.make({ sweepInterval: "1 day" }), scope)).then(({ store }) => store)

const each = (count: number, body: (i: number) => Effect.Effect<unknown>): Effect.Effect<void> =>
  Effect.suspend(() => {
    let i = 0
    return Effect.whileLoop({
      while: () => i < count,
      body: () => body(i),
      step: () => {
        i++
      }
    })
  })

/** Microseconds of processor time of this thread: others that run on the machine take no part in it. */
const cpu = () => {
  const { system, user } = process.threadCpuUsage()
  return system + user
}

// The answer comes in a later turn, as that of a server does.
const later = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => {
    setImmediate(() => resume(effect))
  })

/** The same loads of two stores in turn: microseconds of processor time for each, as medians of the rounds. */
const compare = async (name: string, bare: Store, decorated: Store, keys: ReadonlyArray<string>, width: number) => {
  const count = width === 1 && name.includes("turn") ? 20_000 : 100_000
  const load = (store: Store) => {
    let at = 0
    const lane = each(count / width, () => Effect.orDie(store.load(keys[at++ % keys.length])))
    return width === 1 ? lane : Effect.all(Array.from({ length: width }, () => lane), { concurrency: "unbounded" })
  }
  const times: { readonly bare: Array<number>; readonly decorated: Array<number> } = { bare: [], decorated: [] }
  for (let round = -3; round < 15; round++) {
    const order = round % 2 === 0 ? ["bare", "decorated"] as const : ["decorated", "bare"] as const
    for (const which of order) {
      const begin = cpu()
      await Effect.runPromise(load(which === "bare" ? bare : decorated))
      if (round >= 0) times[which].push((cpu() - begin) / count)
    }
  }
  const pairs = times.bare.map((time, i) => [time, times.decorated[i]] as const)
  return {
    name,
    bare: median(times.bare),
    decorated: median(times.decorated),
    difference: median(pairs.map(([bare, decorated]) => decorated - bare)),
    ratio: median(pairs.map(([bare, decorated]) => decorated / bare))
  }
}

const load = async () => {
  const bare = await memory()
  const keys = Array.from({ length: 10_000 }, makeKey)
  await Effect.runPromise(each(keys.length, (i) =>
    Effect.orDie(bare.create({
      key: keys[i],
      idleTimeout: day,
      lifetime: day,
      subject: undefined,
      format: 1,
      payload: makePayload(i)
    }))))
  const decorated = await decorate(bare)
  const distant: Store = { ...bare, load: (key) => later(bare.load(key)) }
  const decoratedDistant = await decorate(distant)
  return [
    await compare("that answers at once", bare, decorated, keys, 1),
    await compare("that answers a turn later", distant, decoratedDistant, keys, 1),
    await compare("that answers a turn later, 100 at once", distant, decoratedDistant, keys, 100)
  ]
}

const down = new SessionStoreError({ reason: new StoreUnavailable({ description: "it is down", applied: "no" }) })

/** A store that is dead, and counts what it is asked. */
const dead = async (answer: Effect.Effect<never, SessionStoreError>) => {
  const store = await memory()
  const asked = { commands: 0 }
  const load = () =>
    Effect.suspend(() => {
      asked.commands++
      return answer
    })
  return { asked, store: { ...store, load } }
}

const refusal = later(Effect.fail(down))

const open = async () => {
  const { store } = await dead(refusal)
  const decorated = await decorate(store, { recoveryCheck: "Infinity" })
  const ask = Effect.ignore(decorated.load("key"))
  for (let i = 0; i < 1000; i++) await Effect.runPromise(ask)
  const times: Array<number> = []
  await Effect.runPromise(each(calls, () =>
    Effect.suspend(() => {
      const begin = performance.now()
      return Effect.map(ask, () => times.push((performance.now() - begin) * 1000))
    })))
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
  return { p50: at(0.5), p99: at(0.99), longest: at(1) }
}

/** All the calls, a hundred at a time, twice: the heap is compared after the first time and after the second. */
const die = async (name: string, answer: Effect.Effect<never, SessionStoreError>, options: Resilience.Options) => {
  const { asked, store } = await dead(answer)
  const decorated = await decorate(store, options)
  const keys = Array.from({ length: calls }, makeKey)
  let longest = 0
  let at = 0
  const lane = each(calls / 100, () =>
    Effect.suspend(() => {
      const begin = performance.now()
      return Effect.map(Effect.exit(decorated.load(keys[at++ % calls])), (exit) => {
        if (exit._tag === "Success") throw new Error("a dead store has answered")
        longest = Math.max(longest, performance.now() - begin)
      })
    }))
  const all = () =>
    Effect.runPromise(Effect.all(Array.from({ length: 100 }, () => lane), { concurrency: "unbounded", discard: true }))
  await all()
  await new Promise((resolve) => setTimeout(resolve, 100))
  collect()
  const before = process.memoryUsage().heapUsed
  longest = 0
  const begin = performance.now()
  await all()
  const total = performance.now() - begin
  const { commands } = asked
  await new Promise((resolve) => setTimeout(resolve, 100))
  collect()
  return {
    name,
    commands,
    each: commands / (2 * calls),
    heap: (process.memoryUsage().heapUsed - before) / calls,
    longest,
    total
  }
}

// A circuit that never opens leaves everything to the budget of retries.
const never: Resilience.Options = { tripPolicy: { _tag: "Consecutive", failures: 1e9 }, retryDelay: "5 millis" }
const deadline = "50 millis"

const tasks: { readonly [task: string]: () => Promise<unknown> } = {
  load,
  open,
  refused: () => die("that refuses, no circuit", refusal, never),
  refusedOpen: () => die("that refuses", refusal, {}),
  frozen: () => die("that is frozen, no circuit, 50 ms", Effect.never, { ...never, deadline }),
  frozenOpen: () => die("that is frozen, 50 ms", Effect.never, { deadline })
}

console.log(JSON.stringify(await tasks[task]()))
process.exit(0)
