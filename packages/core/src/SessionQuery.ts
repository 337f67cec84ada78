/**
 * Looks across sessions: by subject, by predicate, all of them.
 *
 * A backend that can enumerate its records provides this service beside
 * `SessionStore`. A cookie backend cannot, and does not: asking it for all
 * sessions does not compile.
 *
 * Results hold live records of the store's own namespace only. A failure is a
 * failure: no result is ever silently shortened.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { SessionRecord, SessionStoreError } from "./SessionStore.ts"

/**
 * A record with the key it is stored under.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionEntry {
  readonly key: string
  readonly record: SessionRecord
}

/**
 * Running totals of a long operation.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  /** Records looked at so far. */
  readonly scanned: number
  /** Records removed so far. */
  readonly removed: number
}

/**
 * Service that looks across the sessions of a store.
 *
 * **Details**
 *
 * `scan`, `destroyWhere`, `clear` and `purgeExpired` are streams: they hold a
 * bounded number of records at a time, can be interrupted between two elements,
 * and see a session that lives through the whole scan exactly once. The streams
 * of `Progress` end with the totals, also when there was nothing to do.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class SessionQuery extends Context.Service<SessionQuery, {
  /** The live sessions of a subject, oldest sign-in first, from the index. */
  readonly bySubject: (subject: string) => Effect.Effect<ReadonlyArray<SessionEntry>, SessionStoreError>

  /**
   * Ends the sessions of a subject, all but `except`, in one atomic step, and
   * returns the keys that ended. A session added afterwards is not affected.
   */
  readonly destroyBySubject: (
    subject: string,
    options?: { readonly except?: string | undefined }
  ) => Effect.Effect<ReadonlyArray<string>, SessionStoreError>

  /** Every live session. */
  readonly scan: Stream.Stream<SessionEntry, SessionStoreError>

  /** Number of live sessions. */
  readonly count: Effect.Effect<number, SessionStoreError>

  /**
   * Ends the live sessions for which the predicate holds. A predicate that
   * throws ends the stream with that defect.
   */
  readonly destroyWhere: (
    predicate: (entry: SessionEntry) => boolean
  ) => Stream.Stream<Progress, SessionStoreError>

  /** Removes every record of the store's own namespace, and nothing else. */
  readonly clear: Stream.Stream<Progress, SessionStoreError>

  /** Removes what is past its deadline. Stores also do this by themselves. */
  readonly purgeExpired: Stream.Stream<Progress, SessionStoreError>
}>()("@effect-session/core/SessionQuery") {}
