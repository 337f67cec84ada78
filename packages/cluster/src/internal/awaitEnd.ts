/** Waits for the end of a session: told by the channel, confirmed by the store. */
import * as Lifetime from "@effect-session/core/Lifetime"
import type { SessionStore } from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Semaphore from "effect/Semaphore"
import type { Cause } from "../SessionEnd.ts"
import type { Watch, Watches } from "./watches.ts"

export interface Options {
  readonly store: SessionStore["Service"]
  readonly watches: Watches
  /** Milliseconds that have passed on this node. */
  readonly passed: () => number
  readonly subjectHash: (subject: string) => Effect.Effect<string>
  /** Whether the channel tells of every end. */
  readonly isTrusted: () => boolean
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
}

// Those who wait may be many, and all of them may have to look at once.
const looksAtOnce = 32

const pollInterval = 2000

export const make = (options: Options): (key: string) => Effect.Effect<Cause> => {
  const { isTrusted, passed, run, store, subjectHash, watches } = options
  const permits = Semaphore.makeUnsafe(looksAtOnce)
  let polling = false

  // Runs while anybody waits.
  const poll: Effect.Effect<void> = Effect.flatMap(Effect.sleep(pollInterval), () => {
    if (watches.size === 0) {
      polling = false
      return Effect.void
    }
    if (!isTrusted()) watches.wakeAll()
    return poll
  })

  const waiting = Effect.fnUntraced(function*(watch: Watch, bell: Latch.Latch) {
    let known: { readonly subject: string | undefined; readonly endsBy: number } | undefined
    while (true) {
      bell.closeUnsafe()
      const askedAt = passed()
      const lookup = yield* Semaphore.withPermit(permits, store.load(watch.key)).pipe(
        Effect.catch(() => Effect.undefined)
      )
      if (lookup === undefined) {
        // An outage is no logout. The absolute deadline holds all the same.
        if (known !== undefined && passed() >= known.endsBy) return "expired"
        yield* Effect.raceFirst(bell.await, Effect.sleep(pollInterval))
        continue
      }
      if (lookup._tag === "Expired") return "expired"
      if (lookup._tag !== "Live") return known === undefined || passed() < known.endsBy ? "ended" : "expired"
      const { alias, now, record } = lookup
      if (known !== undefined && known.subject !== record.subject) return "handedOver"
      known = { subject: record.subject, endsBy: askedAt + record.expiresAt - now }
      if (record.subject !== undefined && watch.subjectHash === undefined) {
        watch.subjectHash = yield* subjectHash(record.subject)
        // Its end may have been heard before anybody knew whom it concerned.
        bell.openUnsafe()
      }
      if (alias !== undefined) watches.move(watch, alias)
      yield* Effect.raceFirst(bell.await, Effect.sleep(Lifetime.remaining(record, now) + 1))
    }
  })

  return (key) =>
    Effect.suspend(() => {
      const bell = Latch.makeUnsafe(false)
      const watch: Watch = { key, subjectHash: undefined, wake: () => void bell.openUnsafe() }
      return Effect.acquireUseRelease(
        Effect.sync(() => {
          watches.add(watch)
          if (!polling) {
            polling = true
            run(poll)
          }
        }),
        () => waiting(watch, bell),
        () => Effect.sync(() => watches.remove(watch))
      )
    })
}
