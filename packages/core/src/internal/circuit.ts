import * as Duration from "effect/Duration"
import type { State, Transition, TripPolicy } from "effect/persistence/CircuitBreaker"

/** What an admitted call holds until it reports back: the period of the circuit it was admitted in. */
export type Permit = number

/** Answer of `admit` for a call that must not run. */
export const refused = -1

/**
 * One circuit, in the words of effect's `CircuitBreaker`.
 *
 * Its own machine, for what that module's cannot do on this path: it runs
 * on monotonic time, admits an exact number of probes, and decides without an
 * effect, since an `execute` costs more than the whole decorator may.
 */
export class Circuit {
  readonly key: string
  /** A key of the store on which this circuit has seen a failure. */
  sample: string | undefined = undefined
  private readonly policy: TripPolicy
  private readonly probes: number
  private readonly publish: (transition: Transition) => void
  private state: "Closed" | "Open" | "HalfOpen" = "Closed"
  // Grows whenever the state changes, so that a result from an earlier one is recognized.
  private period: Permit = 0
  private streak = 0
  private readonly ring: Uint8Array
  private ringNext = 0
  private ringLength = 0
  private ringFailures = 0
  private openUntil = 0
  private lastOpenFor = 0
  private resetAt = 0
  private openings = 0
  private probing = 0
  private probesPassed = 0

  constructor(key: string, policy: TripPolicy, probes: number, publish: (transition: Transition) => void) {
    this.key = key
    this.policy = policy
    this.probes = probes
    this.publish = publish
    this.ring = new Uint8Array(policy._tag === "Rate" ? policy.size : 0)
  }

  /** Milliseconds for which a call would be refused; `0` if it may ask for admission. */
  refusedFor(now: number): number {
    if (this.state === "Closed") return 0
    if (this.state === "Open") return Math.max(0, this.openUntil - now)
    return this.probing + this.probesPassed < this.probes ? 0 : probeWait
  }

  admit(now: number): Permit | typeof refused {
    if (this.state === "Closed") {
      if (this.openings > 0 && now >= this.resetAt) this.openings = 0
      return this.period
    }
    if (this.state === "Open") {
      if (now < this.openUntil) return refused
      this.state = "HalfOpen"
      this.period++
      this.probing = this.probesPassed = 0
      this.publish({ key: this.key, from: "Open", to: "HalfOpen" })
    }
    if (this.probing + this.probesPassed >= this.probes) return refused
    this.probing++
    return this.period
  }

  /** A permit for a call that needs no probe; `undefined` unless the circuit is closed. */
  get closedPermit(): Permit | undefined {
    return this.state === "Closed" ? this.period : undefined
  }

  succeed(permit: Permit, now: number): void {
    if (permit !== this.period) return
    if (this.state === "Closed") return this.count(false)
    this.probing--
    if (++this.probesPassed < this.probes) return
    this.state = "Closed"
    this.period++
    this.resetAt = now + this.lastOpenFor
    this.forget()
    this.publish({ key: this.key, from: "HalfOpen", to: "Closed" })
  }

  /** The call said nothing about the store. */
  ignore(permit: Permit): void {
    if (permit === this.period && this.state === "HalfOpen") this.probing--
  }

  /** How often in a row the circuit will have opened if this failure opens it; `undefined` if it does not. */
  fail(permit: Permit): number | undefined {
    if (permit !== this.period) return undefined
    if (this.state === "Closed") {
      this.count(true)
      if (!this.trips()) return undefined
    }
    return this.openings + 1
  }

  /** Opens the circuit after a `fail` that said so. */
  open(permit: Permit, openFor: number, now: number): void {
    if (permit !== this.period || this.state === "Open") return
    const from = this.state
    this.state = "Open"
    this.period++
    this.openings++
    this.lastOpenFor = openFor
    this.openUntil = now + openFor
    this.forget()
    this.publish({
      key: this.key,
      from,
      to: "Open",
      retryAfter: Duration.millis(openFor),
      consecutiveOpenings: this.openings
    })
  }

  isWaiting(now: number): boolean {
    return this.state === "Open" && now < this.openUntil
  }

  /** The store was seen to answer: the next call may probe. */
  endWait(now: number): void {
    if (this.state === "Open") this.openUntil = Math.min(this.openUntil, now)
  }

  snapshot(now: number): State {
    const { key, openings: consecutiveOpenings } = this
    switch (this.state) {
      case "Closed":
        return { _tag: "Closed", key }
      case "Open":
        return { _tag: "Open", key, retryAfter: Duration.millis(this.refusedFor(now)), consecutiveOpenings }
      case "HalfOpen":
        return { _tag: "HalfOpen", key, probing: this.probing > 0, consecutiveOpenings }
    }
  }

  private count(failed: boolean): void {
    if (this.policy._tag === "Consecutive") {
      this.streak = failed ? this.streak + 1 : 0
      return
    }
    const { ring } = this
    if (this.ringLength === ring.length) this.ringFailures -= ring[this.ringNext]
    else this.ringLength++
    ring[this.ringNext] = failed ? 1 : 0
    if (failed) this.ringFailures++
    this.ringNext = this.ringNext + 1 === ring.length ? 0 : this.ringNext + 1
  }

  private trips(): boolean {
    const { policy } = this
    return policy._tag === "Consecutive"
      ? this.streak >= policy.failures
      : this.ringLength >= policy.minimumCalls && this.ringFailures / this.ringLength >= policy.threshold
  }

  private forget(): void {
    this.streak =
      this.ringNext =
      this.ringLength =
      this.ringFailures =
        0
    this.probing = this.probesPassed = 0
  }
}

// A probe is under way; nobody knows how long it takes.
const probeWait = 100
