/**
 * Faults by script: a session store that is slow, fails, loses answers, hangs or
 * is half down, exactly when a test says so.
 *
 * It stands in front of any `SessionStore`, and of its `SessionQuery` if there is
 * one. Time is the test's: every wait is on the `Clock`, so that `TestClock` moves
 * it, and {@link layerClock} makes the wall clock jump.
 *
 * **Example** (An answer that is lost)
 *
 * ```ts
 * import { MemoryStore, SessionStore } from "@effect-session/core"
 * import { FaultStore } from "@effect-session/core/testing"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const faults = yield* FaultStore.FaultStore
 *   const store = yield* SessionStore.SessionStore
 *   const record = { key: "key", idleTimeout: 1000, lifetime: 1000, subject: undefined, format: 1, payload: "" }
 *   faults.next("create", FaultStore.failAfter)
 *   const error = yield* Effect.flip(store.create(record))
 *   console.log(error.reason.applied) // => unknown
 *   console.log((yield* store.load("key"))._tag) // => Live
 * })
 * await Effect.runPromise(Effect.provide(program, FaultStore.over(MemoryStore.layerStore())))
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { SessionQuery } from "../SessionQuery.ts"
import { SessionStore, SessionStoreError, StoreUnavailable } from "../SessionStore.ts"
import type { Operation } from "../StoreFault.ts"

/**
 * A call of the store.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Asked {
  readonly operation: Operation
  /** The key, or the subject, that was asked for. */
  readonly key: string
  /** All arguments. */
  readonly args: ReadonlyArray<unknown>
}

/**
 * What happens to a call: it gets the call itself, which takes effect when it is
 * run, and returns what the caller sees.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Fault = <A>(
  call: Effect.Effect<A, SessionStoreError>,
  asked: Asked
) => Effect.Effect<A, SessionStoreError>

/**
 * Service that scripts the faults of a store.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class FaultStore extends Context.Service<FaultStore, {
  /** Everything the store was asked, in order, faulty or not. */
  readonly calls: ReadonlyArray<Asked>
  /** Calls of some operations since the last `forget`; of all of them without names. */
  readonly count: (...operations: ReadonlyArray<Operation>) => number
  /** Forgets the calls. */
  readonly forget: () => void
  /** Faults for the next calls of an operation, one each, before those of `always`. */
  readonly next: (operation: Operation, ...faults: ReadonlyArray<Fault>) => void
  /** A fault for every call of some operations, until `heal`; of all of them without names. */
  readonly always: (fault: Fault, ...operations: ReadonlyArray<Operation>) => void
  /** Ends all faults. Calls that hang go on hanging. */
  readonly heal: () => void
}>()("@effect-session/core/testing/FaultStore") {}

const unavailable = (applied: "no" | "unknown") =>
  new SessionStoreError({ reason: new StoreUnavailable({ description: "a fault of the script", applied }) })

