/** What looks across sessions: asked of the store, with everybody told what has ended. */
import type { Progress, SessionEntry, SessionQuery } from "@effect-session/core/SessionQuery"
import { SessionStoreError, StoreUnavailable } from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Message } from "../InvalidationMessage.ts"
import { isExcused, type Parts, tell } from "./clusteredStore.ts"

// Above it one flush says the same with less.
const maxMessages = 32

const notTold = new SessionStoreError({
  reason: new StoreUnavailable({
    description: "the store has ended the sessions, but the other nodes could not be told; end them again",
    retryAfter: 1000
  })
})

export const make = (query: SessionQuery["Service"], parts: Parts): SessionQuery["Service"] => {
  const { copies, run, subjectHash, watches } = parts

  const told = <A>(value: A, messages: ReadonlyArray<Message>): Effect.Effect<A, SessionStoreError> =>
    Effect.flatMap(
      tell(parts, messages),
      (told) => told || isExcused(parts) ? Effect.succeed(value) : Effect.fail(notTold)
    )

  const flushed = (): ReadonlyArray<Message> => {
    watches.wakeAll()
    return [{ _tag: "Flush" }]
  }

  const keysEnded = (keys: ReadonlyArray<string>): ReadonlyArray<Message> => {
    if (keys.length > maxMessages) return flushed()
    return keys.map((key) => {
      watches.ended(key)
      return { _tag: "SessionEnded", key }
    })
  }

  // While sessions end nobody knows which, so this node has no copies; the others are told slice by slice.
  const ending = (
    progress: Stream.Stream<Progress, SessionStoreError>,
    messages: (progress: Progress) => ReadonlyArray<Message>,
    rest: () => ReadonlyArray<Message>
  ): Stream.Stream<Progress, SessionStoreError> =>
    Stream.unwrap(
      Effect.as(
        Effect.acquireRelease(
          Effect.sync(() => copies.beginAll()),
          () =>
            Effect.sync(() => {
              copies.endAll()
              const left = rest()
              if (left.length > 0) run(tell(parts, left))
            })
        ),
        Stream.mapEffect(progress, (step) => told(step, messages(step)))
      )
    )

  return {
    ...query,

    destroyBySubject: (subject, options) =>
      Effect.flatMap(subjectHash(subject), (hash) => {
        const messages: ReadonlyArray<Message> = [{ _tag: "SubjectRevoked", subject: hash }]
        return Effect.uninterruptibleMask((restore) => {
          copies.beginSubject(subject)
          const ended = () => {
            copies.endSubject(subject)
            copies.forgetSubject((copy) => copy.record?.subject === subject)
          }
          return Effect.matchCauseEffect(restore(query.destroyBySubject(subject, options)), {
            onFailure: (cause) => {
              ended()
              run(tell(parts, messages))
              return Effect.failCause(cause)
            },
            onSuccess: (keys) => {
              ended()
              for (const key of keys) copies.forget(key)
              watches.endedSubject(hash)
              for (const key of keys) watches.ended(key)
              return told(keys, messages)
            }
          })
        })
      }),

    destroyWhere: (predicate) =>
      Stream.suspend(() => {
        let chosen: Array<string> = []
        const take = (): ReadonlyArray<Message> => {
          const keys = chosen
          chosen = []
          return keysEnded(keys)
        }
        const choose = (entry: SessionEntry): boolean => {
          const end = predicate(entry)
          if (end) chosen.push(entry.key)
          return end
        }
        return ending(query.destroyWhere(choose), take, take)
      }),

    clear: Stream.suspend(() => {
      let removed = 0
      return ending(
        query.clear,
        (progress) => {
          if (progress.removed === removed) return []
          removed = progress.removed
          return flushed()
        },
        flushed
      )
    })
  }
}
