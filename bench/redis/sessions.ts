/**
 * The sessions of the benchmark, and the store of this library that keeps them.
 */
import { SessionQuery, SessionStore, SessionToken } from "@effect-session/core"
import { RedisClient, RedisStore } from "@effect-session/redis"
import { Context, Effect, Layer, Redacted, Scope } from "effect"
import { dataOf } from "../http/data.ts"

/** Milliseconds that a session may live. */
export const lifetime = 86_400_000

/** What the session number `index` holds, about 220 octets. */
export const payloadOf = (index: number): string => JSON.stringify(dataOf(index))

/** Whose the session number `index` is. */
export const subjectOf = (index: number): string => dataOf(index).userId

/** Its key: the bucket of its subject, and 43 characters as those of a hash. */
export const keyOf = (index: number): string =>
  SessionToken.bucketOfSubject(subjectOf(index)) +
  `key-${String(index).padStart(10, "0")}-`.padEnd(43, "Zk3vQ9xL2mN8pR5tW7yB4cF6hJ1dG0s")

export const newRecord = (index: number, subject: string | undefined) => ({
  key: keyOf(index),
  idleTimeout: lifetime,
  lifetime,
  subject,
  format: 1,
  payload: payloadOf(index)
})

export const change = (index: number) => ({
  format: 1,
  payload: payloadOf(index),
  idleTimeout: lifetime,
  lifetime: undefined,
  active: true
})

/** Opens a store, for the life of the process. */
export const open = (port: number, options?: RedisStore.Options) =>
  Effect.runPromise(Effect.map(
    Layer.buildWithScope(
      RedisStore.layerStore(options).pipe(
        Layer.provideMerge(RedisClient.layer({
          url: Redacted.make(`redis://127.0.0.1:${port}`),
          commandTimeout: "10 seconds"
        }))
      ),
      Scope.makeUnsafe()
    ),
    (context) => ({
      client: Context.get(context, RedisClient.RedisClient),
      store: Context.get(context, SessionStore.SessionStore),
      query: Context.get(context, SessionQuery.SessionQuery)
    })
  ))
