/** Sends commands to the nodes of a cluster, and follows them where they are sent from there. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Command } from "ioredis"
import type { Argument, Reply, Server } from "../RedisClient.ts"
import { classify, type RedisError, table } from "../RedisError.ts"
import type * as Cluster from "./cluster.ts"
import { Call, commandOf } from "./command.ts"
import * as Direct from "./direct.ts"
import * as Sender from "./sender.ts"
import * as Slot from "./slot.ts"

/** How often a command is sent on. A slot that moves twice meanwhile needs three. */
const most = 5

const redirection = /^(MOVED|ASK) (\d{1,5}) (\S+)$/

const firstKey = (command: Command) => {
  try {
    return command.getKeys()[0]
  } catch {
    // The driver cannot make sense of it. The server will say what is wrong.
    return undefined
  }
}

export const make = (
  cluster: Cluster.Cluster,
  sender: Sender.Sender,
  clock: Clock.Clock,
  limit: number
): Server["send"] => {
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  // How a command gets to a node, and what is done about its failure.
  const courierOf = (
    name: string,
    args: ReadonlyArray<Argument>,
    find: (command: Command) => Cluster.Node | undefined
  ) => {
    const attempt = (...from: Parameters<typeof trip>): Effect.Effect<Reply, RedisError> => {
      const { recover, submit } = trip(...from)
      return sender.send(submit, name, args, recover)
    }
    const trip = (target: Cluster.Node | undefined, asking: boolean, redirected: number, deadline: number) => {
      let node = target
      const submit: Sender.Submit = (command) => {
        node ??= find(command)
        if (node === undefined) {
          cluster.suspect()
          return cluster.masters().length === 0 ? cluster.down() : table.ClusterDown
        }
        const connection = node.link.connection()
        // Two commands in a row, with nothing between them.
        if (asking) connection?.submit(commandOf("ASKING", []))?.catch(() => {})
        return connection?.submit(command) ?? node.link.down()
      }
      const recover = (cause: unknown) => {
        const [, kind, slot, to] = cause instanceof Error ? redirection.exec(cause.message) ?? [] : []
        if (kind === undefined || node === undefined) {
          if (classify(cause).infrastructure) cluster.suspect()
          return undefined
        }
        const next = cluster.nodeAt(to, node)
        if (next === undefined) return undefined
        if (kind === "MOVED") cluster.moved(Number(slot), next)
        const command = name.toUpperCase()
        const rest = deadline - now()
        if (redirected >= most || rest <= 0) return Sender.failed(command, table.Redirected)
        // A command that was refused was not executed, whereas the one that is sent on may be.
        return next.tried.pipe(
          Effect.timeoutOrElse({ duration: rest, orElse: () => Sender.failed(command, table.NotConnected) }),
          Effect.andThen(Effect.suspend(() => attempt(next, kind === "ASK", redirected + 1, deadline))),
          Effect.timeoutOrElse({ duration: rest, orElse: () => Sender.failed(command, table.Timeout) })
        )
      }
      return { submit, recover }
    }
    return { attempt, trip }
  }

  const nodeOf = (command: Command): Cluster.Node | undefined => {
    const key = firstKey(command)
    return key === undefined ? cluster.anyMaster() : cluster.nodeOf(Slot.of(key))
  }

  const send: Server["send"] = (name, ...args) => {
    const { attempt } = courierOf(name, args, nodeOf)
    return Effect.suspend(() => attempt(undefined, false, 0, now() + limit))
  }

  Direct.provide(send, (name, key, args, onReply, otherwise) => {
    const { trip } = courierOf(name, args, () => cluster.nodeOf(Slot.of(key)))
    const { recover, submit } = trip(undefined, false, 0, now() + limit)
    sender.call(submit, new Call(name, args), onReply, otherwise, recover)
  })

  return send
}

/** Commands that are sent to one node, wherever their keys are. */
export const pinned = (node: Cluster.Node, sender: Sender.Sender): Server => ({
  send: (name, ...args: ReadonlyArray<Argument>) =>
    sender.send((command) => node.link.connection()?.submit(command) ?? node.link.down(), name, args)
})
