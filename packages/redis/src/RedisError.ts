/**
 * Why a Redis command failed, as one error with a `reason`.
 *
 * Everything a server, a socket or the driver can answer is classified in one
 * {@link table}. A reason says whether the command is worth a retry, whether it
 * speaks of the health of Redis, and whether the command may have been executed
 * all the same.
 *
 * No message, field or cause carries a key, an argument, a value or a password:
 * the driver's errors are read and dropped.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import { ReplyError } from "ioredis"

/**
 * Names of the reasons.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export type Tag =
  | "NotConnected"
  | "PoolTimeout"
  | "NoMaster"
  | "ConnectionLost"
  | "Timeout"
  | "Protocol"
  | "MaxClients"
  | "Loading"
  | "Busy"
  | "ReadOnly"
  | "MasterDown"
  | "NoReplicas"
  | "ClusterDown"
  | "TryAgain"
  | "Moved"
  | "Redirected"
  | "CrossSlot"
  | "Misconf"
  | "OutOfMemory"
  | "NoAuth"
  | "WrongPassword"
  | "NoPermission"
  | "NoScript"
  | "WrongType"
  | "ExecAborted"
  | "Rejected"
  | "InvalidUrl"

/**
 * One reason.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export interface Reason<T extends Tag = Tag> {
  readonly _tag: T
  /** Whether the same command may succeed soon without anybody's help. */
  readonly transient: boolean
  /** Whether it speaks of the health of Redis or of the way to it: what a circuit breaker counts. */
  readonly infrastructure: boolean
  /** Whether the command may have been executed, now or later, although it failed. */
  readonly outcomeUnknown: boolean
  /** What is wrong, in fixed words. */
  readonly description: string
  /** Error code of the server (`READONLY`) or of the socket (`ECONNREFUSED`), where there is one. */
  readonly code: string | undefined
}

