/**
 * Reads the sessions of `azutoolkit/session` for Crystal: the id in its cookie, and
 * the data in a second cookie or in Redis. For `LegacySession`.
 *
 * Data is opened as it was written: AES-256-CBC, HMAC-SHA-256 over it, gzip inside
 * where it was on. Signatures of the older, weaker kind that it accepts are not
 * accepted here. What it leaves unchecked is checked: a session has to be in time,
 * and the data has to be that of the id in the cookie.
 *
 * @stability unstable
 * @since 0.1.0
 */
import { Compression } from "@effect-session/core/Compression"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as crypto from "./internal/legacyCrypto.ts"
import { largestRecord, recordText } from "./internal/legacyRecord.ts"
import type { Candidate, Old, Reader, Records } from "./LegacySession.ts"
import * as SessionCookie from "./SessionCookie.ts"

/**
 * What data was encrypted and signed with.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Encryption {
  /** The `secret` of the old configuration: at least 32 octets. */
  readonly secret: Redacted.Redacted
  /** Its `kdf_salt` and `kdf_iterations`, where `use_kdf` was on. */
  readonly kdf?: { readonly salt: string; readonly iterations: number } | undefined
}

/**
 * Options of {@link fromCookie}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface CookieOptions extends Encryption {
  /** The cookie of the id, for its name and for clearing it: `_session` at `/` by default. */
  readonly cookie?: SessionCookie.Options | undefined
}

/**
 * Options of {@link fromRecords}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface RecordOptions {
  readonly records: Records
  /** Set where `encrypt_redis_data` was on. Plain records are refused then. */
  readonly encryption?: Encryption | undefined
  /** What stands before an id in the keys: `session:` by default. */
  readonly prefix?: string | undefined
  /** The cookie of the id, for its name and for clearing it: `_session` at `/` by default. */
  readonly cookie?: SessionCookie.Options | undefined
}

const sessionId = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

type Message = readonly [data: string, signature: string]

// Two forms: a list of data and signature, encoded once more, or the two behind one another.
const messageOf = (text: string): Message | undefined => {
  const bytes = crypto.base64Url(text)
  const list = crypto.json((bytes === undefined ? undefined : crypto.textOf(bytes)) ?? "")
  if (Array.isArray(list)) {
    const [data, signature]: ReadonlyArray<unknown> = list
    return typeof data === "string" && typeof signature === "string" ? [data, signature] : undefined
  }
  // Both parts may hold the separator: the signature is the one of known length, with or without padding.
  const length = text.endsWith("=") ? 44 : 43
  const at = text.length - length - 2
  return at > 0 && text.startsWith("--", at) ? [text.slice(0, at), text.slice(at + 2)] : undefined
}

// Text that was compressed before it was encrypted begins with two octets that JSON never begins with.
const inflated = (bytes: Uint8Array): Effect.Effect<string | undefined> =>
  bytes[0] === 0x1f && bytes[1] === 0x8b
    ? Effect.flatMap(Compression, ({ decompress }) =>
      Effect.map(decompress("gzip", bytes), (plain) =>
        plain === undefined ? undefined : crypto.textOf(plain)))
    : Effect.succeed(crypto.textOf(bytes))

const opener = Effect.fnUntraced(function*({ kdf, secret }: Encryption) {
  const bytes = crypto.octets(Redacted.value(secret))
  if (bytes.length < 32) throw new RangeError("AzuSession: the secret has at least 32 octets")
  const macKey = yield* crypto.hmacKey(bytes)
  const cipherKey = yield* crypto.cbcKey(
    kdf === undefined
      ? bytes.slice(0, 32)
      : yield* crypto.pbkdf2(
        yield* crypto.passphrase(Redacted.value(secret)),
        "SHA-256",
        kdf.salt,
        kdf.iterations
      )
  )
  return Effect.fnUntraced(function*(text: string) {
    const message = messageOf(text)
    const signature = message === undefined ? undefined : crypto.base64Url(message[1])
    if (message === undefined || signature?.length !== 32) return undefined
    if (!(yield* crypto.verify(macKey, signature, message[0]))) return undefined
    const sealed = crypto.base64Url(message[0])
    if (sealed === undefined || sealed.length < 32) return undefined
    // The IV comes last.
    const plain = yield* crypto.decrypt(cipherKey, sealed.slice(-16), sealed.slice(0, -16))
    return plain === undefined ? undefined : yield* inflated(plain)
  })
})

