/**
 * One node on a channel, whatever carries its frames: signs and numbers what it says, checks what it hears, and knows
 * whether it can have missed anything.
 *
 * Frames are taken in step by step, in the order in which they came. Where the authentication code can be checked at
 * once, listeners have heard a frame when `accept` returns.
 */
import type { Crypto } from "@effect-session/core/Crypto"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Invalidation, Received, Stats } from "../Invalidation.ts"
import { ChannelUnavailable, InvalidationError, InvalidMessage } from "../InvalidationError.ts"
import { codeLength, decode, encode, type Envelope, maxFrameLength, type Message } from "../InvalidationMessage.ts"
import type { Passage } from "./passage.ts"
import { Peers } from "./peers.ts"

export interface Heartbeat {
  /** Milliseconds between two signs of life. */
  readonly interval: number
  /** How old a copy may be while another node is silent, in milliseconds. */
  readonly silentTtl: number
}

export interface Options {
  readonly channel: string
  readonly capacity: number
  readonly crypto: Crypto["Service"]
  readonly passage: Passage
  /** Without one, what is connected is believed to hear everything. */
  readonly heartbeat: Heartbeat | undefined
  /** Hands a frame over. It is on its way, after all earlier ones, when the effect first waits. */
  readonly send: (frame: string) => Effect.Effect<void, ChannelUnavailable>
  /** Asks for another connection: this one says nothing any more. */
  readonly renew: () => void
}

export interface Channel {
  readonly service: Invalidation["Service"]
  /** Takes in a frame. */
  readonly accept: (frame: string) => void
  /** From now on every frame is heard. */
  readonly connected: () => void
  /** From now on frames are missed. */
  readonly disconnected: () => void
}

// How long a silent node is waited for, in beats: then it is taken for dead.
const beatsToDeath = 60

// A node that has not heard itself for so many beats may be taken for dead by others.
const beatsToOblivion = 50

// Frames whose code is still being checked, where that takes time.
const maxBacklog = 4096

const beatsOnTheWay = 16

type Counts = { -readonly [K in Exclude<keyof Stats, "peers" | "connected">]: number }

