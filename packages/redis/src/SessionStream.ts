/**
 * What happens to the sessions of a Redis store, as a stream that survives its
 * readers.
 *
 * The store writes each event in the step that causes it: what has happened has
 * its event, and what has not happened has none. Readers form groups. Each event
 * goes to one reader of every group, and to another one if the first dies before
 * it is done with it: at least once, now and then twice.
 *
 * The end of a session that nobody loads is noticed by `SessionQuery.purgeExpired`:
 * run it from time to time where `expired` events matter.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Layout from "./internal/layout.ts"
import { listOf } from "./internal/reply.ts"
import { RedisClient, type Reply, type Server } from "./RedisClient.ts"
import type { RedisError } from "./RedisError.ts"

/**
 * Names of the events.
 *
 * **Details**
 *
 * - `created`, `renewed`: a session began, or moved to a new key.
 * - `destroyed`: a session ended by itself, as in a logout.
 * - `revoked`: it was ended by a limit, with all of its subject, or by a predicate.
 * - `expired`: it was found past its deadline.
 * - `theftSuspected`: a key was used after the grace window of its renewal.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Name = "created" | "renewed" | "destroyed" | "revoked" | "expired" | "theftSuspected"

/**
 * One event.
 *
 * **Gotchas**
 *
 * The subject is there for the application. Do not pass it on to logs that
 * should not name users.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionEvent {
  /** Names the event, and comes again when it is delivered again. */
  readonly id: string
  readonly name: Name
  /** Store key of the session: a keyed hash of its id. */
  readonly key: string
  /** Who is signed in, if anybody is. */
  readonly subject: string | undefined
  /** For `revoked`: `limit`, `subject` or `predicate`. */
  readonly reason: string | undefined
  /** UTC milliseconds of the server. */
  readonly at: number
}

/**
 * Options of {@link consume}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** The group: each group gets every event, beginning with the oldest that is kept. */
  readonly group: string
  /** Name of this reader in its group, the same after a restart and no other's. */
  readonly consumer: string
  /** Events fetched at once, 100 by default. */
  readonly batch?: number | undefined
  /** After this long without a sign of its reader an event goes to another one, 1 minute by default. */
  readonly claimAfter?: Duration.Input | undefined
  /** How long a quiet stream is waited for at a time; in a cluster, between two looks. 1 second by default. */
  readonly interval?: Duration.Input | undefined
}

const events: ReadonlySet<string> = new Set<Name>([
  "created",
  "renewed",
  "destroyed",
  "revoked",
  "expired",
  "theftSuspected"
])
const isName = (name: string | undefined): name is Name => name !== undefined && events.has(name)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const buckets = Array.from(alphabet).flatMap((first) => Array.from(alphabet, (second) => first + second))

// In a cluster there is a stream in each bucket: all commands at once would hold up those of requests.
const atOnce = { concurrency: 64 } as const

// A stream that only its group keeps alive goes after this.
const quiet = String(7 * 86_400_000)

interface Delivery {
  readonly stream: string
  readonly entry: string
  /** `undefined` for what this version does not know. */
  readonly event: SessionEvent | undefined
}

const deliveriesIn = (stream: string, entries: Reply | undefined): ReadonlyArray<Delivery> =>
  listOf(entries).flatMap((reply): ReadonlyArray<Delivery> => {
    const [id, values] = listOf(reply)
    if (!Buffer.isBuffer(id)) return []
    const entry = id.toString("latin1")
    const texts = listOf(values).map(String)
    const fields = new Map(texts.flatMap((name, i) => i % 2 === 0 ? [[name, texts[i + 1]] as const] : []))
    const name = fields.get("n")
    const key = fields.get("k")
    const event = isName(name) && key !== undefined
      ? {
        id: `${Layout.bucketOf(key)}/${entry}`,
        name,
        key,
        subject: fields.get("s"),
        reason: fields.get("w"),
        at: Number(fields.get("t"))
      }
      : undefined
    return [{ stream, entry, event }]
  })

