/** A small model of a browser's cookie store: draft-ietf-httpbis-rfc6265bis, sections 5.4 to 5.7, and CHIPS. */

export interface ParsedCookie {
  readonly name: string
  readonly value: string
  /** In order, names as sent. */
  readonly attributes: ReadonlyArray<readonly [name: string, value: string]>
}

const trim = (text: string) => text.replace(/^[ \t]+|[ \t]+$/g, "")

const pair = (text: string): readonly [string, string] => {
  const at = text.indexOf("=")
  return at === -1 ? [trim(text), ""] : [trim(text.slice(0, at)), trim(text.slice(at + 1))]
}

export const parseSetCookie = (header: string): ParsedCookie => {
  const [first, ...rest] = header.split(";")
  const [name, value] = pair(first)
  return { name, value, attributes: rest.map(pair) }
}

export interface Place {
  readonly host: string
  readonly path: string
  readonly secure: boolean
  /** Site of the page at the top, for partitioned cookies. */
  readonly topLevelSite: string
}

interface Stored {
  readonly name: string
  readonly value: string
  readonly domain: string
  readonly hostOnly: boolean
  readonly path: string
  readonly secure: boolean
  readonly partition: string | undefined
  readonly expires: number | undefined
}

const domainMatches = (host: string, domain: string) => host === domain || host.endsWith(`.${domain}`)

const pathMatches = (path: string, cookiePath: string) =>
  path === cookiePath ||
  (path.startsWith(cookiePath) && (cookiePath.endsWith("/") || path[cookiePath.length] === "/"))

export class CookieJar {
  readonly #cookies = new Map<string, Stored>()

  get size(): number {
    return this.#cookies.size
  }

  /** Returns whether the header was accepted, as a storage or as a removal. */
  setCookie(header: string, place: Place, now: number): boolean {
    const { attributes, name, value } = parseSetCookie(header)
    const last = (attribute: string) => attributes.findLast(([key]) => key.toLowerCase() === attribute)?.[1]
    if (name.length + value.length > 4096 || attributes.some(([, text]) => text.length > 1024)) return false
    if ([...header].some((character) => character < " " && character !== "\t")) return false

    const secure = last("secure") !== undefined
    const givenDomain = last("domain")?.replace(/^\./, "").toLowerCase()
    const givenPath = last("path")
    const path = givenPath !== undefined && givenPath.startsWith("/") ? givenPath : "/"
    const prefixed = (prefix: string) => name.toLowerCase().startsWith(prefix)
    if (secure && !place.secure) return false
    if (givenDomain !== undefined && !domainMatches(place.host, givenDomain)) return false
    if (last("samesite")?.toLowerCase() === "none" && !secure) return false
    if (last("partitioned") !== undefined && !secure) return false
    if ((prefixed("__secure-") || prefixed("__http-")) && !secure) return false
    if (prefixed("__host-") && (!secure || givenDomain !== undefined || givenPath !== "/")) return false
    if ((prefixed("__http-") || prefixed("__host-http-")) && last("httponly") === undefined) return false

    const partition = last("partitioned") === undefined ? undefined : place.topLevelSite
    const domain = givenDomain ?? place.host
    const maxAge = last("max-age")
    const expiresText = last("expires")
    const expires = maxAge !== undefined
      ? (Number(maxAge) <= 0 ? Number.NEGATIVE_INFINITY : now + Number(maxAge) * 1000)
      : expiresText !== undefined
      ? Date.parse(expiresText)
      : undefined
    const key = JSON.stringify([name, domain, givenDomain === undefined, path, partition])
    this.#cookies.delete(key)
    if (expires === undefined || expires > now) {
      this.#cookies.set(key, {
        name,
        value,
        domain,
        hostOnly: givenDomain === undefined,
        path,
        secure,
        partition,
        expires
      })
    }
    return true
  }

  /** The `Cookie` header of a same-site request to a place, or `undefined`. */
  header(place: Place, now: number): string | undefined {
    const sent = [...this.#cookies.values()].filter((cookie) =>
      (cookie.hostOnly ? place.host === cookie.domain : domainMatches(place.host, cookie.domain)) &&
      pathMatches(place.path, cookie.path) &&
      (!cookie.secure || place.secure) &&
      (cookie.partition === undefined || cookie.partition === place.topLevelSite) &&
      (cookie.expires === undefined || cookie.expires > now)
    )
    if (sent.length === 0) return undefined
    return sent.map(({ name, value }) => (name === "" ? value : `${name}=${value}`)).join("; ")
  }
}
