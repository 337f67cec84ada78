/** Ages up to which hits are counted together, in milliseconds. */
export const ageBounds = [10, 100, 1000, 5000, 10_000, 30_000] as const

/** What a near cache has counted. */
export class CacheCounts {
  hits = 0
  misses = 0
  bypasses = 0
  joined = 0
  fills = 0
  expirations = 0
  flushes = 0
  invalidationsIn = 0
  invalidationsOut = 0
  publishFailures = 0
  /** Hits by the age of the copy: one number for each bound, and one for what is older. */
  readonly ages: Array<number> = [...ageBounds.map(() => 0), 0]

  hit(age: number): void {
    this.hits++
    let i = 0
    while (i < ageBounds.length && age > ageBounds[i]) i++
    this.ages[i]++
  }
}
