import * as Effect from "effect/Effect"
import { ShardedMap } from "./shardedMap.ts"

// What runs out in the same minute is removed together.
const bucketLength = 60_000

// A slice takes a fraction of a millisecond: then whatever else waits gets its turn.
const stepsPerSlice = 2048

/**
 * Names with the instant at which each is forgotten, in UTC milliseconds.
 *
 * Names lie in buckets by that instant, so that a sweep looks at what has run out and at nothing else.
 *
 * @internal
 */
export class DeadlineMap {
  private readonly deadlines = new ShardedMap<number>()
  private readonly buckets = new Map<number, Set<string>>()
  /** No bucket below this one has names. */
  private lowest = Infinity

  /** Names held, those included that have run out since the last sweep. */
  get size(): number {
    return this.deadlines.size
  }

  /** The instant at which a name is forgotten, if that is to come. */
  get(name: string, now: number): number | undefined {
    const deadline = this.deadlines.get(name)
    return deadline !== undefined && now < deadline ? deadline : undefined
  }

  set(name: string, deadline: number): void {
    const before = this.deadlines.get(name)
    if (before !== undefined) this.buckets.get(bucketOf(before))?.delete(name)
    this.deadlines.set(name, deadline)
    const number = bucketOf(deadline)
    this.lowest = Math.min(this.lowest, number)
    const bucket = this.buckets.get(number)
    if (bucket === undefined) this.buckets.set(number, new Set([name]))
    else bucket.add(name)
  }

  /** Whether there is no room, after a slice of what has run out was removed. */
  isFull(capacity: number, now: number): boolean {
    if (this.size < capacity) return false
    this.removeSlice(now)
    return this.size >= capacity
  }

  /** Removes some names, of those whose bucket was begun first. */
  removeOldest(count: number): void {
    for (const [number, names] of this.buckets) {
      for (const name of names) {
        if (count-- <= 0) return
        names.delete(name)
        this.deadlines.delete(name)
      }
      this.buckets.delete(number)
    }
  }

  /** Removes what has run out before the current minute, in slices. */
  sweep(now: number): Effect.Effect<void> {
    return Effect.suspend(() => this.removeSlice(now) ? Effect.andThen(Effect.yieldNow, this.sweep(now)) : Effect.void)
  }

  // Whether there is more to remove.
  private removeSlice(now: number): boolean {
    const end = bucketOf(now)
    for (let steps = 0; this.lowest < end && this.buckets.size > 0; steps++) {
      const names = this.buckets.get(this.lowest)
      for (const name of names ?? []) {
        if (steps++ >= stepsPerSlice) return true
        names?.delete(name)
        this.deadlines.delete(name)
      }
      this.buckets.delete(this.lowest++)
      if (steps >= stepsPerSlice) return true
    }
    if (this.buckets.size === 0) this.lowest = Infinity
    return false
  }
}

const bucketOf = (deadline: number): number => Math.floor(deadline / bucketLength)
