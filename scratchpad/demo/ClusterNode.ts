/** One node of the demo's cluster, as a process of its own. Started by `ClusterProgram`, which tells it what to be. */
import { ClusterStore, Invalidation, RedisInvalidation } from "@effect-session/cluster"
import { Resilience, SessionBackend, SessionConfig } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { RedisClient, RedisStore } from "@effect-session/redis"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Accounts from "./Accounts.ts"
import * as Cluster from "./Cluster.ts"
import * as Server from "./Server.ts"

/** What a node is told: once what it is, then who is there. */
export type Order =
  | {
    readonly _tag: "Start"
    readonly name: string
    readonly port: number
    readonly redis: string
    /** The same for all nodes: who knows it can speak on their channel. */
    readonly secret: string
  }
  | { readonly _tag: "Nodes"; readonly nodes: ReadonlyArray<Cluster.Neighbour> }

/** What a node answers. */
export type Report =
  | { readonly _tag: "Listening"; readonly port: number }
  | { readonly _tag: "Failed"; readonly reason: string }

const report = (report: Report) =>
  Effect.callback<void>((resume) => {
    if (process.send === undefined) return resume(Effect.void)
    process.send(report, () => resume(Effect.void))
  })

let nodes: ReadonlyArray<Cluster.Neighbour> = []

const serve = ({ name, port, redis, secret }: Extract<Order, { readonly _tag: "Start" }>) => {
  const url = Redacted.make(redis)
  const client = RedisClient.layer({ url, maxReconnectDelay: "500 millis" })
  const store = RedisStore.layerStore().pipe(
    Resilience.over({ name: "redis", openDuration: "2 seconds" }),
    Layer.provide(client),
    // Above the guard: what is answered by a copy needs none.
    ClusterStore.over(),
    Layer.provideMerge(RedisInvalidation.layer({ urls: [url] }).pipe(Layer.provide(client)))
  )
  const Place = Layer.effect(
    Cluster.Node,
    Effect.gen(function*() {
      const invalidation = yield* Invalidation.Invalidation
      return {
        name,
        nodes: () => nodes,
        cluster: yield* ClusterStore.ClusterStore,
        trust: () => invalidation.trustUnsafe()
      }
    })
  )
  const Announcement = Layer.effectDiscard(Effect.gen(function*() {
    const { address } = yield* HttpServer.HttpServer
    yield* report({ _tag: "Listening", port: address._tag === "UnixPathAddress" ? port : address.port })
  }))
  return Announcement.pipe(
    Layer.provide(Server.layerApi),
    Layer.provide(Layer.merge(Accounts.layerStore, Place)),
    Layer.provide(SessionBackend.layer("cluster", { sealByDefault: true })),
    Layer.provide(store),
    Layer.provide(CryptoNode.layer),
    Layer.provide(
      SessionConfig.layer({ preset: "development", secrets: Redacted.make(secret), conflictRetries: 200 })
    ),
    Layer.provide(Server.layer(port))
  )
}

const reasonOf = (error: Error, port: number): string =>
  Server.isTaken(error)
    ? `Port ${port} is taken. Take other ones: npm run demo -- --store cluster --port ${port + 1}`
    : error.message

const ordered = Effect.callback<Extract<Order, { readonly _tag: "Start" }>>((resume) => {
  process.on("message", (order: Order) => {
    if (order._tag === "Nodes") nodes = order.nodes
    else resume(Effect.succeed(order))
  })
})

// However the program that has started this node ends, this node ends with it.
const orphaned = Effect.callback<void>((resume) => {
  process.once("disconnect", () => resume(Effect.void))
})

const program = Effect.flatMap(ordered, (order) =>
  Layer.launch(serve(order)).pipe(
    Effect.catch((error) =>
      Effect.andThen(report({ _tag: "Failed", reason: reasonOf(error, order.port) }), Effect.never)
    )
  ))

Effect.raceFirst(program, orphaned).pipe(
  NodeRuntime.runMain({
    teardown: (exit, onExit) => {
      if (process.connected) process.disconnect()
      onExit(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1)
    }
  })
)
