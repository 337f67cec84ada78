/**
 * Reads the sessions of `express-session`: its signed cookie, and the JSON that its
 * stores keep, `connect-redis` for instance. For `LegacySession`.
 *
 * The signature is checked before anything is read, and each of several secrets is
 * tried, as there. The data comes without the attributes of the cookie that stand
 * beside it.
 *
 * **Example** (A live session of an Express application)
 *
 * ```ts
 * import * as ExpressSession from "@effect-session/http/ExpressSession"
 * import { Effect, Redacted } from "effect"
 *
 * const redis = new Map([["sess:abc", JSON.stringify({ cookie: {}, user: "ada" })]])
 *
 * const program = Effect.gen(function*() {
 *   const reader = yield* ExpressSession.make({
 *     secrets: [Redacted.make("keyboard cat")],
 *     records: { get: (key) => Effect.sync(() => redis.get(key)) }
 *   })
 *   const found = yield* reader.find("connect.sid=s%3Aabc.BpxCrWRpvZMh%2Fwk%2Fdjl34N%2Bm%2BVQEU7K%2F5WenLwJCgFU")
 *   return found === undefined ? "forged" : JSON.stringify((yield* found.load)?.data)
 * })
 * console.log(await Effect.runPromise(program)) // => {"user":"ada"}
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as crypto from "./internal/legacyCrypto.ts"
import { recordText } from "./internal/legacyRecord.ts"
import type { Candidate, Old, Reader, Records } from "./LegacySession.ts"
import * as SessionCookie from "./SessionCookie.ts"

/**
 * Options of {@link make}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** What the cookies were signed with; any of them opens. */
  readonly secrets: ReadonlyArray<Redacted.Redacted>
  /** Where the sessions are. */
  readonly records: Records
  /** What stands before an id in the keys: `sess:` by default, as `connect-redis` has it. */
  readonly prefix?: string | undefined
  /** The cookie, for its name and for clearing it: `connect.sid` at `/` by default. */
  readonly cookie?: SessionCookie.Options | undefined
}

const longestCookie = 1024
const sessionId = /^[\x21-\x7e]{1,256}$/
const signature = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]$/

const dataOf = (text: string | undefined, now: number): Old | undefined => {
  const record = text === undefined ? undefined : crypto.json(text)
  if (!Predicate.isObject(record) || !Predicate.hasProperty(record, "cookie")) return undefined
  const { cookie, ...data } = record
  if (!Predicate.isObject(cookie)) return undefined
  const expires = Predicate.hasProperty(cookie, "expires") ? cookie.expires : undefined
  const expiresAt = typeof expires === "string" ? new Date(expires).getTime() : undefined
  // Negated, so that a text which is no instant counts as past.
  return expiresAt !== undefined && !(expiresAt > now) ? undefined : { data, expiresAt }
}

/**
 * Creates the reader.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` without secrets and for an empty one, and a
 * `CookieConfigError` for a cookie that browsers would refuse.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make: (options: Options) => Effect.Effect<Reader> = Effect.fnUntraced(function*(options: Options) {
  const { prefix = "sess:", records } = options
  const secrets = options.secrets.map(Redacted.value)
  if (secrets.length === 0 || secrets.includes("")) throw new RangeError("ExpressSession: a secret is missing")
  const cookie = SessionCookie.make({ name: "connect.sid", secure: false, ...options.cookie })
  const keys: Array<CryptoKey> = []
  for (const secret of secrets) keys.push(yield* crypto.hmacKey(crypto.octets(secret)))

  const load = (id: string) =>
    Effect.flatMap(
      records.get(prefix + id),
      (value) => Effect.map(Clock.currentTimeMillis, (now) => dataOf(recordText(value), now))
    )

  return {
    name: "express-session",
    cookies: [cookie],
    find: Effect.fnUntraced(function*(header) {
      const found = SessionCookie.read(cookie, header)
      if (typeof found !== "string" || found.length > longestCookie) return undefined
      const signed = crypto.unescape(found)
      const dot = signed.lastIndexOf(".")
      const id = signed.slice(2, dot)
      const sent = signed.slice(dot + 1)
      if (!signed.startsWith("s:") || !sessionId.test(id) || !signature.test(sent)) return undefined
      const bytes = crypto.base64(sent)
      if (bytes === undefined) return undefined
      for (const key of keys) {
        if (yield* crypto.verify(key, bytes, id)) {
          const { remove } = records
          const candidate: Candidate = {
            id,
            until: undefined,
            load: load(id),
            end: remove === undefined ? undefined : Effect.asVoid(remove(prefix + id))
          }
          return candidate
        }
      }
      return undefined
    })
  }
})
