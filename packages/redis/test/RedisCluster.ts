import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as RedisServer from "./RedisServer.ts"

export interface Options {
  /** Silence after which a node is held for failed, 1500 milliseconds by default. */
  readonly nodeTimeout?: number | undefined
  /** Whether all slots fail when some have no master, `false` by default. */
  readonly fullCoverage?: boolean | undefined
  readonly args?: ReadonlyArray<string> | undefined
}

/** The steps of moving a slot. Between `begin` and `finish` clients are asked to look at both nodes. */
export interface Migration {
  readonly begin: Effect.Effect<void, RedisServer.ServerError>
  /** Moves at most `count` keys and says how many. */
  readonly moveKeys: (count: number) => Effect.Effect<number, RedisServer.ServerError>
  readonly finish: Effect.Effect<void, RedisServer.ServerError>
}

/** Three masters and three replicas that agree and are in sync. For tests on real time. */
export interface RedisCluster {
  /** The nodes: at the start the first three are masters, and node `i + 3` is the replica of node `i`. */
  readonly nodes: ReadonlyArray<RedisServer.RedisServer>
  readonly addresses: ReadonlyArray<{ readonly host: string; readonly port: number }>
  /** Who serves a slot, by the word of the nodes that answer. */
  readonly masterOf: (slot: number) => Effect.Effect<RedisServer.RedisServer, RedisServer.ServerError>
  readonly freeze: (node: RedisServer.RedisServer) => Effect.Effect<void>
  readonly thaw: (node: RedisServer.RedisServer) => Effect.Effect<void>
  readonly kill: (node: RedisServer.RedisServer) => Effect.Effect<void>
  readonly migration: (
    slot: number,
    to: RedisServer.RedisServer
  ) => Effect.Effect<Migration, RedisServer.ServerError>
  /** All steps of moving a slot. */
  readonly migrateSlot: (slot: number, to: RedisServer.RedisServer) => Effect.Effect<void, RedisServer.ServerError>
  /** Waits until all these nodes, by default all, say that every slot is served and their replicas are in sync. */
  readonly settled: (
    nodes?: ReadonlyArray<RedisServer.RedisServer>
  ) => Effect.Effect<void, RedisServer.ServerError>
  /** Waits until a slot is served by a master other than this one. */
  readonly movedFrom: (
    slot: number,
    node: RedisServer.RedisServer
  ) => Effect.Effect<RedisServer.RedisServer, RedisServer.ServerError>
}

const host = "127.0.0.1"
const slots = 16_384

/** The hash slot of a key: CRC16 of what stands in its first braces, or of all of it. */
export const slotOf = (key: string): number => {
  const open = key.indexOf("{")
  const close = open < 0 ? -1 : key.indexOf("}", open + 1)
  let crc = 0
  for (const byte of Buffer.from(close > open + 1 ? key.slice(open + 1, close) : key)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021
    crc &= 0xffff
  }
  return crc % slots
}

const node = (options: Options) =>
  Effect.gen(function*() {
    const port = yield* RedisServer.freePortPair
    return yield* RedisServer.makeWith({
      port,
      args: [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        String(options.nodeTimeout ?? 1500),
        "--cluster-require-full-coverage",
        options.fullCoverage === true ? "yes" : "no",
        "--cluster-allow-replica-migration",
        "no",
        "--cluster-replica-validity-factor",
        "0",
        // Without a disk, a replica that says it is in sync gets no write for up to a second.
        "--repl-diskless-sync",
        "no",
        "--repl-ping-replica-period",
        "1",
        "--repl-backlog-size",
        "1mb",
        ...options.args ?? []
      ]
    })
  }).pipe(Effect.retry({ times: 3 }))

