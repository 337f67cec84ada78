import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type { SessionStore } from "../SessionStore.ts"
import type { Circuit } from "./circuit.ts"
import type { Deadlines } from "./deadlines.ts"

/**
 * Looks after a store whose circuits are open, so that no request has to find
 * out that it is back: one read now and then, until it answers.
 */
export class Recovery {
  private readonly store: SessionStore["Service"]
  private readonly circuits: () => Iterable<Circuit>
  private readonly deadlines: Deadlines
  private readonly interval: number
  private readonly deadline: number
  private readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  private worker: Fiber.Fiber<void> | undefined = undefined
  private closed = false

  constructor(
    store: SessionStore["Service"],
    circuits: () => Iterable<Circuit>,
    deadlines: Deadlines,
    interval: number,
    deadline: number,
    fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  ) {
    this.store = store
    this.circuits = circuits
    this.deadlines = deadlines
    this.interval = interval
    this.deadline = deadline
    this.fork = fork
  }

  /** A circuit has opened. */
  watch(): void {
    if (this.worker === undefined && !this.closed && Number.isFinite(this.interval)) this.worker = this.fork(this.work)
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.closed = true
    this.worker?.interruptUnsafe()
    return Effect.void
  })

  private waiting(): ReadonlyArray<Circuit> {
    const now = this.deadlines.now()
    return [...this.circuits()].filter((circuit) => circuit.isWaiting(now))
  }

  // A circuit that has seen no key takes that of another one.
  private check(circuit: Circuit, others: ReadonlyArray<Circuit>): Effect.Effect<void> {
    const key = circuit.sample ?? others.find(({ sample }) => sample !== undefined)?.sample
    return key === undefined ? Effect.void : this.store.load(key).pipe(
      Effect.timeoutOption(Duration.millis(this.deadline)),
      Effect.matchCause({
        onSuccess: (answer) => {
          if (answer._tag === "Some") circuit.endWait(this.deadlines.now())
        },
        onFailure: () => {}
      })
    )
  }

  private readonly work: Effect.Effect<void> = Effect.suspend(() =>
    Effect.flatMap(
      Random.next,
      (random) => Effect.sleep(Duration.millis(this.interval * (0.5 + random / 2)))
    )
  ).pipe(
    Effect.andThen(Effect.suspend(() => {
      const waiting = this.waiting()
      return Effect.forEach(waiting, (circuit) => this.check(circuit, waiting), { concurrency: 16, discard: true })
    })),
    Effect.andThen(Effect.suspend(() => {
      if (this.waiting().length > 0) return this.work
      this.worker = undefined
      return Effect.void
    }))
  )
}
