/**
 * Says what a failure of a session store means: whether to try again, whether it
 * counts against the store, and whether the operation may have taken effect.
 *
 * Only an error of the error channel is a fault. That a session is absent,
 * expired, gone, in conflict or at its limit is an answer: it is never retried
 * and never counted. Neither is a defect, such as a predicate that throws, nor
 * an interruption.
 *
 * **Details**
 *
 * What a retry after a fault would do, when the operation surely did not happen,
 * and when nobody knows:
 *
 * | operation          | did not happen | unknown | why                                                              |
 * | ------------------ | -------------- | ------- | ---------------------------------------------------------------- |
 * | `load`             | retry          | retry   | reads                                                            |
 * | `touch`            | retry          | retry   | never moves activity back, never creates                         |
 * | `destroy`          | retry          | retry   | what has ended stays ended                                       |
 * | `create`           | retry          | verify  | insert-only, under a key drawn for this call: it can be compared |
 * | `renew`            | retry          | verify  | happens once, and leaves its record under a key drawn for it     |
 * | `save`             | retry          | give up | its own effect would look like a conflict, and run updates twice |
 * | `bySubject`        | retry          | retry   | reads                                                            |
 * | `destroyBySubject` | retry          | give up | would end sessions that began meanwhile                          |
 *
 * `verify` means to try again, and to read the record if the answer is a refusal,
 * such as a key that is taken or a session that is gone: when it is the one that
 * was sent, an earlier try has left it. An operation that gives up fails with
 * `applied` set to `unknown`.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { SessionStoreError } from "./SessionStore.ts"

/**
 * Operations of `SessionStore` and `SessionQuery` that are guarded.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Operation =
  | "load"
  | "create"
  | "save"
  | "touch"
  | "renew"
  | "destroy"
  | "bySubject"
  | "destroyBySubject"

/**
 * What to do after an attempt whose outcome nobody knows.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type AfterUnknown = "retry" | "verify" | "giveUp"

/**
 * The table: what to do after an attempt of an operation whose outcome is unknown.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export const table: { readonly [O in Operation]: AfterUnknown } = {
  load: "retry",
  touch: "retry",
  destroy: "retry",
  create: "verify",
  save: "giveUp",
  renew: "verify",
  bySubject: "retry",
  destroyBySubject: "giveUp"
}

/**
 * Whether the operation may have taken effect although it failed.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const mayHaveApplied = (error: SessionStoreError): boolean => error.reason.applied !== "no"

/**
 * Whether the error speaks of the health of the store: what a circuit breaker
 * counts.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const counts = (error: SessionStoreError): boolean => error.reason.infrastructure !== false

/**
 * Whether an operation may be tried again after an error.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isRetryable = (operation: Operation, error: SessionStoreError): boolean =>
  error.reason.transient !== false && (!mayHaveApplied(error) || table[operation] !== "giveUp")

/**
 * Whether a policy for outages may stand in: the store is down, too slow or
 * refuses to serve. A mistake of the program or its configuration is not an
 * outage, and neither is a shutdown.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isOutage = ({ reason }: SessionStoreError): boolean =>
  reason.problem === undefined
    ? reason.infrastructure !== false || reason.transient !== false
    : reason.problem === "timeout" || reason.problem === "circuitOpen" || reason.problem === "overloaded"
