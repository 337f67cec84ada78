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
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Address from "./internal/address.ts"
import * as Client from "./internal/client.ts"
import * as Connection from "./internal/connection.ts"
import * as Sentinel from "./internal/sentinel.ts"
import { RedisError, type RedisErrorReason, table } from "./RedisError.ts"

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
 * One server, or one connection to it.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Server {
  /** Sends one command to this server, and waits for its reply. */
  readonly send: (command: string, ...args: ReadonlyArray<Argument>) => Effect.Effect<Reply, RedisError>
}

/**
 * Service that sends commands to Redis: to one server, to the master that
 * sentinels name, or to the masters of a cluster.
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
  readonly send: Server["send"]

  /** Whether keys of different hash slots live on different servers. */
  readonly clustered: boolean

  /**
   * Every master, for what concerns all keys: one, or all of a cluster.
   *
   * **Details**
   *
   * A command goes to that server only, and is not redirected.
   */
  readonly masters: Effect.Effect<ReadonlyArray<Server>, RedisError>

  /**
   * Lends a connection of its own to a master, for commands that block.
   *
   * **Details**
   *
   * It comes from a pool of `dedicatedConnections`; whoever finds it empty waits
   * `checkoutTimeout` at most, and fails with `PoolTimeout`. It goes back when
   * the scope closes, unless it broke or a reply is still to come: then it is
   * closed. A command ends within `commandTimeout` after the time that it asks
   * the server to block.
   *
   * **Gotchas**
   *
   * A command that would block without end dies. In a cluster use `dedicatedFor`.
   */
  readonly dedicated: Effect.Effect<Server, RedisError, Scope.Scope>

  /** The same, to the master of this key. */
  readonly dedicatedFor: (key: string) => Effect.Effect<Server, RedisError, Scope.Scope>

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
 * Options of TLS connections, which `rediss://` asks for. Texts are PEM.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface TlsOptions {
  /** Certificate authorities that are trusted instead of those Node knows. */
  readonly ca?: string | undefined
  /** Certificate of the client, where the server asks for one. */
  readonly cert?: string | undefined
  /** Private key of that certificate. */
  readonly key?: Redacted.Redacted<string> | undefined
}

/**
 * Options of every client.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface BaseOptions {
  /** For `rediss://`. By default certificates are checked against the authorities Node knows. */
  readonly tls?: TlsOptions | undefined
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
   * Longest delay before the connection is tried again, 1 second by default.
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
  /** How many connections `dedicated` lends at once, 5 by default. They are opened when needed. */
  readonly dedicatedConnections?: number | undefined
  /** How long `dedicated` waits for one of them, 5 seconds by default. */
  readonly checkoutTimeout?: Duration.Input | undefined
}

/**
 * What options are when they are not given.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export const defaults: typeof Client.defaults = Client.defaults

/**
 * Options of the client of one server.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options extends BaseOptions {
  /**
   * `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS,
   * with special characters of the password percent-encoded.
   */
  readonly url: Redacted.Redacted<string>
}

/**
 * Options of the client of the master that sentinels name.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface SentinelOptions extends BaseOptions {
  /**
   * As for one server, with the name of the master as its host and without a
   * port: `redis://[user:password@]mymaster[/database]`.
   */
  readonly url: Redacted.Redacted<string>
  /** Urls of the sentinels, each with its own user and password, if it asks for them. Name them all. */
  readonly sentinels: ReadonlyArray<Redacted.Redacted<string>>
}

/**
 * Options of the client of a cluster.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface ClusterOptions extends BaseOptions {
  /**
   * Urls of some nodes, without a database. The others are found through them,
   * and take the same user and password.
   */
  readonly nodes: ReadonlyArray<Redacted.Redacted<string>>
}

const invalidUrl = new RedisError({ reason: table.InvalidUrl, command: undefined })

