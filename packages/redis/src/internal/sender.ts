/** Turns promises of the driver into effects, and knows how many of them are not done. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Command } from "ioredis"
import type { Argument, Reply } from "../RedisClient.ts"
import { classify, RedisError, type RedisErrorReason } from "../RedisError.ts"
import { type Call, commandOf, toBytes } from "./command.ts"

/** Hands a command to a connection, or says why there is none. */
export type Submit = (command: Command) => Promise<unknown> | RedisErrorReason

export interface Sender {
  readonly send: (
    submit: Submit,
    name: string,
    args: ReadonlyArray<Argument>,
    /** What to do instead of failing. */
    recover?: (cause: unknown) => Effect.Effect<Reply, RedisError> | undefined
  ) => Effect.Effect<Reply, RedisError>
  /**
   * The same without an effect and without a promise, for what is sent with every request: of `onReply` and `otherwise`
   * one is called, once, and neither may throw.
   */
  readonly call: (
    submit: Submit,
    command: Call,
    onReply: (reply: Reply) => void,
    otherwise: (effect: Effect.Effect<Reply, RedisError>) => void,
    recover?: (cause: unknown) => Effect.Effect<Reply, RedisError> | undefined
  ) => void
  /** Waits until no command is without its reply. */
  readonly drained: Effect.Effect<void>
}

// Their effect would outlast the command, on a connection that others share.
const stateful: ReadonlySet<string> = new Set(
  [
    "MULTI EXEC DISCARD WATCH UNWATCH",
    "SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE",
    "AUTH HELLO MONITOR QUIT RESET SELECT"
  ].flatMap((names) => names.split(" "))
)

// Not an error among the elements of an array, nor anything that RESP2 cannot say.
const isReply = (value: unknown): value is Reply =>
  value === null || typeof value === "number" || Buffer.isBuffer(value) ||
  (Array.isArray(value) && value.every(isReply))

const errorIn = (value: unknown): unknown => Array.isArray(value) ? errorIn(value.find((one) => !isReply(one))) : value

export const failed = (command: string | undefined, reason: RedisErrorReason): Effect.Effect<never, RedisError> =>
  Effect.fail(new RedisError({ reason, command }))

export const make = (): Sender => {
  const drained = Deferred.makeUnsafe<void>()
  let inFlight = 0
  let draining = false
  const done = () => {
    inFlight--
    if (draining && inFlight === 0) Deferred.doneUnsafe(drained, Effect.void)
  }

  return {
    send: (submit, name, args, recover) =>
      Effect.callback((resume) => {
        // Upper case is also what keeps the driver from reshaping replies.
        const command = name.toUpperCase()
        if (stateful.has(command)) {
          return resume(Effect.die(new RangeError(`RedisClient.send: ${command} would change the shared connection`)))
        }
        const answer = submit(commandOf(command, args.map(toBytes)))
        if (!(answer instanceof Promise)) return resume(failed(command, answer))
        inFlight++
        const settle = (effect: Effect.Effect<Reply, RedisError>) => {
          resume(effect)
          done()
        }
        const fail = (cause: unknown) => settle(recover?.(cause) ?? failed(command, classify(cause)))
        answer.then((value) => {
          if (isReply(value)) settle(Effect.succeed(value))
          else fail(errorIn(value))
        }, fail)
      }),
    call: (submit, command, onReply, otherwise, recover) => {
      // It may be settled while it is handed over, and when its time is over a reply may still come.
      const fail = (cause: unknown) => {
        if (command.isSettled) return
        command.settle()
        otherwise(recover?.(cause) ?? failed(command.name.toUpperCase(), classify(cause)))
        done()
      }
      command.reject = fail
      command.resolve = (value: unknown) => {
        if (command.isSettled) return
        if (!isReply(value)) return fail(errorIn(value))
        command.settle()
        onReply(value)
        done()
      }
      inFlight++
      const answer = submit(command)
      if (answer instanceof Promise) return
      command.settle()
      otherwise(failed(command.name.toUpperCase(), answer))
      done()
    },
    drained: Effect.suspend(() => {
      draining = true
      return inFlight === 0 ? Effect.void : Deferred.await(drained)
    })
  }
}
