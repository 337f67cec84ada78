/**
 * Hears one channel of Redis, on a connection of its own.
 *
 * It is opened once, heard, and closed with its scope. It never connects or
 * subscribes again by itself: what was said meanwhile would be missing without
 * anybody knowing. Whoever goes on listening opens another one, and looks anew at
 * what the messages were about.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Address from "./internal/address.ts"
import * as Driver from "./internal/driver.ts"
import * as TimeLimit from "./internal/timeLimit.ts"
import type { TlsOptions } from "./RedisClient.ts"
import { classify, RedisError, table } from "./RedisError.ts"

/**
 * Options of a subscription.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Name of the channel, as it is: nothing is put before it. */
  readonly channel: string
  /** Whether the channel belongs to the slot of its name, on a Redis Cluster; `false` by default. */
  readonly sharded?: boolean | undefined
  /** For `rediss://`. By default certificates are checked against the authorities Node knows. */
  readonly tls?: TlsOptions | undefined
  /** Time for the handshake, again for the password, and again for the subscription; 1 second by default. */
  readonly timeout?: Duration.Input | undefined
  /** Called with every message, from the first one on, and not after the scope has closed. Must not throw. */
  readonly onMessage: (message: string) => void
}

/**
 * A subscription that the server has confirmed.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface RedisSubscription {
  /** Waits for the end: of the connection, or of the slot on this server. */
  readonly closed: Effect.Effect<void>
}

/**
 * Failure that says which server the slot of a sharded channel is on.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class Moved extends Data.TaggedError("Moved")<{
  /** That server, for the same user. */
  readonly url: Redacted.Redacted<string>
}> {
  override get message(): string {
    return "Another server serves the slot of the channel"
  }
}

/**
 * Whether a text is the url of a server. A database in it makes no difference to
 * a channel.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isUrl = (url: Redacted.Redacted<string>): boolean => Address.parse(url, undefined) !== undefined

const movedTo = (cause: unknown, from: Address.Address): Moved | undefined => {
  const [, host, port] = cause instanceof Error ? /^MOVED \d+ (.*):(\d+)$/.exec(cause.message) ?? [] : []
  if (port === undefined) return undefined
  const url = Address.urlOf(Address.at(from, host || from.host, Number(port)))
  // A server may not know under which name the other one is reached.
  return isUrl(url) ? new Moved({ url }) : undefined
}

/**
 * Subscribes to a channel, and hears it until the scope closes or the connection
 * ends.
 *
 * **Details**
 *
 * Fails with a `RedisError` when there is no connection or no confirmation in
 * time, and with `Moved` when another server of the cluster has the slot of a
 * sharded channel. Dies with a `RangeError` for a timeout below 1 millisecond or
 * above 24 days. The user needs the right to `SUBSCRIBE`, or `SSUBSCRIBE`, and to
 * the channel.
 *
 * **Gotchas**
 *
 * A server that falls silent is not noticed, as long as its machine answers for
 * it: publish something from time to time, and open another subscription when it
 * is not heard. Messages may be lost without a trace when the connection ends.
 *
 * **Example** (Hearing until the connection ends)
 *
 * ```ts
 * import { RedisSubscription } from "@effect-session/redis"
 * import { Console, Effect, type Redacted } from "effect"
 *
 * const listen = (url: Redacted.Redacted<string>) =>
 *   Effect.scoped(Effect.gen(function*() {
 *     const heard: Array<string> = []
 *     const subscription = yield* RedisSubscription.open(url, {
 *       channel: "news",
 *       onMessage: (message) => heard.push(message)
 *     })
 *     yield* subscription.closed
 *     yield* Console.log(`${heard.length} messages; what came since is not known`)
 *   }))
 * ```
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const open: (
  url: Redacted.Redacted<string>,
  options: Options
) => Effect.Effect<RedisSubscription, RedisError | Moved, Scope.Scope> = Effect.fnUntraced(
  function*(url, { channel, onMessage, sharded = false, timeout, tls }) {
    const given = Address.parse(url, tls)
    if (given === undefined) return yield* new RedisError({ reason: table.InvalidUrl, command: undefined })
    const address = { ...given, database: 0 }
    const limit = TimeLimit.millis("RedisSubscription: timeout", timeout ?? "1 second")
    const { client, connect, failure } = yield* Driver.make(address, { connect: limit, command: limit })
    client.on(sharded ? "smessage" : "message", (_channel: string, message: string) => onMessage(message))
    yield* Effect.mapError(connect, (reason) => new RedisError({ reason, command: undefined }))
    let moved = false
    client.on("moved", () => {
      moved = true
    })
    yield* Effect.tryPromise({
      try: () => sharded ? client.ssubscribe(channel) : client.subscribe(channel),
      catch: (cause) =>
        movedTo(cause, address) ??
          new RedisError({ reason: failure() ?? classify(cause), command: sharded ? "SSUBSCRIBE" : "SUBSCRIBE" })
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
