import * as Effect from "effect/Effect"
import type { Crypto } from "../Crypto.ts"
import type { CounterName, Metrics } from "../Metrics.ts"
import type { EventBus, EventName } from "../SessionEvents.ts"

/** What is said about a session when something happened to it. */
export interface Details {
  readonly key?: string | undefined
  readonly subject?: string | undefined
  readonly reason?: string | undefined
}

/** Counts what happens and publishes it, in one place, so that no event goes uncounted. */
export interface Observer {
  /** Whether events are published; otherwise nobody learns their time. */
  readonly enabled: boolean
  readonly observe: (name: EventName, at: number, details?: Details) => Effect.Effect<void>
  readonly touched: () => void
  readonly conflict: () => void
  readonly loadTime: (millis: number) => void
  readonly storeTime: (millis: number) => void
}

const counterNames: { readonly [K in Exclude<EventName, "error">]: CounterName } = {
  created: "session.created",
  loaded: "session.loaded",
  saved: "session.saved",
  renewed: "session.regenerated",
  destroyed: "session.deleted",
  revoked: "session.revoked",
  expired: "session.expired",
  theftSuspected: "session.theft_suspected",
  rejected: "session.rejected"
}

export const make = (
  source: string,
  store: string,
  metrics: typeof Metrics.Service,
  events: EventBus,
  crypto: Crypto["Service"]
): Observer => {
  const tags = { store }
  const counters = new Map<EventName, () => void>()
  for (const [event, counter] of Object.entries(counterNames)) {
    counters.set(event as EventName, metrics.counter(counter, tags))
  }
  const errors = new Map<string, () => void>()
  const countError = (reason: string) => {
    let count = errors.get(reason)
    if (count === undefined) errors.set(reason, count = metrics.counter("session.error", { store, error: reason }))
    count()
  }

  return {
    enabled: events.enabled,
    observe: (name, at, details) => {
      if (name === "error") countError(details?.reason ?? "unknown")
      else counters.get(name)!()
      if (!events.enabled) return Effect.void
      const key = details?.key
      return Effect.map(
        key === undefined ? Effect.undefined : crypto.handleOf(key),
        (handle) => events.publish({ name, at, source, handle, subject: details?.subject, reason: details?.reason })
      )
    },
    touched: metrics.counter("session.touched", tags),
    conflict: metrics.counter("session.conflict", tags),
    loadTime: metrics.timer("session.load_time", tags),
    storeTime: metrics.timer("session.store_time", tags)
  }
}
