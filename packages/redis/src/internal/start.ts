/** Decides when a client is there: what to do without Redis at start. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { BaseOptions } from "../RedisClient.ts"
import { RedisError, type RedisErrorReason } from "../RedisError.ts"

export interface Start {
  /** To be called after each attempt to connect, with its failure. */
  readonly attempted: (failure: RedisErrorReason | undefined) => void
  /** Waits for the decision. */
  readonly wait: (limit: number, down: () => RedisErrorReason) => Effect.Effect<void, RedisError>
}

const failed = (reason: RedisErrorReason) => Effect.fail(new RedisError({ reason, command: undefined }))

export const make = (mode: NonNullable<BaseOptions["onUnavailableAtStart"]>): Start => {
  const decided = Deferred.makeUnsafe<void, RedisError>()
  return {
    attempted: (failure) => {
      if (failure === undefined) return void Deferred.doneUnsafe(decided, Effect.void)
      // What waiting cannot mend fails in every mode.
      const giveUp = mode === "fail" || !failure.infrastructure
      if (giveUp || mode === "continue") Deferred.doneUnsafe(decided, giveUp ? failed(failure) : Effect.void)
    },
    wait: (limit, down) =>
      mode === "wait"
        ? Effect.timeoutOrElse(Deferred.await(decided), {
          duration: limit,
          orElse: () => Effect.suspend(() => failed(down()))
        })
        : Deferred.await(decided)
  }
}
