/** A bounded number of connections that are used by one at a time. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Command } from "ioredis"
import type { Argument, Server } from "../RedisClient.ts"
import { RedisError, type RedisErrorReason, table } from "../RedisError.ts"
import { type Address, keyOf } from "./address.ts"
import { toBytes } from "./command.ts"
import * as Connection from "./connection.ts"
import type * as Driver from "./driver.ts"
import * as Sender from "./sender.ts"

export interface Options {
  readonly size: number
  /** Milliseconds to wait for a connection that others use. */
  readonly checkoutTimeout: number
  readonly timeouts: Driver.Timeouts
}

export interface Pool {
  /** Lends a connection to the server that is found, until the scope closes. */
  readonly checkout: (
    locate: () => Address | RedisErrorReason
  ) => Effect.Effect<Server, RedisError, Scope.Scope>
}

interface Item {
  readonly connection: Connection.Connection
  readonly scope: Scope.Closeable
  /** Commands without their reply, those nobody waits for any more included. */
  pending: number
}

const isSound = ({ connection, pending }: Item) => pending === 0 && connection.isOpen()

/** Creates a pool. Connections are opened when they are first needed. */
export const make: (options: Options) => Effect.Effect<Pool, never, Scope.Scope> = Effect.fnUntraced(
  function*({ checkoutTimeout, size, timeouts }) {
    const parent = yield* Scope.fork(yield* Effect.scope)
    const permits = yield* Semaphore.make(size)
    const sender = Sender.make()
    let idle: ReadonlyArray<Item> = []
    let lent = 0
    let closed = false

    const discard = ({ scope }: Item) => Scope.close(scope, Exit.void)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        closed = true
        idle = []
      })
    )

    const create = Effect.fnUntraced(function*(address: Address) {
      const scope = yield* Scope.fork(parent)
      const connection = yield* Connection.open(address, timeouts, { blocking: true }).pipe(
        Scope.provide(scope),
        Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit))
      )
      const item: Item = { connection, scope, pending: 0 }
      return item
    })

    const take = Effect.fnUntraced(function*(address: Address) {
      const found = idle.findLast((item) => isSound(item) && keyOf(item.connection.address) === keyOf(address))
      // What broke goes, and the oldest that would be too many beside the one that is lent.
      const rest = idle.filter((item) => item !== found && isSound(item))
      const kept = rest.slice(Math.max(0, rest.length + lent - size))
      const gone = idle.filter((item) => item !== found && !kept.includes(item))
      idle = kept
      yield* Effect.forEach(gone, discard, { discard: true })
      return found ?? (yield* create(address))
    })

    const giveBack = (item: Item) =>
      Effect.suspend(() => {
        if (closed || !isSound(item)) return discard(item)
        idle = [...idle, item]
        return Effect.void
      })

    const serverOf = (item: Item): Server => {
      const submit = (command: Command) => {
        const reply = item.connection.submit(command)
        if (reply === undefined) return table.NotConnected
        const settled = () => void item.pending--
        item.pending++
        reply.then(settled, settled)
        return reply
      }
      return {
        send: (name, ...args: ReadonlyArray<Argument>) =>
          Effect.suspend(() => {
            const command = name.toUpperCase()
            const duration = timeouts.command + Connection.blockingTime(command, args.map(toBytes))
            if (duration === Number.POSITIVE_INFINITY) {
              return Effect.die(new RangeError(`RedisClient.dedicated: ${command} must name how long it blocks`))
            }
            return Effect.timeoutOrElse(sender.send(submit, command, args), {
              duration,
              orElse: () => Sender.failed(command, table.Timeout)
            })
          })
      }
    }

    return {
      checkout: (locate) =>
        Effect.gen(function*() {
          yield* Effect.timeoutOrElse(permits.takeScoped(1), {
            duration: checkoutTimeout,
            orElse: () => Sender.failed(undefined, table.PoolTimeout)
          })
          yield* Effect.acquireRelease(Effect.sync(() => lent++), () => Effect.sync(() => lent--))
          const found = Effect.suspend(() => {
            const address = closed ? table.NotConnected : locate()
            return "host" in address ? take(address) : Effect.fail(address)
          })
          const item = yield* Effect.acquireRelease(found, giveBack, { interruptible: true }).pipe(
            Effect.mapError((reason) =>
              new RedisError({ reason: { ...reason, outcomeUnknown: false }, command: undefined })
            )
          )
          return serverOf(item)
        })
    }
  }
)
