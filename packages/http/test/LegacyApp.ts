/** Sessions of other libraries as those write them, and the application of `SessionApp` that takes them over. */
import { ExpressSession, LegacySession, MovedSessions, SessionMiddleware } from "@effect-session/http"
import { Effect, Layer, Redacted } from "effect"
import { createCipheriv, createHmac, pbkdf2Sync, randomBytes } from "node:crypto"
import { gzipSync } from "node:zlib"
import * as App from "./SessionApp.ts"

const { UserSession } = App

export interface Data {
  readonly n: number
  readonly note: string
}

/** The records of the old application. */
export interface OldStore extends LegacySession.Records {
  readonly entries: Map<string, string | Uint8Array>
  reads: number
  down: boolean
}

export const oldStore = (): OldStore => {
  const whenUp = <A>(f: () => A) =>
    Effect.suspend(() => self.down ? Effect.fail(new Error("connection refused")) : Effect.sync(f))
  const self: OldStore = {
    entries: new Map(),
    reads: 0,
    down: false,
    get: (key) =>
      whenUp(() => {
        self.reads++
        return self.entries.get(key)
      }),
    remove: (key) => whenUp(() => self.entries.delete(key))
  }
  return self
}

export const expressSecret = "keyboard cat, and a second one"

/** A cookie as `express-session` signs it. */
export const expressCookie = (id: string, secret = expressSecret): string => {
  const signature = createHmac("sha256", secret).update(id).digest("base64").replace(/=+$/, "")
  return `connect.sid=${encodeURIComponent(`s:${id}.${signature}`)}`
}

export const expressRecord = (data: object, expires?: string): string =>
  JSON.stringify({ cookie: { originalMaxAge: null, expires, httpOnly: true, path: "/" }, ...data })

const isText = (value: unknown): value is string => typeof value === "string"

/** Takes what has a user, and a number where there is one. */
export const arrive = (data: unknown): LegacySession.Arrival<Data> | undefined => {
  if (typeof data !== "object" || data === null) return undefined
  const { n, note, user } = { n: undefined, note: undefined, user: undefined, ...data } satisfies Record<
    string,
    unknown
  >
  if (user === "broken") throw new Error("a shape that nobody thought of")
  return {
    data: { n: typeof n === "number" ? n : 0, note: isText(note) ? note : "moved" },
    subject: isText(user) ? user : undefined
  }
}

export const expressReader = (store: LegacySession.Records) =>
  ExpressSession.make({ secrets: [Redacted.make("newer"), Redacted.make(expressSecret)], records: store })

/** The application, with its sessions in `store` and those of a reader moved in. */
export const application = (
  store: App.TestStore,
  reader: LegacySession.Reader,
  options: Partial<LegacySession.Options<Data>> = {},
  routes: typeof App.routes = App.routes
): App.App =>
  routes.pipe(
    Layer.provide(SessionMiddleware.layer(UserSession)),
    Layer.provide(
      LegacySession.layer(UserSession, {
        sources: [{ reader, map: arrive }],
        deadline: new Date(86_400_000),
        ...options
      })
    ),
    Layer.provide(MovedSessions.layerStore),
    Layer.provide(App.backend(store))
  )

export const azuSecret = "an old secret of forty octets, or so...."

export interface AzuOptions {
  readonly gzip?: boolean
  readonly kdf?: { readonly salt: string; readonly iterations: number }
  readonly secret?: string
  readonly joined?: boolean
}

/** A message as the Crystal library encrypts and signs it. */
export const azuMessage = (
  text: string,
  { gzip = false, joined = false, kdf, secret = azuSecret }: AzuOptions = {}
) => {
  const padded = (bytes: Uint8Array | string) =>
    Buffer.from(bytes).toString("base64").replaceAll("+", "-").replaceAll("/", "_")
  const key = kdf === undefined
    ? Buffer.from(secret).subarray(0, 32)
    : pbkdf2Sync(secret, kdf.salt, kdf.iterations, 32, "sha256")
  const iv = randomBytes(16)
  const cipher = createCipheriv("aes-256-cbc", key, iv)
  const data = padded(Buffer.concat([cipher.update(gzip ? gzipSync(text) : text), cipher.final(), iv]))
  const digest = padded(createHmac("sha256", secret).update(data).digest())
  return joined ? `${data}--${digest}` : padded(JSON.stringify([data, digest]))
}

export const azuId = "0b9e6d1c-54a2-4c3b-8f0e-9d1a2b3c4d5e"

export const azuRecord = (data: object, expires = "1970-01-01T10:00:00+02:00", id = azuId): string =>
  JSON.stringify({ session_id: id, created_at: "1970-01-01T00:00:00Z", expires_at: expires, ...data })
