/** Several nodes in one process: caches of their own over one store, on one bus. */
import { ClusterStore, Invalidation } from "@effect-session/cluster"
import { Crypto, SessionConfig, SessionQuery, SessionStore } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import * as MemoryStore from "@effect-session/core/MemoryStore"
import type * as NodesModelTest from "@effect-session/core/testing/NodesModelTest"
import { Context, Effect, Layer, Redacted, type Scope, Stream } from "effect"

export const secret = Redacted.make("Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1?")

export const crypto: Layer.Layer<Crypto.Crypto> = Layer.orDie(CryptoNode.layer.pipe(
  Layer.provide(SessionConfig.layer({ preset: "development", secrets: secret }))
))

/** A session for a store to create. */
export const newRecord = (key: string, fields?: Partial<SessionStore.NewRecord>): SessionStore.NewRecord => ({
  key,
  idleTimeout: 600_000,
  lifetime: 3_600_000,
  subject: "ada",
  format: 1,
  payload: "data",
  ...fields
})

export interface Node {
  readonly store: SessionStore.SessionStore["Service"]
  readonly query: SessionQuery.SessionQuery["Service"]
  readonly cluster: ClusterStore.ClusterStore["Service"]
  readonly invalidation: Invalidation.Invalidation["Service"]
}

export interface Options {
  readonly cache?: ClusterStore.Options | undefined
  readonly channel?: Invalidation.Options | undefined
}

/** Stands between all nodes and the store. */
export type Around = (store: SessionStore.SessionStore["Service"]) => SessionStore.SessionStore["Service"]

/** Stands between a node and the bus. */
export type Wire = (bus: Invalidation.MemoryBus["Service"], node: number) => Invalidation.MemoryBus["Service"]

export const make: (
  count: number,
  options?: Options,
  around?: Around,
  wire?: Wire
) => Effect.Effect<
  {
    readonly nodes: ReadonlyArray<Node>
    readonly bus: Invalidation.MemoryBus["Service"]
    /** The store itself. */
    readonly store: SessionStore.SessionStore["Service"]
    readonly query: SessionQuery.SessionQuery["Service"]
    readonly crypto: Crypto.Crypto["Service"]
  },
  never,
  Scope.Scope
> = Effect.fnUntraced(function*(count, options, around = (store) => store, wire = (bus) => bus) {
  const stores = yield* Layer.build(MemoryStore.layerStore({ sweepInterval: "400 days" }))
  const bus = Context.get(yield* Layer.build(Invalidation.layerMemoryBus), Invalidation.MemoryBus)
  const provided = yield* Layer.build(crypto)
  const store = Context.get(stores, SessionStore.SessionStore)
  const query = Context.get(stores, SessionQuery.SessionQuery)
  const nodes: Array<Node> = []
  for (let i = 0; i < count; i++) {
    const context = yield* Layer.build(
      ClusterStore.layer(options?.cache).pipe(
        Layer.provideMerge(Invalidation.layerMemory(options?.channel)),
        Layer.provide(Layer.succeed(Invalidation.MemoryBus, wire(bus, i))),
        Layer.provide(Layer.succeedContext(provided)),
        Layer.provide(Layer.succeed(SessionStore.SessionStore, around(store))),
        Layer.provideMerge(Layer.succeed(SessionQuery.SessionQuery, query))
      )
    )
    const cluster = Context.getOption(context, SessionQuery.SessionQuery)
    nodes.push({
      store: Context.get(context, SessionStore.SessionStore),
      query: cluster._tag === "Some" ? cluster.value : query,
      cluster: Context.get(context, ClusterStore.ClusterStore),
      invalidation: Context.get(context, Invalidation.Invalidation)
    })
  }
  return { nodes, bus, store, query, crypto: Context.get(provided, Crypto.Crypto) }
})

/** Waits until every node has heard all that the others have said. */
export const settled = (nodes: ReadonlyArray<Pick<Node, "invalidation">>): Effect.Effect<void> =>
  Effect.flatMap(Effect.forEach(nodes, ({ invalidation }) => invalidation.stats), (stats) => {
    const published = stats.reduce((sum, node) => sum + node.published, 0)
    return stats.every((node) => node.received >= published - node.published)
      ? Effect.void
      : Effect.andThen(Effect.sleep(0), settled(nodes))
  })

/**
 * A store that takes another node for every call, as a load balancer does without sticky sessions. What nodes tell each
 * other may take its time: then a call ends when `arrived` does.
 */
export const spread = (
  nodes: ReadonlyArray<Pick<Node, "store" | "query">>,
  arrived: Effect.Effect<void> = Effect.void
): Context.Context<SessionStore.SessionStore | SessionQuery.SessionQuery> => {
  let turn = 0
  const next = () => nodes[turn++ % nodes.length]
  const told = <A, E>(call: () => Effect.Effect<A, E>) => Effect.tap(Effect.suspend(call), () => arrived)
  const streamed = <A, E>(stream: () => Stream.Stream<A, E>) => Stream.tap(Stream.suspend(stream), () => arrived)
  return Context.make(
    SessionStore.SessionStore,
    SessionStore.SessionStore.of({
      load: (key, options) => told(() => next().store.load(key, options)),
      create: (record, limit) => told(() => next().store.create(record, limit)),
      save: (key, version, change) => told(() => next().store.save(key, version, change)),
      touch: (key) => told(() => next().store.touch(key)),
      renew: (key, version, replacement, options) => told(() => next().store.renew(key, version, replacement, options)),
      destroy: (key) => told(() => next().store.destroy(key))
    })
  ).pipe(Context.add(SessionQuery.SessionQuery, {
    scan: Stream.suspend(() => next().query.scan),
    count: Effect.suspend(() => next().query.count),
    clear: streamed(() => next().query.clear),
    purgeExpired: Stream.suspend(() => next().query.purgeExpired),
    bySubject: (subject) => Effect.suspend(() => next().query.bySubject(subject)),
    destroyBySubject: (subject, options) => told(() => next().query.destroyBySubject(subject, options)),
    destroyWhere: (predicate) => streamed(() => next().query.destroyWhere(predicate))
  }))
}

/** Three nodes for the model test, each with callers of its own. */
export const three = (
  nodes: ReadonlyArray<Pick<Node, "store" | "query" | "cluster">>
): NodesModelTest.Options["nodes"] => {
  const node = (i: number): NodesModelTest.Node => {
    const { cluster, query, store } = nodes[i]
    return { store, query, hits: Effect.map(cluster.stats, ({ hits }) => hits) }
  }
  return [node(0), node(1), node(2)]
}
