/**
 * Keeps retries to a share of the traffic, counted over the last few hundred
 * calls: at most `ratio` of them, and `reserve` where there are too few to tell.
 */
export class RetryBudget {
  private readonly ratio: number
  private readonly reserve: number
  private calls = 0
  private retries = 0

  constructor(ratio: number, reserve: number) {
    this.ratio = ratio
    this.reserve = reserve
  }

  /** Counts a call. Half of the past is forgotten from time to time, so that a calm day buys no storm. */
  call(): void {
    if (++this.calls >= span) {
      this.calls /= 2
      this.retries /= 2
    }
  }

  /** Whether one more retry is within the budget; then it is spent. */
  take(): boolean {
    if (this.left < 1) return false
    this.retries++
    return true
  }

  /** Retries that are left. */
  get left(): number {
    return Math.max(0, Math.floor(Math.max(this.reserve, this.ratio * this.calls) - this.retries))
  }
}

const span = 400
