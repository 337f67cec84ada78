/**
 * What a law of the conformance kit is, and what its failure says.
 *
 * A law is one promise of the `SessionStore` or `SessionQuery` contract as a
 * plain effect. It knows no test runner: it succeeds, or fails with a
 * `ConformanceError` that names the law, what it promised and what was seen.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { SessionQuery } from "../SessionQuery.ts"
import type { SessionStore, SessionStoreError } from "../SessionStore.ts"

/**
 * Error of a store that breaks a law.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class ConformanceError
  extends Schema.Error<ConformanceError>("@effect-session/core/testing/Law/ConformanceError")({
    _tag: Schema.tag("ConformanceError"),
    /** Name of the law. */
    law: Schema.String,
    /** What the contract promises. */
    expected: Schema.String,
    /** What the store did. */
    seen: Schema.String
  })
{
  override get message(): string {
    return `${this.law}\n  expected: ${this.expected}\n  seen:     ${this.seen}`
  }
}

/**
 * How laws let time pass, and stay apart.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Timing {
  /**
   * Lets the store's time pass: `TestClock.adjust` for a store that reads
   * `Clock`, a sleep on the live clock for a server that keeps its own time.
   */
  readonly elapse: (duration: Duration.Input) => Effect.Effect<void>
  /**
   * The step of time the laws count in, in milliseconds: 1,000 by default. Take
   * about 50 on a server, so that waiting stays short and a round trip is still
   * small against it.
   */
  readonly unit?: number | undefined
  /**
   * Whether the store's time moves by `elapse` alone, to the millisecond. `true`
   * by default. With `false` deadlines are checked with a margin, and a law that
   * lets time pass and fails after it was held up, by more than a quarter of `unit`
   * on the caller's clock, is tried again with a `unit` twice as long, up to five
   * times: one that was late has seen nothing.
   */
  readonly exactTime?: boolean | undefined
  /**
   * Goes into every key and subject, so that runs against one server do not
   * meet. The same namespace gives the same keys.
   */
  readonly namespace?: string | undefined
}

/**
 * How a store under test is run.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options extends Timing {
  /**
   * How far the `now` of a read may be off the store's time, in milliseconds: 0 by
   * default. A cache that has the store's time from an earlier answer can only
   * estimate it.
   */
  readonly clockTolerance?: number | undefined
  /** How often each race is run, 20 times by default. */
  readonly races?: number | undefined
  /**
   * Makes the key for a text, always the same one; by default 43 characters of
   * base64url. A store that places sessions by a part of their key wants keys with
   * that part.
   */
  readonly keyOf?: ((text: string) => string) | undefined
  /** Makes the subject for a text, always the same one, for a store that places sessions by their subject. */
  readonly subjectOf?: ((text: string) => string) | undefined
}

/**
 * One promise of the store contract, ready to run.
 *
 * **Details**
 *
 * Every law uses its own keys and subjects and ends its sessions when it is
 * done, so laws may run at once on one store. Two exceptions: an `exclusive` law
 * needs the store for itself, because it counts or clears everything, and laws
 * that share one `TestClock` would move each other's time.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Law<out R = SessionStore | SessionQuery> {
  /** Says the behaviour, fit for the name of a test. */
  readonly name: string
  /** Which promise of the contract the law checks. */
  readonly law: string
  /** Whether a `SessionStore` is enough, or a `SessionQuery` is needed too. */
  readonly requires: "store" | "query"
  /** Whether the law looks at all sessions of the store. */
  readonly exclusive: boolean
  readonly run: Effect.Effect<void, ConformanceError | SessionStoreError, R>
}