export const make: (options?: Options) => Effect.Effect<RedisCluster, RedisServer.ServerError, Scope.Scope> = Effect
  .fnUntraced(function*(options = {}) {
    const nodes = yield* Effect.all(Array.from({ length: 6 }, () => node(options)))
    const masters = nodes.slice(0, 3)
    const idOf = (node: RedisServer.RedisServer) => Effect.map(node.admin("CLUSTER", "MYID"), String)
    const ids = yield* Effect.forEach(nodes, idOf)

    for (const [index, node] of nodes.entries()) {
      yield* node.admin("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
      if (index > 0) yield* node.admin("CLUSTER", "MEET", host, nodes[0].port)
      if (index >= masters.length) continue
      const start = Math.floor(slots * index / masters.length)
      const end = Math.floor(slots * (index + 1) / masters.length) - 1
      yield* node.admin("CLUSTER", "ADDSLOTSRANGE", start, end)
    }
    const every = (list: ReadonlyArray<Effect.Effect<boolean, RedisServer.ServerError>>) =>
      Effect.map(Effect.all(list, { concurrency: "unbounded" }), (all) => all.every(Boolean))
    const knowsAll = (node: RedisServer.RedisServer) =>
      Effect.map(node.admin("CLUSTER", "NODES"), (text) => {
        const lines = String(text).trim().split("\n")
        return lines.length === nodes.length && !/handshake|noaddr|fail/.test(String(text))
      })
    yield* RedisServer.waitUntil("nodes know each other", 400, every(nodes.map(knowsAll)))
    for (const [index, replica] of nodes.slice(masters.length).entries()) {
      yield* replica.admin("CLUSTER", "REPLICATE", ids[index])
    }

    const serves = (node: RedisServer.RedisServer) =>
      Effect.gen(function*() {
        const fields = RedisServer.fieldsOf(yield* node.admin("CLUSTER", "INFO"))
        const own = RedisServer.fieldsOf(yield* node.admin("INFO", "replication"))
        const follows = own.get("role") === "master" || (yield* RedisServer.inSync(node, nodes))
        return fields.get("cluster_state") === "ok" && fields.get("cluster_slots_ok") === String(slots) && follows
      })
    const replicasKnown = (node: RedisServer.RedisServer) =>
      Effect.map(
        node.admin("CLUSTER", "NODES"),
        (text) => String(text).split("\n").filter((line) => /\bslave\b/.test(line) && !/fail/.test(line)).length
      )
    const settled = (which: ReadonlyArray<RedisServer.RedisServer> = nodes) =>
      RedisServer.waitUntil(
        "every slot served, replicas in sync",
        600,
        every([
          ...which.map(serves),
          // A failover elects a replica that the other masters know as one.
          ...which.length < nodes.length
            ? []
            : which.map((node) => Effect.map(replicasKnown(node), (count) => count === nodes.length - masters.length))
        ])
      )
    yield* settled()

    // What a node says of itself in the table of slots.
    const claims = (slot: number) => (node: RedisServer.RedisServer) =>
      node.admin("CLUSTER", "SLOTS").pipe(
        Effect.timeout("500 millis"),
        Effect.map((ranges) => {
          const range = (Array.isArray(ranges) ? ranges : []).find((range) => range[0] <= slot && slot <= range[1])
          return range === undefined ? undefined : Number(range[2][1])
        }),
        Effect.catch(() => Effect.succeed(undefined))
      )
    const masterOf = Effect.fnUntraced(function*(slot: number) {
      const ports = (yield* Effect.forEach(nodes, claims(slot), { concurrency: 6 })).filter((port) =>
        port !== undefined
      )
      const owner = nodes.find(({ port }) => ports.length > 0 && ports.every((other) => other === port))
      return owner ?? (yield* new RedisServer.ServerError({ message: `the nodes do not agree on slot ${slot}` }))
    })

    const migration = Effect.fnUntraced(function*(slot: number, to: RedisServer.RedisServer) {
      const from = yield* masterOf(slot)
      const fromId = ids[nodes.indexOf(from)]
      const toId = ids[nodes.indexOf(to)]
      const moveKeys = Effect.fnUntraced(function*(count: number) {
        const keys = yield* from.admin("CLUSTER", "GETKEYSINSLOT", slot, count)
        const names = Array.isArray(keys) ? keys.map(String) : []
        if (names.length > 0) yield* from.admin("MIGRATE", host, to.port, "", 0, 5000, "KEYS", ...names)
        return names.length
      })
      return {
        begin: to.admin("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId).pipe(
          Effect.andThen(from.admin("CLUSTER", "SETSLOT", slot, "MIGRATING", toId)),
          Effect.asVoid
        ),
        moveKeys,
        // The new owner first, so that nobody is sent to a node which sends it back.
        finish: Effect.forEach(
          [to, ...nodes.filter((node) => node !== to)],
          (node) => Effect.ignore(node.admin("CLUSTER", "SETSLOT", slot, "NODE", toId).pipe(Effect.timeout("1 second")))
        ).pipe(
          Effect.andThen(RedisServer.waitUntil(
            "slot moved",
            200,
            Effect.map(masterOf(slot), (owner) => owner === to)
          ))
        )
      } satisfies Migration
    })

    return {
      nodes,
      addresses: nodes.map(({ port }) => ({ host, port })),
      masterOf,
      freeze: (node) => node.pause,
      thaw: (node) => node.resume,
      kill: (node) => node.kill,
      migration,
      migrateSlot: Effect.fnUntraced(function*(slot: number, to: RedisServer.RedisServer) {
        const { begin, finish, moveKeys } = yield* migration(slot, to)
        yield* begin
        while ((yield* moveKeys(100)) > 0) { /* until none is left */ }
        yield* finish
      }),
      settled,
      movedFrom: (slot, node) =>
        Effect.andThen(
          RedisServer.waitUntil("slot served by another", 600, Effect.map(masterOf(slot), (owner) => owner !== node)),
          masterOf(slot)
        )
    }
  })
