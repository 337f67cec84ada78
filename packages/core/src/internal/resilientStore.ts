import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as OutagePolicy from "../OutagePolicy.ts"
import type { Revocations } from "../Revocations.ts"
import type { SessionEntry, SessionQuery } from "../SessionQuery.ts"
import {
  type Created,
  type Lookup,
  type Renewed,
  type Saved,
  type SessionRecord,
  SessionStore,
  type SessionStoreError
} from "../SessionStore.ts"
import * as StoreFault from "../StoreFault.ts"
import type { Flights, Guard } from "./guard.ts"
import type { PendingDestroys } from "./pendingDestroys.ts"
import { type StaleCopies, staleVersion } from "./staleCopies.ts"
import { amend } from "./unavailable.ts"
import * as Verified from "./verified.ts"

type AnyFiber = Fiber.Fiber<unknown, unknown>

const absent: Lookup = Object.freeze({ _tag: "Absent" })
const gone = Object.freeze({ _tag: "Gone" } as const)
const noKeys: ReadonlyArray<string> = []

/** What the store is decorated with. */
export interface Parts {
  readonly guard: Guard
  readonly pending: PendingDestroys | undefined
  readonly copies: StaleCopies | undefined
  readonly policy: OutagePolicy.OutagePolicy
  readonly revocations: Revocations["Service"] | undefined
}

/** The fallbacks in which something may live. */
export type Fallbacks = Set<OutagePolicy.Fallback>

/** Ends a session that may live in the store or in a fallback: all of them have to confirm. */
export const endEverywhere = (
  own: Effect.Effect<boolean, SessionStoreError>,
  key: string,
  fallbacks: Fallbacks
): Effect.Effect<boolean, SessionStoreError> =>
  Effect.flatMap(own, (live) =>
    Effect.as(
      Effect.suspend(() => Effect.forEach(fallbacks, ({ store }) => store.destroy(key), { discard: true })),
      live
    ))

