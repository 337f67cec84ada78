/**
 * The sessions of the benchmark, and the store of this library that keeps them.
 */
import { SessionQuery, SessionStore } from "@effect-session/core"
import { RedisClient, RedisStore } from "@effect-session/redis"
import { Context, Effect, Layer, Redacted, Scope } from "effect"

export * from "../stores/records.ts"

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
