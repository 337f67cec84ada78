/**
 * Keeps session records under opaque keys, with the atomic steps that the laws
 * of the library need.
 *
 * `SessionStore` is the service a backend implements: six methods and no
 * policy. It never sees user data types, cookies or raw session ids: a key is
 * the keyed hash of an id. The store owns time. It stamps records with its own
 * clock, so that the nodes of an application cannot disagree about a lifetime,
 * and it checks the lifetime of a record on every access, whatever its own
 * expiry mechanism says.
 *
 * What can happen to a record is a value; the error channel is for a backend
 * that failed. A layer that counts failures, such as a circuit breaker, can
 * count every error of this service that is `infrastructure`.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/**
 * What a store keeps for the layers above, untouched: text while it is plain,
 * bytes once it is sealed or compressed.
 *
 * A store must return the same kind it was given, and must copy bytes on the
 * way in and on the way out.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Payload = string | Uint8Array

/**
 * The record of one session.
 *
 * **Details**
 *
 * Instants are UTC milliseconds of the store's clock, durations milliseconds.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionRecord {
  /** Starts at 1 and grows by one with every save. A touch leaves it alone. */
  readonly version: number
  /** When the session began. Renewals keep it. */
  readonly createdAt: number
  /** When the current id was issued. */
  readonly issuedAt: number
  /** When the subject last proved who it is; `undefined` for an anonymous session. */
  readonly authenticatedAt: number | undefined
  /** Last recorded activity. */
  readonly lastSeenAt: number
  /** Longest allowed inactivity, in milliseconds. */
  readonly idleTimeout: number
  /** Absolute deadline: no activity moves it. */
  readonly expiresAt: number
  /** Who is signed in; `undefined` for an anonymous session. */
  readonly subject: string | undefined
  /** How the payload is written. Stores keep it and do not interpret it. */
  readonly format: number
  /** The session's data, opaque to stores. */
  readonly payload: Payload
}

/**
 * Result of `load`.
 *
 * **Details**
 *
 * - `Live`: the record, and `now`, the store's time of the read. `alias` is the
 *   key of the successor when the loaded key was renewed away and is still in
 *   its grace window: such a record may be read and destroyed, not written.
 * - `Absent`: nothing is known of this key.
 * - `Expired`: the record was past a deadline. The store drops it; a later load
 *   may say `Absent`.
 * - `Superseded`: the key was renewed away with a grace window, and the window is
 *   over. Whoever still uses it did not get the renewal: report it as a theft.
 *
 * `served` is missing where the store itself has answered. `touched` says that
 * the load has recorded activity, and that the record shows it.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Lookup =
  | {
    readonly _tag: "Live"
    readonly record: SessionRecord
    readonly alias: string | undefined
    readonly now: number
    readonly served?: Served | undefined
    readonly touched?: boolean | undefined
  }
  | { readonly _tag: "Absent" }
  | { readonly _tag: "Expired" }
  | { readonly _tag: "Superseded"; readonly successor: string }

/**
 * What a load may do besides reading.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface LoadOptions {
  /**
   * Milliseconds after the last recorded activity from which a store may record
   * activity, as `touch` does, in the step that reads. It need not: one that pays
   * a round trip for each step saves one where it does.
   */
  readonly touchAfter?: number | undefined
}

/**
 * Who has answered a load in the place of the store.
 *
 * **Details**
 *
 * - `Stale`: a copy that the store confirmed `age` milliseconds ago. Its record
 *   has version -1, which no store has: it can be read, and never saved back.
 * - `Fallback`: another store, by its name.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Served =
  | { readonly _tag: "Stale"; readonly age: number }
  | { readonly _tag: "Fallback"; readonly name: string }

/**
 * A limit on the live sessions of one subject, enforced in the atomic step that
 * adds a session: `evict` ends the oldest ones, `refuse` adds none.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface SessionLimit {
  /** Number of live sessions a subject may have, at least 1. */
  readonly max: number
  readonly onLimit: "evict" | "refuse"
}

/**
 * A record to insert. The store stamps every instant with its own clock.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface NewRecord {
  readonly key: string
  readonly idleTimeout: number
  /** Time from now until the absolute deadline, in milliseconds. */
  readonly lifetime: number
  /** Who is signed in. With a subject, `authenticatedAt` is now. */
  readonly subject: string | undefined
  readonly format: number
  readonly payload: Payload
}

/**
 * Result of `create`. `evicted` holds the keys that a limit ended.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Created =
  | { readonly _tag: "Created"; readonly record: SessionRecord; readonly evicted: ReadonlyArray<string> }
  | { readonly _tag: "KeyTaken" }
  | { readonly _tag: "LimitReached" }

/**
 * What a save writes.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface RecordChange {
  readonly format: number
  readonly payload: Payload
  readonly idleTimeout: number
  /** Moves the absolute deadline to now plus this, in milliseconds; `undefined` keeps the deadline. */
  readonly lifetime: number | undefined
  /** Whether the save counts as activity and moves `lastSeenAt` to now. */
  readonly active: boolean
}

/**
 * Result of `save`.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Saved =
  | { readonly _tag: "Saved"; readonly record: SessionRecord }
  | { readonly _tag: "Conflict" }
  | { readonly _tag: "Gone" }

/**
 * The record that replaces another one under a new key. `createdAt` is kept,
 * `version` starts at 1.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Replacement {
  readonly key: string
  readonly format: number
  readonly payload: Payload
  readonly subject: string | undefined
  readonly idleTimeout: number
  /** Moves the absolute deadline to now plus this, in milliseconds; `undefined` keeps the deadline. */
  readonly lifetime: number | undefined
  /** Whether the subject has just proved who it is: stamps `authenticatedAt`. */
  readonly authenticated: boolean
}

