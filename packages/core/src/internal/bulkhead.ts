import * as Effect from "effect/Effect"
import { Alarm, type Deadlines } from "./deadlines.ts"

/**
 * Bounds how many calls are under way at a time, and how many wait for that, in
 * order. Who is neither, or waits too long, is turned away.
 */
export class Bulkhead {
  private readonly maxInFlight: number
  private readonly maxQueued: number
  private readonly deadlines: Deadlines
  private readonly queue = new Set<(entered: boolean) => void>()
  inFlight = 0

  constructor(maxInFlight: number, maxQueued: number, deadlines: Deadlines) {
    this.maxInFlight = maxInFlight
    this.maxQueued = maxQueued
    this.deadlines = deadlines
  }

  /** Takes a place at once, if there is one and nobody waits for it. */
  tryEnter(): boolean {
    if (this.inFlight >= this.maxInFlight) return false
    this.inFlight++
    return true
  }

  /** Waits for a place until a moment of monotonic time, and says whether it got one. */
  enter(until: number): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      if (this.tryEnter()) return Effect.succeed(true)
      if (this.queue.size >= this.maxQueued) return Effect.succeed(false)
      return Effect.callback<boolean>((resume) => {
        const leave = () => {
          this.deadlines.remove(deadline)
          this.queue.delete(answer)
        }
        const answer = (entered: boolean) => {
          leave()
          resume(Effect.succeed(entered))
        }
        const deadline = new Alarm(until, () => answer(false))
        this.queue.add(answer)
        this.deadlines.add(deadline)
        return Effect.sync(leave)
      })
    })
  }

  /** Gives a place back: to the one who waits longest, if anybody does. */
  leave(): void {
    for (const answer of this.queue) return answer(true)
    this.inFlight--
  }

  /** Turns away all who wait. */
  close(): void {
    for (const answer of this.queue) answer(false)
  }

  get queued(): number {
    return this.queue.size
  }
}
