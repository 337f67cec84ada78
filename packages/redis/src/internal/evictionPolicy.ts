/** Looks at start whether the server would throw sessions away when its memory is full. */
import type { SessionStoreError } from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import type { RedisClient, Reply, Server } from "../RedisClient.ts"
import { refused } from "./storeFault.ts"

const fromInfo = (reply: Reply): string | undefined => /^maxmemory_policy:(\S+)/m.exec(String(reply))?.[1]

const fromConfig = (reply: Reply): string | undefined => Array.isArray(reply) ? String(reply[1]) : undefined

// A user may be allowed the one or the other.
const policyOf = (server: Server): Effect.Effect<string | undefined> =>
  Effect.map(server.send("INFO", "memory"), fromInfo).pipe(
    Effect.catch(() => Effect.map(server.send("CONFIG", "GET", "maxmemory-policy"), fromConfig)),
    Effect.catch(() => Effect.undefined)
  )

export const check: (
  client: RedisClient["Service"],
  refuse: boolean
) => Effect.Effect<void, SessionStoreError> = Effect.fnUntraced(function*(client, refuse) {
  const servers = yield* Effect.catch(client.masters, () => Effect.succeed<ReadonlyArray<Server>>([]))
  const policies = yield* Effect.forEach(servers, policyOf)
  if (policies.length === 0 || policies.includes(undefined)) {
    yield* Effect.logInfo(
      "Redis session store: the eviction policy of the server could not be read; neither INFO nor CONFIG GET was possible"
    )
  }
  const evicting = policies.find((policy) => policy !== undefined && policy !== "noeviction")
  if (evicting === undefined) return
  const what = `the server evicts keys under "${evicting}" when its memory is full: sessions, and what revoked them, ` +
    "can vanish; set maxmemory-policy to noeviction"
  if (refuse && evicting.startsWith("allkeys")) return yield* refused(what)
  yield* Effect.logWarning(`Redis session store: ${what}`)
})
