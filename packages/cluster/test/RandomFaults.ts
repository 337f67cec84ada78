/** Random calls on nodes whose wires fail at random: what a read may still see. */
import { Invalidation } from "@effect-session/cluster"
import type { SessionStore } from "@effect-session/core"
import { assert } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Nodes from "./Nodes.ts"

/** A deterministic stream of numbers below a bound. */
const randomOf = (seed: number) => {
  let state = seed
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

/** The payload of a key, `undefined` for no session, and when that was replaced. */
interface State {
  readonly payload: SessionStore.Payload | undefined
  until: number
}

export const run = Effect.fnUntraced(function*(seed: number, steps: number) {
  const random = randomOf(seed)
  const wires = Array.from({ length: 3 }, () => ({ out: true, in: true, closed: false, late: false }))
  const waiting: Array<() => void> = []
  const { nodes, store: below } = yield* Nodes.make(
    3,
    { channel: { heartbeat: "1 second" }, cache: { onPublishFailed: "shorten" } },
    undefined,
    (bus, node) => ({
      sendUnsafe: (frame) => {
        const wire = wires[node]
        if (wire.closed) return false
        if (!wire.out) return true
        if (!wire.late) return bus.sendUnsafe(frame)
        waiting.push(() => bus.sendUnsafe(frame))
        return true
      },
      join: (onFrame) => bus.join((frame) => wires[node].in ? onFrame(frame) : undefined)
    })
  )
  yield* TestClock.adjust("3 seconds")
  const keys = ["k0", "k1", "k2", "k3"]
  const previous: Array<string | undefined> = []
  const histories = new Map<string, Array<State>>(keys.map((key) => [key, [{ payload: undefined, until: Infinity }]]))
  const becomes = (key: string, payload: SessionStore.Payload | undefined, now: number) => {
    const history = histories.get(key)!
    history[history.length - 1].until = now
    history.push({ payload, until: Infinity })
  }
  let stale = 0
  let reads = 0

  for (let step = 0; step < steps; step++) {
    const slot = random(keys.length)
    const key = keys[slot]
    const { store } = nodes[random(nodes.length)]
    const kind = random(20)
    if (kind === 0) {
      const wire = wires[random(wires.length)]
      const fault = (["out", "in", "closed", "late"] as const)[random(4)]
      wire[fault] = !wire[fault]
    } else if (kind === 1) {
      for (const wire of wires) Object.assign(wire, { out: true, in: true, closed: false, late: false })
      for (const deliver of waiting.splice(0)) deliver()
    } else if (kind < 5) {
      yield* TestClock.adjust(random(2000))
    } else if (kind < 7) {
      const payload = `${step}`
      const ended = histories.get(key)!.length > 1 && (yield* below.load(key))._tag !== "Live"
      // Keys are hashes of random tokens: none is there a second time.
      const next = ended ? `k${slot}.${step}` : key
      if (ended) {
        previous[slot] = key
        keys[slot] = next
        histories.set(next, [{ payload: undefined, until: Infinity }])
      }
      const created = yield* store.create({
        key: next,
        idleTimeout: 86_400_000,
        lifetime: 86_400_000,
        subject: undefined,
        format: 1,
        payload
      })
      if (created._tag === "Created") becomes(next, payload, yield* Clock.currentTimeMillis)
    } else if (kind < 9) {
      // One that fails for want of a message has ended the session, and was not acknowledged.
      yield* Effect.ignore(store.destroy(key))
      if ((yield* below.load(key))._tag !== "Live") becomes(key, undefined, yield* Clock.currentTimeMillis)
    } else if (kind < 12) {
      const seen = yield* store.load(key)
      if (seen._tag !== "Live") continue
      const payload = `${seen.record.payload},${step}`
      const current = yield* below.load(key)
      const saved = yield* store.save(key, seen.record.version, {
        format: 1,
        payload,
        idleTimeout: 86_400_000,
        lifetime: undefined,
        active: true
      })
      if (saved._tag === "Saved") {
        // What it was made from is what it has replaced.
        assert.strictEqual(current._tag === "Live" ? current.record.payload : undefined, seen.record.payload)
        becomes(key, payload, yield* Clock.currentTimeMillis)
      }
    } else {
      const now = yield* Clock.currentTimeMillis
      const read = random(3) === 0 ? previous[slot] ?? key : key
      const lookup = yield* store.load(read)
      const payload = lookup._tag === "Live" ? lookup.record.payload : undefined
      const since = Math.max(
        ...histories.get(read)!.filter((state) => state.payload === payload).map(({ until }) => until)
      )
      reads++
      if (since !== Infinity) stale++
      assert.isAtMost(now - since, Invalidation.faultyBound, `seed ${seed}, step ${step}, ${read}`)
    }
  }
  return { stale, reads }
})

/** Runs so many seeds, and says how many reads there were, and how many of them saw what was over. */
export const runs = Effect.fnUntraced(function*(seeds: number) {
  let [stale, reads] = [0, 0]
  for (let seed = 1; seed <= seeds; seed++) {
    const found = yield* Effect.scoped(run(seed, 600))
    stale += found.stale
    reads += found.reads
  }
  process.stdout.write(`staleness model: ${reads} reads, ${stale} of them stale and within the bound\n`)
  // Else the faults would prove nothing.
  assert.isAbove(stale, seeds / 2)
})
