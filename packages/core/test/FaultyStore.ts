/**
 * The memory store behind a script: what it is asked is written down, and any
 * call can be failed, held at a barrier, or answered by something else.
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { Crypto } from "../src/Crypto.ts"
import * as MemoryStore from "../src/MemoryStore.ts"
import * as SessionBackend from "../src/SessionBackend.ts"
import { SessionQuery } from "../src/SessionQuery.ts"
import { SessionStore, SessionStoreError, StoreUnavailable } from "../src/SessionStore.ts"

export type Method = keyof SessionStore["Service"]

/** Stands between a caller and one call of the store. */
export type Interceptor = <A>(
  call: Effect.Effect<A, SessionStoreError>
) => Effect.Effect<A, SessionStoreError>

const methods: ReadonlyArray<Method> = ["load", "create", "save", "touch", "renew", "destroy"]

export class FaultyStore extends Context.Service<FaultyStore, {
  /** Everything the store was asked, in order. */
  readonly calls: Array<readonly [method: Method, ...args: ReadonlyArray<unknown>]>
  /** Calls of some methods since the last `forget`; of all of them without names. */
  readonly count: (...methods: ReadonlyArray<Method>) => number
  readonly forget: () => void
  /** Intercepts the next calls of a method, as many as there are interceptors. */
  readonly next: (method: Method, ...interceptors: ReadonlyArray<Interceptor>) => void
  /** Intercepts every call of some methods until `heal`; of all of them without names. */
  readonly always: (interceptor: Interceptor, ...methods: ReadonlyArray<Method>) => void
  readonly heal: () => void
}>()("test/FaultyStore") {}

export const outage = new SessionStoreError({
  reason: new StoreUnavailable({ description: "scripted", retryAfter: 2000 })
})

/** The call fails and has no effect. */
export const down: Interceptor = () => Effect.fail(outage)

/** The call fails and has no effect, and says more than that. */
export const failing = (reason: Pick<StoreUnavailable, "continueAs" | "queued">): Interceptor => () =>
  Effect.fail(new SessionStoreError({ reason: new StoreUnavailable({ description: "scripted", ...reason }) }))

/** The call takes effect and its answer is lost. */
export const answerLost: Interceptor = (call) => Effect.andThen(call, Effect.fail(outage))

/** Something happens first. */
export const preceded = (first: Effect.Effect<unknown>): Interceptor => (call) => Effect.andThen(first, call)

/** Something happens once the call has taken effect, before it is answered. */
export const followed = (last: Effect.Effect<unknown>): Interceptor => (call) => Effect.tap(call, () => last)

// A clock some milliseconds ahead of the surrounding one.
const ahead = (clock: Clock.Clock, millis: number): Clock.Clock => ({
  currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + millis,
  currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + millis),
  monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
  monotonicTimeNanos: clock.monotonicTimeNanos,
  currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe() + BigInt(millis) * 1_000_000n,
  currentTimeNanos: Effect.map(clock.currentTimeNanos, (now) => now + BigInt(millis) * 1_000_000n),
  sleep: (duration) => clock.sleep(duration)
})

// It never sweeps, so that what has expired is still there to be found expired.
const services = (skew: number) =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const { query, store } = yield* MemoryStore.make({ sweepInterval: "400 days" }).pipe(
      Effect.provideService(Clock.Clock, ahead(clock, skew))
    )
    const calls: Array<readonly [Method, ...ReadonlyArray<unknown>]> = []
    const once = new Map<Method, Array<Interceptor>>(methods.map((method) => [method, []]))
    const standing = new Map<Method, Interceptor>()

    const scripted = <Args extends ReadonlyArray<unknown>, A>(
      method: Method,
      call: (...args: Args) => Effect.Effect<A, SessionStoreError>
    ) =>
    (...args: Args): Effect.Effect<A, SessionStoreError> =>
      Effect.suspend(() => {
        calls.push([method, ...args])
        const interceptor = once.get(method)?.shift() ?? standing.get(method)
        return interceptor === undefined ? call(...args) : interceptor(call(...args))
      })

    return Context.make(
      SessionStore,
      SessionStore.of({
        load: scripted("load", store.load),
        create: scripted("create", store.create),
        save: scripted("save", store.save),
        touch: scripted("touch", store.touch),
        renew: scripted("renew", store.renew),
        destroy: scripted("destroy", store.destroy)
      })
    ).pipe(
      Context.add(SessionQuery, query),
      Context.add(FaultyStore, {
        calls,
        count: (...names) =>
          names.length === 0 ? calls.length : calls.filter(([method]) => names.includes(method)).length,
        forget: () => {
          calls.length = 0
        },
        next: (method, ...interceptors) => {
          once.get(method)?.push(...interceptors)
        },
        always: (interceptor, ...names) => {
          for (const method of names.length === 0 ? methods : names) standing.set(method, interceptor)
        },
        heal: () => standing.clear()
      })
    )
  })

/** A scripted store whose clock is `skew` milliseconds ahead of everybody else's. */
export const layer = (
  skew = 0
): Layer.Layer<FaultyStore | SessionStore | SessionQuery | SessionBackend.SessionBackend, never, Crypto> =>
  SessionBackend.layer("faulty").pipe(Layer.provideMerge(Layer.effectContext(services(skew))))
