/**
 * Tells the nodes of an application that a session changed, so that none of
 * them goes on serving a copy.
 *
 * Messages are delivered at most once. What a node missed shows as a `Gap`
 * among its messages: whoever keeps copies drops them all then. What a node may
 * be missing at this moment shows in `trustUnsafe`.
 *
 * Every frame carries an authentication code under the secrets of the
 * application. What others say on the channel is dropped, and counted.
 *
 * @stability unstable
 * @since 0.1.0
 */
import { Crypto } from "@effect-session/core/Crypto"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Channel from "./internal/channel.ts"
import { Passage } from "./internal/passage.ts"
import { ChannelUnavailable, type InvalidationError } from "./InvalidationError.ts"
import type { Message } from "./InvalidationMessage.ts"

/**
 * What a node hears.
 *
 * **Details**
 *
 * - `Message`: from another node, in the order in which that node published.
 * - `Gap`: messages may be missing here. `sequence`: some of another node did not
 *   arrive. `overflow`: this reader was too slow, and they were dropped.
 *   `disconnected`: the channel could not be heard for a while. `silence`: for a
 *   while this node did not hear itself. `unpublished`: a message of this node
 *   could not be sent. `unknown`: another node said what
 *   this release does not understand.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Received =
  | { readonly _tag: "Message"; readonly from: string; readonly message: Message }
  | {
    readonly _tag: "Gap"
    readonly cause: "sequence" | "overflow" | "disconnected" | "silence" | "unpublished" | "unknown"
  }

/**
 * What a node has counted since its start.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Stats {
  /** Messages handed over to the channel. */
  readonly published: number
  /** Messages that the channel did not take, or not surely. */
  readonly publishFailures: number
  /** Messages of other nodes that were accepted. */
  readonly received: number
  /** Frames of this node that came back. */
  readonly own: number
  /** Places where messages may be missing. */
  readonly gaps: number
  /** Times the buffer of a reader was full and was dropped. */
  readonly overflows: number
  /** Times the channel was heard again after it could not be heard. */
  readonly reconnects: number
  /** Frames dropped because they had been seen before, or arrived too late. */
  readonly replayed: number
  /** Frames dropped because they were too long. */
  readonly oversized: number
  /** Frames dropped because no secret of this application made their code. */
  readonly forged: number
  /** Frames dropped because they were of an unknown format version. */
  readonly version: number
  /** Frames dropped because they could not be read. */
  readonly malformed: number
  /** Other nodes that are there. */
  readonly peers: number
  /** Whether this node is connected to the channel. */
  readonly connected: boolean
}

/**
 * Service of one node: tells the other nodes, and hears them.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class Invalidation extends Context.Service<Invalidation, {
  /** Name of this node, new with every instance of the service. */
  readonly node: string

  /**
   * Tells all other nodes. Succeeds once the message is handed over to the
   * channel, which is not yet when it has arrived.
   */
  readonly publish: (message: Message) => Effect.Effect<void, InvalidationError>

  /**
   * Calls a function with everything this node hears, in order and at once, until
   * the scope is closed. The function must not throw.
   */
  readonly listen: (listener: (received: Received) => void) => Effect.Effect<void, never, Scope.Scope>

  /**
   * What the other nodes publish, from the moment the stream is run until the
   * service is closed. A node does not hear itself.
   *
   * **Details**
   *
   * Every run has a buffer of its own. When it is full its content is dropped
   * and replaced by one `Gap`.
   *
   * **Gotchas**
   *
   * The first message of a node that was there before this one comes after a
   * `Gap`: what that node said earlier was not heard.
   */
  readonly messages: Stream.Stream<Received>

  /**
   * How old a copy may be at this moment, in milliseconds.
   *
   * **Details**
   *
   * - `Infinity`: this node has lately heard itself through the channel, and all
   *   others. Nothing that changed more than two beats ago can have been missed.
   * - Above zero: another node is silent. It may be changing sessions and unable
   *   to say so.
   * - Zero: messages may be missing, so there is no copy to be trusted.
   *
   * Whoever has just called `passedUnsafe` can save a look at the clock.
   */
  readonly trustUnsafe: (passed?: number) => number

  /**
   * Milliseconds that have passed since this node was made. They never go back,
   * and count what a process or a machine has slept.
   */
  readonly passedUnsafe: () => number

  /**
   * Whether the others would notice at this moment that this node is silent: it
   * has a heartbeat, and heard itself within the last 50 of them.
   */
  readonly isMissedUnsafe: () => boolean

  /** What this node has counted so far. */
  readonly stats: Effect.Effect<Stats>
}>()("@effect-session/cluster/Invalidation") {}

/**
 * Channel between nodes that live in one process.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class MemoryBus extends Context.Service<MemoryBus, {
  /** Hands a frame to every node on the bus before it returns; `false` when the bus is closed. */
  readonly sendUnsafe: (frame: string) => boolean
  /** Joins the bus until the scope is closed. */
  readonly join: (onFrame: (frame: string) => void) => Effect.Effect<void, never, Scope.Scope>
}>()("@effect-session/cluster/Invalidation/MemoryBus") {}

