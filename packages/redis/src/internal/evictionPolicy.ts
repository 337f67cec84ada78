/** Looks at start whether the server would throw away what it must keep when its memory is full. */
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

/** Who asks, and what evictions mean to it. */
export interface Owner {
  readonly name: string
  readonly loss: string
  /** Whether it does not start under an evicting policy. */
  readonly refuses: (policy: string) => boolean
}

export const check: (
  client: RedisClient["Service"],
  owner: Owner
) => Effect.Effect<void, SessionStoreError> = Effect.fnUntraced(function*(client, { loss, name, refuses }) {
  const servers = yield* Effect.catch(client.masters, () => Effect.succeed<ReadonlyArray<Server>>([]))
  const policies = yield* Effect.forEach(servers, policyOf)
  if (policies.length === 0 || policies.includes(undefined)) {
    yield* Effect.logInfo(
      `${name}: the eviction policy of the server could not be read; neither INFO nor CONFIG GET was possible`
    )
  }
  const evictions = policies.flatMap((policy) => policy === undefined || policy === "noeviction" ? [] : [policy])
  const evicting = evictions.find(refuses) ?? evictions[0]
  if (evicting === undefined) return
  const what = `the server evicts keys under "${evicting}" when its memory is full: ${loss}; ` +
    "set maxmemory-policy to noeviction"
  if (refuses(evicting)) return yield* refused(what)
  yield* Effect.logWarning(`${name}: ${what}`)
})
