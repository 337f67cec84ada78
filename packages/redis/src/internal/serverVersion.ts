/** Looks at start whether the server has what the scripts need: without it they refuse to run, and nothing works. */
import type { SessionStoreError } from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import type { RedisClient, Reply, Server } from "../RedisClient.ts"
import { unreadable } from "./storeFault.ts"

// Scripts know the version since Redis 7, and Valkey keeps the name. To ask needs no right but that to run scripts.
const question = "return redis.REDIS_VERSION_NUM or 0"

const versionOf = (server: Server): Effect.Effect<Reply | undefined> =>
  Effect.catch(server.send("EVAL", question, "0"), () => Effect.undefined)

/** Fails on a server that is too old. One that does not answer now is asked by every script later. */
export const check: (client: RedisClient["Service"]) => Effect.Effect<void, SessionStoreError> = Effect.fnUntraced(
  function*(client) {
    const servers = yield* Effect.catch(client.masters, () => Effect.succeed<ReadonlyArray<Server>>([]))
    const versions = yield* Effect.forEach(servers, versionOf, { concurrency: "unbounded" })
    if (versions.includes(0)) return yield* unreadable("old")
  }
)