/**
 * Result of `renew`.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Renewed =
  | { readonly _tag: "Renewed"; readonly record: SessionRecord; readonly evicted: ReadonlyArray<string> }
  | { readonly _tag: "Conflict" }
  | { readonly _tag: "Gone" }
  | { readonly _tag: "KeyTaken" }
  | { readonly _tag: "LimitReached" }

/**
 * Service that keeps session records.
 *
 * **Details**
 *
 * Every method is one atomic step: two calls on one key, from any number of
 * fibers, processes or machines, behave as if one came after the other.
 *
 * **Gotchas**
 *
 * Methods fail only when the backend failed. An operation that failed may or may
 * not have taken effect, as `applied` of its error says. Calling it again harms
 * nothing, but a save or a renewal may then meet its own effect.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class SessionStore extends Context.Service<SessionStore, {
  /**
   * Reads one record. Checks its lifetime on the stored times and writes
   * nothing but the removal of an expired record, and the activity that the
   * options allow to record.
   */
  readonly load: (key: string, options?: LoadOptions) => Effect.Effect<Lookup, SessionStoreError>

  /**
   * Inserts a record, and with a subject its index entry, in one step. Never
   * replaces: a key that is live, or was renewed away and is remembered, is
   * `KeyTaken`. The limit counts live sessions only, and the new one.
   */
  readonly create: (record: NewRecord, limit?: SessionLimit) => Effect.Effect<Created, SessionStoreError>

  /**
   * Replaces the payload if the record is live and has the expected version.
   * Never creates: a record that is absent, expired or renewed away is `Gone`,
   * another version is a `Conflict`.
   */
  readonly save: (
    key: string,
    expectedVersion: number,
    change: RecordChange
  ) => Effect.Effect<Saved, SessionStoreError>

  /**
   * Moves `lastSeenAt` to now and says whether there was a live record to move.
   * Never creates, never moves the absolute deadline or the version, never
   * moves `lastSeenAt` back. An alias is not touched.
   */
  readonly touch: (key: string) => Effect.Effect<boolean, SessionStoreError>

  /**
   * Moves a session to a new key in one step: at no instant are both keys live
   * for writing, or none. The old key must be live with the expected version.
   * With `grace` milliseconds above zero the old key stays a read-only alias for
   * that long and is `Superseded` afterwards, for as long as the session can
   * live; without, it is gone at once, and so are the earlier keys of the session:
   * none of them reads what follows. Of more than 16 such keys of one session a
   * store may forget the oldest. With a subject, the index changes in the same
   * step and the limit counts the session once.
   */
  readonly renew: (
    oldKey: string,
    expectedVersion: number,
    replacement: Replacement,
    options?: { readonly grace?: number | undefined; readonly limit?: SessionLimit | undefined }
  ) => Effect.Effect<Renewed, SessionStoreError>

  /**
   * Ends a session and forgets its key; through a renewed-away key, ends the
   * successor. Idempotent. Succeeds only when the store has confirmed it, and
   * says whether a live session ended.
   */
  readonly destroy: (key: string) => Effect.Effect<boolean, SessionStoreError>
}>()("@effect-session/core/SessionStore") {}

/**
 * Error reason for a backend that could not be reached, did not answer in time
 * or refused to serve.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class StoreUnavailable
  extends Schema.Error<StoreUnavailable>("@effect-session/core/SessionStore/StoreUnavailable")({
    _tag: Schema.tag("StoreUnavailable"),
    /** What failed, without keys or payloads. */
    description: Schema.String,
    /** When a retry may help, in milliseconds. */
    retryAfter: Schema.optional(Schema.Finite),
    /**
     * Whether the operation took effect: surely not, or nobody knows. `unknown`
     * when missing.
     */
    applied: Schema.optional(Schema.Literals(["no", "unknown"])),
    /** Whether the same call may succeed soon without anybody's help. `true` when missing. */
    transient: Schema.optional(Schema.Boolean),
    /** Whether it speaks of the health of the store or of the way to it. `true` when missing. */
    infrastructure: Schema.optional(Schema.Boolean),
    /** What stood before the store and refused, or gave up waiting; missing where the store itself failed. */
    problem: Schema.optional(Schema.Literals(["timeout", "circuitOpen", "overloaded", "closing", "readOnly"])),
    /** The request may go on without touching its session, as the policy of its route says. */
    continueAs: Schema.optional(Schema.Literals(["anonymous"])),
    /** The end of the session was written down, and is retried until the store confirms it. */
    queued: Schema.optional(Schema.Boolean),
    cause: Schema.optional(Schema.Defect())
  })
{
  override get message(): string {
    return `The session store is unavailable: ${this.description}`
  }
}

/**
 * Union of the reasons carried by `SessionStoreError`.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export type SessionStoreErrorReason = StoreUnavailable

/**
 * Error of a session store, wrapping a concrete failure `reason`.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class SessionStoreError
  extends Schema.Error<SessionStoreError>("@effect-session/core/SessionStore/SessionStoreError")({
    _tag: Schema.tag("SessionStoreError"),
    reason: StoreUnavailable
  })
{
  override get message(): string {
    return this.reason.message
  }

  override get cause(): unknown {
    return this.reason.cause
  }
}
