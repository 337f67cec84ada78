import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as OutagePolicy from "../OutagePolicy.ts"
import type { Options } from "../Resilience.ts"
import type { SessionStoreError } from "../SessionStore.ts"
import type { PendingOptions } from "./pendingDestroys.ts"

/** Options with their defaults, checked; times are milliseconds. */
export interface Settings {
  readonly name: string
  readonly deadline: number
  readonly slowCall: number
  readonly retry: Schedule.Schedule<unknown, SessionStoreError> | undefined
  readonly retryBudget: number
  readonly tripPolicy: CircuitBreaker.TripPolicy
  readonly probes: number
  readonly openFor: (openings: number) => Effect.Effect<number>
  readonly recoveryCheck: number
  readonly maxInFlight: number
  readonly maxQueued: number
  readonly pending: PendingOptions | undefined
  /** `undefined` keeps none. */
  readonly maxCopies: number | undefined
  readonly shutdown: number
  readonly outage: OutagePolicy.OutagePolicy
  readonly shardOf: ((key: string) => string) | undefined
}

const count = (name: string, value: number, least: number): number => {
  if (!Number.isInteger(value) || value < least) {
    throw new RangeError(`Resilience: ${name} must be an integer of at least ${least}, got ${value}`)
  }
  return value
}

const millis = (name: string, input: Duration.Input): number => {
  const value = Duration.toMillis(Duration.fromInputUnsafe(input))
  if (!(value > 0)) throw new RangeError(`Resilience: ${name} must be above zero, got ${value} ms`)
  return value
}

const finite = (name: string, input: Duration.Input): number => {
  const value = millis(name, input)
  if (value === Infinity) throw new RangeError(`Resilience: ${name} must be finite`)
  return value
}

const longestRetryDelay = 5000

/** Exponential with full jitter: any time up to the delay, which is capped first. */
export const retrySchedule = (
  attempts: number,
  base: Duration.Input
): Schedule.Schedule<unknown, SessionStoreError> =>
  Schedule.exponential(base).pipe(
    Schedule.upTo({ times: attempts - 1 }),
    Schedule.modifyDelay(({ duration }) =>
      Effect.map(
        Random.next,
        (random) => Duration.millis(Math.min(longestRetryDelay, Duration.toMillis(duration)) * random)
      )
    )
  )

const openTime = (options: Options): (openings: number) => Effect.Effect<number> => {
  const { openSchedule } = options
  if (openSchedule === undefined) {
    const base = finite("openDuration", options.openDuration ?? "30 seconds")
    return () => Effect.map(Random.next, (random) => base * (0.8 + random * 0.4))
  }
  // Replayed against a simulated clock, so that the schedule measures the time spent open.
  return Effect.fnUntraced(function*(openings) {
    const step = yield* Schedule.toStep(openSchedule)
    let now = 0
    let delay = 0
    for (let opening = 1; opening <= openings; opening++) {
      const next = yield* Effect.exit(step(now, opening))
      if (Exit.isFailure(next)) break
      delay = Duration.toMillis(next.value[1])
      now += delay
    }
    return delay
  })
}

export const make = (options: Options): Settings => {
  const deadline = finite("deadline", options.deadline ?? "1 second")
  const attempts = count("attempts", options.attempts ?? 3, 1)
  const delay = finite("retryDelay", options.retryDelay ?? "100 millis")
  const retryBudget = options.retryBudget ?? 0.1
  if (!(retryBudget >= 0 && retryBudget <= 1)) {
    throw new RangeError(`Resilience: retryBudget must be in [0, 1], got ${retryBudget}`)
  }
  const recoveryCheck = millis("recoveryCheck", options.recoveryCheck ?? "1 second")
  const outage = options.outage ?? OutagePolicy.fail
  const maxCopies = count("maxCopies", options.maxCopies ?? 10_000, 1)
  return {
    name: options.name ?? "store",
    deadline,
    slowCall: options.slowCall === undefined ? deadline / 2 : millis("slowCall", options.slowCall),
    retry: options.retry ?? (attempts === 1 ? undefined : retrySchedule(attempts, delay)),
    retryBudget,
    tripPolicy: options.tripPolicy ?? CircuitBreaker.rate({ threshold: 0.5, size: 20, minimumCalls: 5 }),
    probes: count("probes", options.probes ?? 1, 1),
    openFor: openTime(options),
    recoveryCheck,
    maxInFlight: count("maxInFlight", options.maxInFlight ?? 1000, 1),
    maxQueued: count("maxQueued", options.maxQueued ?? 1000, 0),
    pending: options.onDestroyFailed === "refuse" ? undefined : {
      capacity: count("maxPendingDestroys", options.maxPendingDestroys ?? 1000, 0),
      interval: recoveryCheck === Infinity ? 1000 : recoveryCheck,
      maxAge: millis("pendingDestroyAge", options.pendingDestroyAge ?? "24 hours")
    },
    maxCopies: options.copies ?? outage._tag === "StaleRead" ? maxCopies : undefined,
    shutdown: finite("shutdown", options.shutdown ?? "5 seconds"),
    outage,
    shardOf: options.shardOf
  }
}
