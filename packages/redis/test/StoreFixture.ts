import { SessionQuery, SessionStore, SessionToken } from "@effect-session/core"
import { RedisClient, RedisStore } from "@effect-session/redis"
import { Context, Effect, Layer, Logger, type Redacted } from "effect"
import * as RedisServer from "./RedisServer.ts"

export * from "../../core/test/Records.ts"

export class Server extends Context.Service<Server, RedisServer.RedisServer>()("test/Server") {}

export const layerServer = Layer.effect(Server, RedisServer.make())

/** A client of a server, with keys of its own. */
export const layerClient = (url: Redacted.Redacted<string>, prefix: string) =>
  RedisClient.layer({ url, prefix, commandTimeout: "5 seconds" })

/** A store on the server of the test, with its client. */
export const layerStore = (prefix: string, options?: RedisStore.Options) =>
  Layer.unwrap(
    Effect.map(Server, ({ url }) => RedisStore.layerStore(options).pipe(Layer.provideMerge(layerClient(url, prefix))))
  )

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

const random = (text: string) => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return () => {
    hash = (hash + 0x6d2b79f5) | 0
    let t = Math.imul(hash ^ (hash >>> 15), 1 | hash)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (t ^ (t >>> 14)) >>> 0
  }
}

/** A key in a bucket, the same one for the same text. */
export const keyIn = (bucket: string, text: string): string => {
  const next = random(text)
  return bucket + Array.from({ length: 43 }, () => alphabet[next() % 64]).join("")
}

/** A key of a subject. */
export const keyOf = (subject: string, text: string): string =>
  keyIn(SessionToken.bucketOfSubject(subject), `${subject}/${text}`)

/** A subject that lives in a bucket. */
export const subjectIn = (bucket: string, text: string): string => {
  for (let n = 0;; n++) {
    const subject = `${text}-${n}`
    if (SessionToken.bucketOfSubject(subject) === bucket) return subject
  }
}

/** A store of its own, with its client, in the scope of the test. */
export const open = Effect.fnUntraced(function*(prefix: string, options?: RedisStore.Options) {
  const server = yield* Server
  const context = yield* Layer.build(
    RedisStore.layerStore(options).pipe(Layer.provideMerge(layerClient(server.url, prefix)))
  )
  return {
    server,
    client: Context.get(context, RedisClient.RedisClient),
    store: Context.get(context, SessionStore.SessionStore),
    query: Context.get(context, SessionQuery.SessionQuery)
  }
})

/** The keys under a prefix with the milliseconds they have left. */
export const lifetimes = Effect.fnUntraced(function*(server: RedisServer.RedisServer, prefix: string) {
  const keys = yield* server.admin("KEYS", `${prefix}*`)
  return yield* Effect.forEach(
    Array.isArray(keys) ? keys.map(String) : [],
    (key) => Effect.map(server.admin("PTTL", key), (ttl) => [key, Number(ttl)] as const)
  )
})

/** How often each command was called, by the server's own count. */
export const commandCounts = (server: RedisServer.RedisServer) =>
  Effect.map(
    server.admin("INFO", "commandstats"),
    (info) =>
      new Map(
        Array.from(String(info).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm), (match) => [match[1], Number(match[2])])
      )
  )

/** Runs an effect, and returns what it has logged. */
export const logged = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const lines: Array<string> = []
  const exit = yield* Effect.exit(Effect.provide(
    effect,
    Logger.layer([Logger.make(({ logLevel, message }) => lines.push(`${logLevel} ${String(message)}`))])
  ))
  return { exit, lines }
})
