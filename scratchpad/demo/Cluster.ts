/** What the page is told of the node that serves it, and of the end of its session wherever that happens. */
import { ClusterStore, SessionEnd } from "@effect-session/cluster"
import { RequestClass } from "@effect-session/http"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Problem } from "./Input.ts"
import { UserSession } from "./UserSession.ts"

/** A node, as its neighbours know it. */
export interface Neighbour {
  readonly name: string
  readonly pid: number
  readonly url: string
  readonly alive: boolean
}

export interface Node {
  readonly name: string
  /** All of them, this one included. */
  readonly nodes: () => ReadonlyArray<Neighbour>
  readonly cluster: ClusterStore.ClusterStore["Service"]
  /** How old a copy may be at this moment, in milliseconds. */
  readonly trust: () => number
}

/** The node that this process is; `undefined` where there is only one. */
export const Node = Context.Reference<Node | undefined>("demo/Cluster/Node", { defaultValue: () => undefined })

const json = HttpServerResponse.jsonUnsafe

/** How this request has come to its session, and how old that answer of the store was. */
const lookup = Effect.fnUntraced(function*({ cluster, trust }: Node, begun: number) {
  const key = yield* SessionEnd.keyOf(UserSession)
  if (key === undefined) return null
  const age = yield* cluster.age(key)
  if (age === undefined || trust() === 0) return { from: "bypass", age: null }
  // A copy that is older than this request was there before it.
  return { from: age > performance.now() - begun ? "hit" : "miss", age: Math.round(age) }
})

// Asked for by the page, every second: nobody's activity.
const node = RequestClass.passive(Effect.gen(function*() {
  const node = yield* Node
  if (node === undefined) return json({ node: null })
  // The session is read when it is first asked for, and that is here.
  const begun = performance.now()
  const { counter } = yield* UserSession.get
  const username = (yield* UserSession.subject) ?? null
  const session = yield* lookup(node, begun)
  const stats = yield* node.cluster.stats
  const trust = node.trust()
  const { gaps, peers, reconnects } = stats.channel
  return json({
    node: {
      name: node.name,
      pid: process.pid,
      nodes: node.nodes(),
      username,
      counter,
      session,
      // JSON has no infinity.
      trust: trust === Infinity ? "full" : trust,
      copies: stats.size,
      hits: stats.hits,
      misses: stats.misses,
      bypasses: stats.bypasses,
      invalidationsIn: stats.invalidationsIn,
      invalidationsOut: stats.invalidationsOut,
      channel: { peers, gaps, reconnects }
    }
  })
}))

const beat = Stream.fromSchedule(Schedule.spaced("10 seconds")).pipe(Stream.as(": still here\n\n"))

const events = RequestClass.passive(Effect.gen(function*() {
  const node = yield* Node
  if (node === undefined) return yield* new Problem({ status: 404, reason: "There is one node only" })
  if ((yield* UserSession.status) !== "active") {
    return yield* new Problem({ status: 401, reason: "There is no session whose end could be told" })
  }
  const lines = Stream.concat(Stream.succeed("event: begun\ndata:\n\n"), beat).pipe(
    SessionEnd.endsStreamWithSession(UserSession),
    Stream.concat(Stream.succeed("event: ended\ndata:\n\n")),
    Stream.provideService(ClusterStore.ClusterStore, node.cluster),
    Stream.provideContext(yield* Effect.context<UserSession>())
  )
  return HttpServerResponse.stream(Stream.encodeText(lines), { contentType: "text/event-stream" })
}))

export const routes = [
  HttpRouter.route("GET", "/api/node", node),
  HttpRouter.route("GET", "/api/events", events)
] as const
