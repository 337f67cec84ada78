/** Cached nodes over one Redis server. */
import { ClusterStore, Invalidation, RedisInvalidation } from "@effect-session/cluster"
import { SessionQuery, SessionStore } from "@effect-session/core"
import { RedisClient, RedisStore } from "@effect-session/redis"
import { Context, Effect, Layer } from "effect"
import * as RedisServer from "../../redis/test/RedisServer.ts"
import * as TcpProxy from "../../redis/test/TcpProxy.ts"
import * as Nodes from "./Nodes.ts"

// Nodes, each with connections of its own, over one server that also carries their channel. What they hear may be late.
const build = Effect.fnUntraced(function*(count: number, late: ReadonlyArray<number> = []) {
  const { port, url } = yield* RedisServer.make()
  const client = RedisClient.layer({ url, commandTimeout: "5 seconds" })
  const nodes: Array<Nodes.Node> = []
  for (let i = 0; i < count; i++) {
    const proxy = late[i] === undefined ? undefined : yield* TcpProxy.make(port)
    yield* proxy?.always({ toClient: { delay: late[i] } }) ?? Effect.void
    const context = yield* Layer.build(Layer.fresh(
      RedisStore.layerStore().pipe(
        ClusterStore.over(),
        Layer.provideMerge(RedisInvalidation.layer({ urls: [proxy?.url ?? url] })),
        Layer.provide(client),
        Layer.provide(Nodes.crypto)
      )
    ))
    nodes.push({
      store: Context.get(context, SessionStore.SessionStore),
      query: Context.get(context, SessionQuery.SessionQuery),
      cluster: Context.get(context, ClusterStore.ClusterStore),
      invalidation: Context.get(context, Invalidation.Invalidation)
    })
  }
  return { client, nodes }
})

/** A store that takes another node for every call. */
export const make = (count: number) =>
  Layer.effectContext(Effect.map(
    build(count),
    ({ nodes }) => Nodes.spread(nodes, count === 1 ? Effect.void : Nodes.settled(nodes))
  ))

/** Three nodes, each with callers of its own. */
export class Three extends Context.Service<Three, ReturnType<typeof Nodes.three>>()("test/Three") {}

/** Three nodes, of which each hears the others so many milliseconds late, and the store itself. */
export const three = (...late: ReadonlyArray<number>) =>
  Layer.unwrap(Effect.map(
    build(3, late),
    ({ client, nodes }) =>
      Layer.merge(RedisStore.layerStore().pipe(Layer.provide(client)), Layer.succeed(Three, Nodes.three(nodes)))
  ))