/**
 * Provides a bus that nodes can join.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerMemoryBus: Layer.Layer<MemoryBus> = Layer.effect(
  MemoryBus,
  Effect.gen(function*() {
    const nodes = new Set<(frame: string) => void>()
    let open = true
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        open = false
        nodes.clear()
      })
    )
    return MemoryBus.of({
      sendUnsafe: (frame) => {
        for (const onFrame of nodes) onFrame(frame)
        return open
      },
      join: (onFrame) =>
        Effect.asVoid(Effect.acquireRelease(
          Effect.sync(() => nodes.add(onFrame)),
          () => Effect.sync(() => nodes.delete(onFrame))
        ))
    })
  })
)

/**
 * Options of every channel.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Name of the channel, `session:cluster:invalidate` by default. Frames of one channel are worth nothing on another. */
  readonly channel?: string | undefined
  /** Messages a reader may be behind before it gets a `Gap` instead, 1,024 by default and at least 2. */
  readonly capacity?: number | undefined
  /**
   * Time between two signs of life. A node that has not heard itself for two of
   * them trusts no copy, and one that is silent for two of them is missed.
   */
  readonly heartbeat?: Duration.Input | undefined
  /** How old a copy may be while another node is missed, 1 second by default. */
  readonly silentTtl?: Duration.Input | undefined
}

/**
 * Longest time for which a node may serve what has ended, under any fault, in
 * milliseconds: two heartbeats and `silentTtl` must fit into it.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const faultyBound = 5000

/**
 * The name of the channel, unless another one is given.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const defaultChannel = "session:cluster:invalidate"

/**
 * What carries the frames of a node.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Transport {
  /**
   * Hands a frame over, and waits until the channel has taken it. It must be on
   * its way, after all earlier ones, when the effect first waits.
   */
  readonly send: (frame: string) => Effect.Effect<void, ChannelUnavailable>
  /** Asks for another subscription: this one is silent. */
  readonly renew: () => void
}

/**
 * The receiving side of a node, to be called by its transport.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Receiver {
  /** Takes in a frame, whatever it is. */
  readonly accept: (frame: string) => void
  /** From now on every frame is heard. */
  readonly connected: () => void
  /** From now on frames may be missed. */
  readonly disconnected: () => void
}

const positive = (name: string, input: Duration.Input): number => {
  const millis = Duration.toMillis(Duration.fromInputUnsafe(input))
  if (!(millis >= 1)) throw new RangeError(`Invalidation: ${name} must be at least 1 millisecond, got ${millis}`)
  return millis
}

/**
 * Creates a node over a transport of your own.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for a `capacity` below 2, for an empty `channel`, and where
 * two heartbeats and `silentTtl` are longer than {@link faultyBound}.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  transport: Transport,
  options: Options = {}
): Effect.Effect<
  { readonly service: Invalidation["Service"]; readonly receiver: Receiver },
  never,
  Scope.Scope | Crypto
> => {
  const capacity = options.capacity ?? 1024
  if (!Number.isInteger(capacity) || capacity < 2) {
    throw new RangeError(`Invalidation: capacity must be an integer >= 2, got ${capacity}`)
  }
  const channel = options.channel ?? defaultChannel
  if (channel === "") throw new RangeError("Invalidation: channel must not be empty")
  const silentTtl = positive("silentTtl", options.silentTtl ?? "1 second")
  const interval = options.heartbeat === undefined ? undefined : positive("heartbeat", options.heartbeat)
  if (interval !== undefined && 2 * interval + silentTtl > faultyBound) {
    throw new RangeError(
      `Invalidation: two heartbeats of ${interval} ms and a silentTtl of ${silentTtl} ms exceed ${faultyBound} ms`
    )
  }
  return Effect.gen(function*() {
    const { accept, connected, disconnected, service } = yield* Channel.make({
      channel,
      capacity,
      crypto: yield* Crypto,
      passage: new Passage(yield* Clock.Clock),
      heartbeat: interval === undefined ? undefined : { interval, silentTtl },
      send: transport.send,
      renew: transport.renew
    })
    return { service, receiver: { accept, connected, disconnected } }
  }).pipe(Effect.provide(SecureRandom.layerWebCrypto))
}

/**
 * Provides a node on a bus in this process.
 *
 * **When to use**
 *
 * Use in tests of several nodes, and where the application is one process.
 * Processes do not hear each other.
 *
 * **Details**
 *
 * Every call makes a layer of its own, and so a node of its own. With the
 * cryptography of Node the others have heard a message when `publish` returns.
 * Without a `heartbeat` nothing is sent by itself: within a process no frame is
 * lost.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options that {@link make} refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerMemory = (options: Options = {}): Layer.Layer<Invalidation, never, MemoryBus | Crypto> => {
  const noReceiver: Receiver = { accept: () => {}, connected: () => {}, disconnected: () => {} }
  const build = (bus: MemoryBus["Service"]) => {
    const transport: Transport = {
      send: (frame) =>
        Effect.suspend(() => bus.sendUnsafe(frame) ? Effect.void : Effect.fail(new ChannelUnavailable())),
      renew: () => {}
    }
    return make(transport, options)
  }
  // Mistakes show where the layer is written.
  build({ sendUnsafe: () => false, join: () => Effect.void })
  return Layer.effect(
    Invalidation,
    Effect.gen(function*() {
      const bus = yield* MemoryBus
      let receiver = noReceiver
      yield* bus.join((frame) => receiver.accept(frame))
      const node = yield* build(bus)
      receiver = node.receiver
      receiver.connected()
      return node.service
    })
  )
}
