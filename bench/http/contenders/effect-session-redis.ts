/**
 * This library with its Redis store and the production preset, which seals what it stores.
 */
import { RedisClient, RedisStore } from "@effect-session/redis"
import { Layer, Redacted } from "effect"
import { listenOn } from "../userSession.ts"

/** Starts the server and returns its port. */
export const listen = (redis: number): Promise<number> =>
  listenOn(
    RedisStore.layer().pipe(
      Layer.provide(
        RedisClient.layer({ url: Redacted.make(`redis://127.0.0.1:${redis}`), commandTimeout: "10 seconds" })
      )
    )
  )
