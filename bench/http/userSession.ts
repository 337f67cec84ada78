/**
 * The session of this library's contenders, and where it can be kept: with the production preset, which seals what
 * leaves the process.
 */
import { CookieStore, MemoryStore, PayloadCodec, Revocations, Session, SessionConfig } from "@effect-session/core"
import type { Crypto } from "@effect-session/core/Crypto"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import type { Suite } from "@effect-session/core/SealedFormat"
import type { SessionBackend } from "@effect-session/core/SessionBackend"
import { RedisClient, RedisStore } from "@effect-session/redis"
import { Layer, Redacted, Schema } from "effect"
import { randomBytes } from "node:crypto"
import { guest } from "./data.ts"

export class UserSession extends Session.Service<UserSession>()("bench/UserSession", {
  data: Schema.Struct({
    role: Schema.String,
    userId: Schema.String,
    email: Schema.String,
    permissions: Schema.Array(Schema.String),
    locale: Schema.String,
    theme: Schema.String,
    signedInAt: Schema.Number,
    count: Schema.Number
  }),
  initial: { role: guest, userId: "", email: "", permissions: [], locale: "", theme: "", signedInAt: 0, count: 0 }
}) {}

/** The cookie, on a server without TLS. */
export const cookie = { name: "session", secure: false } as const

const live = <E>(store: Layer.Layer<SessionBackend, E, Crypto | SessionConfig.SessionConfig>, suite?: Suite) =>
  store.pipe(
    Layer.provideMerge(CryptoNode.layer),
    Layer.provideMerge(
      SessionConfig.layer({ secrets: Redacted.make(randomBytes(32).toString("base64url")), suite })
    )
  )

/** In the memory of the process. */
export const inMemory = () => live(MemoryStore.layer())

/** In cookies, sealed with one of the suites. */
export const inCookies = (suite: Suite) =>
  live(CookieStore.layer().pipe(Layer.provide(Revocations.layerMemory())), suite)

const client = (port: number) =>
  RedisClient.layer({ url: Redacted.make(`redis://127.0.0.1:${port}`), commandTimeout: "10 seconds" })

/** In Redis, on a port of this machine. */
export const inRedis = (port: number) => live(RedisStore.layer().pipe(Layer.provide(client(port))))

/** In Redis, and not sealed there, as the other libraries have it. */
export const inRedisPlain = (port: number) =>
  live(RedisStore.layer().pipe(Layer.provide([client(port), PayloadCodec.layer({ seal: false })])))

/** What every place provides. */
export type Live<E> = Layer.Layer<SessionBackend | SessionConfig.SessionConfig | Crypto, E>
