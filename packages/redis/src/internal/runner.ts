/** Runs the scripts of the store, and reads its records. */
import type { SessionStoreError } from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import type { Argument, RedisClient, Reply } from "../RedisClient.ts"
import type { RedisError } from "../RedisError.ts"
import * as Layout from "./layout.ts"
import type { Script } from "./scriptPrelude.ts"
import type { ServerClock } from "./serverClock.ts"
import { fromRedis, unreadable } from "./storeFault.ts"

/** A reply of a script: its tag, and what follows the time. */
export interface Answer {
  readonly tag: string
  readonly now: number
  readonly rest: ReadonlyArray<Reply>
}

export interface Runner {
  readonly layout: Layout.Layout
  readonly clock: ServerClock
  readonly run: (
    script: Script,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<Argument>
  ) => Effect.Effect<Answer, SessionStoreError>
  /** Runs a short script on one key; `undefined` where the whole one has to. */
  readonly runShort: <A>(
    script: Script,
    key: string,
    args: ReadonlyArray<Argument>,
    use: (answer: Answer | undefined) => Effect.Effect<A, SessionStoreError>
  ) => Effect.Effect<A, SessionStoreError>
  /** Milliseconds that a record outlives its deadline, as an argument. */
  readonly linger: string
  /** Reads what is at a key by one plain command. */
  readonly read: (key: string) => Effect.Effect<Layout.Read, SessionStoreError>
  /** The same in one step with what is done about it, for a key that no alias has led to: which aliases a record has is not read. */
  readonly lookUp: <A>(
    key: string,
    use: (found: Layout.Read) => Effect.Effect<A, SessionStoreError>
  ) => Effect.Effect<A, SessionStoreError>
  /** Makes sure that the estimate of the server's time is a good one. */
  readonly synchronize: Effect.Effect<void, SessionStoreError>
}

export interface Settings {
  /** Length of an event stream, 0 for none. */
  readonly events: number
  /** Milliseconds that a stream outlives its last event. */
  readonly retention: number
  /** Milliseconds that a record outlives its deadline. */
  readonly linger: number
}

const parse = (reply: Reply): Answer | undefined => {
  if (!Array.isArray(reply)) return undefined
  const values: ReadonlyArray<Reply> = reply
  const tag = values[0]
  const now = values[1]
  return Buffer.isBuffer(tag) && typeof now === "number"
    ? { tag: tag.toString("latin1"), now, rest: values.slice(2) }
    : undefined
}

export const make = (
  client: RedisClient["Service"],
  layout: Layout.Layout,
  clock: ServerClock,
  settings: Settings
): Runner => {
  const shared = [
    layout.prefix,
    layout.clustered ? "0" : "1",
    String(settings.events),
    String(settings.retention),
    String(settings.linger)
  ]
  // The server names scripts; all of them give the same text the same name.
  const names = new Map<Script, string>()

  const load = (script: Script): Effect.Effect<string, RedisError> =>
    Effect.map(client.send("SCRIPT", "LOAD", script), (reply) => {
      const name = String(reply)
      names.set(script, name)
      return name
    })

  const evaluate = <A>(
    script: Script,
    parameters: ReadonlyArray<Argument>,
    use: (reply: Reply) => Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> => {
    const name = names.get(script)
    return Effect.matchEffect(
      name === undefined
        ? Effect.flatMap(load(script), (name) => client.send("EVALSHA", name, ...parameters))
        : client.send("EVALSHA", name, ...parameters),
      {
        onSuccess: use,
        onFailure: (error) =>
          error.reason._tag === "NoScript"
            // The server was restarted or its scripts were flushed. It keeps the text that it runs.
            ? Effect.flatMap(Effect.mapError(client.send("EVAL", script, ...parameters), fromRedis), use)
            : Effect.fail(fromRedis(error))
      }
    )
  }

  const answerOf = (reply: Reply, sentAt: number): Effect.Effect<Answer, SessionStoreError> => {
    const answer = parse(reply)
    if (answer === undefined) return Effect.fail(unreadable("reply"))
    clock.learn(answer.now, sentAt)
    return answer.tag === "Bad" ? Effect.fail(unreadable(String(answer.rest[0]))) : Effect.succeed(answer)
  }

  const lookupFields = Layout.lookupFields(layout.clustered)

  return {
    layout,
    clock,
    run: (script, keys, args) =>
      Effect.suspend(() => {
        const parameters = [String(keys.length), ...keys, ...shared, ...args]
        const sentAt = clock.mark()
        return evaluate(script, parameters, (reply) => answerOf(reply, sentAt))
      }),
    runShort: (script, key, args, use) =>
      Effect.suspend(() => {
        const sentAt = clock.mark()
        return evaluate(script, ["1", layout.session(key), ...args], (reply) => {
          const answer = parse(reply)
          if (answer === undefined) return Effect.fail(unreadable("reply"))
          if (answer.tag === "Whole") return use(undefined)
          clock.learn(answer.now, sentAt)
          return use(answer)
        })
      }),
    linger: String(settings.linger),
    read: (key) =>
      Effect.suspend(() =>
        Effect.matchEffect(client.send("HMGET", layout.session(key), ...Layout.fields), {
          onSuccess: (reply) => Effect.succeed(Layout.readOf(reply)),
          onFailure: (error) => Effect.fail(fromRedis(error))
        })
      ),
    lookUp: (key, use) =>
      Effect.matchEffect(client.send("HMGET", layout.session(key), ...lookupFields), {
        onSuccess: (reply) => use(Layout.readOf(reply)),
        onFailure: (error) => Effect.fail(fromRedis(error))
      }),
    synchronize: Effect.suspend(() => {
      const sentAt = clock.mark()
      return Effect.matchEffect(client.send("TIME"), {
        onSuccess: (reply) => {
          if (!Array.isArray(reply)) return Effect.fail(unreadable("reply"))
          const [seconds, micros]: ReadonlyArray<Reply> = reply
          clock.learn(Number(seconds) * 1000 + Math.floor(Number(micros) / 1000), sentAt)
          return Effect.void
        },
        onFailure: (error) => Effect.fail(fromRedis(error))
      })
    })
  }
}
