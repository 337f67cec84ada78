/**
 * Spreads a session token that is too long for one cookie over several.
 *
 * A token that fits one cookie is one cookie, whatever `chunks` allows. A longer
 * one is cut into parts of one fixed length, the last one of what is left. The
 * first part stands under the cookie's own name, behind the number of parts and a
 * dot; the others under the name with `.1`, `.2` and so on:
 *
 * ```text
 * __Host-session=3.AAAA...; __Host-session.1=BBBB...; __Host-session.2=CC
 * ```
 *
 * The parts have no check of their own. The seal of the token covers all of them,
 * their order and, by the length, their number: a token has one set of cookies,
 * and another set is another token. Whatever cannot be such a set is handed on
 * unjoined, as a text that is no token, and refused like any other.
 *
 * Cookies beyond the number count for nothing, so that one that stayed behind
 * harms nobody. They are deleted with the next token, and all of them at the end
 * of the session, also where `chunks` was made smaller since.
 *
 * **Example** (Three parts, then one)
 *
 * ```ts
 * import * as CookieChunks from "@effect-session/http/CookieChunks"
 * import * as SessionCookie from "@effect-session/http/SessionCookie"
 *
 * const cookie = SessionCookie.make({ chunks: 3 })
 * const lines = CookieChunks.set(cookie, "x".repeat(10_000))
 * const header = lines.map((line) => line.slice(0, line.indexOf(";"))).join("; ")
 *
 * console.log(lines.length, CookieChunks.read(cookie, header) === "x".repeat(10_000)) // => 3 true
 * console.log(CookieChunks.set(cookie, "short", undefined, header).map((line) => line.slice(0, 29)).join())
 * // => __Host-session=short; Path=/;,__Host-session.1=; Max-Age=0;,__Host-session.2=; Max-Age=0;
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as SessionCookie from "./SessionCookie.ts"
import { SessionCookieError, TooLarge } from "./SessionCookieError.ts"

type Cookie = SessionCookie.SessionCookie

// Octets of a part's Set-Cookie line that its data leaves to its number and attributes.
const reserved = 256

const partLength = (cookie: Cookie): number => SessionCookie.maximumSize - cookie.name.length - reserved

const singleLength = (cookie: Cookie): number => SessionCookie.maximumSize - cookie.name.length

const partName = (cookie: Cookie, index: number): string => index === 0 ? cookie.name : `${cookie.name}.${index}`

/**
 * Most characters of a token that fit a cookie and its further parts.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const capacity = (cookie: Cookie): number =>
  cookie.chunks === 1 ? singleLength(cookie) : cookie.chunks * partLength(cookie)

/**
 * Finds the session token in the raw `Cookie` header of a request, and puts it
 * together from its parts. Reads like `SessionCookie.read` otherwise.
 *
 * **Details**
 *
 * Looks for no more names than `chunks`, so the work is linear in the length of
 * the header. A part that comes twice makes the whole a `Duplicate`.
 *
 * @stability unstable
 * @category decoding
 * @since 0.1.0
 */
export const read = (cookie: Cookie, header: string | undefined): SessionCookie.Candidate => {
  const first = SessionCookie.read(cookie, header)
  if (cookie.chunks === 1 || typeof first !== "string" || first.charCodeAt(1) !== 0x2e) return first
  const count = first.charCodeAt(0) - 0x30
  const length = partLength(cookie)
  if (count < 2 || count > cookie.chunks || first.length !== length + 2) return first
  let joined = first.slice(2)
  for (let index = 1; index < count; index++) {
    const part = SessionCookie.read({ name: partName(cookie, index) }, header)
    if (part === SessionCookie.Duplicate) return part
    const isLast = index === count - 1
    if (part === undefined || part.length > length || part.length < (isLast ? 1 : length)) return first
    joined += part
  }
  // What fits one cookie is not written as several.
  return joined.length > singleLength(cookie) ? joined : first
}

// Further parts that a request has brought, from an index on.
const brought = (cookie: Cookie, header: string | undefined, from: number): ReadonlyArray<number> => {
  if (header === undefined || !header.includes(`${cookie.name}.`)) return []
  const indices: Array<number> = []
  for (let index = from; index < SessionCookie.maximumChunks; index++) {
    if (SessionCookie.read({ name: partName(cookie, index) }, header) !== undefined) indices.push(index)
  }
  return indices
}

const named = (cookie: Cookie, index: number): Cookie => ({ ...cookie, name: partName(cookie, index) })

const isSingle = (cookie: Cookie, value: string): boolean => cookie.chunks === 1 || value.length <= singleLength(cookie)

const tooLarge = (cookie: Cookie, value: string): SessionCookieError | undefined => {
  const maximum = capacity(cookie)
  if (value.length <= maximum) return undefined
  const { length } = cookie.name
  const actual = length + new TextEncoder().encode(value).length
  return new SessionCookieError({ reason: new TooLarge({ actual, maximum: length + maximum }) })
}

const partsOf = (cookie: Cookie, value: string): ReadonlyArray<string> => {
  const length = partLength(cookie)
  const count = Math.ceil(value.length / length)
  const parts = Array.from({ length: count }, (_, index) => value.slice(index * length, (index + 1) * length))
  return parts.with(0, `${count}.${parts[0]}`)
}

/**
 * Returns the error that {@link set} would throw, or `undefined` for a token that
 * can be sent.
 *
 * @stability unstable
 * @category encoding
 * @since 0.1.0
 */
export const check = (
  cookie: Cookie,
  value: string,
  lifetime?: SessionCookie.Lifetime
): SessionCookieError | undefined => {
  if (isSingle(cookie, value)) return SessionCookie.check(cookie, value, lifetime)
  const error = tooLarge(cookie, value)
  if (error !== undefined) return error
  for (const part of partsOf(cookie, value)) {
    const error = SessionCookie.check(cookie, part, lifetime)
    if (error !== undefined) return error
  }
  return undefined
}

/**
 * Writes the `Set-Cookie` headers that give the client a token: one for each
 * part, and one for each part of an earlier token that the request has brought
 * and this one has no use for.
 *
 * **Gotchas**
 *
 * Throws a `SessionCookieError` for a value or lifetime that {@link check}
 * refuses. Nothing is written then.
 *
 * @stability unstable
 * @category encoding
 * @since 0.1.0
 */
export const set = (
  cookie: Cookie,
  value: string,
  lifetime?: SessionCookie.Lifetime,
  header?: string
): ReadonlyArray<string> => {
  const lines: Array<string> = []
  if (isSingle(cookie, value)) {
    lines.push(SessionCookie.set(cookie, value, lifetime))
  } else {
    const error = tooLarge(cookie, value)
    if (error !== undefined) throw error
    for (const [index, part] of partsOf(cookie, value).entries()) {
      lines.push(SessionCookie.set(named(cookie, index), part, lifetime))
    }
  }
  for (const index of brought(cookie, header, lines.length)) lines.push(SessionCookie.clear(named(cookie, index)))
  return lines
}

/**
 * Writes the `Set-Cookie` headers that remove the cookie and all its parts from
 * the client: those that `chunks` allows, and others that the request has
 * brought.
 *
 * @stability unstable
 * @category encoding
 * @since 0.1.0
 */
export const clear = (cookie: Cookie, header?: string): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (let index = 0; index < cookie.chunks; index++) lines.push(SessionCookie.clear(named(cookie, index)))
  for (const index of brought(cookie, header, cookie.chunks)) lines.push(SessionCookie.clear(named(cookie, index)))
  return lines
}