/**
 * Creates a client of one server whose connections live in the current scope.
 *
 * **Details**
 *
 * Closing the scope takes no more commands, lets those in flight end within
 * their time limit, and closes the connections.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make: (options: Options) => Effect.Effect<RedisClient["Service"], RedisError, Scope.Scope> = Effect
  .fnUntraced(function*(options: Options) {
    const address = Address.parse(options.url, options.tls)
    if (address === undefined) return yield* invalidUrl
    const settings = Client.settingsOf(options)
    return yield* Client.single(settings, {
      open: Connection.open(address, settings.timeouts),
      changed: Effect.never
    })
  })

/**
 * Creates a client of the master that sentinels name. It lives in the current
 * scope, as that of one server does.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const makeSentinel: (
  options: SentinelOptions
) => Effect.Effect<RedisClient["Service"], RedisError, Scope.Scope> = Effect.fnUntraced(function*(options) {
  const master = Address.parse(options.url, options.tls)
  const sentinels = Address.parseAll(options.sentinels, options.tls, 26_379)
  if (master === undefined || sentinels === undefined) return yield* invalidUrl
  const settings = Client.settingsOf(options)
  return yield* Client.single(settings, yield* Sentinel.make(sentinels, master, settings.timeouts))
})

/**
 * Creates a client of a cluster. It lives in the current scope, as that of one
 * server does.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const makeCluster: (
  options: ClusterOptions
) => Effect.Effect<RedisClient["Service"], RedisError, Scope.Scope> = Effect.fnUntraced(function*(options) {
  const nodes = Address.parseAll(options.nodes, options.tls, 6379)
  if (nodes === undefined) return yield* invalidUrl
  return yield* Client.clustered(Client.settingsOf(options), nodes)
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
 * Provides a client of one server from wrapped configuration options. The url
 * is read from `REDIS_URL` by default.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Partial<Options>> = {}
): Layer.Layer<RedisClient, RedisError | Config.ConfigError> =>
  Layer.effect(
    RedisClient,
    Effect.gen(function*() {
      const given = yield* Config.unwrap<Partial<Options>>(options)
      return yield* make({ ...given, url: given.url ?? (yield* Config.Redacted("REDIS_URL")) })
    })
  )

/**
 * Provides a client of the master that sentinels name, through failovers.
 *
 * **Details**
 *
 * Every sentinel is asked about twice a second, each on a connection of its own.
 * When they name another master, the connection to the old one is closed and
 * commands in flight fail with an unknown outcome. A server that calls itself a
 * replica is not used. While no sentinel answers the master stays in use.
 *
 * **Gotchas**
 *
 * Redis replicates asynchronously: what a master acknowledged just before a
 * failover may be gone after it, a deletion included.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerSentinel = (options: SentinelOptions): Layer.Layer<RedisClient, RedisError> =>
  Layer.effect(RedisClient, makeSentinel(options))

/**
 * Provides a client of the master that sentinels name, from wrapped
 * configuration options. The url is read from `REDIS_URL` by default, and those
 * of the sentinels, with commas between them, from `REDIS_SENTINELS`.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerSentinelConfig = (
  options: Config.Wrap<Partial<SentinelOptions>> = {}
): Layer.Layer<RedisClient, RedisError | Config.ConfigError> =>
  Layer.effect(
    RedisClient,
    Effect.gen(function*() {
      const given = yield* Config.unwrap<Partial<SentinelOptions>>(options)
      return yield* makeSentinel({
        ...given,
        url: given.url ?? (yield* Config.Redacted("REDIS_URL")),
        sentinels: given.sentinels ?? (yield* urls("REDIS_SENTINELS"))
      })
    })
  )

/**
 * Provides a client of a Redis Cluster.
 *
 * **Details**
 *
 * Commands go to the master of their first key; those without a key to any
 * master. Replicas are never read. Where a master sends a command on, with
 * `MOVED` or `ASK`, it is followed within `commandTimeout`, five times at most.
 * A master that is gone fails the commands of its slots only, until the cluster
 * names another one.
 *
 * **Gotchas**
 *
 * Keys of one command must share a hash slot, else it fails with `CrossSlot`.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerCluster = (options: ClusterOptions): Layer.Layer<RedisClient, RedisError> =>
  Layer.effect(RedisClient, makeCluster(options))

/**
 * Provides a client of a Redis Cluster from wrapped configuration options. The
 * urls of its nodes are read from `REDIS_NODES` by default, with commas between
 * them.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerClusterConfig = (
  options: Config.Wrap<Partial<ClusterOptions>> = {}
): Layer.Layer<RedisClient, RedisError | Config.ConfigError> =>
  Layer.effect(
    RedisClient,
    Effect.gen(function*() {
      const given = yield* Config.unwrap<Partial<ClusterOptions>>(options)
      return yield* makeCluster({ ...given, nodes: given.nodes ?? (yield* urls("REDIS_NODES")) })
    })
  )

const urls = (name: string) =>
  Config.map(Config.Redacted(name), (list) => Redacted.value(list).split(",").map((url) => Redacted.make(url.trim())))
