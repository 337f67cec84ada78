import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Load, Outcome } from "../Resilience.ts"
import type { Operation } from "../StoreFault.ts"

const boundaries = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500]

const circuitStates = { Closed: 0, HalfOpen: 1, Open: 2 } as const

/** Metrics of one decorated store: a handful of names with few and fixed tags. */
export interface GuardMetrics {
  readonly operation: (operation: Operation, outcome: Outcome, millis: number) => void
  readonly retry: (operation: Operation) => void
  readonly retryRefused: (operation: Operation) => void
  readonly circuit: (key: string, from: string, to: keyof typeof circuitStates) => void
  readonly degraded: (policy: string) => void
  readonly destroy: (event: "queued" | "confirmed" | "abandoned" | "refused") => void
  readonly gauges: (load: Load) => void
}

export const make = (store: string, context: Context.Context<never>): GuardMetrics => {
  const counters = (name: string, description: string) => {
    const known = new Map<string, Metric.Counter<number>>()
    return (tags: Readonly<Record<string, string>>, id: string) => {
      let metric = known.get(id)
      if (metric === undefined) {
        metric = Metric.counter(name, { description, incremental: true, attributes: { store, ...tags } })
        known.set(id, metric)
      }
      metric.updateUnsafe(1, context)
    }
  }
  const gauge = (name: string, description: string, tags?: Readonly<Record<string, string>>) =>
    Metric.gauge(name, { description, attributes: { store, ...tags } })

  const times = new Map<Operation, Map<Outcome, Metric.Histogram<number>>>()
  const timer = (operation: Operation, outcome: Outcome) => {
    let outcomes = times.get(operation)
    if (outcomes === undefined) times.set(operation, outcomes = new Map())
    let metric = outcomes.get(outcome)
    if (metric === undefined) {
      // Attributes of its own: `withAttributes` merges them again at every update.
      metric = Metric.histogram("session.store.operation_time", {
        description: "Milliseconds a guarded operation took, with its retries",
        boundaries,
        attributes: { store, operation, outcome }
      })
      outcomes.set(outcome, metric)
    }
    return metric
  }

  const retries = counters("session.store.retries", "Operations tried again")
  const refusals = counters("session.store.retries_refused", "Retries that were outside the budget")
  const transitions = counters("session.store.circuit_transitions", "Changes of a circuit's state")
  const degraded = counters("session.store.degraded", "Loads that something else than the store has answered")
  const destroys = counters("session.store.pending_destroy", "What became of ends that the store did not confirm")
  const inFlight = gauge("session.store.in_flight", "Operations under way")
  const queued = gauge("session.store.queued", "Operations waiting for a place")
  const budget = gauge("session.store.retry_budget", "Retries that are left")
  const pendingDestroys = gauge("session.store.pending_destroys", "Ends that the store has yet to confirm")

  return {
    operation: (operation, outcome, millis) => timer(operation, outcome).updateUnsafe(millis, context),
    retry: (operation) => retries({ operation }, operation),
    retryRefused: (operation) => refusals({ operation }, operation),
    circuit: (key, from, to) => {
      transitions({ circuit: key, from, to }, `${key} ${from} ${to}`)
      gauge("session.store.circuit_state", "0 closed, 1 half open, 2 open", { circuit: key })
        .updateUnsafe(circuitStates[to], context)
    },
    degraded: (policy) => degraded({ policy }, policy),
    destroy: (event) => destroys({ event }, event),
    gauges: (load) => {
      inFlight.updateUnsafe(load.inFlight, context)
      queued.updateUnsafe(load.queued, context)
      budget.updateUnsafe(load.retriesLeft, context)
      pendingDestroys.updateUnsafe(load.pendingDestroys, context)
    }
  }
}
