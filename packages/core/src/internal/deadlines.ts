import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"

/** Something that is waited for until a moment, in milliseconds of monotonic time. */
export abstract class Deadline {
  readonly at: number
  previous: Deadline | undefined = undefined
  next: Deadline | undefined = undefined
  pending = false

  constructor(at: number) {
    this.at = at
  }

  abstract onPassed(): void
}

/** A deadline that calls a function. */
export class Alarm extends Deadline {
  private readonly ring: () => void

  constructor(at: number, ring: () => void) {
    super(at)
    this.ring = ring
  }

  override onPassed(): void {
    this.ring()
  }
}

/**
 * Deadlines in the order of their moments, with one sleeping fiber for all of
 * them instead of a timer each. Nearly every deadline is later than those before it.
 */
export class Deadlines {
  private readonly clock: Clock.Clock
  private readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  private first: Deadline | undefined = undefined
  private last: Deadline | undefined = undefined
  private ticker: Fiber.Fiber<void> | undefined = undefined
  private ticking = false

  constructor(clock: Clock.Clock, fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>) {
    this.clock = clock
    this.fork = fork
  }

  now(): number {
    return Number(this.clock.monotonicTimeNanosUnsafe()) / 1_000_000
  }

  add(deadline: Deadline): void {
    let before = this.last
    while (before !== undefined && before.at > deadline.at) before = before.previous
    const after = before === undefined ? this.first : before.next
    deadline.previous = before
    deadline.next = after
    deadline.pending = true
    if (before === undefined) this.first = deadline
    else before.next = deadline
    if (after === undefined) this.last = deadline
    else after.previous = deadline
    // Who looks at them now comes to this one too.
    if (this.ticking) return
    if (before === undefined && after !== undefined) this.restart()
    else if (!this.isRunning) this.start()
  }

  remove(deadline: Deadline): void {
    if (!deadline.pending) return
    const { next, previous } = deadline
    if (previous === undefined) this.first = next
    else previous.next = next
    if (next === undefined) this.last = previous
    else next.previous = previous
    deadline.pending = false
    deadline.previous = deadline.next = undefined
  }

  /** All of them, the earliest first. */
  get all(): ReadonlyArray<Deadline> {
    const all: Array<Deadline> = []
    for (let deadline = this.first; deadline !== undefined; deadline = deadline.next) all.push(deadline)
    return all
  }

  stop(): Effect.Effect<void> {
    return this.ticker === undefined ? Effect.void : Fiber.interrupt(this.ticker)
  }

  // A fiber that has ended, also within its fork or by a defect, watches nothing.
  private get isRunning(): boolean {
    return this.ticker !== undefined && this.ticker.pollUnsafe() === undefined
  }

  private start(): void {
    this.ticker = this.fork(this.tick)
  }

  // An earlier moment than the one that is slept for: rare, since most deadlines are equally far.
  private restart(): void {
    this.ticker?.interruptUnsafe()
    this.start()
  }

  private readonly tick: Effect.Effect<void> = Effect.suspend(() => {
    const now = this.now()
    this.ticking = true
    try {
      while (this.first !== undefined && this.first.at <= now) {
        const passed = this.first
        this.remove(passed)
        passed.onPassed()
      }
    } finally {
      this.ticking = false
    }
    if (this.first === undefined) return Effect.void
    return Effect.flatMap(Effect.sleep(Duration.millis(Math.ceil(this.first.at - now))), () => this.tick)
  })
}

/** Deadlines whose fiber ends with the scope. */
export const make: (clock: Clock.Clock) => Effect.Effect<Deadlines, never, Scope.Scope> = Effect.fnUntraced(
  function*(clock: Clock.Clock) {
    const fork = Effect.runForkWith(yield* Effect.context<never>())
    const deadlines = new Deadlines(clock, fork)
    yield* Effect.addFinalizer(() => deadlines.stop())
    return deadlines
  }
)
