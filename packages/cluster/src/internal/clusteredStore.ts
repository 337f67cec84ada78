/** A store with copies of what it has said in front of it. */
import * as Lifetime from "@effect-session/core/Lifetime"
import * as OutagePolicy from "@effect-session/core/OutagePolicy"
import {
  type Created,
  type LoadOptions,
  type Lookup,
  type Renewed,
  type Saved,
  type SessionRecord,
  type SessionStore,
  SessionStoreError,
  StoreUnavailable
} from "@effect-session/core/SessionStore"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { AsyncResource } from "node:async_hooks"
import type { Invalidation } from "../Invalidation.ts"
import type { Message } from "../InvalidationMessage.ts"
import type { CacheCounts } from "./cacheCounts.ts"
import type { Copies, Reading } from "./copies.ts"
import type { Copy } from "./nearCache.ts"
import type { Watches } from "./watches.ts"

type LookupEffect = Effect.Effect<Lookup, SessionStoreError>

/** A read that others may join. */
export interface Flight extends Reading {
  readonly policy: OutagePolicy.OutagePolicy | undefined
  fiber: Fiber.Fiber<Lookup, SessionStoreError> | undefined
}

export interface Parts {
  readonly store: SessionStore["Service"]
  readonly invalidation: Invalidation["Service"]
  readonly copies: Copies<Flight>
  readonly counts: CacheCounts
  readonly watches: Watches
  /** Milliseconds that have passed on this node. */
  readonly passed: () => number
  readonly subjectHash: (subject: string) => Effect.Effect<string>
  /** Runs what no request waits for, as long as the layer is open. */
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  readonly onPublishFailed: "fail" | "shorten"
}

/** Whether a read must ask the store; set for a route or a single read. */
export const Fresh: Context.Reference<boolean> = Context.Reference<boolean>(
  "@effect-session/cluster/ClusterStore/Fresh",
  {
    defaultValue: () => false
  }
)

const absent: Lookup = Object.freeze({ _tag: "Absent" })
const absentEffect = Effect.succeed(absent)

const notTold = new SessionStoreError({
  reason: new StoreUnavailable({
    description: "the store has ended the session, but the other nodes could not be told; end it again",
    retryAfter: 1000
  })
})

// Whoever gets bytes may change them; text and frozen records can be shared.
const recordOf = (record: SessionRecord): SessionRecord =>
  typeof record.payload === "string" ? record : { ...record, payload: record.payload.slice() }

const frozen = (record: SessionRecord): SessionRecord =>
  Object.freeze(typeof record.payload === "string" ? record : { ...record, payload: record.payload.slice() })

const unshared = (lookup: Lookup): Lookup =>
  lookup._tag === "Live" && typeof lookup.record.payload !== "string"
    ? { ...lookup, record: recordOf(lookup.record) }
    : lookup

/** Whether the others will use no old copies without having been told. */
export const isExcused = (
  { invalidation, onPublishFailed }: Pick<Parts, "invalidation" | "onPublishFailed">
): boolean => onPublishFailed === "shorten" && invalidation.isMissedUnsafe()

/** Publishes one message after the other; `false` if one did not get out. */
export const tell = (
  { counts, invalidation }: Pick<Parts, "counts" | "invalidation">,
  messages: ReadonlyArray<Message>
): Effect.Effect<boolean> => {
  let told = true
  return Effect.as(
    Effect.forEach(messages, (message) =>
      Effect.match(invalidation.publish(message), {
        onSuccess: () => {
          counts.invalidationsOut++
        },
        onFailure: () => {
          counts.publishFailures++
          told = false
        }
      }), { discard: true }),
    undefined
  ).pipe(Effect.map(() => told))
}

