/**
 * Binds sessions to properties of their client: the network of its address and
 * its `User-Agent`.
 *
 * A binding is taken when a session begins, and anew whenever somebody signs in or
 * the id is replaced. It is checked each time a request reads the session, and holds keyed hashes
 * only: whoever reads a store cannot find out an address by trying them all.
 *
 * A binding is a hint, not a proof. Addresses change while people move, and a
 * thief can copy a `User-Agent`. What a difference means is a policy:
 *
 * | policy | the request | the session |
 * | --- | --- | --- |
 * | `reject` | finds no session; the status is `invalid` | stays as it is: a thief cannot end it |
 * | `renew` | goes on | gets a new id, bound to the new client |
 * | `report` | goes on | stays as it is |
 *
 * All three publish the event `rejected`, for the reasons `binding`,
 * `binding renewed` and `binding reported`. Under `renew`, a request whose client
 * can get no new id is only reported: one with the access `data` or `read`, and one
 * whose response brings no token, as far as that is known when it reads.
 *
 * **Details**
 *
 * Addresses are compared as networks: an IPv4 address as it is, an IPv6 address by
 * its first 64 bits, since one client has as many of those as it likes. An
 * IPv4-mapped IPv6 address is the IPv4 address. What is not an address counts as
 * none, and so does an empty `User-Agent`. None is a value like any other: a
 * session that began without it is bound to a client without it. Of a
 * `User-Agent` the first 1,024 characters count.
 *
 * A session that began before its application bound sessions is not bound until
 * its id is replaced.
 *
 * **Gotchas**
 *
 * A client with both IPv4 and IPv6 may use either, from one request to the next.
 * Where that happens, bind the `User-Agent` alone, or use `report` or `renew`.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Mac from "effect/crypto/Mac"
import * as Effect from "effect/Effect"
import * as IpNetwork from "effect/net/IpNetwork"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import type { Binding, Client } from "./SessionData.ts"

/**
 * What happens to a request whose client is not the one that the session is
 * bound to.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Policy = "reject" | "renew" | "report"

/**
 * Bits of an address that are compared.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Prefixes {
  readonly ipv4: number
  readonly ipv6: number
}

/**
 * Options of a binding.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Whether the address counts, or how many bits of it: 32 of IPv4 and 64 of IPv6 by default. */
  readonly address?: boolean | { readonly ipv4?: number | undefined; readonly ipv6?: number | undefined } | undefined
  /** Whether the `User-Agent` counts; with `withoutVersions`, an update of the browser changes nothing. */
  readonly userAgent?: boolean | "withoutVersions" | undefined
  /** What a difference means, `reject` by default. */
  readonly policy?: Policy | undefined
}

/**
 * Validated options.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  readonly address: Prefixes | undefined
  readonly userAgent: "exact" | "withoutVersions" | undefined
  readonly policy: Policy
}

/**
 * Takes and checks bindings.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface ClientBinding {
  readonly policy: Policy
  /** The binding to a client. Without a client, to one without properties. */
  readonly bind: (client: Client | undefined) => Effect.Effect<Binding>
  /** Tells whether a client is the one of a binding, in constant time. What the binding does not hold is not compared. */
  readonly matches: (binding: Binding, client: Client | undefined) => Effect.Effect<boolean>
}

const policies: ReadonlyArray<string> = ["reject", "renew", "report"] satisfies ReadonlyArray<Policy>

