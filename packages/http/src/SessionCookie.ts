/**
 * The cookie that carries a session token: its rules, its parser and its
 * serializer.
 *
 * The module knows cookies only. What a value means, and whether it is genuine,
 * is for the session layer to say. Nothing here is derived from a request: name,
 * domain and path come from the options alone.
 *
 * @stability unstable
 * @since 0.1.0
 */
import { charCode } from "./internal/charCode.ts"
import { CookieConfigError, InvalidLifetime, InvalidValue, SessionCookieError, TooLarge } from "./SessionCookieError.ts"
import type { SessionCookieErrorReason } from "./SessionCookieError.ts"

const TypeId = "~@effect-session/http/SessionCookie"

/**
 * Which cross-site requests carry the cookie.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export type SameSite = "lax" | "strict" | "none"

/**
 * How early a browser that is short of space drops the cookie.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export type Priority = "low" | "medium" | "high"

/**
 * Options of a session cookie, as plain data. The defaults are the strictest
 * cookie that still survives a link from another site.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Name, `__Host-session` by default. A prefix is a promise browsers enforce:
   * `__Secure-` needs `secure`; `__Host-` also path `/` and no domain; `__Http-`
   * and `__Host-Http-` also `httpOnly`.
   */
  readonly name?: string | undefined
  /** Domain whose subdomains get the cookie too. None by default: only the host that set it. */
  readonly domain?: string | undefined
  /** Path, `/` by default. It limits where the cookie is sent and protects nothing. */
  readonly path?: string | undefined
  /** Whether scripts are kept from the cookie, `true` by default. */
  readonly httpOnly?: boolean | undefined
  /** Whether the cookie needs HTTPS, `true` by default. Without it the name must have no prefix. */
  readonly secure?: boolean | undefined
  /** Which cross-site requests carry the cookie, `lax` by default. `none` needs `secure`. */
  readonly sameSite?: SameSite | undefined
  /** Whether an embedded site gets one cookie jar per embedding site, `false` by default. Needs `secure`. */
  readonly partitioned?: boolean | undefined
  /** Priority, not sent by default. Only Chromium knows it. */
  readonly priority?: Priority | undefined
  /**
   * Most cookies that one value may be spread over, 1 by default and at most
   * {@link maximumChunks}. Two stay below the 8,192 octets that servers and
   * proxies take in one header line. See `CookieChunks`.
   */
  readonly chunks?: number | undefined
}

/**
 * A validated cookie with its attributes already written out. Only {@link make}
 * builds one; it never changes.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionCookie {
  readonly [TypeId]: typeof TypeId
  readonly name: string
  readonly domain: string | undefined
  readonly path: string
  readonly httpOnly: boolean
  readonly secure: boolean
  readonly sameSite: SameSite
  readonly partitioned: boolean
  readonly priority: Priority | undefined
  readonly chunks: number
  /** The attributes as every `Set-Cookie` of this cookie ends, from the first `; ` on. */
  readonly attributes: string
}

/**
 * How long a persistent cookie stays with the browser.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Lifetime {
  /** Time from now, in milliseconds: more than 0 and at most {@link maximumLifetime}. */
  readonly maxAge: number
  /** The current time, in milliseconds since 1970. */
  readonly now: number
}

