/**
 * Tells the nodes of an application that a session changed, so that none of
 * them goes on serving a copy.
 *
 * Messages are delivered at most once. What a node missed shows as a `Gap`
 * among its messages: whoever keeps copies drops them all then.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Receiver from "./internal/receiver.ts"
import { encode, type Message } from "./InvalidationMessage.ts"

/**
 * What a node hears.
 *
 * **Details**
 *
 * - `Message`: from another node, in the order in which that node published.
 * - `Gap`: messages are missing here. `sequence`: they did not arrive.
 *   `overflow`: this reader was too slow, and they were dropped.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Received =
  | { readonly _tag: "Message"; readonly from: string; readonly message: Message }
  | { readonly _tag: "Gap"; readonly cause: "sequence" | "overflow" }

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
  /** Messages of other nodes that were accepted. */
  readonly received: number
  /** Places where messages of another node did not arrive. */
  readonly gaps: number
  /** Times the buffer of a reader was full and was dropped. */
  readonly overflows: number
  /** Frames dropped because they had been seen before, or arrived too late. */
  readonly replayed: number
  /** Frames dropped because they were too long. */
  readonly oversized: number
  /** Frames dropped because they were of an unknown format version. */
  readonly version: number
  /** Frames dropped because they could not be read. */
  readonly malformed: number
}

/**
 * Error reason for a channel that does not take messages. Other nodes may go on
 * serving what changed.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class ChannelUnavailable
  extends Schema.Error<ChannelUnavailable>("@effect-session/cluster/Invalidation/ChannelUnavailable")({
    _tag: Schema.tag("ChannelUnavailable")
  })
{
  override get message(): string {
    return "The invalidation channel is closed; other nodes were not told of the change"
  }
}

/**
 * Error reason for a message that breaks its schema, with an empty or overlong
 * key for example.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class InvalidMessage
  extends Schema.Error<InvalidMessage>("@effect-session/cluster/Invalidation/InvalidMessage")({
    _tag: Schema.tag("InvalidMessage")
  })
{
  override get message(): string {
    return "The invalidation message does not fit its schema and was not published"
  }
}

/**
 * Error of the invalidation channel, wrapping a concrete failure `reason`.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class InvalidationError
  extends Schema.Error<InvalidationError>("@effect-session/cluster/Invalidation/InvalidationError")({
    _tag: Schema.tag("InvalidationError"),
    reason: Schema.Union([ChannelUnavailable, InvalidMessage])
  })
{
  override get message(): string {
    return this.reason.message
  }
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
 * Options of {@link layerMemory}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface MemoryOptions {
  /** Messages a reader may be behind before it gets a `Gap` instead, 1,024 by default and at least 2. */
  readonly capacity?: number | undefined
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
 * Every call makes a layer of its own, and so a node of its own.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerMemory = (options: MemoryOptions = {}): Layer.Layer<Invalidation, never, MemoryBus> => {
  const capacity = options.capacity ?? 1024
  if (!Number.isInteger(capacity) || capacity < 2) {
    throw new RangeError(`Invalidation.layerMemory: capacity must be an integer >= 2, got ${capacity}`)
  }
  return Layer.effect(
    Invalidation,
    Effect.gen(function*() {
      const bus = yield* MemoryBus
      const random = yield* SecureRandom.SecureRandom
      // Two nodes of one name would not hear each other.
      const node = Base64Url.encode(yield* random.randomBytes(16))
      const receiver = yield* Receiver.make(node, capacity)
      yield* bus.join(receiver.accept)
      let sequence = 0
      let published = 0
      let open = true
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          open = false
        })
      )

      const failed = (reason: ChannelUnavailable | InvalidMessage) => Effect.fail(new InvalidationError({ reason }))
      // One synchronous step: a number is never sent after a higher one.
      const publish = (message: Message): Effect.Effect<void, InvalidationError> =>
        Effect.suspend(() => {
          if (!open) return failed(new ChannelUnavailable())
          const frame = encode({ node, sequence: sequence + 1, message })
          if (Result.isFailure(frame)) return failed(new InvalidMessage())
          sequence++
          if (!bus.sendUnsafe(frame.success)) return failed(new ChannelUnavailable())
          published++
          return Effect.void
        })

      return Invalidation.of({
        node,
        publish,
        messages: receiver.messages,
        stats: Effect.sync(() => ({ published, ...receiver.counts }))
      })
    })
  ).pipe(Layer.provide(SecureRandom.layerWebCrypto))
}