/**
 * Union of the reasons carried by `RedisError`.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export type RedisErrorReason = { readonly [T in Tag]: Reason<T> }[Tag]

const reason = <T extends Tag>(
  tag: T,
  flags: { readonly transient?: true; readonly infrastructure?: true; readonly outcomeUnknown?: true },
  description: string,
  code?: string
): Reason<T> => ({
  _tag: tag,
  transient: flags.transient ?? false,
  infrastructure: flags.infrastructure ?? false,
  outcomeUnknown: flags.outcomeUnknown ?? false,
  description,
  code
})

const passing = { transient: true, infrastructure: true } as const
const cut = { transient: true, infrastructure: true, outcomeUnknown: true } as const
const lasting = { infrastructure: true } as const

/**
 * The classification.
 *
 * **Details**
 *
 * Reasons that are neither transient nor infrastructure are mistakes of the
 * program or of its configuration: a retry repeats them, and a circuit breaker
 * that counts them shuts out requests that would have worked.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export const table: { readonly [T in Tag]: Reason<T> } = {
  NotConnected: reason("NotConnected", passing, "there is no connection; the command was not sent"),
  PoolTimeout: reason("PoolTimeout", { transient: true }, "all dedicated connections are in use"),
  NoMaster: reason("NoMaster", {}, "the sentinels know no master of the name that is the host of the url"),
  ConnectionLost: reason("ConnectionLost", cut, "the connection was lost before the reply"),
  Timeout: reason("Timeout", cut, "there was no reply in time"),
  Protocol: reason("Protocol", { infrastructure: true, outcomeUnknown: true }, "the reply could not be understood"),
  MaxClients: reason("MaxClients", passing, "the server has as many clients as it allows"),
  Loading: reason("Loading", passing, "the server is loading its data", "LOADING"),
  Busy: reason("Busy", passing, "the server is busy with a script that does not end", "BUSY"),
  ReadOnly: reason("ReadOnly", passing, "the server is a replica and does not write", "READONLY"),
  MasterDown: reason("MasterDown", passing, "the server is a replica without its master", "MASTERDOWN"),
  NoReplicas: reason("NoReplicas", passing, "too few replicas follow the server for it to write", "NOREPLICAS"),
  ClusterDown: reason("ClusterDown", passing, "the cluster does not serve the key's slot", "CLUSTERDOWN"),
  TryAgain: reason("TryAgain", { transient: true }, "the keys' slot is being moved", "TRYAGAIN"),
  Moved: reason("Moved", {}, "the key lives on another node; the server is part of a cluster", "MOVED"),
  Redirected: reason("Redirected", passing, "the cluster sent the command from node to node"),
  CrossSlot: reason("CrossSlot", {}, "the keys are not in one slot; give them a common hash tag", "CROSSSLOT"),
  Misconf: reason("Misconf", lasting, "the server cannot persist its data and does not write", "MISCONF"),
  OutOfMemory: reason("OutOfMemory", lasting, "the server is at its memory limit and does not write", "OOM"),
  NoAuth: reason("NoAuth", {}, "the server asks for a password; put it into the url", "NOAUTH"),
  WrongPassword: reason("WrongPassword", {}, "the server refused the user name or the password", "WRONGPASS"),
  NoPermission: reason("NoPermission", {}, "the user may not run the command, or not on this key", "NOPERM"),
  NoScript: reason("NoScript", {}, "the server does not know the script; load it again", "NOSCRIPT"),
  WrongType: reason("WrongType", {}, "the key holds a value of another type", "WRONGTYPE"),
  ExecAborted: reason("ExecAborted", {}, "the transaction was discarded", "EXECABORT"),
  Rejected: reason("Rejected", {}, "the server refused the command as invalid"),
  InvalidUrl: reason(
    "InvalidUrl",
    {},
    "the url is not redis://[user:password@]host[:port][/database], or rediss://, with special characters encoded"
  )
}

const byServerCode: ReadonlyMap<string, RedisErrorReason> = new Map<string, RedisErrorReason>([
  ...Object.values(table).flatMap((row) => row.code === undefined ? [] : [[row.code, row] as const]),
  ["ASK", table.Moved]
])

// Texts of the driver, which has no codes for them.
const byDriverText: ReadonlyArray<readonly [RegExp, RedisErrorReason]> = [
  [/^Command timed out/, table.Timeout],
  [/^Stream isn't writeable/, table.NotConnected],
  [/^Connection is closed|^Socket timeout|^Command aborted|max retries per request/, table.ConnectionLost]
]

// The server sends this with the code ERR, and closes the connection.
const maxClients = /max number of clients/

// Connection errors that leave no doubt that nothing was sent.
const neverConnected: ReadonlySet<string> = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH"])

/**
 * Classifies what the driver threw.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export const classify = (cause: unknown): RedisErrorReason => {
  if (!(cause instanceof Error)) return table.Protocol
  if (maxClients.test(cause.message)) return table.MaxClients
  if (cause instanceof ReplyError) return byServerCode.get(cause.message.split(" ", 1)[0]) ?? table.Rejected
  if ("code" in cause && typeof cause.code === "string") {
    return { ...neverConnected.has(cause.code) ? table.NotConnected : table.ConnectionLost, code: cause.code }
  }
  return byDriverText.find(([text]) => text.test(cause.message))?.[1] ?? table.Protocol
}

/**
 * Error of a Redis command or of the connection, with its `reason`.
 *
 * **Example** (Handling one reason)
 *
 * ```ts
 * import { RedisError } from "@effect-session/redis"
 * import { Effect } from "effect"
 *
 * const refused = Effect.fail(new RedisError.RedisError({ reason: RedisError.table.ReadOnly, command: "SET" }))
 *
 * const handled = refused.pipe(
 *   Effect.catchReason("RedisError", "ReadOnly", (reason) => Effect.succeed(reason.description))
 * )
 * console.log(await Effect.runPromise(handled)) // => the server is a replica and does not write
 * ```
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class RedisError extends Data.TaggedError("RedisError")<{
  readonly reason: RedisErrorReason
  /** Name of the command, without its arguments; `undefined` for the connection itself. */
  readonly command: string | undefined
}> {
  override get message(): string {
    const { code, description } = this.reason
    const what = this.command === undefined ? "Redis" : `Redis command ${this.command}`
    return `${what} failed: ${description}${code === undefined ? "" : ` (${code})`}`
  }
}
