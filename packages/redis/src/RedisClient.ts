/**
 * A connection to one Redis server that is fit for a request path.
 *
 * Every command ends within its time limit, also when the server is frozen.
 * While there is no connection commands fail at once instead of queueing, and no
 * command is ever sent twice. The connection is replaced by itself, after a
 * random and bounded delay. Retries, circuit breaking and what to do without
 * Redis are left to the layers above, which get a classified `RedisError`.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Connection from "./internal/connection.ts"
import { classify, RedisError, type RedisErrorReason, table } from "./RedisError.ts"

/**
 * Argument of a command. Bytes are sent as they are.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Argument = string | Uint8Array

/**
 * Reply to a command. Every text of the server, `OK` included, comes as bytes.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Reply = Buffer | number | null | ReadonlyArray<Reply>

/**
 * Whether the server can be written to, and if not, why.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Readiness =
  | { readonly _tag: "Ready" }
  | { readonly _tag: "NotReady"; readonly reason: RedisErrorReason }

/**
 * Service that sends commands to a Redis server.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class RedisClient extends Context.Service<RedisClient, {
  /** What the names of all keys of this application begin with. */
  readonly prefix: string

  /**
   * Sends one command and waits for its reply, at most `commandTimeout`.
   *
   * **Details**
   *
   * Commands sent at once share the connection and are not waited for one by
   * one. Interruption ends the wait; a command that has been sent is executed
   * all the same. The same is possible after a failure with `outcomeUnknown`.
   *
   * **Gotchas**
   *
   * The connection is shared. Commands that change its state, such as `SELECT`,
   * `MULTI`, `SUBSCRIBE` or `MONITOR`, would change it for everybody and die.
   * A command that blocks holds up all that follow.
   */
  readonly send: (command: string, ...args: ReadonlyArray<Argument>) => Effect.Effect<Reply, RedisError>

  /**
   * Checks that the server can be written to, by writing a key of one second's
   * life, `<prefix>ready`.
   *
   * **When to use**
   *
   * Use in a readiness probe. A server that answers `PING` and reads may still
   * refuse every write: as a replica, without replicas, out of memory, or when
   * it cannot persist. Liveness must not depend on Redis.
   */
  readonly ready: Effect.Effect<Readiness>
}>()("@effect-session/redis/RedisClient") {}

/**
 * Options of the client.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS,
   * with special characters of the password percent-encoded. Certificates are
   * checked against the certificate authorities Node knows; `NODE_EXTRA_CA_CERTS`
   * adds one.
   */
  readonly url: Redacted.Redacted<string>
  /** What all keys begin with, `session:` by default. The user needs write access to such keys. */
  readonly prefix?: string | undefined
  /**
   * Time from a command to its reply, 1 second by default. A connection that has
   * been silent for half as long again is replaced.
   */
  readonly commandTimeout?: Duration.Input | undefined
  /** Time to establish a connection, 2 seconds by default. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * Longest delay before the connection is tried again, 2 seconds by default.
   * Delays are drawn evenly between zero and a limit that doubles from 100
   * milliseconds up to this one.
   */
  readonly maxReconnectDelay?: Duration.Input | undefined
  /**
   * What to do when there is no connection at start:
   *
   * - `fail` (default): the layer fails after one attempt.
   * - `wait`: the layer tries again, and fails when `startTimeout` is over.
   * - `continue`: the layer is built after one attempt, and commands fail until
   *   Redis is there.
   *
   * What waiting cannot mend, a refused password for example, always fails.
   */
  readonly onUnavailableAtStart?: "fail" | "wait" | "continue" | undefined
  /** How long `wait` waits, 30 seconds by default. */
  readonly startTimeout?: Duration.Input | undefined
}

const positiveMillis = (name: string, input: Duration.Input): number => {
  const millis = Duration.toMillis(Duration.fromInputUnsafe(input))
  if (!Number.isFinite(millis) || millis < 1) {
    throw new RangeError(`RedisClient: ${name} must be finite and at least 1 millisecond`)
  }
  return millis
}

const shortestReconnectLimit = 100

// Their effect would outlast the command, on a connection that everybody shares.
const stateful: ReadonlySet<string> = new Set(
  [
    "MULTI EXEC DISCARD WATCH UNWATCH",
    "SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE",
    "AUTH HELLO MONITOR QUIT RESET SELECT"
  ].flatMap((names) => names.split(" "))
)

const toReply = (value: unknown): Reply => {
  if (value === null || typeof value === "number" || Buffer.isBuffer(value)) return value
  if (Array.isArray(value)) return value.map(toReply)
  // An error among the elements of an array, or nothing RESP2 can say.
  throw value
}

// The driver would send other views than its own as text.
const toBytes = (argument: Argument): string | Buffer =>
  typeof argument === "string" || Buffer.isBuffer(argument)
    ? argument
    : Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength)

// As seen by a command that comes while there is no connection: it was not sent.
const whileDown = (reason: RedisErrorReason): RedisErrorReason =>
  reason._tag === "ConnectionLost" || reason._tag === "Timeout"
    ? { ...table.NotConnected, code: reason.code }
    : { ...reason, outcomeUnknown: false }

