/**
 * Tells what a write has come to that was tried again after a try whose outcome nobody knows.
 *
 * A creation and a renewal leave their record under a key that was drawn for the call. Where a later try is refused, and the
 * record that was sent is there, the earlier one has done it.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import {
  type Created,
  type NewRecord,
  type Payload,
  type Renewed,
  type Replacement,
  type SessionLimit,
  type SessionRecord,
  type SessionStore,
  SessionStoreError,
  StoreUnavailable
} from "../SessionStore.ts"
import type { StaleCopies } from "./staleCopies.ts"

const samePayload = (a: Payload, b: Payload): boolean =>
  typeof a === "string" || typeof b === "string"
    ? a === b
    : a.length === b.length && a.every((octet, i) => octet === b[i])

/** Whether a stored record is the one that was sent. */
const isOwn = (
  sent: NewRecord | Replacement,
  { format, idleTimeout, payload, subject, version }: SessionRecord
): boolean =>
  version === 1 && format === sent.format && idleTimeout === sent.idleTimeout && subject === sent.subject &&
  samePayload(payload, sent.payload)

const unsettled = new SessionStoreError({
  reason: new StoreUnavailable({
    description: "an earlier try has begun, and is not confirmed",
    applied: "unknown",
    transient: true
  })
})

/** What a later try is told, once it is known what the earlier one has left. */
export const make = <A extends Created | Renewed>(
  store: SessionStore["Service"],
  copies: StaleCopies | undefined,
  sent: NewRecord | Replacement,
  limit: SessionLimit | undefined,
  done: (record: SessionRecord) => A
) =>
(answer: A): Effect.Effect<A, SessionStoreError> => {
  if (answer._tag === "Created" || answer._tag === "Renewed") return Effect.succeed(answer)
  return Effect.flatMap(store.load(sent.key), (lookup): Effect.Effect<A, SessionStoreError> => {
    if (lookup._tag === "Live" && lookup.alias === undefined && isOwn(sent, lookup.record)) {
      // Nobody tells any more whom it has evicted.
      if (limit?.onLimit === "evict" && sent.subject !== undefined) copies?.endSubject(sent.subject, sent.key)
      return Effect.succeed(done(lookup.record))
    }
    // Who has the key, and is not there, is the earlier try, in the middle of its steps.
    return answer._tag === "KeyTaken" && lookup._tag !== "Live" ? Effect.fail(unsettled) : Effect.succeed(answer)
  })
}
