import type * as Clock from "effect/Clock"

/**
 * Milliseconds that have passed since it was made. It never goes back, and it also counts what one of the two
 * clocks has missed: the monotonic one stands still while a machine sleeps.
 */
export class Passage {
  private readonly clock: Clock.Clock
  private monotonic: number
  private wall: number
  private passed = 0

  constructor(clock: Clock.Clock) {
    this.clock = clock
    this.monotonic = monotonicMillis(clock)
    this.wall = clock.currentTimeMillisUnsafe()
  }

  now(): number {
    const monotonic = monotonicMillis(this.clock)
    const wall = this.clock.currentTimeMillisUnsafe()
    const steps = monotonic - this.monotonic
    const jump = wall - this.wall
    // The wall clock counts whole milliseconds: less than two more is no jump.
    const step = jump > steps + 2 ? jump : steps
    if (step > 0) this.passed += step
    this.monotonic = monotonic
    this.wall = wall
    return this.passed
  }
}

const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
