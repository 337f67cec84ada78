/** The driver as this library has it: a connection is opened once, used, and thrown away. Nothing is queued or sent again. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Redis, type RedisOptions } from "ioredis"
import { classify, type RedisErrorReason } from "../RedisError.ts"
import { type Address, tlsOf } from "./address.ts"

export interface Timeouts {
  /** Milliseconds from a command to its reply. */
  readonly command: number
  /** Milliseconds to the end of the TCP and TLS handshake. */
  readonly connect: number
}

export interface Driver {
  readonly client: Redis
  /** What went wrong last, apart from commands. */
  readonly failure: () => RedisErrorReason | undefined
  readonly connect: Effect.Effect<void, RedisErrorReason>
}

/** One that is not connected yet, and is closed with the scope. */
export const make = (
  address: Address,
  timeouts: Timeouts,
  more?: Pick<RedisOptions, "reconnectOnError" | "socketTimeout">
): Effect.Effect<Driver, never, Scope.Scope> => {
  const tls = tlsOf(address)
  const acquired = Effect.acquireRelease(
    Effect.sync(() =>
      new Redis({
        host: address.host,
        port: address.port,
        db: address.database,
        username: address.username,
        password: address.password,
        ...tls === undefined ? {} : { tls },
        // RESP2 needs no handshake, and the pushes of RESP3 would be dropped anyway.
        protocol: 2,
        disableClientInfo: true,
        lazyConnect: true,
        connectTimeout: timeouts.connect,
        commandTimeout: timeouts.command,
        // Half-closing waits for a peer that may be frozen.
        disconnectTimeout: 0,
        enableOfflineQueue: false,
        autoResendUnfulfilledCommands: false,
        autoResubscribe: false,
        maxRetriesPerRequest: 0,
        retryStrategy: null,
        // Its timer outlives the connection, it needs the right to INFO, and it hides LOADING.
        enableReadyCheck: false,
        ...more
      })
    ),
    close
  )
  return Effect.map(acquired, (client) => {
    let failure: RedisErrorReason | undefined
    client.on("error", (cause) => {
      failure = classify(cause)
    })
    return {
      client,
      failure: () => failure,
      // The error event knows more than the rejection. It also tells of a database that could not be
      // selected, and the driver would go on with the wrong one.
      connect: Effect.flatMap(
        Effect.tryPromise({ try: () => client.connect(), catch: (cause) => failure ?? classify(cause) }),
        () => failure === undefined ? Effect.void : Effect.fail(failure)
      )
    }
  })
}

const close = (client: Redis): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (client.status === "end") return resume(Effect.void)
    client.once("end", () => resume(Effect.void))
    client.disconnect()
  })