/**
 * Creates a client whose connection lives in the current scope.
 *
 * **Details**
 *
 * Closing the scope takes no more commands, lets those in flight end within
 * their time limit, and closes the connection.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make: (options: Options) => Effect.Effect<RedisClient["Service"], RedisError, Scope.Scope> = Effect
  .fnUntraced(function*(options: Options) {
    const address = Connection.parseUrl(Redacted.value(options.url))
    if (address === undefined) return yield* new RedisError({ reason: table.InvalidUrl, command: undefined })
    const prefix = options.prefix ?? "session:"
    const timeouts: Connection.Timeouts = {
      command: positiveMillis("commandTimeout", options.commandTimeout ?? "1 second"),
      connect: positiveMillis("connectTimeout", options.connectTimeout ?? "2 seconds")
    }
    const maxDelay = positiveMillis("maxReconnectDelay", options.maxReconnectDelay ?? "2 seconds")
    const startTimeout = positiveMillis("startTimeout", options.startTimeout ?? "30 seconds")
    const atStart = options.onUnavailableAtStart ?? "fail"

    const started = yield* Deferred.make<void, RedisError>()
    const drained = yield* Deferred.make<void>()
    let connection: Connection.Connection | undefined
    let down: RedisErrorReason = table.NotConnected
    let openedAt: bigint | undefined
    let inFlight = 0
    let closing = false

    const life = Effect.scoped(Effect.gen(function*() {
      const opened = yield* Connection.open(address, timeouts)
      openedAt = yield* Clock.monotonicTimeNanos
      down = table.NotConnected
      if (!closing) connection = opened
      yield* Deferred.succeed(started, undefined)
      return yield* opened.closed
    })).pipe(
      Effect.catch((reason) => {
        const giveUp = atStart === "fail" || !reason.infrastructure
        if (!giveUp && atStart === "wait") return Effect.succeed(reason)
        const first = giveUp
          ? Deferred.fail(started, new RedisError({ reason: whileDown(reason), command: undefined }))
          : Deferred.succeed(started, undefined)
        return Effect.as(first, reason)
      }),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          connection = undefined
          if (Exit.isSuccess(exit)) down = whileDown(exit.value)
        })
      )
    )

    const supervise = Effect.gen(function*() {
      let limit = shortestReconnectLimit
      while (true) {
        openedAt = undefined
        yield* life
        // A connection that ends soon is no recovery: a replica, say, that loses it with every write.
        if (openedAt !== undefined && Number((yield* Clock.monotonicTimeNanos) - openedAt) / 1e6 >= maxDelay) {
          limit = shortestReconnectLimit
        }
        const delay = (yield* Random.next) * Math.min(limit, maxDelay)
        limit = Math.min(limit * 2, maxDelay)
        yield* Effect.sleep(delay)
      }
    })

    yield* Effect.forkScoped(supervise)
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        closing = true
        connection = undefined
        down = table.NotConnected
        return inFlight === 0 ? Effect.void : Deferred.await(drained)
      })
    )

    const failed = (command: string, reason: RedisErrorReason) => Effect.fail(new RedisError({ reason, command }))

    const send = (name: string, ...args: ReadonlyArray<Argument>): Effect.Effect<Reply, RedisError> =>
      Effect.callback((resume) => {
        // Upper case is also what keeps the driver from reshaping replies.
        const command = name.toUpperCase()
        if (stateful.has(command)) {
          return resume(Effect.die(new RangeError(`RedisClient.send: ${command} would change the shared connection`)))
        }
        const promise = connection?.call(command, args.map(toBytes))
        if (promise === undefined) return resume(failed(command, down))
        inFlight++
        promise.then(toReply).then(Effect.succeed, (cause) => failed(command, classify(cause))).then((exit) => {
          inFlight--
          if (closing && inFlight === 0) Deferred.doneUnsafe(drained, Effect.void)
          resume(exit)
        })
      })

    const ready = send("SET", `${prefix}ready`, "1", "PX", "1000").pipe(
      Effect.match({
        onSuccess: (): Readiness => ({ _tag: "Ready" }),
        onFailure: ({ reason }): Readiness => ({ _tag: "NotReady", reason })
      })
    )

    const start = Deferred.await(started)
    yield* atStart !== "wait" ? start : start.pipe(
      Effect.timeoutOrElse({
        duration: startTimeout,
        orElse: () => Effect.suspend(() => Effect.fail(new RedisError({ reason: down, command: undefined })))
      })
    )
    return RedisClient.of({ prefix, send, ready })
  })

/**
 * Provides a client of one server.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<RedisClient, RedisError> =>
  Layer.effect(RedisClient, make(options))

/**
 * Provides a client of one server from wrapped configuration options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<RedisClient, RedisError | Config.ConfigError> =>
  Layer.effect(RedisClient, Effect.flatMap(Config.unwrap(options), make))