/**
 * Most octets that name and value may have together. Browsers drop larger
 * cookies without a word.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const maximumSize = 4096

/**
 * Most cookies that one value may be spread over.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const maximumChunks = 8

/**
 * Longest lifetime of a persistent cookie, in milliseconds: 400 days. Browsers
 * shorten longer ones.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const maximumLifetime = 400 * 24 * 60 * 60 * 1000

// Browsers compare prefixes without regard to case. The longer of two that start alike stands first.
const prefixes = [
  { text: "__Host-Http-", hostOnly: true, httpOnly: true },
  { text: "__Http-", hostOnly: false, httpOnly: true },
  { text: "__Host-", hostOnly: true, httpOnly: false },
  { text: "__Secure-", hostOnly: false, httpOnly: false }
]

const sameSites: { readonly [K in SameSite]: string } = { lax: "Lax", strict: "Strict", none: "None" }
const priorities: { readonly [K in Priority]: string } = { low: "Low", medium: "Medium", high: "High" }

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/
const hostName =
  /^(?=.{1,253}$)[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?(?:\.[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?)*$/
const pathValue = /^\/[!-+\--:<-~]{0,1023}$/
// RFC 6265 cookie-octet: visible ASCII without `"`, `,`, `;` and `\`.
const cookieOctets = /^[!#-+\--:<-[\]-~]+$/

const withDefaults = (options: Options) => ({
  name: options.name ?? "__Host-session",
  domain: options.domain,
  path: options.path ?? "/",
  httpOnly: options.httpOnly ?? true,
  secure: options.secure ?? true,
  sameSite: options.sameSite ?? "lax",
  partitioned: options.partitioned ?? false,
  priority: options.priority,
  chunks: options.chunks ?? 1
})

/**
 * Returns every problem of a cookie's options, each with what to do about it.
 * An empty array means that {@link make} succeeds.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const validate = (options: Options = {}): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const { chunks, domain, httpOnly, name, partitioned, path, priority, sameSite, secure } = withDefaults(options)

  for (const [field, value] of Object.entries({ httpOnly, secure, partitioned })) {
    if (typeof value !== "boolean") problems.push(`${field}: must be true or false`)
  }
  if (!token.test(name)) {
    problems.push("name: must be 1 to 256 characters of an HTTP token: letters, digits and !#$%&'*+-.^_`|~")
  }
  if (/\.[1-7]$/.test(name)) problems.push("name: must not end in .1 to .7, as the further parts of a cookie do")
  if (!(Number.isSafeInteger(chunks) && chunks >= 1 && chunks <= maximumChunks)) {
    problems.push(`chunks: must be an integer from 1 to ${maximumChunks}`)
  }
  if (domain !== undefined && !hostName.test(domain)) {
    problems.push(
      "domain: must be a host name of at most 253 characters in ASCII, without scheme, port or dots at its ends; " +
        "leave it out to bind the cookie to one host"
    )
  }
  if (!pathValue.test(path)) {
    problems.push(
      "path: must start with / and have at most 1024 visible ASCII characters without comma and semicolon; " +
        "percent-encode others"
    )
  }
  if (!Object.hasOwn(sameSites, sameSite)) {
    problems.push(`sameSite: must be one of ${Object.keys(sameSites).join(", ")}`)
  }
  if (priority !== undefined && !Object.hasOwn(priorities, priority)) {
    problems.push(`priority: must be one of ${Object.keys(priorities).join(", ")}`)
  }
  if (sameSite === "none" && !secure) {
    problems.push("sameSite: browsers drop a cookie with none that is not secure; set secure or use lax")
  }
  if (partitioned && !secure) {
    problems.push("partitioned: browsers drop a partitioned cookie that is not secure; set secure or leave it out")
  }

  const prefix = prefixes.find(({ text }) => name.toLowerCase().startsWith(text.toLowerCase()))
  if (prefix === undefined) return problems
  const { text } = prefix
  if (!name.startsWith(text)) {
    problems.push(`name: write the prefix as ${text}; browsers enforce its rules in any case of letters`)
  }
  if (!secure) {
    problems.push(`secure: ${text} needs it; for development over plain HTTP choose a name without a prefix`)
  }
  if (prefix.hostOnly && path !== "/") problems.push(`path: ${text} needs /; leave path out or use __Secure-`)
  if (prefix.hostOnly && domain !== undefined) {
    problems.push(`domain: ${text} allows none; leave domain out, or use __Secure- to share the cookie with subdomains`)
  }
  if (prefix.httpOnly && !httpOnly) problems.push(`httpOnly: ${text} needs it; leave httpOnly out`)
  return problems
}

/**
 * Builds a cookie from options. Throws a {@link CookieConfigError} that lists
 * every problem.
 *
 * **Example** (A cookie for a site and its subdomains)
 *
 * ```ts
 * import * as SessionCookie from "@effect-session/http/SessionCookie"
 *
 * const cookie = SessionCookie.make({ name: "__Secure-session", domain: "example.com" })
 *
 * console.log(SessionCookie.set(cookie, "token"))
 * // => __Secure-session=token; Domain=example.com; Path=/; Secure; HttpOnly; SameSite=Lax
 * ```
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): SessionCookie => {
  const problems = validate(options)
  if (problems.length > 0) throw new CookieConfigError({ problems })
  const resolved = withDefaults(options)
  let attributes = ""
  if (resolved.domain !== undefined) attributes += `; Domain=${resolved.domain}`
  attributes += `; Path=${resolved.path}`
  if (resolved.secure) attributes += "; Secure"
  if (resolved.httpOnly) attributes += "; HttpOnly"
  attributes += `; SameSite=${sameSites[resolved.sameSite]}`
  if (resolved.partitioned) attributes += "; Partitioned"
  if (resolved.priority !== undefined) attributes += `; Priority=${priorities[resolved.priority]}`
  return Object.freeze({ [TypeId]: TypeId, ...resolved, attributes })
}

/**
 * Stands for more than one cookie of the session's name in one request: an
 * attack or a fault, and in both cases no cookie to trust.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export const Duplicate: unique symbol = Symbol.for("@effect-session/http/SessionCookie/Duplicate")

/**
 * What a request offers as its session: nothing, one value, or {@link Duplicate}.
 * The value is untrusted text as the client sent it, and may be empty.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Candidate = string | undefined | typeof Duplicate

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09

/**
 * Finds the session cookie in the raw `Cookie` header of a request.
 *
 * **Details**
 *
 * Cookies are split at `;` alone. Only spaces and tabs around name and value are
 * dropped. Names match exactly, case included, and nothing is decoded or
 * unquoted. `$Version` and `$Path` are names like any other. A cookie with the
 * name and an empty value counts as one; the name without `=` does not.
 *
 * The work is linear in the length of the header, and nothing but the value is
 * allocated. Several `Cookie` lines joined with `"; "` read like one.
 *
 * **Gotchas**
 *
 * Give it the header itself, not a parsed record: parsers that trim other white
 * space, decode names or let the first of two cookies win make a forged cookie
 * pass for the session's.
 *
 * @stability unstable
 * @category decoding
 * @since 0.1.0
 */