/**
 * The call fails with an error and has no effect.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const failWith = (error: SessionStoreError): Fault => () => Effect.fail(error)

/**
 * The call fails as unavailable and has no effect.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const failBefore: Fault = () => Effect.suspend(() => Effect.fail(unavailable("no")))

/**
 * The call takes effect, and its answer is lost.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const failAfter: Fault = (call) =>
  Effect.andThen(call, Effect.suspend(() => Effect.fail(unavailable("unknown"))))

/**
 * The call has no effect and no answer.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const hang: Fault = () => Effect.never

/**
 * The call takes effect and has no answer.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const hangAfter: Fault = (call) => Effect.andThen(call, Effect.never)

/**
 * The call takes effect after some time.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const latency = (duration: Duration.Input): Fault => (call) => Effect.delay(call, duration)

/**
 * Something happens before the call takes effect, such as waiting for a `Deferred`.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const preceded = (first: Effect.Effect<unknown>): Fault => (call) => Effect.andThen(first, call)

/**
 * Something happens after the call has taken effect, before it is answered.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const followed = (last: Effect.Effect<unknown>): Fault => (call) => Effect.tap(call, () => last)

/**
 * A fault for some calls only: a partial outage, such as one shard that is down.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const only = (predicate: (asked: Asked) => boolean, fault: Fault): Fault => (call, asked) =>
  predicate(asked) ? fault(call, asked) : call

/**
 * A fault for a random share of the calls, from 0 to 1.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const share = (share: number, fault: Fault): Fault => (call, asked) =>
  Effect.flatMap(Random.next, (random) => random < share ? fault(call, asked) : call)

type Names<Service> = {
  [Name in keyof Service]: Service[Name] extends (...args: never) => Effect.Effect<unknown, SessionStoreError> ? Name
    : never
}[keyof Service]

const operations: ReadonlyArray<Operation> = [
  "load",
  "create",
  "save",
  "touch",
  "renew",
  "destroy",
  "bySubject",
  "destroyBySubject"
] satisfies ReadonlyArray<Names<SessionStore["Service"]> | Names<SessionQuery["Service"]>>

const script = () => {
  const calls: Array<Asked> = []
  const once = new Map<Operation, Array<Fault>>()
  const standing = new Map<Operation, Fault>()
  const service: FaultStore["Service"] = {
    calls,
    count: (...names) =>
      names.length === 0 ? calls.length : calls.filter(({ operation }) => names.includes(operation)).length,
    forget: () => {
      calls.length = 0
    },
    next: (operation, ...faults) => {
      once.set(operation, [...once.get(operation) ?? [], ...faults])
    },
    always: (fault, ...names) => {
      for (const operation of names.length === 0 ? operations : names) standing.set(operation, fault)
    },
    heal: () => {
      once.clear()
      standing.clear()
    }
  }
  const scripted = <Args extends ReadonlyArray<unknown>, A>(
    operation: Operation,
    keyOf: (...args: Args) => string,
    call: (...args: Args) => Effect.Effect<A, SessionStoreError>
  ) =>
  (...args: Args): Effect.Effect<A, SessionStoreError> =>
    Effect.suspend(() => {
      const asked: Asked = { operation, key: keyOf(...args), args }
      calls.push(asked)
      const fault = once.get(operation)?.shift() ?? standing.get(operation)
      return fault === undefined ? call(...args) : fault(call(...args), asked)
    })
  return { service, scripted }
}

const first = (key: string, ..._rest: ReadonlyArray<unknown>): string => key

/**
 * Puts a script in front of the store of a layer. Its other services stay as they
 * are.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const over = <ROut, E, R>(
  stores: Layer.Layer<ROut, E, R> & ([SessionStore] extends [ROut] ? unknown : "the layer provides no SessionStore")
): Layer.Layer<ROut | FaultStore, E, R> => {
  const scripted: Layer.Layer<FaultStore | SessionStore, never, SessionStore> = Layer.effectContext(
    Effect.gen(function*() {
      const store = yield* SessionStore
      const query = yield* Effect.serviceOption(SessionQuery)
      const { scripted, service } = script()
      const context = Context.make(FaultStore, service).pipe(
        Context.add(
          SessionStore,
          SessionStore.of({
            load: scripted("load", first, store.load),
            create: scripted("create", ({ key }) => key, store.create),
            save: scripted("save", first, store.save),
            touch: scripted("touch", first, store.touch),
            renew: scripted("renew", first, store.renew),
            destroy: scripted("destroy", first, store.destroy)
          })
        )
      )
      return Option.isNone(query) ? context : Context.add(context, SessionQuery, {
        ...query.value,
        bySubject: scripted("bySubject", first, query.value.bySubject),
        destroyBySubject: scripted("destroyBySubject", first, query.value.destroyBySubject)
      })
    })
  )
  return Layer.provideMerge(scripted, stores as Layer.Layer<ROut | SessionStore, E, R>)
}

/**
 * Service that makes the wall clock jump. Monotonic time goes on, and waits are as
 * long as they were.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class FaultClock extends Context.Service<FaultClock, {
  /** Moves the wall clock by some milliseconds, back if below zero. */
  readonly jump: (millis: number) => void
}>()("@effect-session/core/testing/FaultStore/FaultClock") {}

/**
 * Replaces the clock of the layers and programs that it is provided to by one that
 * jumps.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerClock: Layer.Layer<FaultClock> = Layer.effectContext(
  Effect.map(Effect.clockWith(Effect.succeed), (clock) => {
    let offset = 0
    const nanos = () => BigInt(offset) * 1_000_000n
    // What else the clock can do, such as the steps of a `TestClock`, it still can.
    const jumping: Clock.Clock = Object.assign(Object.create(clock), {
      currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + offset,
      currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + offset),
      currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe() + nanos(),
      currentTimeNanos: Effect.map(clock.currentTimeNanos, (now) => now + nanos()),
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: clock.monotonicTimeNanos,
      sleep: (duration: Duration.Duration) => clock.sleep(duration)
    })
    return Context.make(FaultClock, {
      jump: (millis) => {
        offset += millis
      }
    }).pipe(Context.add(Clock.Clock, jumping))
  })
)
