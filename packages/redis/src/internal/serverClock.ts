/**
 * The server's time as this process can know it without asking: its own monotonic clock, and the server's times that
 * replies have carried.
 */
import type * as Clock from "effect/Clock"

/** After this long without a reply that carried the time, it is asked for. */
const trusted = 10_000

/** What the clocks and their reading may be off, in milliseconds. */
const slack = 2

export class ServerClock {
  private readonly clock: Clock.Clock
  private offset = Number.NaN
  private heardAt = Number.NEGATIVE_INFINITY

  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  /** Milliseconds of the monotonic clock. */
  mark(): number {
    return Number(this.clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** Whether the estimate is missing, or so old that the clocks may have drifted apart. */
  isStale(): boolean {
    return this.mark() - this.heardAt > trusted
  }

  /** Takes note of a time that the server has said between `sentAt` and now. */
  learn(time: number, sentAt: number): void {
    const now = this.mark()
    const offset = time - now
    // The reply left the server after it read its clock: the true offset is at least this one, and at most the time of
    // the whole trip larger. An estimate outside of that is of a clock that was set, or of another server.
    const possible = this.offset >= offset && this.offset <= offset + (now - sentAt) + slack
    if (!possible) this.offset = offset
    this.heardAt = now
  }

  /** Never ahead of the server, never behind what it has said. */
  now(): number {
    return Math.floor(this.mark() + this.offset)
  }
}