const dataOf = (text: string | undefined, id: string, now: number): Old | undefined => {
  const record = text === undefined ? undefined : crypto.json(text)
  if (!Predicate.isObject(record) || !Predicate.hasProperty(record, "session_id") || record.session_id !== id) {
    return undefined
  }
  const expires = Predicate.hasProperty(record, "expires_at") ? record.expires_at : undefined
  const expiresAt = typeof expires === "string" ? new Date(expires).getTime() : NaN
  // Negated, so that a text which is no instant counts as past.
  if (!(expiresAt > now)) return undefined
  const data: Record<string, unknown> = { ...record }
  for (const key of ["session_id", "created_at", "expires_at"]) delete data[key]
  return { data, expiresAt }
}

const cookieOf = (options: SessionCookie.Options | undefined) =>
  SessionCookie.make({ name: "_session", secure: false, ...options })

const idIn = (cookie: SessionCookie.SessionCookie, header: string): string | undefined => {
  const found = SessionCookie.read(cookie, header)
  return typeof found === "string" && sessionId.test(found) ? found : undefined
}

/**
 * Creates the reader of sessions whose data is in a cookie of its own,
 * `_session._data_`.
 *
 * **Gotchas**
 *
 * The old application cannot end such a session: it accepts the cookie whatever
 * happened since. Throws a `RangeError` for a secret of fewer than 32 octets.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const fromCookie: (options: CookieOptions) => Effect.Effect<Reader> = Effect.fnUntraced(
  function*(options: CookieOptions) {
    const cookie = cookieOf(options.cookie)
    const dataCookie = { ...cookie, name: `${cookie.name}._data_` }
    const open = yield* opener(options)
    return {
      name: "azu-cookie",
      cookies: [cookie, dataCookie],
      find: Effect.fnUntraced(function*(header) {
        const id = idIn(cookie, header)
        const sealed = SessionCookie.read(dataCookie, header)
        if (id === undefined || typeof sealed !== "string") return undefined
        if (sealed.length > 2 * SessionCookie.maximumSize) return undefined
        const text = yield* open(crypto.unescape(sealed))
        const old = dataOf(text, id, yield* Clock.currentTimeMillis)
        if (old === undefined) return undefined
        const candidate: Candidate = { id, until: undefined, load: Effect.succeed(old), end: undefined }
        return candidate
      })
    }
  }
)

/**
 * Creates the reader of sessions whose data is in Redis, at `session:<id>`.
 *
 * **Gotchas**
 *
 * The id in the cookie is not signed, so each id of the right form is looked up.
 * Throws a `RangeError` for a secret of fewer than 32 octets.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const fromRecords: (options: RecordOptions) => Effect.Effect<Reader> = Effect.fnUntraced(
  function*(options: RecordOptions) {
    const { encryption, prefix = "session:", records } = options
    const cookie = cookieOf(options.cookie)
    const open = encryption === undefined ? undefined : yield* opener(encryption)

    const textIn = Effect.fnUntraced(function*(value: string | Uint8Array | undefined) {
      if (open === undefined && value instanceof Uint8Array) {
        return value.length > largestRecord ? undefined : yield* inflated(value)
      }
      const text = recordText(value)
      return open === undefined || text === undefined ? text : yield* open(text)
    })

    return {
      name: "azu-redis",
      cookies: [cookie],
      find: (header) =>
        Effect.sync((): Candidate | undefined => {
          const id = idIn(cookie, header)
          if (id === undefined) return undefined
          const { remove } = records
          return {
            id,
            until: undefined,
            load: Effect.flatMap(records.get(prefix + id), (value) =>
              Effect.flatMap(textIn(value), (text) =>
                Effect.map(Clock.currentTimeMillis, (now) =>
                  dataOf(text, id, now)))),
            end: remove === undefined ? undefined : Effect.asVoid(remove(prefix + id))
          }
        })
    }
  }
)
