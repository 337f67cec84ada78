/**
 * Decides what a request does to the store when it ends. Free of I/O: what was
 * loaded and what the request asked for go in, the steps to carry out come out.
 *
 * The rules, in order:
 *
 * 1. An ended session is destroyed. What was written after the end goes into a
 *    new session; nothing goes back into the old one.
 * 2. Without a live session, data or a sign-in create one. Anything else leaves
 *    no trace: reading, touching or renewing nothing stores nothing.
 * 3. A session read through a renewed-away id is read-only, and so is a copy that
 *    was served in an outage.
 * 4. A sign-in, a step-up, an explicit or a due timed renewal replaces the id, and
 *    carries the data with it in one step.
 * 5. Changed data is saved against the version that was read; unchanged data is
 *    not written.
 * 6. Otherwise activity is recorded, at most once per touch interval.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Lifetime from "./Lifetime.ts"
import type { Settings } from "./SessionConfig.ts"
import type { LifetimeOverride } from "./SessionData.ts"
import type {
  NewRecord,
  Payload,
  RecordChange,
  Replacement,
  Served,
  SessionLimit,
  SessionRecord
} from "./SessionStore.ts"

/**
 * A stored session as this request knows it.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Current {
  readonly token: string
  readonly key: string
  readonly record: SessionRecord
  /** Key of the successor, when the token was renewed away and is in its grace window. */
  readonly alias: string | undefined
  /** Who has answered in the place of the store; missing where it was the store. */
  readonly served?: Served | undefined
}

/**
 * One step for a backend to carry out. A backend draws tokens and keys itself.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Step =
  | {
    readonly _tag: "Create"
    readonly record: Omit<NewRecord, "key">
    readonly limit: SessionLimit | undefined
  }
  | { readonly _tag: "Save"; readonly current: Current; readonly change: RecordChange }
  | { readonly _tag: "Touch"; readonly current: Current }
  | {
    readonly _tag: "Renew"
    readonly current: Current
    readonly replacement: Omit<Replacement, "key">
    /** Milliseconds the old id may still read. */
    readonly grace: number
    readonly limit: SessionLimit | undefined
  }
  | {
    readonly _tag: "Destroy"
    readonly key: string
    /** When the session would have ended anyway, in UTC milliseconds, where that is known. */
    readonly until: number | undefined
    /** Whether it is known that nobody was signed in to it. */
    readonly anonymous?: boolean | undefined
  }

/**
 * What the request asked of the session's identity.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Identity {
  /** Replace the id. */
  readonly renew: boolean
  /** Who signed in during this request. */
  readonly subject: string | undefined
  /** Whether somebody proved who they are: restarts the absolute deadline. */
  readonly authenticated: boolean
}

/**
 * Everything the decision depends on.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Situation {
  /** The live session, if one was loaded. */
  readonly current: Current | undefined
  /** The key of a session that could not be read, and can be ended all the same. */
  readonly unread?: string | undefined
  /** Whether the request ended the session. */
  readonly ended: boolean
  readonly identity: Identity
  /** The data as it should be stored: the loaded payload itself when nothing was changed. */
  readonly payload: Payload
  /** The data of a session in which nothing was ever written; needed where one might begin. */
  readonly initialPayload: string | undefined
  readonly format: number
  readonly override: LifetimeOverride | undefined
  /** Whether the request changed the lifetime of this session. */
  readonly lifetimeChanged: boolean
  /** Whether the request asked for its activity to be recorded. */
  readonly touch: boolean
  /** Whether the request counts as activity, and may renew by age. */
  readonly active: boolean
  readonly mayRenewByAge: boolean
  /** Whether the id has to be replaced whatever its age: the client is another one. */
  readonly renewalDue?: boolean | undefined
  /** The store's time, in UTC milliseconds. */
  readonly now: number
  readonly settings: Settings
}