export const make = (parts: Parts): SessionStore["Service"] & { readonly fresh: (key: string) => LookupEffect } => {
  const { copies, counts, invalidation, passed, run, store, subjectHash, watches } = parts
  // Reads run apart from the request that began them, its asynchronous context included.
  const apart = new AsyncResource("effect-session/read")
  const noHash: Effect.Effect<string | undefined> = Effect.undefined
  const hashOf = (subject: string | undefined) => subject === undefined ? noHash : subjectHash(subject)

  const isCurrent = (key: string, now = passed()) => invalidation.trustUnsafe(now) > 0 && copies.isQuiet(key, now)

  // A read that has recorded activity is a touch as well.
  const told = (key: string, lookup: Lookup): Effect.Effect<Lookup> =>
    lookup._tag === "Live" && lookup.touched === true
      ? Effect.as(tell(parts, [{ _tag: "SessionChanged", key }]), lookup)
      : Effect.succeed(lookup)

  const bypass = (key: string, options: LoadOptions | undefined): LookupEffect => {
    counts.bypasses++
    copies.overtakeWrite(key)
    return Effect.flatMap(store.load(key, options), (lookup) => {
      copies.answered(key, lookup)
      return told(key, lookup)
    })
  }

  const settle = (flight: Flight, lookup: Lookup): Effect.Effect<Lookup> => {
    const { askedAt, key } = flight
    copies.answered(key, lookup, flight)
    if (lookup._tag === "Live" && lookup.served === undefined) {
      copies.learnTime(lookup.now, askedAt)
      if (lookup.alias === undefined) {
        const record = frozen(lookup.record)
        return Effect.flatMapEager(hashOf(record.subject), (hash) => {
          if (copies.end(flight) && isCurrent(key)) copies.keep(key, record, hash, lookup.now, askedAt)
          return told(key, lookup)
        })
      }
      copies.moved(key, lookup.alias)
    }
    if (lookup._tag === "Superseded") copies.moved(key, lookup.successor)
    if (copies.end(flight) && lookup._tag === "Absent" && isCurrent(key)) {
      copies.keep(key, undefined, undefined, 0, askedAt)
    }
    return Effect.succeed(lookup)
  }

  const lead = (
    key: string,
    askedAt: number,
    policy: OutagePolicy.OutagePolicy | undefined,
    options: LoadOptions | undefined
  ): LookupEffect => {
    const flight: Flight = { key, askedAt, policy, fiber: undefined }
    copies.begin(flight)
    const asked = policy === undefined
      ? store.load(key, options)
      : Effect.provideService(store.load(key, options), OutagePolicy.Current, policy)
    const read = Effect.matchEffect(asked, {
      onSuccess: (lookup) => settle(flight, lookup),
      onFailure: (error) => {
        copies.end(flight)
        return Effect.fail(error)
      }
    })
    const fiber = apart.runInAsyncScope(() => run(read))
    flight.fiber = fiber
    return Effect.map(fiber.pollUnsafe() ?? Fiber.join(fiber), unshared)
  }

  const hit = ({ askedAt, record, storeTime }: Copy, now: number): LookupEffect => {
    const age = now - askedAt
    counts.hit(age)
    if (record === undefined) return absentEffect
    return Effect.succeed<Lookup>({
      _tag: "Live",
      record: recordOf(record),
      alias: undefined,
      now: Math.floor(storeTime + age)
    })
  }

  // The store can record the activity in the step that reads.
  const isTouchDue = ({ askedAt, record, storeTime }: Copy, now: number, options: LoadOptions | undefined): boolean =>
    options?.touchAfter !== undefined && record !== undefined &&
    Lifetime.isTouchDue(record, storeTime + now - askedAt, options.touchAfter)

  const load = (
    key: string,
    options: LoadOptions | undefined,
    policy: OutagePolicy.OutagePolicy | undefined,
    again: boolean
  ): LookupEffect => {
    const now = passed()
    const trust = invalidation.trustUnsafe(now)
    if (trust <= 0 || !copies.isQuiet(key, now)) return bypass(key, options)
    const copy = copies.use(key, now, trust)
    if (copy !== undefined && !isTouchDue(copy, now, options)) return hit(copy, now)
    counts.misses++
    const flight = copies.reading(key)
    if (flight?.fiber === undefined || flight.policy !== policy) return lead(key, now, policy, options)
    counts.joined++
    const joined = Effect.map(Fiber.join(flight.fiber), unshared)
    // What has failed for another one is tried again, once and together.
    return again ? Effect.catch(joined, () => Effect.suspend(() => load(key, options, policy, false))) : joined
  }

  const fresh = (
    key: string,
    options: LoadOptions | undefined,
    policy: OutagePolicy.OutagePolicy | undefined
  ): LookupEffect => {
    const now = passed()
    if (!isCurrent(key, now)) return bypass(key, options)
    counts.bypasses++
    return lead(key, now, policy, options)
  }

  // A write, with its keys out of the cache meanwhile, and what follows from its answer.
  const writing = <A, B>(
    keys: ReadonlyArray<string>,
    subject: string | undefined,
    write: Effect.Effect<A, SessionStoreError>,
    unknown: ReadonlyArray<Message>,
    settled: (answer: A, keepable: (key: string) => boolean, askedAt: number) => Effect.Effect<B, SessionStoreError>
  ): Effect.Effect<B, SessionStoreError> =>
    Effect.uninterruptibleMask((restore) => {
      const askedAt = passed()
      for (const key of keys) copies.beginWrite(key)
      if (subject !== undefined) copies.beginSubject(subject)
      const ended = () => {
        if (subject !== undefined) copies.endSubject(subject)
        const kept = keys.filter((key) => copies.endWrite(key))
        return (key: string) => kept.includes(key)
      }
      return Effect.matchCauseEffect(restore(write), {
        onFailure: (cause) => {
          ended()
          const surelyNot = cause.reasons.every((reason) =>
            reason._tag === "Fail" && reason.error.reason.applied === "no"
          )
          if (!surelyNot) run(tell(parts, unknown))
          return Effect.failCause(cause)
        },
        onSuccess: (answer) => settled(answer, ended(), askedAt)
      })
    })

  const keepWritten = (
    key: string,
    written: SessionRecord,
    storeTime: number | undefined,
    askedAt: number,
    keepable: (key: string) => boolean
  ): Effect.Effect<void> => {
    if (storeTime === undefined || !keepable(key)) return Effect.void
    const record = frozen(written)
    const flight: Flight = { key, askedAt, policy: undefined, fiber: undefined }
    // Whatever overtakes it from here on overtakes a read.
    copies.begin(flight)
    return Effect.mapEager(hashOf(record.subject), (hash) => {
      if (copies.end(flight) && isCurrent(key)) copies.keep(key, record, hash, storeTime, askedAt)
    })
  }

  const evict = (keys: ReadonlyArray<string>): ReadonlyArray<Message> =>
    keys.map((key) => {
      copies.forget(key)
      watches.ended(key)
      return { _tag: "SessionEnded", key }
    })

  // Everything that ends with a key, as far as it is known where the session has gone.
  const descent = (key: string): Effect.Effect<ReadonlyArray<string>> => {
    const known = () => [key, ...copies.descendants(key)]
    if (copies.cache.peek(key)?.record !== undefined || copies.descendants(key).length > 0) return Effect.sync(known)
    return Effect.match(store.load(key), {
      onSuccess: (lookup) => {
        if (lookup._tag === "Live" && lookup.alias !== undefined) copies.moved(key, lookup.alias)
        if (lookup._tag === "Superseded") copies.moved(key, lookup.successor)
        return known()
      },
      onFailure: known
    })
  }

  return {
    fresh: (key) => Effect.withFiber((fiber) => fresh(key, undefined, fiber.getRef(OutagePolicy.Current))),

    load: (key, options) =>
      Effect.withFiber((fiber) => {
        const policy = fiber.getRef(OutagePolicy.Current)
        return fiber.getRef(Fresh) ? fresh(key, options, policy) : load(key, options, policy, true)
      }),

    create: (record, limit) =>
      writing(
        [record.key],
        limit === undefined ? undefined : record.subject,
        store.create(record, limit),
        [{ _tag: "SessionChanged", key: record.key }],
        (created, keepable, askedAt): Effect.Effect<Created> => {
          if (created._tag !== "Created") return Effect.succeed(created)
          const messages: ReadonlyArray<Message> = [
            { _tag: "SessionChanged", key: record.key, version: 1 },
            ...evict(created.evicted)
          ]
          return keepWritten(record.key, created.record, created.record.createdAt, askedAt, keepable).pipe(
            Effect.andThen(tell(parts, messages)),
            Effect.as(created)
          )
        }
      ),

    save: (key, expectedVersion, change) =>
      writing(
        [key],
        undefined,
        store.save(key, expectedVersion, change),
        [{ _tag: "SessionChanged", key, version: expectedVersion + 1 }],
        (saved, keepable, askedAt): Effect.Effect<Saved> => {
          if (saved._tag !== "Saved") return Effect.succeed(saved)
          const { record } = saved
          const time = change.active ? record.lastSeenAt : copies.storeTime(askedAt)
          return keepWritten(key, record, time, askedAt, keepable).pipe(
            Effect.andThen(tell(parts, [{ _tag: "SessionChanged", key, version: record.version }])),
            Effect.as(saved)
          )
        }
      ),

    touch: (key) =>
      // Of activity there is a touch now and then. What others have would call for one more on each of them.
      writing([key], undefined, store.touch(key), [{ _tag: "SessionChanged", key }], (live) =>
        live ? Effect.as(tell(parts, [{ _tag: "SessionChanged", key }]), live) : Effect.succeed(live)),

    renew: (oldKey, expectedVersion, replacement, options) =>
      writing(
        [oldKey, replacement.key],
        options?.limit === undefined ? undefined : replacement.subject,
        store.renew(oldKey, expectedVersion, replacement, options),
        [{ _tag: "SessionChanged", key: oldKey }],
        (renewed, keepable, askedAt): Effect.Effect<Renewed> => {
          if (renewed._tag !== "Renewed") return Effect.succeed(renewed)
          const { key } = replacement
          copies.moved(oldKey, key)
          watches.wake(oldKey)
          const messages: ReadonlyArray<Message> = [
            { _tag: "SessionEnded", key: oldKey, successor: key },
            ...evict(renewed.evicted)
          ]
          // What has ended the old key meanwhile has ended this session.
          const bothKeepable = (key: string) => keepable(oldKey) && keepable(key)
          return keepWritten(key, renewed.record, renewed.record.issuedAt, askedAt, bothKeepable).pipe(
            Effect.andThen(tell(parts, messages)),
            Effect.as(renewed)
          )
        }
      ),

    destroy: (key) =>
      Effect.flatMap(descent(key), (keys) =>
        writing(
          keys,
          undefined,
          store.destroy(key),
          keys.map((key) => ({ _tag: "SessionChanged", key })),
          (live) => {
            // It may have been renewed since.
            const ended = [...new Set([...keys, ...copies.descendants(key)])]
            for (const key of ended) {
              copies.forget(key)
              if (live) watches.ended(key)
              else watches.wake(key)
            }
            // Also where there was nothing left to end: an earlier call may have ended it and told nobody.
            const messages = ended.map((other): Message =>
              live || other === key ? { _tag: "SessionEnded", key: other } : { _tag: "SessionChanged", key: other }
            )
            return Effect.flatMap(
              tell(parts, messages),
              (told) => told || isExcused(parts) ? Effect.succeed(live) : Effect.fail(notTold)
            )
          }
        ))
  }
}