export const make = (
  store: SessionStore["Service"],
  parts: Parts,
  fallbacks: Fallbacks
): SessionStore["Service"] => {
  const { copies, guard, pending, policy: ownPolicy, revocations } = parts
  const flights: Flights<Lookup> = new Map()
  const policyOf = (fiber: AnyFiber) => fiber.getRef(OutagePolicy.Current) ?? ownPolicy

  const isServable = (key: string, { authenticatedAt, issuedAt, subject }: SessionRecord): Effect.Effect<boolean> =>
    revocations === undefined
      ? Effect.succeed(true)
      : Effect.match(revocations.isRevoked({ key, subject, authenticatedAt, issuedAt }), {
        onSuccess: (revoked) => !revoked,
        // A list that cannot be asked revokes everybody, as far as copies go.
        onFailure: () => false
      })

  const loadStale = (key: string, maxAge: number, error: SessionStoreError) => {
    const copy = copies?.read(key, guard.deadlines.now(), maxAge)
    if (copy === undefined) return Effect.fail(error)
    return Effect.flatMap(isServable(key, copy.record), (servable) => {
      if (!servable) return Effect.fail(error)
      guard.metrics.degraded("StaleRead")
      return Effect.succeed<Lookup>(copy)
    })
  }

  const fromFallback = (lookup: Lookup, name: string): Lookup =>
    lookup._tag === "Live" ? { ...lookup, served: { _tag: "Fallback", name } } : lookup

  const onLoadFailed = (fiber: AnyFiber, key: string, error: SessionStoreError) => {
    if (!StoreFault.isOutage(error)) return Effect.fail(error)
    const policy = policyOf(fiber)
    switch (policy._tag) {
      case "Fail":
        return Effect.fail(error)
      case "StaleRead":
        return loadStale(key, policy.maxAge, error)
      case "Anonymous":
        guard.metrics.degraded("Anonymous")
        return Effect.fail(amend(error, { continueAs: "anonymous" }))
      case "Fallback":
        return Effect.matchEffect(policy.store.load(key), {
          // What the fallback does not know may live in the store.
          onSuccess: (lookup) => {
            if (lookup._tag === "Absent") return Effect.fail(error)
            guard.metrics.degraded("Fallback")
            return Effect.succeed(fromFallback(lookup, policy.name))
          },
          onFailure: () => Effect.fail(error)
        })
    }
  }

  // Asks the fallbacks that hold something for what the store does not know.
  const elsewhere = <A>(
    answer: A,
    ask: (fallback: OutagePolicy.Fallback) => Effect.Effect<A | undefined, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> => {
    const rest = [...fallbacks]
    const next = (): Effect.Effect<A, SessionStoreError> => {
      const fallback = rest.shift()
      return fallback === undefined
        ? Effect.succeed(answer)
        : Effect.flatMap(ask(fallback), (found) => found === undefined ? next() : Effect.succeed(found))
    }
    return next()
  }

  const onLoaded = (key: string, lookup: Lookup, call: number): Effect.Effect<Lookup, SessionStoreError> => {
    // Somebody has ended it while it was being read, or it is read through an id that was renewed away.
    if (pending?.has(key) === true) return Effect.succeed(absent)
    if (lookup._tag === "Live" && lookup.alias !== undefined && pending?.has(lookup.alias) === true) {
      return Effect.succeed(absent)
    }
    if (copies !== undefined) {
      if (lookup._tag !== "Live") copies.end(key)
      else if (lookup.alias === undefined && lookup.served === undefined) {
        copies.confirm(key, lookup.record, lookup.now, guard.deadlines.now(), call)
      }
    }
    return lookup._tag === "Absent" && fallbacks.size > 0
      ? elsewhere(lookup, (fallback) =>
        Effect.map(
          fallback.store.load(key),
          (found) => found._tag === "Absent" ? undefined : fromFallback(found, fallback.name)
        ))
      : Effect.succeed(lookup)
  }

  // What a write of the store itself has confirmed: its time is the activity it stamped, or a little later.
  const confirm = (key: string, record: SessionRecord, call: number) => {
    copies?.confirm(key, record, Math.max(record.lastSeenAt, record.issuedAt), guard.deadlines.now(), call)
  }
  const endCopies = (keys: ReadonlyArray<string>) => {
    if (copies !== undefined) { for (const key of keys) copies.end(key) }
  }

  /** Lets the fallback of the route answer in an outage, if the policy says so. */
  const orFallback = <A>(
    fiber: AnyFiber,
    write: Effect.Effect<A, SessionStoreError>,
    instead: (fallback: OutagePolicy.Fallback, error: SessionStoreError) => Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> =>
    Effect.catchEager(write, (error) => {
      if (!StoreFault.isOutage(error)) return Effect.fail(error)
      const policy = policyOf(fiber)
      return policy._tag === "Fallback" ? instead(policy, error) : Effect.fail(error)
    })

  const readOnly = (operation: StoreFault.Operation) => guard.reject(operation, "readOnly", 1000)

  const destroy = (fiber: AnyFiber, key: string) =>
    Effect.flatMap(
      guard.run(fiber, "destroy", key, () => store.destroy(key)),
      (live) => {
        pending?.confirmed(key)
        return elsewhere(live, (fallback) => Effect.map(fallback.store.destroy(key), (there) => there || undefined))
      }
    )

  return SessionStore.of({
    load: (key, options) =>
      Effect.withFiber((fiber) => {
        if (pending?.has(key) === true) return Effect.succeed(absent)
        const call = copies === undefined ? 0 : copies.begin()
        const answer = guard.run(fiber, "load", key, guard.loading(key, store, options), undefined, flights)
        const plain = copies === undefined && fallbacks.size === 0 && (pending === undefined || pending.size === 0)
        if (plain && Exit.isExit(answer) && Exit.isSuccess(answer)) return answer
        return Effect.matchEffect(answer, {
          onSuccess: (lookup) => onLoaded(key, lookup, call),
          onFailure: (error) => onLoadFailed(fiber, key, error)
        })
      }),

    create: (record, limit) =>
      Effect.withFiber((fiber) => {
        const call = copies === undefined ? 0 : copies.begin()
        const verify = Verified.make<Created>(
          store,
          copies,
          record,
          limit,
          (record) => ({ _tag: "Created", record, evicted: noKeys })
        )
        return orFallback(
          fiber,
          Effect.map(
            guard.run(fiber, "create", record.key, () => store.create(record, limit), verify),
            (created) => {
              if (created._tag === "Created") {
                confirm(record.key, created.record, call)
                endCopies(created.evicted)
              }
              return created
            }
          ),
          (fallback) => {
            fallbacks.add(fallback)
            guard.metrics.degraded("Fallback")
            return fallback.store.create(record, limit)
          }
        )
      }),

    save: (key, expectedVersion, change) =>
      Effect.withFiber((fiber) => {
        if (expectedVersion === staleVersion) return readOnly("save")
        if (pending?.has(key) === true) return Effect.succeed<Saved>(gone)
        const call = copies === undefined ? 0 : copies.begin()
        const there = (fallback: OutagePolicy.Fallback) => fallback.store.save(key, expectedVersion, change)
        return orFallback(
          fiber,
          Effect.flatMap(
            guard.run(fiber, "save", key, () => store.save(key, expectedVersion, change)),
            (saved) => {
              if (saved._tag === "Saved") confirm(key, saved.record, call)
              if (saved._tag !== "Gone") return Effect.succeed(saved)
              copies?.end(key)
              return elsewhere<Saved>(saved, (fallback) =>
                Effect.map(there(fallback), (saved) => saved._tag === "Gone" ? undefined : saved))
            }
          ),
          (fallback, error) =>
            Effect.flatMap(there(fallback), (saved) =>
              saved._tag === "Gone" ? Effect.fail(error) : Effect.succeed(saved))
        )
      }),

    touch: (key) =>
      Effect.withFiber((fiber) => {
        if (pending?.has(key) === true) return Effect.succeed(false)
        return Effect.catchEager(
          Effect.flatMap(
            guard.run(fiber, "touch", key, () => store.touch(key)),
            (live) =>
              live
                ? Effect.succeed(live)
                : elsewhere(live, (fallback) => Effect.map(fallback.store.touch(key), (there) => there || undefined))
          ),
          (error) => {
            if (!StoreFault.isOutage(error)) return Effect.fail(error)
            const policy = policyOf(fiber)
            // Who may read from a copy need not fail because its activity cannot be recorded.
            if (policy._tag === "StaleRead") return Effect.succeed(false)
            return policy._tag === "Fallback"
              ? Effect.flatMap(policy.store.touch(key), (live) => live ? Effect.succeed(live) : Effect.fail(error))
              : Effect.fail(error)
          }
        )
      }),

    renew: (oldKey, expectedVersion, replacement, options) =>
      Effect.withFiber((fiber) => {
        if (expectedVersion === staleVersion) return readOnly("renew")
        if (pending?.has(oldKey) === true) return Effect.succeed<Renewed>(gone)
        const call = copies === undefined ? 0 : copies.begin()
        const there = (fallback: OutagePolicy.Fallback) =>
          fallback.store.renew(oldKey, expectedVersion, replacement, options)
        const verify = Verified.make<Renewed>(
          store,
          copies,
          replacement,
          options?.limit,
          (record) => ({ _tag: "Renewed", record, evicted: noKeys })
        )
        // Whatever becomes of it, the old key may be over.
        const over = Effect.sync(() => copies?.end(oldKey))
        return orFallback(
          fiber,
          Effect.flatMap(
            Effect.ensuring(
              guard.run(
                fiber,
                "renew",
                oldKey,
                () => store.renew(oldKey, expectedVersion, replacement, options),
                verify
              ),
              over
            ),
            (renewed) => {
              if (renewed._tag === "Renewed") {
                confirm(replacement.key, renewed.record, call)
                endCopies(renewed.evicted)
              }
              return renewed._tag === "Gone"
                ? elsewhere<Renewed>(renewed, (fallback) =>
                  Effect.map(there(fallback), (renewed) => renewed._tag === "Gone" ? undefined : renewed))
                : Effect.succeed(renewed)
            }
          ),
          (fallback, error) =>
            Effect.flatMap(there(fallback), (renewed) =>
              renewed._tag === "Gone" ? Effect.fail(error) : Effect.succeed(renewed))
        )
      }),

    destroy: (key) =>
      Effect.withFiber((fiber) => {
        copies?.end(key)
        const over = Effect.sync(() => copies?.end(key))
        return Effect.catch(Effect.ensuring(destroy(fiber, key), over), (error) => {
          if (!StoreFault.isOutage(error)) return Effect.fail(error)
          const policy = policyOf(fiber)
          // A fallback that is away too must not keep the end from being written down.
          const there = policy._tag === "Fallback"
            ? Effect.catch(policy.store.destroy(key), () => Effect.succeed(false))
            : Effect.succeed(false)
          return Effect.flatMap(there, (live) => {
            // It lived in the fallback: keys are drawn once, so the store has never known it.
            if (live) return Effect.succeed(true)
            return pending === undefined
              ? Effect.fail(error)
              : Effect.flatMap(pending.add(key), (queued) => Effect.fail(queued ? amend(error, { queued }) : error))
          })
        })
      })
  })
}

/**
 * The same for the operations that look across sessions. Streams and counts take
 * as long as the store is large: they have no deadline.
 */
export const makeQuery = (
  query: SessionQuery["Service"],
  { copies, guard, pending }: Parts,
  fallbacks: Fallbacks
): SessionQuery["Service"] => {
  const everywhere = <A>(
    own: ReadonlyArray<A>,
    ask: (query: SessionQuery["Service"]) => Effect.Effect<ReadonlyArray<A>, SessionStoreError>
  ): Effect.Effect<ReadonlyArray<A>, SessionStoreError> => {
    const queries = [...fallbacks].flatMap(({ query }) => query === undefined ? [] : [query])
    return queries.length === 0
      ? Effect.succeed(own)
      : Effect.map(Effect.forEach(queries, ask), (others) => [...own, ...others.flat()])
  }
  // Nobody knows which sessions end, so no copy outlives it.
  const endingCopies = <A, E>(stream: Stream.Stream<A, E>): Stream.Stream<A, E> => {
    if (copies === undefined) return stream
    const end = Effect.sync(() => copies.endAll())
    return Stream.suspend(() => {
      copies.endAll()
      return Stream.ensuring(stream, end)
    })
  }
  const isOver = ({ key }: SessionEntry): boolean => pending?.has(key) === true

  return {
    ...query,
    bySubject: (subject) =>
      Effect.withFiber((fiber) =>
        Effect.flatMap(
          guard.run(fiber, "bySubject", undefined, () => query.bySubject(subject)),
          (own) =>
            Effect.map(
              everywhere(own, (query) => query.bySubject(subject)),
              (entries) => entries.filter((entry) => !isOver(entry))
            )
        )
      ),
    destroyBySubject: (subject, options) =>
      Effect.withFiber((fiber) => {
        const end = Effect.sync(() => copies?.endSubject(subject, options?.except))
        return end.pipe(
          Effect.andThen(Effect.suspend(() =>
            guard.run(fiber, "destroyBySubject", undefined, () => query.destroyBySubject(subject, options))
          )),
          Effect.ensuring(end),
          Effect.flatMap((own) =>
            everywhere(own, (query) => query.destroyBySubject(subject, options))
          )
        )
      }),
    scan: Stream.filter(query.scan, (entry) => !isOver(entry)),
    destroyWhere: (predicate) => endingCopies(query.destroyWhere(predicate)),
    clear: endingCopies(query.clear)
  }
}
