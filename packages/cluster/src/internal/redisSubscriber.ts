/**
 * One subscription on a connection of its own: opened once, heard, and thrown away. The driver never reconnects or
 * subscribes again by itself, because what was said meanwhile would be missing without anybody knowing.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Redis } from "ioredis"
import { isIP } from "node:net"
import type { ConnectionOptions } from "node:tls"
import { ChannelUnavailable } from "../InvalidationError.ts"

export interface Address {
  readonly host: string
  readonly port: number
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: ConnectionOptions | undefined
}

export interface Settings {
  readonly channel: string
  /** Whether the channel belongs to the slot of its name. */
  readonly sharded: boolean
  /** Milliseconds for the handshake, and again for the subscription. */
  readonly timeout: number
  readonly onFrame: (frame: string) => void
}

export interface Subscription {
  /** Waits for the end: of the connection, or of the slot on this server. */
  readonly closed: Effect.Effect<void>
}

/** Another server serves the slot of the channel. */
export interface Moved {
  readonly _tag: "Moved"
  readonly to: Address
}

export const parse = (url: Redacted.Redacted<string>, tls: ConnectionOptions | undefined): Address | undefined => {
  const parsed = URL.parse(Redacted.value(url))
  if (parsed === null || (parsed.protocol !== "redis:" && parsed.protocol !== "rediss:") || parsed.hostname === "") {
    return undefined
  }
  // As for the client: what looks like more than an address may be a password that was not encoded.
  if (parsed.search !== "" || parsed.hash !== "" || !/^\/?\d{0,5}$/.test(parsed.pathname)) return undefined
  try {
    const password = decodeURIComponent(parsed.password)
    return {
      host: decodeURIComponent(parsed.hostname).replace(/^\[|\]$/g, ""),
      port: parsed.port === "" ? 6379 : Number(parsed.port),
      username: password === "" ? undefined : decodeURIComponent(parsed.username) || "default",
      password: password === "" ? undefined : password,
      tls: parsed.protocol === "redis:" ? undefined : tls ?? {}
    }
  } catch {
    return undefined
  }
}

const connect = ({ host, password, port, tls, username }: Address, timeout: number): Redis =>
  new Redis({
    host,
    port,
    username,
    password,
    ...tls === undefined ? {} : { tls: isIP(host) === 0 ? { ...tls, servername: host } : tls },
    protocol: 2,
    disableClientInfo: true,
    lazyConnect: true,
    connectTimeout: timeout,
    commandTimeout: timeout,
    // Half-closing waits for a peer that may be frozen.
    disconnectTimeout: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    retryStrategy: null,
    enableReadyCheck: false
  })

const close = (client: Redis): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (client.status === "end") return resume(Effect.void)
    client.once("end", () => resume(Effect.void))
    client.disconnect()
  })

const movedTo = (cause: unknown, from: Address): Moved | undefined => {
  const [, host, port] = cause instanceof Error ? /^MOVED \d+ (.*):(\d+)$/.exec(cause.message) ?? [] : []
  return port === undefined
    ? undefined
    : { _tag: "Moved", to: { ...from, host: host || from.host, port: Number(port) } }
}

export const open: (
  address: Address,
  settings: Settings
) => Effect.Effect<Subscription, ChannelUnavailable | Moved, Scope.Scope> = Effect.fnUntraced(
  function*(address, { channel, onFrame, sharded, timeout }) {
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const client = connect(address, timeout)
        // Every failure shows in what was being waited for.
        client.on("error", () => {})
        client.on(sharded ? "smessage" : "message", (_channel: string, frame: string) => onFrame(frame))
        return client
      }),
      close
    )
    const failed = (cause: unknown): ChannelUnavailable | Moved =>
      movedTo(cause, address) ?? new ChannelUnavailable({ cause })
    yield* Effect.tryPromise({ try: () => client.connect(), catch: failed })
    let moved = false
    const onMoved = () => {
      moved = true
    }
    client.on("moved", onMoved)
    yield* Effect.tryPromise({
      try: () => sharded ? client.ssubscribe(channel) : client.subscribe(channel),
      catch: failed
    })
    return {
      closed: Effect.callback((resume) => {
        const ended = () => resume(Effect.void)
        if (client.status === "end" || moved) return ended()
        client.once("end", ended)
        client.once("moved", ended)
        return Effect.sync(() => {
          client.off("end", ended)
          client.off("moved", ended)
        })
      })
    }
  }
)
