/** Starts the nodes of the demo's cluster and their Redis, and ends them again: `npm run demo -- --store cluster`. */
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type ChildProcess, fork } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Neighbour } from "./Cluster.ts"
import type { Order, Report } from "./ClusterNode.ts"
import type * as OwnServer from "./OwnServer.ts"
import * as RedisProcess from "./RedisProcess.ts"

/** The reason why a node does not start, or that none is left. */
export class NodeFailed extends Error {
  override readonly name = "NodeFailed"
}

export interface Options {
  /** Of the first node; the others have the next ones. With 0, each has any free one. */
  readonly port: number
  readonly nodes: number
  /** A server that is given, instead of one of the demo's own. */
  readonly redis: Redacted.Redacted<string> | undefined
}

interface Node {
  readonly name: string
  readonly child: ChildProcess
  readonly pid: number
  readonly url: string
}

// Half of it is one second for requests, and some more for the store.
const patience = 3000

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

const end = (child: ChildProcess) =>
  Effect.promise(async () => {
    if (hasEnded(child)) return
    const closed = once(child, "close")
    child.kill("SIGTERM")
    // One that was stopped hears nothing but the last.
    const last = setTimeout(() => child.kill("SIGKILL"), patience)
    await closed
    clearTimeout(last)
  })

const tell = (child: ChildProcess, order: Order) => {
  // One that has just died is no failure of those who talk to it.
  if (child.connected) child.send(order, () => {})
}

const spawned = Effect.acquireRelease(
  Effect.sync(() => {
    const child = fork(fileURLToPath(new URL("ClusterNode.ts", import.meta.url)), {
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
    // However this process ends, it leaves none behind.
    const kill = () => child.kill("SIGKILL")
    process.once("exit", kill)
    child.once("exit", () => process.removeListener("exit", kill))
    return child
  }),
  end
)

const start = Effect.fnUntraced(function*(name: string, port: number, redis: string, secret: string) {
  const child = yield* spawned
  const listening = Effect.callback<number, NodeFailed>((resume) => {
    child.once("exit", () => resume(Effect.fail(new NodeFailed(`Node ${name} has ended before it began`))))
    child.once("error", (error) => resume(Effect.fail(new NodeFailed(error.message))))
    child.once("message", (report: Report) =>
      resume(
        report._tag === "Listening" ? Effect.succeed(report.port) : Effect.fail(new NodeFailed(report.reason))
      ))
    tell(child, { _tag: "Start", name, port, redis, secret })
  })
  const node: Node = { name, child, pid: child.pid ?? 0, url: `http://localhost:${yield* listening}` }
  return node
})

const neighbours = (nodes: ReadonlyArray<Node>): ReadonlyArray<Neighbour> =>
  nodes.map(({ child, name, pid, url }) => ({ name, pid, url, alive: !hasEnded(child) }))

const names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"]

/** How many nodes there can be. */
export const maxNodes = names.length

/** Runs until it is interrupted, or no node is left. */
export const run: (
  options: Options
) => Effect.Effect<never, NodeFailed | OwnServer.ServerMissing, Scope.Scope> = Effect.fnUntraced(
  function*({ nodes: count, port, redis }) {
    const address = Redacted.value(redis ?? (yield* RedisProcess.make))
    const secret = randomBytes(32).toString("base64url")
    const nodes = yield* Effect.forEach(
      names.slice(0, count),
      (name, i) => start(name, port === 0 ? 0 : port + i, address, secret),
      { concurrency: "unbounded" }
    )
    const introduce = () => {
      const known = neighbours(nodes)
      for (const { child } of nodes) tell(child, { _tag: "Nodes", nodes: known })
    }
    const deserted = yield* Deferred.make<never, NodeFailed>()
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const watches = nodes.map(({ child, name, pid }) => {
          const onExit = () => {
            console.log(`Node ${name}, process ${pid}, has ended.`)
            introduce()
            if (nodes.every(({ child }) => hasEnded(child))) {
              Deferred.doneUnsafe(deserted, Effect.fail(new NodeFailed("No node is left.")))
            }
          }
          child.once("exit", onExit)
          return () => child.removeListener("exit", onExit)
        })
        introduce()
        return watches
      }),
      (watches) => Effect.sync(() => watches.forEach((unwatch) => unwatch()))
    )
    const list = nodes.map(({ name, pid, url }) => `  node ${name}: ${url}, process ${pid}`).join("\n")
    yield* Console.log(
      `Demo with the cluster store on ${count} nodes (sign in on any, with any name and the password "demo"):\n${list}\n` +
        "kill -9 ends a node, kill -STOP freezes one: the others go on."
    )
    return yield* Deferred.await(deserted)
  }
)
