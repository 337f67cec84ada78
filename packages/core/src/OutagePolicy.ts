/**
 * What a request gets while the session store does not serve.
 *
 * A policy is a value. The decorator of `Resilience` has one for its store, and a
 * route can have its own: see {@link Current}. Whatever the policy says, an outage
 * never clears a cookie, never issues a new id and never overwrites a session.
 *
 * **Example** (A page that can do without its session)
 *
 * ```ts
 * import * as OutagePolicy from "@effect-session/core/OutagePolicy"
 * import { Effect } from "effect"
 *
 * const page = Effect.map(OutagePolicy.Current, (policy) => policy?._tag)
 *
 * const startPage = Effect.provideService(page, OutagePolicy.Current, OutagePolicy.anonymous)
 * console.log(await Effect.runPromise(startPage)) // => Anonymous
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type { SessionQuery } from "./SessionQuery.ts"
import type { SessionStore } from "./SessionStore.ts"

/**
 * A policy for outages.
 *
 * **Details**
 *
 * - `Fail`: the operation fails as unavailable. Over HTTP: 503 with `Retry-After`.
 * - `StaleRead`: a load is answered from a copy that the store has confirmed
 *   within `maxAge` milliseconds. The copy is read-only; a session that is known to
 *   have ended is not served. Writes fail.
 * - `Anonymous`: the load fails with `continueAs` set to `anonymous`: the request
 *   goes on without a session, and cannot touch the one it has.
 * - `Fallback`: another store stands in.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type OutagePolicy =
  | { readonly _tag: "Fail" }
  | { readonly _tag: "StaleRead"; readonly maxAge: number }
  | { readonly _tag: "Anonymous" }
  | Fallback

/**
 * A store that stands in for another.
 *
 * **Details**
 *
 * A session lives where it began, and nothing is ever copied. During an outage
 * new sessions begin in the fallback; those of the store itself are unavailable,
 * neither read nor written. Afterwards the store is asked first, its answer
 * counts, and only a key that it does not know is asked of the fallback. So there
 * is nothing to merge, and no state of a session exists twice. A destroy needs
 * both stores to confirm.
 *
 * **Gotchas**
 *
 * A subject's sessions in the fallback do not count towards its limit in the
 * store. Give the fallback's `query` too, so that ending all sessions of a
 * subject ends these.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Fallback {
  readonly _tag: "Fallback"
  /** Name that tells who has answered. */
  readonly name: string
  readonly store: SessionStore["Service"]
  readonly query?: SessionQuery["Service"] | undefined
}

/**
 * The operation fails: the default.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const fail: OutagePolicy = { _tag: "Fail" }

/**
 * Loads are answered from copies of at most some age.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` unless `maxAge` is above zero and finite. The decorator
 * keeps copies only where its own policy is this one, or with its option `copies`.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const staleRead = (options: { readonly maxAge: Duration.Input }): OutagePolicy => {
  const maxAge = Duration.toMillis(Duration.fromInputUnsafe(options.maxAge))
  if (!(maxAge > 0 && Number.isFinite(maxAge))) {
    throw new RangeError(`OutagePolicy.staleRead: maxAge must be above zero and finite, got ${maxAge} ms`)
  }
  return { _tag: "StaleRead", maxAge }
}

/**
 * The request goes on without its session.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const anonymous: OutagePolicy = { _tag: "Anonymous" }

/**
 * Another store stands in: see {@link Fallback} for the rule.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const fallback = (
  store: SessionStore["Service"],
  options?: { readonly name?: string | undefined; readonly query?: SessionQuery["Service"] | undefined }
): OutagePolicy => ({ _tag: "Fallback", name: options?.name ?? "fallback", store, query: options?.query })

/**
 * The policy of the current route; `undefined` takes the one of its store.
 *
 * @stability unstable
 * @category references
 * @since 0.1.0
 */
export const Current: Context.Reference<OutagePolicy | undefined> = Context.Reference<OutagePolicy | undefined>(
  "@effect-session/core/OutagePolicy/Current",
  { defaultValue: () => undefined }
)
