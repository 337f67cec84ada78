/**
 * One connection to one server: opened once, used, and thrown away. The driver
 * never reconnects, queues or resends by itself; whoever opens connections does.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Command, Redis } from "ioredis"
import { isIP } from "node:net"
import { classify, type RedisErrorReason, table } from "../RedisError.ts"

export interface Address {
  readonly host: string
  readonly port: number
  readonly database: number
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: boolean
}

/** The parts of a url, or `undefined` if it is none of ours. Nothing of it may reach a message. */
export const parseUrl = (text: string): Address | undefined => {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== "redis:" && url.protocol !== "rediss:")) return undefined
  // The driver would take query parameters for options of its own.
  if (url.hostname === "" || url.search !== "" || url.hash !== "") return undefined
  const database = /^\/?(\d{0,5})$/.exec(url.pathname)
  if (database === null) return undefined
  try {
    const password = decodeURIComponent(url.password)
    return {
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port === "" ? 6379 : Number(url.port),
      database: Number(database[1]),
      // The form of AUTH without a user name is refused by a server that has no password.
      username: password === "" ? undefined : decodeURIComponent(url.username) || "default",
      password: password === "" ? undefined : password,
      tls: url.protocol === "rediss:"
    }
  } catch {
    return undefined
  }
}

export interface Timeouts {
  /** Milliseconds from a command to its reply. */
  readonly command: number
  /** Milliseconds to the end of the TCP and TLS handshake. */
  readonly connect: number
}

export interface Connection {
  /** Sends a command; `undefined` when the connection can take none any more. */
  readonly call: (name: string, args: ReadonlyArray<string | Buffer>) => Promise<unknown> | undefined
  /** Waits for the end of the connection. */
  readonly closed: Effect.Effect<RedisErrorReason>
}

const connect = (address: Address, timeouts: Timeouts): Redis =>
  new Redis({
    host: address.host,
    port: address.port,
    db: address.database,
    username: address.username,
    password: address.password,
    ...address.tls ? { tls: isIP(address.host) === 0 ? { servername: address.host } : {} } : {},
    // RESP2 needs no handshake, and the pushes of RESP3 would be dropped anyway.
    protocol: 2,
    disableClientInfo: true,
    lazyConnect: true,
    connectTimeout: timeouts.connect,
    commandTimeout: timeouts.command,
    // A silent connection is replaced: a failover behind a frozen server is noticed.
    socketTimeout: Math.ceil(timeouts.command * 1.5),
    // Half-closing waits for a peer that may be frozen.
    disconnectTimeout: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    retryStrategy: null,
    // Its timer outlives the connection, it needs the right to INFO, and it hides LOADING.
    enableReadyCheck: false,
    // The server became a replica: whoever is master now is found by connecting again.
    reconnectOnError: (error) => error.message.startsWith("READONLY ")
  })

const close = (client: Redis): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (client.status === "end") return resume(Effect.void)
    client.once("end", () => resume(Effect.void))
    client.disconnect()
  })

const attempt = <A>(call: () => Promise<A>): Effect.Effect<A, RedisErrorReason> =>
  Effect.tryPromise({ try: call, catch: classify })

// A server that answers at all is connected; its refusals belong to the commands that meet them.
const unusable = (reason: RedisErrorReason): boolean =>
  reason._tag === "NoAuth" || reason._tag === "MaxClients" || reason._tag === "NotConnected" || reason.outcomeUnknown

/** Opens a connection and waits until the server has answered on it. */
export const open: (
  address: Address,
  timeouts: Timeouts
) => Effect.Effect<Connection, RedisErrorReason, Scope.Scope> = Effect.fnUntraced(function*(address, timeouts) {
  let failure: RedisErrorReason | undefined
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const client = connect(address, timeouts)
      client.on("error", (cause) => {
        failure = classify(cause)
      })
      return client
    }),
    close
  )
  const call = (name: string, args: ReadonlyArray<string | Buffer>): Promise<unknown> | undefined => {
    if (client.status !== "ready") return undefined
    const command = new Command(name, [...args], { replyEncoding: null })
    // Else the driver's diagnostics channel shows the keys and values of scripts to every subscriber.
    command.isTraced = true
    client.sendCommand(command)
    return command.promise
  }
  // The error event knows more than the rejection. It also tells of a database that could not be
  // selected, and the driver would go on with the wrong one.
  yield* attempt(() => client.connect()).pipe(Effect.mapError((reason) => failure ?? reason))
  if (failure !== undefined) return yield* Effect.fail(failure)
  yield* attempt(() => call("PING", []) ?? Promise.reject(new Error("Connection is closed."))).pipe(
    Effect.catch((reason) => unusable(reason) ? Effect.fail(failure ?? reason) : Effect.void)
  )
  return {
    call,
    closed: Effect.callback((resume) => {
      const ended = () => resume(Effect.succeed(failure ?? table.ConnectionLost))
      if (client.status === "end") return ended()
      client.once("end", ended)
      return Effect.sync(() => client.off("end", ended))
    })
  }
})