/**
 * The decision: steps in order, or a refusal because the session is read-only.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Plan =
  | { readonly _tag: "Steps"; readonly steps: ReadonlyArray<Step> }
  | { readonly _tag: "ReadOnly" }

const nothing: Plan = { _tag: "Steps", steps: [] }

const create = (situation: Situation): Step => {
  const { identity, override, settings } = situation
  return {
    _tag: "Create",
    record: {
      idleTimeout: override?.idleTimeout ?? settings.idleTimeout,
      lifetime: override?.lifetime ?? settings.lifetime,
      subject: identity.subject,
      format: situation.format,
      payload: situation.payload
    },
    limit: identity.subject === undefined ? undefined : settings.limit
  }
}

/**
 * The step that ends the session of a key, whatever is known of it.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const destroy = (key: string, record: SessionRecord | undefined): Step => ({
  _tag: "Destroy",
  key,
  until: record?.expiresAt,
  anonymous: record !== undefined && record.subject === undefined
})

const isWorthStoring = (situation: Situation): boolean =>
  situation.identity.subject !== undefined || situation.payload !== situation.initialPayload

const renewal = (situation: Situation, current: Current, grace: number): Step => {
  const { identity, override, settings } = situation
  const subject = identity.subject ?? current.record.subject
  const lifetime = override?.lifetime ?? settings.lifetime
  return {
    _tag: "Renew",
    current,
    replacement: {
      format: situation.format,
      payload: situation.payload,
      subject,
      idleTimeout: override?.idleTimeout ?? settings.idleTimeout,
      lifetime: identity.authenticated || situation.lifetimeChanged ? lifetime : undefined,
      authenticated: identity.authenticated
    },
    grace,
    limit: subject === undefined ? undefined : settings.limit
  }
}

const isOld = ({ active, now, settings: { renewalInterval } }: Situation, { issuedAt }: SessionRecord): boolean =>
  active && renewalInterval !== undefined && Lifetime.isRenewalDue(issuedAt, now, renewalInterval)

/**
 * Tells whether a session can be read and ended, and nothing else.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isReadOnly = ({ alias, served }: Current): boolean => alias !== undefined || served?._tag === "Stale"

/**
 * Makes the decision.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (situation: Situation): Plan => {
  const { current, identity, override, settings } = situation
  if (situation.ended) {
    const steps: Array<Step> = []
    const key = current?.key ?? situation.unread
    if (key !== undefined) steps.push(destroy(key, current?.record))
    if (isWorthStoring(situation)) steps.push(create(situation))
    return { _tag: "Steps", steps }
  }
  if (current === undefined) {
    return isWorthStoring(situation) ? { _tag: "Steps", steps: [create(situation)] } : nothing
  }

  const record = current.record
  const dirty = situation.payload !== record.payload || situation.lifetimeChanged
  if (isReadOnly(current)) return dirty || identity.renew ? { _tag: "ReadOnly" } : nothing

  // The id of a privilege change dies at once: a grace window would let the old one share in it.
  if (identity.renew) return { _tag: "Steps", steps: [renewal(situation, current, 0)] }
  if (situation.mayRenewByAge && (situation.renewalDue === true || isOld(situation, record))) {
    return { _tag: "Steps", steps: [renewal(situation, current, settings.renewalGrace)] }
  }
  const counts = situation.active && settings.sliding
  if (dirty) {
    return {
      _tag: "Steps",
      steps: [{
        _tag: "Save",
        current,
        change: {
          format: situation.format,
          payload: situation.payload,
          idleTimeout: override?.idleTimeout ?? settings.idleTimeout,
          lifetime: situation.lifetimeChanged ? override?.lifetime ?? settings.lifetime : undefined,
          active: counts || situation.touch
        }
      }]
    }
  }
  if (situation.touch || (counts && Lifetime.isTouchDue(record, situation.now, settings.touchInterval))) {
    return { _tag: "Steps", steps: [{ _tag: "Touch", current }] }
  }
  return nothing
}
