/**
 * The time rules of a session, in one place.
 *
 * A session ends at the earlier of two deadlines: the idle deadline, which
 * activity moves, and the absolute deadline, which only a full authentication
 * or an explicit override moves (OWASP ASVS 7.3.1 and 7.3.2, NIST SP 800-63B
 * 5.2). It is live strictly before its deadline and ended at it. Every store
 * and every cache asks this module, so that the rule is the same everywhere.
 *
 * All instants are UTC milliseconds, all durations milliseconds.
 *
 * @stability unstable
 * @since 0.1.0
 */

/**
 * The times of a session that decide whether it is live.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Times {
  /** Last activity, in UTC milliseconds. */
  readonly lastSeenAt: number
  /** Longest allowed inactivity, in milliseconds. */
  readonly idleTimeout: number
  /** Absolute deadline, in UTC milliseconds. */
  readonly expiresAt: number
}

/**
 * Returns the instant at which the session ends if nothing happens.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const deadline = (times: Times): number => Math.min(times.lastSeenAt + times.idleTimeout, times.expiresAt)

/**
 * Tells whether a session is live at `now`: strictly before its deadline.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isLive = (times: Times, now: number): boolean =>
  now < times.expiresAt && now < times.lastSeenAt + times.idleTimeout

/**
 * Returns the milliseconds left until the deadline, never below zero.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const remaining = (times: Times, now: number): number => Math.max(0, deadline(times) - now)

/**
 * Tells whether activity at `now` is worth a touch: at least `interval`
 * milliseconds after the last recorded activity. An idle session therefore ends
 * at most one interval early, never late.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isTouchDue = (times: Times, now: number, interval: number): boolean => now - times.lastSeenAt >= interval

/**
 * Tells whether an id issued at `issuedAt` is due for a timed renewal (OWASP
 * Session Management Cheat Sheet, "Renewal Timeout").
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isRenewalDue = (issuedAt: number, now: number, interval: number): boolean => now - issuedAt >= interval
