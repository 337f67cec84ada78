/** Puts the parts of a client together. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Command } from "ioredis"
import type { BaseOptions, Readiness, RedisClient, Server } from "../RedisClient.ts"
import type { RedisError } from "../RedisError.ts"
import type { Address } from "./address.ts"
import * as Cluster from "./cluster.ts"
import { Call } from "./command.ts"
import * as Direct from "./direct.ts"
import * as Link from "./link.ts"
import * as Pool from "./pool.ts"
import * as Redirection from "./redirection.ts"
import * as Sender from "./sender.ts"
import * as Slot from "./slot.ts"
import * as Start from "./start.ts"
import * as TimeLimit from "./timeLimit.ts"

export const defaults = {
  prefix: "session:",
  commandTimeout: "1 second",
  connectTimeout: "2 seconds",
  maxReconnectDelay: "1 second",
  onUnavailableAtStart: "fail",
  startTimeout: "30 seconds",
  dedicatedConnections: 5,
  checkoutTimeout: "5 seconds"
} as const satisfies BaseOptions

/** Options with their defaults. Throws on those that are none. */
export const settingsOf = (options: BaseOptions) => {
  const size = options.dedicatedConnections ?? defaults.dedicatedConnections
  if (!Number.isInteger(size) || size < 1) {
    throw new RangeError("RedisClient: dedicatedConnections must be an integer, at least 1")
  }
  const millis = (name: Times) => TimeLimit.millis(`RedisClient: ${name}`, options[name] ?? defaults[name])
  return {
    prefix: options.prefix ?? defaults.prefix,
    timeouts: { command: millis("commandTimeout"), connect: millis("connectTimeout") },
    maxDelay: millis("maxReconnectDelay"),
    startTimeout: millis("startTimeout"),
    atStart: options.onUnavailableAtStart ?? defaults.onUnavailableAtStart,
    size,
    checkoutTimeout: millis("checkoutTimeout")
  }
}

type Times = "commandTimeout" | "connectTimeout" | "maxReconnectDelay" | "startTimeout" | "checkoutTimeout"

export type Settings = ReturnType<typeof settingsOf>

const readyBy = (write: Effect.Effect<unknown, RedisError>): Effect.Effect<Readiness> =>
  Effect.match(write, {
    onSuccess: (): Readiness => ({ _tag: "Ready" }),
    onFailure: ({ reason }): Readiness => ({ _tag: "NotReady", reason })
  })

/** A client of the one server that a source finds. */
export const single: (
  settings: Settings,
  source: Link.Source
) => Effect.Effect<RedisClient["Service"], RedisError, Scope.Scope> = Effect.fnUntraced(function*(settings, source) {
  const { atStart, maxDelay, prefix, startTimeout } = settings
  const start = Start.make(atStart)
  const link = Link.make(source, { maxDelay, attempted: start.attempted })
  yield* Effect.forkScoped(link.run)
  const pool = yield* Pool.make(settings)
  const sender = Sender.make()
  yield* Effect.addFinalizer(() => {
    link.retire()
    return sender.drained
  })

  const submit = (command: Command) => link.connection()?.submit(command) ?? link.down()
  const send: Server["send"] = (name, ...args) => sender.send(submit, name, args)
  Direct.provide(
    send,
    (name, _key, args, onReply, otherwise) => sender.call(submit, new Call(name, args), onReply, otherwise)
  )
  const dedicated = pool.checkout(() => link.connection()?.address ?? link.down())
  yield* start.wait(startTimeout, link.down)
  return {
    prefix,
    send,
    clustered: false,
    masters: Effect.succeed([{ send }]),
    dedicated,
    dedicatedFor: () => dedicated,
    ready: readyBy(send("SET", `${prefix}ready`, "1", "PX", "1000"))
  } satisfies RedisClient["Service"]
})

/** How many keys are tried, for each master, to find one that it serves. */
const probes = 64

/** A client of a cluster of which some nodes are known. */
export const clustered: (
  settings: Settings,
  seeds: ReadonlyArray<Address>
) => Effect.Effect<RedisClient["Service"], RedisError, Scope.Scope> = Effect.fnUntraced(function*(settings, seeds) {
  const { atStart, maxDelay, prefix, startTimeout, timeouts } = settings
  const start = Start.make(atStart)
  const cluster = yield* Cluster.make(seeds, { maxDelay, timeouts, attempted: start.attempted })
  const pool = yield* Pool.make(settings)
  const sender = Sender.make()
  yield* Effect.addFinalizer(() => {
    cluster.retire()
    return sender.drained
  })

  const send = Redirection.make(cluster, sender, yield* Clock.Clock, timeouts.command)
  const masters = cluster.refresh.pipe(
    Effect.catch((reason) => cluster.masters().length === 0 ? Sender.failed(undefined, reason) : Effect.void),
    Effect.map(() => cluster.masters().map((node) => Redirection.pinned(node, sender)))
  )
  const addressOf = (node: Cluster.Node | undefined) =>
    node === undefined ? cluster.down() : node.link.connection()?.address ?? node.link.down()

  // One write to each master: the cluster is ready when one of them takes it.
  const keys = () => {
    const found = new Map<Cluster.Node, string>()
    const wanted = cluster.masters().length
    for (let probe = 0; probe < wanted * probes && found.size < wanted; probe++) {
      const key = `${prefix}ready{${probe}}`
      const node = cluster.nodeOf(Slot.of(key))
      if (node !== undefined && !found.has(node)) found.set(node, key)
    }
    return found.size === 0 ? [`${prefix}ready`] : [...found.values()]
  }
  const write = Effect.suspend(() => Effect.raceAll(keys().map((key) => send("SET", key, "1", "PX", "1000"))))

  yield* start.wait(startTimeout, cluster.down)
  return {
    prefix,
    send,
    clustered: true,
    masters,
    dedicated: pool.checkout(() => addressOf(cluster.anyMaster())),
    dedicatedFor: (key) => pool.checkout(() => addressOf(cluster.nodeOf(Slot.of(key)))),
    ready: readyBy(write)
  } satisfies RedisClient["Service"]
})
