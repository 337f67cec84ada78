/** Puts the parts of a cached store together. Everything that runs ends with the scope. */
import type { Crypto } from "@effect-session/core/Crypto"
import type { SessionQuery } from "@effect-session/core/SessionQuery"
import type { SessionStore } from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Take from "effect/Take"
import type { Services, Stats } from "../ClusterStore.ts"
import type { Invalidation, Received } from "../Invalidation.ts"
import type { Ended } from "../SessionEnd.ts"
import * as awaitEnd from "./awaitEnd.ts"
import { ageBounds, CacheCounts } from "./cacheCounts.ts"
import * as cacheMetrics from "./cacheMetrics.ts"
import * as clusteredQuery from "./clusteredQuery.ts"
import * as clusteredStore from "./clusteredStore.ts"
import { Copies, type Settings as CopySettings } from "./copies.ts"
import { Watches } from "./watches.ts"

export interface Settings extends CopySettings {
  readonly name: string
  readonly onPublishFailed: "fail" | "shorten"
}

export interface Dependencies {
  readonly store: SessionStore["Service"]
  readonly query: SessionQuery["Service"] | undefined
  readonly invalidation: Invalidation["Service"]
  readonly crypto: Crypto["Service"]
}

const saltOf = (node: string): number => {
  let salt = 0x811c9dc5
  for (let i = 0; i < node.length; i++) salt = Math.imul(salt ^ node.charCodeAt(i), 0x01000193)
  return salt
}

export const make: (
  settings: Settings,
  dependencies: Dependencies
) => Effect.Effect<Services, never, Scope.Scope> = Effect.fnUntraced(
  function*(settings, { crypto, invalidation, query, store }) {
    const passed = invalidation.passedUnsafe
    const counts = new CacheCounts()
    const copies = new Copies<clusteredStore.Flight>(settings, counts, saltOf(invalidation.node))
    const ends = yield* PubSub.sliding<Take.Take<Ended>>(1024)
    yield* Effect.addFinalizer(() => PubSub.end(ends, Exit.void))
    const run = yield* FiberSet.makeRuntime<never>()
    const watches = new Watches((ended) => {
      // In a full buffer only the effect gives up the oldest for the newest. It does not wait either.
      if (!PubSub.publishUnsafe(ends, [ended])) run(PubSub.publish(ends, [ended]))
    })

    // Nodes whose newest secrets differ, while one is being replaced, know subjects by different hashes.
    const ring = (yield* crypto.handleOf("subjects of this ring")).slice(0, 8)
    const subjectHash = (subject: string): Effect.Effect<string> =>
      Effect.map(crypto.handleOf(`subject ${subject}`), (hash) => ring + hash)

    const onReceived = (received: Received): void => {
      if (received._tag === "Gap") {
        copies.flush(passed())
        watches.wakeAll()
        return
      }
      counts.invalidationsIn++
      const { message } = received
      switch (message._tag) {
        case "SessionChanged":
          return copies.forget(message.key, message.version)
        case "SessionEnded": {
          const { key, successor } = message
          copies.forget(key)
          if (successor !== undefined) {
            copies.forget(successor)
            copies.moved(key, successor)
            return watches.wake(key)
          }
          for (const next of copies.descendants(key)) {
            copies.forget(next)
            watches.wake(next)
          }
          return watches.ended(key)
        }
        case "SubjectRevoked": {
          const { subject } = message
          if (subject.startsWith(ring)) {
            copies.forgetSubject((copy) => copy.subjectHash === subject)
            return watches.endedSubject(subject)
          }
          copies.flush(passed())
          return watches.wakeAll()
        }
        case "Flush":
          copies.flush(passed())
          return watches.wakeAll()
      }
    }
    yield* invalidation.listen(onReceived)

    const parts: clusteredStore.Parts = {
      store,
      invalidation,
      copies,
      counts,
      watches,
      passed,
      subjectHash,
      run,
      onPublishFailed: settings.onPublishFailed
    }
    const clustered = clusteredStore.make(parts)
    const stats = Effect.map(invalidation.stats, (channel): Stats => ({
      size: copies.cache.size,
      bytes: copies.cache.bytes,
      trusted: invalidation.trustUnsafe() === Infinity,
      hits: counts.hits,
      misses: counts.misses,
      hitRate: counts.hits === 0 ? 0 : counts.hits / (counts.hits + counts.misses),
      bypasses: counts.bypasses,
      joined: counts.joined,
      fills: counts.fills,
      evictions: copies.cache.evicted,
      expirations: counts.expirations,
      flushes: counts.flushes,
      invalidationsIn: counts.invalidationsIn,
      invalidationsOut: counts.invalidationsOut,
      publishFailures: counts.publishFailures,
      ages: counts.ages.map((hits, i) => ({ upTo: i < ageBounds.length ? ageBounds[i] : Infinity, hits })),
      channel
    }))
    const record = cacheMetrics.make(settings.name, yield* Effect.context<never>())
    yield* Effect.map(stats, record).pipe(Effect.repeat(Schedule.spaced("5 seconds")), Effect.forkScoped)

    return {
      store: clustered,
      query: query === undefined ? undefined : clusteredQuery.make(query, parts),
      cluster: {
        node: invalidation.node,
        stats,
        fresh: clustered.fresh,
        age: (key) =>
          Effect.sync(() => {
            const copy = copies.cache.peek(key)
            return copy === undefined ? undefined : passed() - copy.askedAt
          }),
        evict: (key) =>
          Effect.sync(() => {
            const held = copies.cache.peek(key) !== undefined
            copies.forget(key)
            return held
          }),
        clear: Effect.sync(() => void copies.clear()),
        ended: Stream.fromPubSubTake(ends),
        awaitEnd: awaitEnd.make({
          store,
          watches,
          passed,
          subjectHash,
          run,
          isTrusted: () => invalidation.trustUnsafe() === Infinity
        })
      }
    } satisfies Services
  }
)
