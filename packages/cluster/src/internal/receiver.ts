/**
 * The receiving half of a node: checks frames and hands them to the node's
 * subscribers. Synchronous, so that the order of arrival is the order of delivery.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Received } from "../Invalidation.ts"
import { decode, type Rejection } from "../InvalidationMessage.ts"

type Counts = Record<"received" | "gaps" | "overflows" | "replayed" | Rejection, number>

export interface Receiver {
  readonly counts: Counts
  readonly accept: (frame: string) => void
  readonly messages: Stream.Stream<Received>
}

// Sender names come from outside: remembering all would let a forger fill the memory.
const maxSenders = 1024

export const make: (
  node: string,
  capacity: number
) => Effect.Effect<Receiver, never, Scope.Scope> = Effect.fnUntraced(function*(node, capacity) {
  const counts: Counts = { received: 0, gaps: 0, overflows: 0, replayed: 0, oversized: 0, version: 0, malformed: 0 }
  const subscribers = new Set<Queue.Queue<Received, Cause.Done>>()
  // Last sequence number of each sender, the sender heard longest ago first.
  const senders = new Map<string, number>()
  let closed = false

  const offer = (received: Received) => {
    for (const queue of subscribers) {
      if (Queue.sizeUnsafe(queue) >= capacity) {
        // The gap makes the reader forget everything, so what waited before it is worth nothing.
        while (Queue.sizeUnsafe(queue) > 0) Queue.takeUnsafe(queue)
        Queue.offerUnsafe(queue, { _tag: "Gap", cause: "overflow" })
        counts.overflows++
      }
      Queue.offerUnsafe(queue, received)
    }
  }

  const accept = (frame: string) => {
    const decoded = decode(frame)
    if (Result.isFailure(decoded)) {
      counts[decoded.failure]++
      return
    }
    const { message, node: from, sequence } = decoded.success
    if (closed || from === node) return
    const last = senders.get(from) ?? 0
    if (sequence <= last) {
      counts.replayed++
      return
    }
    senders.delete(from)
    senders.set(from, sequence)
    if (senders.size > maxSenders) {
      for (const oldest of senders.keys()) {
        senders.delete(oldest)
        break
      }
    }
    if (sequence > last + 1) {
      counts.gaps++
      offer({ _tag: "Gap", cause: "sequence" })
    }
    counts.received++
    offer({ _tag: "Message", from, message })
  }

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      for (const queue of subscribers) Queue.endUnsafe(queue)
      subscribers.clear()
    })
  )

  const subscribe = Effect.acquireRelease(
    Effect.map(Queue.unbounded<Received, Cause.Done>(), (queue) => {
      if (closed) Queue.endUnsafe(queue)
      else subscribers.add(queue)
      return queue
    }),
    (queue) => Effect.andThen(Effect.sync(() => subscribers.delete(queue)), Queue.shutdown(queue))
  )
  return { counts, accept, messages: Stream.unwrap(Effect.map(subscribe, Stream.fromQueue)) }
})
