/**
 * Reads the cookies of `iron-session`: data sealed with AES-256-CBC and
 * HMAC-SHA-256 under keys from PBKDF2, the format `Fe26.2` of `iron-webcrypto`.
 * For `LegacySession`.
 *
 * A seal cannot be ended: the old application accepts it until it expires, whatever
 * happened since. Here a seal is moved once; but each `save` of `iron-session` makes
 * another seal of the same session, which nobody can tell from a session of its own.
 * If the data names the session, by the id of its sign-in for instance, let
 * `identify` tell it: then all seals of it count as one.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as crypto from "./internal/legacyCrypto.ts"
import type { Candidate, Reader } from "./LegacySession.ts"
import * as SessionCookie from "./SessionCookie.ts"

/**
 * Options of {@link make}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** The password, or passwords by their number, as `iron-session` takes them. */
  readonly password: Redacted.Redacted | { readonly [id: string]: Redacted.Redacted }
  /** The cookie, for its name and for clearing it. Its further parts, `.0` to `.3`, are read too. */
  readonly cookie: SessionCookie.Options & { readonly name: string }
  /**
   * What in the data makes the session this one and no other: a text that is random
   * and new with each sign-in. The id of the user would let one session of a user
   * move and no later one, and a guess of it could be tested by whoever reads the
   * marks of `MovedSessions`, which are its plain SHA-256. Without it, or where it
   * returns `undefined` or throws, each seal is a session.
   */
  readonly identify?: ((data: unknown) => string | undefined) | undefined
}

const parts = 4
const longestSeal = parts * SessionCookie.maximumSize
// What the passwords were made into keys with. The seals of others cannot be chosen.
const derivation = { hash: "SHA-1", iterations: 1 } as const
const text = /^[\w-]+$/

/**
 * Creates the reader.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` without a password and for one of fewer than 32 characters,
 * and a `CookieConfigError` for a cookie that browsers would refuse.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make: (options: Options) => Effect.Effect<Reader> = Effect.fnUntraced(function*(options: Options) {
  const { identify, password } = options
  const cookie = SessionCookie.make({ secure: false, ...options.cookie })
  const given = Redacted.isRedacted(password) ? { 1: password } : password
  const passwords = new Map<string, CryptoKey>()
  for (const [id, secret] of Object.entries(given)) {
    const value = Redacted.value(secret)
    if (value.length < 32) throw new RangeError("IronSession: a password has at least 32 characters")
    passwords.set(id, yield* crypto.passphrase(value))
  }
  if (passwords.size === 0) throw new RangeError("IronSession: a password is missing")
  const further = Array.from({ length: parts }, (_, index) => ({ ...cookie, name: `${cookie.name}.${index}` }))

  const sealIn = (header: string): string | undefined => {
    const whole = SessionCookie.read(cookie, header)
    if (whole !== undefined && whole !== "") return typeof whole === "string" ? whole : undefined
    let joined = ""
    for (const part of further) {
      const value = SessionCookie.read(part, header)
      if (value === SessionCookie.Duplicate) return undefined
      if (value === undefined || value === "") break
      joined += value
    }
    return joined
  }

  return {
    name: "iron-session",
    cookies: [cookie, ...further],
    find: Effect.fnUntraced(function*(header) {
      const raw = sealIn(header)
      if (raw === undefined || raw.length > longestSeal) return undefined
      const unescaped = crypto.unescape(raw)
      // What follows is no part of the seal, and says nothing.
      const seal = unescaped.split("~", 1)[0]
      const fields = seal.split("*", 9)
      const [version, passwordId, salt, ivText, sealed, expiration, macSalt, mac] = fields
      const key = fields.length === 8 && version === "Fe26.2" ? passwords.get(passwordId || "default") : undefined
      if (key === undefined || ![salt, ivText, sealed, macSalt, mac].every((field) => text.test(field))) {
        return undefined
      }
      const expiresAt = expiration === "" ? undefined : /^[1-9]\d{0,15}$/.test(expiration) ? Number(expiration) : 0
      if (expiresAt !== undefined && expiresAt <= (yield* Clock.currentTimeMillis)) return undefined
      const iv = crypto.base64Url(ivText)
      const bytes = crypto.base64Url(sealed)
      const signature = crypto.base64Url(mac)
      if (iv?.length !== 16 || bytes === undefined || signature?.length !== 32) return undefined

      const base = `${version}*${passwordId}*${salt}*${ivText}*${sealed}*${expiration}`
      const { hash, iterations } = derivation
      const macKey = yield* crypto.hmacKey(yield* crypto.pbkdf2(key, hash, macSalt, iterations))
      if (!(yield* crypto.verify(macKey, signature, base))) return undefined
      const cipherKey = yield* crypto.cbcKey(yield* crypto.pbkdf2(key, hash, salt, iterations))
      const plain = yield* crypto.decrypt(cipherKey, iv, bytes)
      const json = plain === undefined ? undefined : crypto.textOf(plain)
      const data = json === undefined ? undefined : crypto.json(json)
      if (data === undefined) return undefined

      const identity = identify === undefined ? undefined : yield* named(identify, data)
      const candidate: Candidate = {
        id: identity === undefined ? `seal\n${base}` : `session\n${identity}`,
        // A later seal of the same session may live longer than this one.
        until: identity === undefined ? expiresAt : undefined,
        load: Effect.succeed({ data, expiresAt }),
        end: undefined
      }
      return candidate
    })
  }
})

const named = (identify: (data: unknown) => string | undefined, data: unknown): Effect.Effect<string | undefined> =>
  Effect.catchDefect(Effect.sync(() => identify(data)), () => Effect.undefined)
