/** Cached nodes over one Redis server. */
import { ClusterStore, Invalidation, RedisInvalidation } from "@effect-session/cluster"
import { SessionQuery, SessionStore } from "@effect-session/core"
import { RedisClient, RedisStore } from "@effect-session/redis"
import { Context, Effect, Layer } from "effect"
import * as RedisServer from "../../redis/test/RedisServer.ts"
import * as Nodes from "./Nodes.ts"

/** Nodes, each with connections of its own, over one server that also carries their channel. */
export const make = (count: number) =>
  Layer.effectContext(Effect.gen(function*() {
    const { url } = yield* RedisServer.make()
    const client = RedisClient.layer({ url, commandTimeout: "5 seconds" })
    const built: Array<Pick<Nodes.Node, "store" | "query" | "invalidation">> = []
    for (let i = 0; i < count; i++) {
      const context = yield* Layer.build(Layer.fresh(
        RedisStore.layerStore().pipe(
          ClusterStore.over(),
          Layer.provideMerge(RedisInvalidation.layer({ urls: [url] })),
          Layer.provide(client),
          Layer.provide(Nodes.crypto)
        )
      ))
      built.push({
        store: Context.get(context, SessionStore.SessionStore),
        query: Context.get(context, SessionQuery.SessionQuery),
        invalidation: Context.get(context, Invalidation.Invalidation)
      })
    }
    return Nodes.spread(built, count === 1 ? Effect.void : Nodes.settled(built))
  }))