/** Joins a channel, as a node of a new name, as long as the scope is open. */
export const make: (options: Options) => Effect.Effect<Channel, never, Scope.Scope | SecureRandom.SecureRandom> = Effect
  .fnUntraced(function*({ capacity, channel, crypto, heartbeat, passage, renew, send }: Options) {
    const random = yield* SecureRandom.SecureRandom
    // Two nodes of one name would not hear each other.
    const node = Base64Url.encode(yield* random.randomBytes(16))
    const fork = Effect.runForkWith(Context.empty())
    const purpose = `cluster/invalidation ${channel}`
    const counts: Counts = {
      published: 0,
      publishFailures: 0,
      received: 0,
      own: 0,
      gaps: 0,
      overflows: 0,
      reconnects: 0,
      replayed: 0,
      oversized: 0,
      forged: 0,
      version: 0,
      malformed: 0
    }
    const listeners = new Set<(received: Received) => void>()
    const queues = new Set<Queue.Queue<Received, Cause.Done>>()
    const peers = new Peers()
    const order = Semaphore.makeUnsafe(1)
    const backlog: Array<string> = []
    const beatTimes = new Map<number, number>()
    let verifying = false
    let open = true
    let connected = false
    let everConnected = false
    // Something may have been missed, and nobody was told so far.
    let dirty = false
    // Whoever keeps copies has none from before the subscription.
    let flushed = true
    let silent = false
    let provenUntil = heartbeat === undefined ? Infinity : 0
    let heardAt = -Infinity
    let sequence = 0
    let beats = 0

    const emit = (received: Received) => {
      for (const listener of listeners) listener(received)
    }
    const gap = (cause: Extract<Received, { readonly _tag: "Gap" }>["cause"]) => {
      counts.gaps++
      emit({ _tag: "Gap", cause })
    }

    const returned = (beat: number) => {
      const sentAt = beatTimes.get(beat)
      if (sentAt === undefined || heartbeat === undefined) return
      for (const earlier of beatTimes.keys()) if (earlier <= beat) beatTimes.delete(earlier)
      if (dirty) {
        dirty = false
        gap("unpublished")
      } else if (!flushed && passage.now() > provenUntil) {
        // Nothing was proven for a while: that nothing was lost meanwhile is not proven either.
        gap("silence")
      }
      flushed = false
      provenUntil = sentAt + 2 * heartbeat.interval
      heardAt = sentAt
    }

    const take = (body: string) => {
      const decoded = decode(body)
      if (Result.isFailure(decoded)) {
        counts[decoded.failure]++
        // One of ours said something that this release does not know.
        return gap("unknown")
      }
      const { message, node: from, sequence } = decoded.success
      if (from === node) {
        counts.own++
        if (message._tag === "Beat") returned(message.beat)
        return
      }
      const now = passage.now()
      const verdict = message._tag === "Beat"
        ? peers.beat(from, sequence, message.beat, now)
        : message._tag === "Leave"
        ? peers.leave(from, sequence, now)
        : peers.message(from, sequence, now)
      if (verdict === "replayed") {
        counts.replayed++
        return
      }
      if (verdict === "gap") gap("sequence")
      if (message._tag === "Beat" || message._tag === "Leave") return
      counts.received++
      emit({ _tag: "Message", from, message })
    }

    const settle = (exit: Exit.Exit<boolean>, body: string) => {
      if (Exit.isSuccess(exit) && exit.value) take(body)
      else counts.forged++
    }

    // Whether the code could be checked at once.
    const step = (frame: string): boolean => {
      const body = frame.slice(codeLength)
      const fiber = fork(crypto.verify(purpose, body, frame.slice(0, codeLength)))
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) {
        settle(exit, body)
        return true
      }
      verifying = true
      fiber.addObserver((exit) => {
        verifying = false
        if (!open) return
        settle(exit, body)
        for (let next = backlog.shift(); next !== undefined; next = backlog.shift()) if (!step(next)) return
      })
      return false
    }

    const accept = (frame: string) => {
      if (!open) return
      if (frame.length > maxFrameLength) {
        counts.oversized++
      } else if (frame.length <= codeLength) {
        counts.malformed++
      } else if (!verifying) {
        step(frame)
      } else if (backlog.length < maxBacklog) {
        backlog.push(frame)
      } else {
        backlog.length = 0
        gap("overflow")
      }
    }

    // Signed and handed over one after the other: a number is never sent after a higher one.
    const say = (next: () => Omit<Envelope, "node">): Effect.Effect<void, ChannelUnavailable | InvalidMessage> =>
      Effect.flatMap(
        Semaphore.withPermit(
          order,
          Effect.suspend(() => {
            const envelope = next()
            const body = encode({ node, ...envelope })
            if (Result.isFailure(body)) return Effect.fail(new InvalidMessage())
            sequence = envelope.sequence
            return Effect.flatMap(
              crypto.sign(purpose, body.success),
              (code) => Effect.forkDetach(send(code + body.success), { startImmediately: true })
            )
          })
        ),
        Fiber.join
      )

    const failed = (reason: ChannelUnavailable | InvalidMessage) => Effect.fail(new InvalidationError({ reason }))
    const publish = (message: Message): Effect.Effect<void, InvalidationError> =>
      Effect.suspend(() => {
        if (!open) return failed(new ChannelUnavailable())
        return Effect.matchEffect(say(() => ({ sequence: sequence + 1, message })), {
          onSuccess: () =>
            Effect.sync(() => {
              counts.published++
            }),
          onFailure: (reason) => {
            if (reason._tag === "InvalidMessage") return failed(reason)
            counts.publishFailures++
            // Others are on their own until they have heard of the gap, and so is this node until it hears itself.
            if (heartbeat !== undefined) {
              provenUntil = 0
              dirty = true
              beatTimes.clear()
            }
            return failed(reason)
          }
        })
      })

    const disconnected = () => {
      connected = false
      if (heartbeat !== undefined) provenUntil = 0
      beatTimes.clear()
    }

    let handedOver = false
    const beat = Effect.suspend(() =>
      Effect.match(
        say(() => {
          beatTimes.set(++beats, passage.now())
          if (beatTimes.size > beatsOnTheWay) {
            for (const oldest of beatTimes.keys()) {
              beatTimes.delete(oldest)
              break
            }
          }
          return { sequence, message: { _tag: "Beat", beat: beats } }
        }),
        {
          onSuccess: () => {
            handedOver = true
          },
          onFailure: () => {}
        }
      )
    )

    if (heartbeat !== undefined) {
      const { interval } = heartbeat
      let lapses = 0
      const check = Effect.sync(() => {
        const now = passage.now()
        if (!connected || now > provenUntil) {
          silent = false
          peers.unheard(now)
          // Others are told and this node does not hear it: half-open, or at a server that lost its place.
          lapses = connected && handedOver ? lapses + 1 : 0
          handedOver = false
          if (lapses >= 2) {
            lapses = 0
            renew()
          }
          return
        }
        lapses = 0
        silent = peers.isAnySilent(now, 2 * interval, beatsToDeath * interval)
      })
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.andThen(
            Effect.suspend(() => connected ? Effect.forkDetach(beat, { startImmediately: true }) : Effect.void),
            Effect.andThen(Effect.sleep(interval), check)
          )
        )
      )
    }

    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        const leaving = connected || heartbeat === undefined
          ? Effect.ignore(say(() => ({ sequence, message: { _tag: "Leave" } })))
          : Effect.void
        open = false
        connected = false
        return leaving
      })
    )

    const subscribe = Effect.acquireRelease(
      Effect.map(Queue.unbounded<Received, Cause.Done>(), (queue) => {
        const listener = (received: Received) => {
          if (Queue.sizeUnsafe(queue) >= capacity) {
            // The gap makes the reader forget everything, so what waited before it is worth nothing.
            while (Queue.sizeUnsafe(queue) > 0) Queue.takeUnsafe(queue)
            Queue.offerUnsafe(queue, { _tag: "Gap", cause: "overflow" })
            counts.overflows++
          }
          Queue.offerUnsafe(queue, received)
        }
        if (open) {
          listeners.add(listener)
          queues.add(queue)
        } else Queue.endUnsafe(queue)
        return { queue, listener }
      }),
      ({ listener, queue }) =>
        Effect.andThen(
          Effect.sync(() => {
            listeners.delete(listener)
            queues.delete(queue)
          }),
          Queue.shutdown(queue)
        )
    )
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const queue of queues) Queue.endUnsafe(queue)
        listeners.clear()
      })
    )

    return {
      accept,
      disconnected,
      connected: () => {
        connected = true
        if (everConnected) {
          counts.reconnects++
          gap("disconnected")
        }
        everConnected = true
        flushed = true
        if (heartbeat !== undefined) fork(beat)
      },
      service: {
        node,
        publish,
        listen: (listener) =>
          Effect.asVoid(Effect.acquireRelease(
            Effect.sync(() => listeners.add(listener)),
            () => Effect.sync(() => listeners.delete(listener))
          )),
        messages: Stream.unwrap(Effect.map(subscribe, ({ queue }) => Stream.fromQueue(queue))),
        passedUnsafe: () => passage.now(),
        trustUnsafe: (passed) => {
          if (!connected || dirty) return 0
          if (heartbeat === undefined) return Infinity
          if ((passed ?? passage.now()) > provenUntil) return 0
          return silent ? heartbeat.silentTtl : Infinity
        },
        isMissedUnsafe: () => heartbeat !== undefined && passage.now() - heardAt < beatsToOblivion * heartbeat.interval,
        stats: Effect.sync(() => ({ ...counts, peers: peers.present, connected }))
      }
    } satisfies Channel
  })
