/**
 * The masters of a Redis Cluster: a supervised connection to each, and which of
 * them serves which slot. What a node answers, `MOVED`, changes the table at once;
 * the rest of it is asked for in the background.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { type RedisErrorReason, table } from "../RedisError.ts"
import { type Address, at, keyOf } from "./address.ts"
import * as Connection from "./connection.ts"
import type * as Driver from "./driver.ts"
import * as Link from "./link.ts"
import * as Slot from "./slot.ts"

export interface Node {
  readonly address: Address
  readonly link: Link.Link
  /** Waits for the end of the first attempt to connect. */
  readonly tried: Effect.Effect<void>
  /** Ends the connection. */
  readonly end: Effect.Effect<void>
}

export interface Cluster {
  /** The nodes that serve slots. */
  readonly masters: () => ReadonlyArray<Node>
  readonly nodeOf: (slot: number) => Node | undefined
  /** Any master, one with a connection if there is one. */
  readonly anyMaster: () => Node | undefined
  /** Why there are no nodes. */
  readonly down: () => RedisErrorReason
  /** The node at an address that another one gave, whose host is that of the other if it is missing. */
  readonly nodeAt: (to: string, from: Node) => Node | undefined
  /** Learns which node serves a slot. */
  readonly moved: (slot: number, to: Node) => void
  /** Asks for the table soon. */
  readonly suspect: () => void
  /** Asks for the table now. */
  readonly refresh: Effect.Effect<void, RedisErrorReason>
  readonly retire: () => void
}

export interface Options {
  readonly timeouts: Driver.Timeouts
  readonly maxDelay: number
  readonly attempted: (failure: RedisErrorReason | undefined) => void
}

interface Range {
  readonly from: number
  readonly to: number
  readonly master: Address
}

interface Topology {
  readonly ranges: ReadonlyArray<Range>
  readonly addresses: ReadonlyArray<Address>
}

/** Longest time between two questions for the table, in milliseconds; the shortest is half of it. */
const refreshInterval = 300
const questioned = 3
const reopened = 8

const toTopology = (reply: unknown, asked: Address): Topology | undefined => {
  const ranges: Array<Range> = []
  const addresses: Array<Address> = []
  const toAddress = (node: unknown) => {
    if (!Array.isArray(node) || typeof node[1] !== "number") return undefined
    const host = node[0] === null ? "" : String(node[0])
    // `?` is a node whose name nobody knows, an empty one that of the node itself.
    return host === "?" ? undefined : at(asked, host === "" ? asked.host : host, node[1])
  }
  for (const range of Array.isArray(reply) ? reply : []) {
    if (!Array.isArray(range) || typeof range[0] !== "number" || typeof range[1] !== "number") return undefined
    const [from, to, ...nodes] = range
    const [master, ...replicas] = nodes.map(toAddress)
    if (master !== undefined) ranges.push({ from, to, master })
    for (const address of [master, ...replicas]) if (address !== undefined) addresses.push(address)
  }
  return { ranges, addresses }
}

