/**
 * Where to go after signing in: paths of the application's own origin, and
 * nothing else.
 *
 * A target comes back from the client, in a query or a form, so anybody can make
 * one. A redirect to `//attacker.example` would send a user who has just signed in
 * to a copy of the site.
 *
 * @stability unstable
 * @since 0.1.0
 */

/**
 * Most characters of a target.
 *
 * @stability unstable
 * @category limits
 * @since 0.1.0
 */
export const maximumLength = 2048

// Visible ASCII without a backslash, which browsers take for a slash.
const visible = /^\/[!-[\]-~]*$/
const base = "http://origin.invalid"

const normalize = (value: string): string | undefined => {
  if (value.length > maximumLength || !visible.test(value)) return undefined
  // What a proxy might decode on its way: a second slash at the start, and control characters anywhere.
  if (/^\/(?:\/|%2f|%5c)/i.test(value) || /%(?:[01][0-9a-f]|7f)/i.test(value)) return undefined
  if (!URL.canParse(value, base)) return undefined
  const { hash, origin, pathname, search } = new URL(value, base)
  // Dot segments are gone by now, and may have left two slashes at the start.
  return origin === base && !/^\/(?:\/|%2f|%5c)/i.test(pathname) ? pathname + search + hash : undefined
}

/**
 * Whether a value is a target: an absolute path with its query.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isTarget = (value: unknown): value is string => typeof value === "string" && normalize(value) !== undefined

/**
 * Returns the target that a client gave back, with dot segments resolved, or the
 * fallback, `/` by default, for anything else.
 *
 * **Example** (Going back after signing in)
 *
 * ```ts
 * import * as RedirectTarget from "@effect-session/http/RedirectTarget"
 *
 * console.log(RedirectTarget.fromInput("/notes?tag=a")) // => /notes?tag=a
 * console.log(RedirectTarget.fromInput("//attacker.example", "/home")) // => /home
 * ```
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const fromInput = (value: unknown, fallback = "/"): string =>
  (typeof value === "string" ? normalize(value) : undefined) ?? fallback
