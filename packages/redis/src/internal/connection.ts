/**
 * One connection to one server: opened once, used, and thrown away. The driver
 * never reconnects, queues or resends by itself; whoever opens connections does.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Command } from "ioredis"
import { classify, type RedisErrorReason, table } from "../RedisError.ts"
import type { Address } from "./address.ts"
import { commandOf } from "./command.ts"
import * as Deadlines from "./deadlines.ts"
import * as Driver from "./driver.ts"

export interface Connection {
  readonly address: Address
  readonly isOpen: () => boolean
  /** Sends a command; `undefined` when the connection can take none any more. */
  readonly submit: (command: Command) => Promise<unknown> | undefined
  /** Waits for the end of the connection. */
  readonly closed: Effect.Effect<RedisErrorReason>
}

// A turn with fewer commands leaves as a whole.
const leastHalf = 32

/** How long a command asks the server to wait, in milliseconds: not at all, or without end, included. */
export const blockingTime = (name: string, args: ReadonlyArray<string | Buffer>): number => {
  if (!Command.checkFlag("BLOCKING_COMMANDS", name)) return 0
  const time = commandOf(name, args).extractBlockingTimeout()
  return time === 0 ? Number.POSITIVE_INFINITY : time ?? 0
}

/** Sends a command and waits for its reply, for questions that the client asks itself. */
export const ask = (
  submit: Connection["submit"],
  name: string,
  ...args: ReadonlyArray<string>
): Effect.Effect<unknown, RedisErrorReason> =>
  Effect.tryPromise({
    try: () => submit(commandOf(name, args)) ?? Promise.reject(new Error("Connection is closed.")),
    catch: classify
  })

// A server that answers at all is connected; its refusals belong to the commands that meet them.
const unusable = (reason: RedisErrorReason): boolean =>
  reason._tag === "NoAuth" || reason._tag === "MaxClients" || reason._tag === "NotConnected" || reason.outcomeUnknown

/** Opens a connection and waits until the server has answered on it. */
export const open: (
  address: Address,
  timeouts: Driver.Timeouts,
  options?: {
    /** Whether commands may take longer than others; whoever sends them sees to their time limit. */
    readonly blocking?: boolean | undefined
  }
) => Effect.Effect<Connection, RedisErrorReason, Scope.Scope> = Effect.fnUntraced(
  function*(address, timeouts, options) {
    const { client, connect, failure } = yield* Driver.make(address, timeouts, {
      // A silent connection is replaced: a failover behind a frozen server is noticed.
      socketTimeout: Math.ceil(timeouts.command * 1.5),
      // The server became a replica: whoever is master now is found by connecting again.
      reconnectOnError: (error) => error.message.startsWith("READONLY ")
    })
    const deadlines = options?.blocking === true ? undefined : Deadlines.make(yield* Clock.Clock, timeouts.command)
    // All that is sent in one turn of the event loop leaves in one write, texts as one text. Where replies are still to
    // come, the turn includes what came in on other sockets: a busy server writes once for all the requests that it found
    // waiting, and an idle connection keeps nobody waiting. Of many commands the first half leaves before: else Redis and
    // this process would wait for each other in turn. Half is what the last turn makes expect.
    let outgoing: Array<string | Buffer> = []
    let taken = 0
    let half = leastHalf
    let scheduled = false
    const flush = () => {
      const chunks = outgoing
      outgoing = []
      const { stream } = client
      // A connection that is ending rejects its commands when it has ended.
      if (!stream.writable) return
      if (chunks.length === 0) return
      // To copy some kilobytes takes less than to write many chunks.
      stream.write(
        chunks.length === 1
          ? chunks[0]
          : Buffer.concat(chunks.map((chunk) => typeof chunk === "string" ? Buffer.from(chunk) : chunk))
      )
    }
    const turn = {
      isPipeline: true as const,
      destination: { redis: client },
      write: (data: string | Buffer) => {
        const last = outgoing.length - 1
        const before = outgoing[last]
        if (typeof data === "string" && typeof before === "string") outgoing[last] = before + data
        else outgoing.push(data)
      }
    }
    const endTurn = () => {
      scheduled = false
      half = Math.max(leastHalf, taken >> 1)
      taken = 0
      flush()
    }
    const submit = (command: Command): Promise<unknown> | undefined => {
      if (client.status !== "ready") return undefined
      if (!scheduled) {
        scheduled = true
        if (client.commandQueue.length === 0) process.nextTick(endTurn)
        else setImmediate(endTurn)
        deadlines?.turn()
      }
      deadlines?.add(command)
      client.sendCommand(command, turn)
      if (++taken === half) flush()
      return command.promise
    }
    yield* connect
    yield* ask(submit, "PING").pipe(
      Effect.catch((reason) => unusable(reason) ? Effect.fail(failure() ?? reason) : Effect.void)
    )
    // The driver's timers, one for each command, are for the handshake only.
    delete client.options.commandTimeout
    if (deadlines === undefined) delete client.options.socketTimeout
    else yield* Effect.forkScoped(deadlines.run)
    return {
      address,
      isOpen: () => client.status === "ready",
      submit,
      closed: Effect.callback((resume) => {
        const ended = () => resume(Effect.succeed(failure() ?? table.ConnectionLost))
        if (client.status === "end") return ended()
        client.once("end", ended)
        return Effect.sync(() => client.off("end", ended))
      })
    }
  }
)
