/**
 * A list of sessions that are over, in Redis: what cookie mode needs where several
 * processes serve one application.
 *
 * What is revoked in one process is revoked in all of them with the next request.
 * Keys are keyed hashes of session ids; subjects are hashed. Everything but one
 * marker expires by itself.
 *
 * A list that has lost what it knew, because Redis was flushed or came back
 * without its data, notices it by the missing marker, and refuses every session
 * that was issued before.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Revocations from "@effect-session/core/Revocations"
import type { SessionStoreError } from "@effect-session/core/SessionStore"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createHash } from "node:crypto"
import * as EvictionPolicy from "./internal/evictionPolicy.ts"
import { fromRedis, unreadable } from "./internal/storeFault.ts"
import { type Argument, RedisClient, type Reply } from "./RedisClient.ts"

/**
 * Options of the list.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options extends Revocations.SharedOptions {
  /**
   * What to do when the server would evict entries (`allkeys-*` and `volatile-*`)
   * once its memory is full, and sessions that were ended would be live again: warn,
   * which is the default, or fail to start.
   */
  readonly onEviction?: "warn" | "fail" | undefined
}

// The server's time, so that nothing is forgotten early by a process whose clock is ahead.
const serverTime = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

const revokeScript = `${serverTime}
local until_ = tonumber(ARGV[1])
if until_ <= now then return 0 end
if redis.call('SET', KEYS[1], '1', 'NX', 'PXAT', ARGV[1]) then return 1 end
redis.call('PEXPIREAT', KEYS[1], ARGV[1], 'GT')
return 0`

// 1 time of the caller, 2 allowed skew, 3 lifetime.
const epochScript = `${serverTime}
local epoch = math.max(now, tonumber(ARGV[1])) + tonumber(ARGV[2])
local last = tonumber(redis.call('GET', KEYS[1]))
if last then epoch = math.max(epoch, last + 1) end
local text = string.format('%.0f', epoch)
redis.call('SET', KEYS[1], text, 'PX', string.format('%.0f', epoch - now + tonumber(ARGV[2]) + tonumber(ARGV[3])))
return text`

// 1 what a list that begins now is told, if it is not the time.
const beginScript = `${serverTime}
redis.call('SET', KEYS[1], ARGV[1] ~= '' and ARGV[1] or string.format('%.0f', now), 'NX')
return redis.call('GET', KEYS[1])`

const numberOf = (reply: Reply): number | undefined => {
  const number = Buffer.isBuffer(reply) && reply.length > 0 ? Number(reply.toString("latin1")) : Number.NaN
  return Number.isFinite(number) ? number : undefined
}

/**
 * Creates the list from the client in the context.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` when `subjectLifetime` is not from 1 millisecond to 400
 * days, or `clockSkew` is negative or more than an hour.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options = {}
): Effect.Effect<Revocations.Revocations["Service"], SessionStoreError, RedisClient> => {
  const { clockSkew, subjectLifetime } = Revocations.times("RedisRevocations", options)
  return Effect.gen(function*() {
    const client = yield* RedisClient
    const clock = yield* Clock.Clock
    const send = (command: string, ...args: ReadonlyArray<Argument>) =>
      Effect.mapError(client.send(command, ...args), fromRedis)

    const marker = `${client.prefix}revocations`
    const keyName = (key: string) => `${client.prefix}revoked:${key}`
    const epochName = (subject: string) =>
      `${client.prefix}epoch:${createHash("sha256").update(JSON.stringify(subject)).digest("base64url")}`

    const begin = Effect.flatMap(
      send("EVAL", beginScript, "1", marker, options.acceptEarlier === true ? "0" : ""),
      (reply) => {
        const since = numberOf(reply)
        return since === undefined ? Effect.fail(unreadable("foreign")) : Effect.succeed(since)
      }
    )
    yield* EvictionPolicy.check(client, {
      name: "Redis list of revocations",
      loss: "sessions that were ended can be live again",
      refuses: () => options.onEviction === "fail"
    })
    // Earlier sessions are refused from the start, not from the first question on.
    yield* begin

    const sinceWhen = (reply: Reply) => reply === null ? begin : Effect.succeed(numberOf(reply) ?? Infinity)

    return Revocations.Revocations.of({
      subjectLifetime,
      revoke: (key, until) =>
        Effect.map(
          send("EVAL", revokeScript, "1", keyName(key), String(Math.ceil(until) + clockSkew)),
          (reply) => reply === 1
        ),
      revokeSubject: (subject) =>
        Effect.flatMap(
          Effect.suspend(() =>
            send(
              "EVAL",
              epochScript,
              "1",
              epochName(subject),
              String(clock.currentTimeMillisUnsafe()),
              String(clockSkew),
              String(subjectLifetime)
            )
          ),
          (reply) => {
            const epoch = numberOf(reply)
            return epoch === undefined ? Effect.fail(unreadable("foreign")) : Effect.succeed(epoch)
          }
        ),
      epoch: (subject) => Effect.map(send("GET", epochName(subject)), numberOf),
      isRevoked: ({ authenticatedAt, issuedAt, key, subject }) =>
        Effect.flatMap(
          // At once, and so in one packet.
          Effect.all([
            send("GET", marker),
            send("EXISTS", keyName(key)),
            subject === undefined ? Effect.succeed(null) : send("GET", epochName(subject))
          ], { concurrency: 3 }),
          ([begun, revoked, epoch]) => {
            if (revoked !== 0) return Effect.succeed(true)
            // What cannot be read as an epoch is no permission.
            const last = epoch === null ? -Infinity : numberOf(epoch) ?? Infinity
            if (subject !== undefined && (authenticatedAt ?? -Infinity) <= last && last > -Infinity) {
              return Effect.succeed(true)
            }
            return Effect.map(sinceWhen(begun), (since) => issuedAt < since)
          }
        )
    })
  })
}

/**
 * Provides the list. Fails when Redis does not answer.
 *
 * **Example** (Cookie mode in several processes)
 *
 * ```ts
 * import { CookieStore } from "@effect-session/core"
 * import { RedisClient, RedisRevocations } from "@effect-session/redis"
 * import { Layer } from "effect"
 *
 * const Sessions = CookieStore.layer().pipe(
 *   Layer.provide(RedisRevocations.layer()),
 *   Layer.provide(RedisClient.layerConfig())
 * )
 * console.log(Layer.isLayer(Sessions)) // => true
 * ```
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options that {@link make} refuses. A failover of Redis
 * can lose revocations that were acknowledged, as it can lose any write; see
 * `min-replicas-to-write`.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Revocations.Revocations, SessionStoreError, RedisClient> =>
  Layer.effect(Revocations.Revocations, make(options))

/**
 * Provides the list from wrapped configuration options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Revocations.Revocations, SessionStoreError | Config.ConfigError, RedisClient> =>
  Layer.effect(Revocations.Revocations, Effect.flatMap(Config.unwrap(options), make))
