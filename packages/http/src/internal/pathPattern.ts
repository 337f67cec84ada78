/** A path, or `/*` at the end for everything below one. */
export interface PathPattern {
  readonly path: string
  readonly below: boolean
}

// Not in it: `;`, which routers take for the start of a query, `\`, which browsers take for `/`, blanks and non-ASCII.
const plain = /^(?:\/[A-Za-z0-9._~!$&'()*+,=:@%-]*)+$/
// Encoded dots, slashes, percent signs, delimiters and control characters: routers differ in when they decode them.
const doubtful = /%(?:2e|2f|5c|25|3b|3f|23|[01][0-9a-f]|7f|(?![0-9a-f]{2}))/i

/** The path of a request target, without its query. */
export const pathOf = (target: string): string => {
  const end = target.search(/[?#]/)
  return end === -1 ? target : target.slice(0, end)
}

/**
 * The one spelling of a path, `undefined` where two programs could read it in two ways: dot segments, empty segments,
 * parameters, encoded delimiters, anything but a path.
 */
export const canonical = (path: string): string | undefined => {
  if (!plain.test(path) || path.includes("//") || doubtful.test(path)) return undefined
  if (/\/\.\.?(?:\/|$)/.test(path)) return undefined
  const stem = path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path
  if (!stem.includes("%")) return stem
  try {
    return decodeURIComponent(stem)
  } catch {
    return undefined
  }
}

const shape = "must be a path such as /about, or /assets/* for everything below one, without query and dot segments"

/** Reads a pattern, or says what is wrong with it. */
export const parse = (pattern: string): PathPattern | string => {
  if (typeof pattern !== "string") return shape
  const below = pattern.endsWith("/*")
  const path = below ? pattern.slice(0, -2) : pattern
  if (below && path === "") return "must not be /*, which lets everything through"
  const known = canonical(encodeURI(path).replaceAll("%25", "%"))
  if (known === undefined || path.includes("*") || (path.length > 1 && path.endsWith("/"))) return shape
  return { path: known, below }
}

/** Whether one of the patterns matches a path in its one spelling, letter by letter. */
export const matches = (patterns: ReadonlyArray<PathPattern>, path: string): boolean =>
  patterns.some((pattern) => pattern.below ? path.startsWith(`${pattern.path}/`) : path === pattern.path)
