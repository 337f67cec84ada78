import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type { SessionStoreError } from "../SessionStore.ts"
import type { Deadlines } from "./deadlines.ts"
import type { GuardMetrics } from "./guardMetrics.ts"

/** Bounds of the ends that wait for the store. */
export interface PendingOptions {
  readonly capacity: number
  readonly interval: number
  readonly maxAge: number
}

const concurrency = 16

/**
 * Sessions that have been ended, which the store has not confirmed yet. They are
 * over for this process at once, and are ended in the store as soon as it serves.
 */
export class PendingDestroys {
  private readonly options: PendingOptions
  private readonly deadlines: Deadlines
  private readonly metrics: GuardMetrics
  private readonly destroyNow: (key: string) => Effect.Effect<boolean, SessionStoreError>
  private readonly destroy: (key: string) => Effect.Effect<boolean, SessionStoreError>
  private readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  private readonly since = new Map<string, number>()
  private worker: Fiber.Fiber<void> | undefined = undefined

  constructor(
    options: PendingOptions,
    deadlines: Deadlines,
    metrics: GuardMetrics,
    destroyNow: (key: string) => Effect.Effect<boolean, SessionStoreError>,
    destroy: (key: string) => Effect.Effect<boolean, SessionStoreError>,
    fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  ) {
    this.options = options
    this.deadlines = deadlines
    this.metrics = metrics
    this.destroyNow = destroyNow
    this.destroy = destroy
    this.fork = fork
  }

  get size(): number {
    return this.since.size
  }

  has(key: string): boolean {
    return this.since.size > 0 && this.since.has(key)
  }

  /** Writes an end down, unless there are too many. */
  add(key: string): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      if (!this.since.has(key)) {
        if (this.since.size >= this.options.capacity) {
          this.metrics.destroy("refused")
          return Effect.as(
            Effect.logError("A session was not ended: the store is unavailable, and too many wait"),
            false
          )
        }
        this.since.set(key, this.deadlines.now())
        this.metrics.destroy("queued")
      }
      if (this.worker === undefined) this.worker = this.fork(this.work)
      return Effect.as(
        Effect.logError("A session is not ended in the store yet: it is unavailable, and is asked again"),
        true
      )
    })
  }

  /** The store has confirmed it after all. */
  confirmed(key: string): void {
    if (this.since.delete(key)) this.metrics.destroy("confirmed")
  }

  private readonly round = (destroy: (key: string) => Effect.Effect<boolean, SessionStoreError>): Effect.Effect<void> =>
    Effect.forEach(
      [...this.since],
      ([key, since]) =>
        Effect.matchCauseEffect(destroy(key), {
          onSuccess: () => Effect.sync(() => this.confirmed(key)),
          onFailure: () => {
            if (this.deadlines.now() - since < this.options.maxAge || !this.since.delete(key)) return Effect.void
            this.metrics.destroy("abandoned")
            return Effect.logError("A session was never ended in the store: it has been unavailable for too long")
          }
        }),
      { concurrency, discard: true }
    )

  // Full jitter around the interval, so that the nodes of an application do not come back together.
  private readonly work: Effect.Effect<void> = Effect.suspend(() =>
    Effect.flatMap(
      Random.next,
      (random) => Effect.sleep(Duration.millis(this.options.interval * (0.5 + random)))
    )
  ).pipe(
    Effect.andThen(Effect.suspend(() => this.round(this.destroy))),
    Effect.andThen(Effect.suspend(() => {
      if (this.since.size > 0) return this.work
      this.worker = undefined
      return Effect.void
    }))
  )

  /** Tries once more, for as long as that may take, and says what is lost with this process. */
  close(limit: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const stop = this.worker === undefined ? Effect.void : Fiber.interrupt(this.worker)
      if (this.since.size === 0) return stop
      return stop.pipe(
        Effect.andThen(Effect.timeoutOption(Effect.interruptible(this.round(this.destroyNow)), Duration.millis(limit))),
        Effect.andThen(Effect.suspend(() =>
          this.since.size === 0
            ? Effect.void
            : Effect.logError(
              `Ends of sessions that the store has not confirmed before the shutdown: ${this.since.size}`
            )
        ))
      )
    })
  }
}