/**
 * Returns the options as settings, or what is wrong with them.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const resolve = (
  options: Options
): { readonly settings: Settings; readonly problems: ReadonlyArray<string> } => {
  const problems: Array<string> = []
  const bits = (family: keyof Prefixes, input: number | undefined, most: number): number => {
    const given = input ?? (family === "ipv4" ? 32 : 64)
    if (Number.isSafeInteger(given) && given >= 1 && given <= most) return given
    problems.push(`binding.address.${family}: must be an integer from 1 to ${most}`)
    return most
  }
  const { address, userAgent } = options
  const policy = options.policy ?? "reject"
  if (!policies.includes(policy)) problems.push(`binding.policy: must be one of ${policies.join(", ")}`)
  const given = typeof address === "object" ? address : {}
  const settings: Settings = {
    address: address === undefined || address === false
      ? undefined
      : { ipv4: bits("ipv4", given.ipv4, 32), ipv6: bits("ipv6", given.ipv6, 128) },
    userAgent: userAgent === true ? "exact" : userAgent === false ? undefined : userAgent,
    policy
  }
  if (settings.address === undefined && settings.userAgent === undefined) {
    problems.push("binding: binds to nothing; set address or userAgent, or binding to false")
  }
  return { settings, problems }
}

const prefixBits = (name: string) => Config.Int(name).pipe(Config.withDefault(undefined))

/**
 * Options read from the environment, as part of `SessionConfig.env`: `undefined`,
 * which leaves the choice to the preset, where none is set.
 *
 * **Details**
 *
 * `SESSION_BINDING=false` binds to nothing, whatever else is set. Otherwise
 * `SESSION_BINDING_ADDRESS` is `true` or `false`, `SESSION_BINDING_IPV4` and
 * `SESSION_BINDING_IPV6` are the bits that count, and stand for an address that
 * does; `SESSION_BINDING_USER_AGENT` is `true`, `false` or `withoutVersions`, and
 * `SESSION_BINDING_POLICY` is `reject`, `renew` or `report`.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const env: Config.Config<Options | false | undefined> = Config.unwrap({
  on: Config.Boolean("BINDING").pipe(Config.withDefault(undefined)),
  address: Config.Boolean("BINDING_ADDRESS").pipe(Config.withDefault(undefined)),
  ipv4: prefixBits("BINDING_IPV4"),
  ipv6: prefixBits("BINDING_IPV6"),
  userAgent: Config.Literals(["true", "false", "withoutVersions"], "BINDING_USER_AGENT").pipe(
    Config.withDefault(undefined)
  ),
  policy: Config.Literals(["reject", "renew", "report"], "BINDING_POLICY").pipe(Config.withDefault(undefined))
}).pipe(
  Config.map(({ on, ...given }) => {
    if (on === false) return false
    const { address, ipv4, ipv6, policy, userAgent } = given
    const nothing = Object.values(given).every((value) => value === undefined)
    if (nothing && on === undefined) return undefined
    return {
      address: address !== false && (ipv4 !== undefined || ipv6 !== undefined) ? { ipv4, ipv6 } : address,
      userAgent: userAgent === "withoutVersions"
        ? userAgent
        : userAgent === undefined
        ? undefined
        : userAgent === "true",
      policy
    }
  })
)

// The longest address, with brackets, zone and port, is far shorter.
const longestAddress = 128
const longestAgent = 1024

// Within reason: whoever has many addresses must not fill the memory.
const rememberedNetworks = 1024

const parse = (text: string): NetAddress.IpAddress | undefined => {
  const bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text
  const zone = bare.indexOf("%")
  const ip = NetAddress.ipFromString(zone === -1 ? bare : bare.slice(0, zone))
  if (Result.isSuccess(ip)) return NetAddress.toCanonical(ip.success)
  const inet = NetAddress.inetAddressFromString(text)
  return Result.isSuccess(inet) ? NetAddress.toCanonical(inet.success.address) : undefined
}

/**
 * Returns the network of an address in its one canonical form, such as
 * `2001:db8::/64`, or `undefined` for what is not an address.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const networkOf = (address: string | undefined, prefixes: Prefixes): string | undefined => {
  if (address === undefined || address.length > longestAddress) return undefined
  const ip = parse(address)
  if (ip === undefined) return undefined
  const network = IpNetwork.fromAddress(ip, NetAddress.isIpv4Address(ip) ? prefixes.ipv4 : prefixes.ipv6)
  return Result.isSuccess(network) ? IpNetwork.format(network.success) : undefined
}

/**
 * Returns what counts of a `User-Agent`, or `undefined` for none.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const agentOf = (agent: string | undefined, mode: "exact" | "withoutVersions"): string | undefined => {
  if (agent === undefined || agent === "") return undefined
  const counts = agent.slice(0, longestAgent)
  return mode === "exact" ? counts : counts.replace(/\d+(?:[._]\d+)*/g, "0")
}

const utf8 = new TextEncoder()

const equal = (a: string, b: string): boolean => Mac.timingSafeEqual(utf8.encode(a), utf8.encode(b))

/**
 * Creates the functions that take and check bindings, with the keyed hash of
 * `Crypto.fingerprint`.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  settings: Settings,
  fingerprint: (text: string, like?: string) => Effect.Effect<string>
): ClientBinding => {
  const { address, policy, userAgent } = settings
  // A client comes back, and reading an address takes longer than all the rest.
  const networks = new Map<string, string>()
  const networkNamed = (prefixes: Prefixes, text: string | undefined): string => {
    if (text === undefined || text.length > longestAddress) return ""
    const known = networks.get(text)
    if (known !== undefined) return known
    const network = networkOf(text, prefixes) ?? ""
    if (networks.size >= rememberedNetworks) networks.clear()
    networks.set(text, network)
    return network
  }

  // Empty stands for none. The two kinds never have a hash in common.
  const networkText = (client: Client | undefined) =>
    address && `client address ${networkNamed(address, client?.address)}`
  const agentText = (client: Client | undefined) =>
    userAgent && `client agent ${agentOf(client?.agent, userAgent) ?? ""}`

  const hash = (text: string | undefined): Effect.Effect<string | undefined> =>
    text === undefined ? Effect.undefined : fingerprint(text)
  const same = (bound: string | undefined, text: string | undefined): Effect.Effect<boolean> =>
    bound === undefined || text === undefined
      ? Effect.succeed(true)
      : Effect.mapEager(fingerprint(text, bound), (now) => equal(bound, now))

  return {
    policy,
    bind: (client) =>
      Effect.flatMapEager(
        hash(networkText(client)),
        (address) => Effect.mapEager(hash(agentText(client)), (agent) => ({ address, agent }))
      ),
    matches: (binding, client) =>
      Effect.flatMapEager(
        same(binding.address, networkText(client)),
        (address) => Effect.mapEager(same(binding.agent, agentText(client)), (agent) => address && agent)
      )
  }
}
