/** Where a server is, and how to be let in. Nothing of it may reach a message. */
import * as Redacted from "effect/Redacted"
import { isIP } from "node:net"
import type { ConnectionOptions } from "node:tls"
import type { TlsOptions } from "../RedisClient.ts"

export interface Address {
  readonly host: string
  readonly port: number
  readonly database: number
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: ConnectionOptions | undefined
}

/** The parts of a url, or `undefined` if it is none of ours. */
export const parse = (
  url: Redacted.Redacted<string>,
  tls: TlsOptions | undefined,
  defaultPort = 6379
): Address | undefined => {
  const parsed = URL.parse(Redacted.value(url))
  if (parsed === null || (parsed.protocol !== "redis:" && parsed.protocol !== "rediss:")) return undefined
  // The driver would take query parameters for options of its own.
  if (parsed.hostname === "" || parsed.search !== "" || parsed.hash !== "") return undefined
  const database = /^\/?(\d{0,5})$/.exec(parsed.pathname)
  if (database === null) return undefined
  try {
    const password = decodeURIComponent(parsed.password)
    return {
      host: decodeURIComponent(parsed.hostname).replace(/^\[|\]$/g, ""),
      port: parsed.port === "" ? defaultPort : Number(parsed.port),
      database: Number(database[1]),
      // The form of AUTH without a user name is refused by a server that has no password.
      username: password === "" ? undefined : decodeURIComponent(parsed.username) || "default",
      password: password === "" ? undefined : password,
      tls: parsed.protocol === "redis:" ? undefined : {
        ca: tls?.ca,
        cert: tls?.cert,
        key: tls?.key === undefined ? undefined : Redacted.value(tls.key)
      }
    }
  } catch {
    return undefined
  }
}

/** Urls of servers without a database, or `undefined` if one is none or there are none. */
export const parseAll = (
  urls: ReadonlyArray<Redacted.Redacted<string>>,
  tls: TlsOptions | undefined,
  defaultPort: number
): ReadonlyArray<Address> | undefined => {
  const addresses = urls.flatMap((url) => parse(url, tls, defaultPort) ?? [])
  const complete = addresses.length === urls.length && addresses.length > 0
  return complete && addresses.every(({ database }) => database === 0) ? addresses : undefined
}

/** Another server, which takes the same user and password. */
export const at = (address: Address, host: string, port: number): Address => ({ ...address, host, port })

/** The url of a server, as {@link parse} reads it. */
export const urlOf = ({ database, host, password, port, tls, username }: Address): Redacted.Redacted<string> => {
  const user = password === undefined
    ? ""
    : `${encodeURIComponent(username ?? "")}:${encodeURIComponent(password)}@`
  const name = isIP(host) === 6 ? `[${host}]` : host
  return Redacted.make(`${tls === undefined ? "redis" : "rediss"}://${user}${name}:${port}/${database}`)
}

export const keyOf = ({ host, port }: { readonly host: string; readonly port: number }): string => `${host}:${port}`

/** What the handshake needs to know of the name, which the certificate must carry. */
export const tlsOf = ({ host, tls }: Address): ConnectionOptions | undefined =>
  tls === undefined || isIP(host) !== 0 ? tls : { ...tls, servername: host }