/** Connects to a cluster of which some nodes are known, as long as the scope is open. */
export const make: (
  seeds: ReadonlyArray<Address>,
  options: Options
) => Effect.Effect<Cluster, never, Scope.Scope> = Effect.fnUntraced(
  function*(seeds, { attempted, maxDelay, timeouts }) {
    const fork = yield* FiberSet.makeRuntime<never>()
    const wanted = Latch.makeUnsafe(true)
    const nodes = new Map<string, Node>()
    const missed = new Set<Node>()
    let slots: Array<Node | undefined> = []
    let owners: ReadonlyArray<Node> | undefined
    let known: ReadonlyArray<Address> = []
    let down: RedisErrorReason = table.NotConnected
    let retired = false

    const masters = (): ReadonlyArray<Node> => owners ??= [...new Set(slots)].filter((node) => node !== undefined)
    const suspect = () => void wanted.openUnsafe()

    const nodeFor = (address: Address): Node => {
      const key = keyOf(address)
      const existing = nodes.get(key)
      if (existing !== undefined) return existing
      const tried = Deferred.makeUnsafe<void>()
      const link = Link.make({ open: Connection.open(address, timeouts), changed: Effect.never }, {
        maxDelay,
        attempted: (failure) => {
          Deferred.doneUnsafe(tried, Effect.void)
          if (failure !== undefined) suspect()
        }
      })
      if (retired) link.retire()
      const fiber = fork(link.run)
      const node: Node = { address, link, tried: Deferred.await(tried), end: Fiber.interrupt(fiber) }
      nodes.set(key, node)
      return node
    }

    const apply = ({ addresses, ranges }: Topology) => {
      const next: typeof slots = Array.from({ length: Slot.count })
      for (const { from, master, to } of ranges) next.fill(nodeFor(master), from, to + 1)
      slots = next
      owners = undefined
      known = addresses
      const serving = new Set(next)
      for (const [key, node] of nodes) {
        if (serving.has(node)) {
          missed.delete(node)
          continue
        }
        // One that is about to get its first slot is asked for keys before it is named.
        if (!missed.has(node)) {
          missed.add(node)
          continue
        }
        missed.delete(node)
        nodes.delete(key)
        node.link.retire()
        // Commands that it was sent before may still be answered.
        fork(Effect.andThen(Effect.sleep(timeouts.command), node.end))
      }
    }

    const topology = (submit: Connection.Connection["submit"], asked: Address) =>
      Connection.ask(submit, "CLUSTER", "SLOTS").pipe(
        Effect.flatMap((reply): Effect.Effect<Topology, RedisErrorReason> => {
          const topology = toTopology(reply, asked)
          if (topology === undefined) return Effect.fail(table.Protocol)
          return topology.ranges.length === 0 ? Effect.fail(table.ClusterDown) : Effect.succeed(topology)
        })
      )
    const fromOpen = (connection: Connection.Connection) => topology(connection.submit, connection.address)
    const fromNew = (address: Address) => Effect.scoped(Effect.flatMap(Connection.open(address, timeouts), fromOpen))
    const first = (asked: ReadonlyArray<Effect.Effect<Topology, RedisErrorReason>>) =>
      asked.length === 0 ? Effect.fail(down) : Effect.raceAll(asked)

    const ask = Effect.gen(function*() {
      const open = yield* Random.shuffle([...nodes.values()].flatMap(({ link }) => link.connection() ?? []))
      return yield* first(open.slice(0, questioned).map(fromOpen)).pipe(
        Effect.catch(() =>
          Effect.gen(function*() {
            const others = new Map([...seeds, ...known].map((address) => [keyOf(address), address]))
            const some = (yield* Random.shuffle(others.values())).slice(0, reopened)
            return yield* first(some.map(fromNew))
          })
        )
      )
    })
    const refresh = ask.pipe(
      Effect.map(apply),
      Effect.tapError((reason) =>
        Effect.sync(() => {
          down = Link.whileDown(reason)
        })
      )
    )

    // A cluster is there when one of its masters is.
    const connected = Effect.gen(function*() {
      yield* Effect.forEach(masters(), ({ tried }) => tried, { concurrency: "unbounded", discard: true })
      const up = masters().some(({ link }) => link.connection() !== undefined)
      attempted(up ? undefined : masters()[0].link.down())
      return up
    })
    yield* Effect.forkScoped(Effect.gen(function*() {
      let limit = refreshInterval
      let started = false
      while (true) {
        yield* wanted.await
        wanted.closeUnsafe()
        const failure = yield* refresh.pipe(
          Effect.as(undefined),
          Effect.catch((reason) => Effect.succeed(reason))
        )
        if (failure === undefined && !started) started = yield* connected
        if (failure !== undefined) attempted(Link.whileDown(failure))
        const again = failure !== undefined || !started
        if (again) suspect()
        limit = again ? Math.min(limit * 2, Math.max(maxDelay, refreshInterval)) : refreshInterval
        yield* Effect.sleep((1 + (yield* Random.next)) / 2 * limit)
      }
    }))

    return {
      masters,
      nodeOf: (slot) => slots[slot],
      anyMaster: () => masters().find(({ link }) => link.connection() !== undefined) ?? masters()[0],
      down: () => down,
      nodeAt: (to, from) => {
        const colon = to.lastIndexOf(":")
        const port = Number(to.slice(colon + 1))
        if (colon < 0 || !Number.isInteger(port) || port < 1) return undefined
        return nodeFor(at(from.address, to.slice(0, colon) || from.address.host, port))
      },
      moved: (slot, to) => {
        if (slots[slot] === to) return
        slots[slot] = to
        owners = undefined
        suspect()
      },
      suspect,
      refresh,
      retire: () => {
        retired = true
        for (const { link } of nodes.values()) link.retire()
      }
    }
  }
)
