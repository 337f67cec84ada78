/**
 * Carries the messages of `Invalidation` over Redis: by pub/sub, and on a Redis
 * Cluster by sharded pub/sub, where a message goes to the servers of one slot
 * only.
 *
 * Messages go out through the `RedisClient` of the application. They come in on a
 * connection of their own, which is replaced when it ends, when the slot of the
 * channel moves, or when this node does not hear itself any more.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { Crypto } from "@effect-session/core/Crypto"
import { RedisClient, type TlsOptions } from "@effect-session/redis/RedisClient"
import * as RedisSubscription from "@effect-session/redis/RedisSubscription"
import * as Config from "effect/Config"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import {
  defaultChannel,
  Invalidation,
  make as makeNode,
  type Options as ChannelOptions,
  type Receiver
} from "./Invalidation.ts"
import { ChannelUnavailable, InvalidationError, SubscribeTimeout } from "./InvalidationError.ts"

/**
 * Options of a channel over Redis.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options extends ChannelOptions {
  /**
   * Where to listen: the url of the server that the `RedisClient` uses, or of some
   * nodes of its cluster. A database in it makes no difference.
   */
  readonly urls: ReadonlyArray<Redacted.Redacted<string>>
  /** For `rediss://`. By default certificates are checked against the authorities Node knows. */
  readonly tls?: TlsOptions | undefined
  /** Time from the start to the confirmed subscription, 5 seconds by default. */
  readonly subscribeTimeout?: Duration.Input | undefined
  /** Time for a handshake, again for the password, and again for a subscription; 1 second by default. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * What to do when the time is over at start: `fail` (default), or `continue`
   * without copies until there is a subscription.
   */
  readonly onUnavailableAtStart?: "fail" | "continue" | undefined
}

// The longest that a timer waits.
const longest = 2 ** 31 - 1

const millis = (name: string, input: Duration.Input): number => {
  const value = Duration.toMillis(Duration.fromInputUnsafe(input))
  if (!(value >= 1 && value <= longest)) {
    throw new RangeError(`RedisInvalidation: ${name} must be from 1 to ${longest} milliseconds, got ${value}`)
  }
  return value
}

// Redirections in a row: a slot that is on its way needs two or three.
const maxMoves = 5

const longestDelay = 1000

/**
 * Creates a node on a channel over Redis. Everything it opens is closed with the
 * current scope.
 *
 * **Details**
 *
 * The heartbeat is 1 second, unless another one is given. A message is handed over
 * up to three times before it counts as failed; whoever hears it twice drops the
 * second.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options that `Invalidation.make` refuses, for times
 * below 1 millisecond or above 24 days, and without a valid url. Several urls are
 * the nodes of a cluster, and one that is not one of them is of no use: with a
 * `RedisClient` of one server name that server alone, else the effect dies.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options
): Effect.Effect<Invalidation["Service"], InvalidationError, RedisClient | Crypto | Scope.Scope> => {
  const channel = options.channel ?? defaultChannel
  const subscribeTimeout = millis("subscribeTimeout", options.subscribeTimeout ?? "5 seconds")
  const timeout = millis("connectTimeout", options.connectTimeout ?? "1 second")
  const { tls, urls } = options
  if (urls.length === 0 || !urls.every(RedisSubscription.isUrl)) {
    throw new RangeError("RedisInvalidation: urls must be urls of Redis servers, at least one")
  }
  const channelOptions = { ...options, heartbeat: options.heartbeat ?? "1 second", channel }
  // Mistakes show where the layer is written.
  makeNode({ send: () => Effect.void, renew: () => {} }, channelOptions)
  return Effect.gen(function*() {
    const client = yield* RedisClient
    const sharded = client.clustered
    if (!sharded && urls.length > 1) {
      return yield* Effect.die(
        new RangeError("RedisInvalidation: the RedisClient is of one server, and several urls are given")
      )
    }
    const renewal = Latch.makeUnsafe(false)
    const node = yield* makeNode(
      {
        send: (frame) =>
          client.send(sharded ? "SPUBLISH" : "PUBLISH", channel, frame).pipe(
            Effect.retry(Schedule.upTo(Schedule.spaced("50 millis"), { times: 2 })),
            Effect.mapError((cause) => new ChannelUnavailable({ cause })),
            Effect.asVoid
          ),
        renew: () => void renewal.openUnsafe()
      },
      channelOptions
    )
    const ready = yield* Deferred.make<void>()
    yield* Effect.forkScoped(listening(node.receiver, urls, { channel, sharded, timeout, tls }, renewal, ready))
    const waited = yield* Effect.timeoutOption(Deferred.await(ready), subscribeTimeout)
    if (waited._tag === "None" && options.onUnavailableAtStart !== "continue") {
      return yield* Effect.fail(new InvalidationError({ reason: new SubscribeTimeout() }))
    }
    return node.service
  })
}

// Subscribes, and again when that has come to an end.
const listening = Effect.fnUntraced(function*(
  receiver: Receiver,
  urls: Options["urls"],
  settings: Omit<RedisSubscription.Options, "onMessage">,
  renewal: Latch.Latch,
  ready: Deferred.Deferred<void>
) {
  let turn = yield* Random.nextIntBetween(0, urls.length - 1)
  let moves = 0
  let failures = 0
  let target: Redacted.Redacted<string> | undefined

  const life = (url: Redacted.Redacted<string>) =>
    Effect.scoped(Effect.gen(function*() {
      const subscription = yield* RedisSubscription.open(url, { ...settings, onMessage: receiver.accept })
      renewal.closeUnsafe()
      failures = 0
      moves = 0
      receiver.connected()
      yield* Deferred.succeed(ready, undefined)
      yield* Effect.raceFirst(subscription.closed, renewal.await)
    })).pipe(
      Effect.ensuring(Effect.sync(() => receiver.disconnected())),
      Effect.as(undefined),
      Effect.catch((reason) => Effect.succeed(reason))
    )

  while (true) {
    const reason = yield* life(target ?? urls[turn++ % urls.length])
    target = undefined
    if (reason?._tag === "Moved" && moves < maxMoves) {
      moves++
      target = reason.url
      continue
    }
    moves = 0
    if (reason !== undefined) failures++
    const limit = Math.min(longestDelay, 25 * 2 ** Math.min(failures, 6))
    yield* Effect.sleep((yield* Random.next) * limit)
  }
})

/**
 * Provides a node on a channel over Redis.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options that {@link make} refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<Invalidation, InvalidationError, RedisClient | Crypto> => Layer.effect(Invalidation, make(options))

/**
 * Provides a node on a channel over Redis from wrapped configuration options. The
 * url is read from `REDIS_URL` by default.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Partial<Options>> = {}
): Layer.Layer<Invalidation, InvalidationError | Config.ConfigError, RedisClient | Crypto> =>
  Layer.effect(
    Invalidation,
    Effect.gen(function*() {
      const given = yield* Config.unwrap<Partial<Options>>(options)
      return yield* make({ ...given, urls: given.urls ?? [yield* Config.Redacted("REDIS_URL")] })
    })
  )