/**
 * Reads the events as a member of a group.
 *
 * **Details**
 *
 * An event is acknowledged when the next one is asked for, or the stream ends
 * after that: whoever stops, fails or dies while it handles an event gets it
 * again. First come the events that this reader has left unfinished, then new
 * ones, and from time to time those of readers that have died.
 *
 * The stream fails with the errors of Redis. `Stream.retry` goes on where it has
 * stopped.
 *
 * A quiet stream holds one dedicated connection of the client while it waits. In
 * a cluster all 4,096 buckets are looked at each `interval`, 64 at a time, with a
 * small command for each.
 *
 * **Gotchas**
 *
 * Buffers and concurrency behind the stream ask for events ahead of the work,
 * and so acknowledge what is not done. Streams are capped: a group that falls far
 * behind loses the oldest events.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const consume = (options: Options): Stream.Stream<SessionEvent, RedisError, RedisClient> =>
  Stream.unwrap(Effect.gen(function*() {
    const client = yield* RedisClient
    const clock = yield* Clock.Clock
    const layout = Layout.make(client.prefix, client.clustered)
    const { consumer, group } = options
    const batch = String(options.batch ?? 100)
    const interval = Duration.toMillis(Duration.fromInputUnsafe(options.interval ?? "1 second"))
    const claimAfter = Duration.toMillis(Duration.fromInputUnsafe(options.claimAfter ?? "1 minute"))
    const streams = client.clustered ? buckets.map(layout.events) : [layout.events("")]

    let waiting: ReadonlyArray<Delivery> = []
    let position = 0
    let delivered: Delivery | undefined
    let done: Array<Delivery> = []
    let resumed = false
    let claimedAt = Number.NEGATIVE_INFINITY

    const acknowledge = Effect.suspend(() => {
      const byStream = Map.groupBy(done, ({ stream }) => stream)
      done = []
      return Effect.forEach(
        byStream,
        ([stream, deliveries]) => client.send("XACK", stream, group, ...deliveries.map(({ entry }) => entry)),
        { ...atOnce, discard: true }
      )
    })

    // The group is missing when nobody has read before, and after the stream was quiet for its retention.
    const join = (stream: string): Effect.Effect<void, RedisError> =>
      client.send("XGROUP", "CREATE", stream, group, "0", "MKSTREAM").pipe(
        Effect.andThen(client.send("PEXPIRE", stream, quiet, "NX")),
        Effect.catchReason("RedisError", "Rejected", () => Effect.void),
        Effect.asVoid
      )

    const joining = <A>(stream: string, effect: Effect.Effect<A, RedisError>): Effect.Effect<A, RedisError> =>
      Effect.catchReason(effect, "RedisError", "Rejected", () => Effect.andThen(join(stream), effect))

    const readFrom = (server: Server, stream: string, from: string, block: ReadonlyArray<string>) =>
      Effect.map(
        joining(
          stream,
          server.send("XREADGROUP", "GROUP", group, consumer, "COUNT", batch, ...block, "STREAMS", stream, from)
        ),
        (reply) => listOf(reply).flatMap((each) => deliveriesIn(stream, listOf(each)[1]))
      )

    const claim = (stream: string) =>
      Effect.map(
        joining(
          stream,
          client.send("XAUTOCLAIM", stream, group, consumer, String(claimAfter), "0-0", "COUNT", batch)
        ),
        (reply) => deliveriesIn(stream, listOf(reply)[1])
      )

    const existing = client.clustered
      ? Effect.map(
        Effect.forEach(streams, (stream) => client.send("EXISTS", stream), atOnce),
        (replies) => streams.filter((_, i) => replies[i] === 1)
      )
      : Effect.succeed(streams)

    const fromAll = (read: (stream: string) => Effect.Effect<ReadonlyArray<Delivery>, RedisError>) =>
      Effect.flatMap(existing, (streams) =>
        Effect.map(
          Effect.forEach(streams, read, atOnce),
          (deliveries) => deliveries.flat()
        ))

    const fresh = client.clustered
      ? Effect.tap(
        fromAll((stream) => readFrom(client, stream, ">", [])),
        (found) => found.length === 0 ? Effect.sleep(interval) : Effect.void
      )
      : Effect.scoped(
        Effect.flatMap(
          client.dedicated,
          (server) => readFrom(server, streams[0], ">", ["BLOCK", String(Math.max(1, Math.ceil(interval)))])
        )
      )

    const fetch = Effect.gen(function*() {
      yield* acknowledge
      if (!resumed) {
        const unfinished = yield* fromAll((stream) => readFrom(client, stream, "0", []))
        // What is acknowledged is not there any more, so that the end is reached.
        if (unfinished.length > 0) return unfinished
        resumed = true
      }
      const now = Number(clock.monotonicTimeNanosUnsafe()) / 1e6
      if (now - claimedAt >= claimAfter) {
        const left = yield* fromAll(claim)
        if (left.length > 0) return left
        claimedAt = now
      }
      return yield* fresh
    })

    const next: Effect.Effect<SessionEvent, RedisError> = Effect.gen(function*() {
      if (delivered !== undefined) done.push(delivered)
      delivered = undefined
      while (true) {
        if (position === waiting.length) {
          waiting = yield* fetch
          position = 0
          continue
        }
        const first = waiting[position++]
        if (first.event === undefined) {
          done.push(first)
          continue
        }
        delivered = first
        return first.event
      }
    })

    yield* Effect.addFinalizer(() => Effect.ignore(acknowledge))
    return Stream.fromEffectRepeat(next)
  }))