export const read = (cookie: Pick<SessionCookie, "name">, header: string | undefined): Candidate => {
  if (header === undefined) return undefined
  const name = cookie.name
  let found: string | undefined
  let at = header.indexOf(name)
  while (at !== -1) {
    let next = at + name.length
    let before = at - 1
    while (isBlank(charCode(header, before))) before--
    if (before < 0 || charCode(header, before) === 0x3b) {
      let start = next
      while (isBlank(charCode(header, start))) start++
      if (charCode(header, start) === 0x3d) {
        if (found !== undefined) return Duplicate
        start++
        let end = header.indexOf(";", start)
        if (end === -1) end = header.length
        next = end
        while (start < end && isBlank(charCode(header, start))) start++
        while (end > start && isBlank(charCode(header, end - 1))) end--
        found = header.slice(start, end)
      }
    }
    at = header.indexOf(name, next)
  }
  return found
}

const problemOf = (
  cookie: SessionCookie,
  value: string,
  lifetime: Lifetime | undefined
): SessionCookieErrorReason | undefined => {
  if (cookie.name.length + value.length > maximumSize || !cookieOctets.test(value)) {
    const actual = cookie.name.length + new TextEncoder().encode(value).length
    return actual > maximumSize ? new TooLarge({ actual, maximum: maximumSize }) : new InvalidValue()
  }
  if (lifetime === undefined) return undefined
  const { maxAge, now } = lifetime
  // Negated, so that NaN is refused too. The last instant is the end of the year 9999.
  if (!(maxAge > 0 && maxAge <= maximumLifetime && now >= 0 && now <= 253_402_300_799_999 - maximumLifetime)) {
    return new InvalidLifetime({ maxAge, now })
  }
  return undefined
}

/**
 * Returns the error that {@link set} would throw, or `undefined` for a cookie
 * that can be sent.
 *
 * **When to use**
 *
 * Before headers go out, with a value whose size depends on user data.
 *
 * @stability unstable
 * @category encoding
 * @since 0.1.0
 */
export const check = (cookie: SessionCookie, value: string, lifetime?: Lifetime): SessionCookieError | undefined => {
  const reason = problemOf(cookie, value, lifetime)
  return reason === undefined ? undefined : new SessionCookieError({ reason })
}

/**
 * Writes the `Set-Cookie` header that gives the client a value.
 *
 * **Details**
 *
 * Without a lifetime the cookie ends with the browser. With one it gets
 * `Max-Age` in whole seconds, rounded up so that a cookie never ends before its
 * session, and the same instant as `Expires`. Attributes stand in a fixed order.
 *
 * **Gotchas**
 *
 * Throws a {@link SessionCookieError} for a value or lifetime that {@link check}
 * refuses. Nothing is shortened in silence: a time left that was computed from
 * two clocks can pass 400 days by their difference, so bound it by the lifetime
 * in the configuration.
 *
 * @stability unstable
 * @category encoding
 * @since 0.1.0
 */
export const set = (cookie: SessionCookie, value: string, lifetime?: Lifetime): string => {
  const error = check(cookie, value, lifetime)
  if (error !== undefined) throw error
  if (lifetime === undefined) return `${cookie.name}=${value}${cookie.attributes}`
  const seconds = Math.ceil(lifetime.maxAge / 1000)
  const expires = new Date(lifetime.now + seconds * 1000).toUTCString()
  return `${cookie.name}=${value}; Max-Age=${seconds}; Expires=${expires}${cookie.attributes}`
}

/**
 * Writes the `Set-Cookie` header that removes the cookie from the client.
 *
 * **Details**
 *
 * Name, domain, path and partition are the ones {@link set} used, without which
 * a browser would keep the cookie. `Secure` is there too: a browser ignores an
 * insecure header for a secure cookie.
 *
 * @stability unstable
 * @category encoding
 * @since 0.1.0
 */
export const clear = (cookie: SessionCookie): string =>
  `${cookie.name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT${cookie.attributes}`
