/** Runs the scripts of the store, and reads its records. */
import type { SessionStoreError } from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import type { Argument, RedisClient, Reply } from "../RedisClient.ts"
import type { RedisError } from "../RedisError.ts"
import * as Direct from "./direct.ts"
import * as HotScripts from "./hotScripts.ts"
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
  /** Runs a short script on one key, and makes something of its reply. The time is that of the own clock before. */
  readonly runShort: <A>(
    script: Script,
    key: string,
    args: () => ReadonlyArray<Argument>,
    use: (reply: Reply, sentAt: number) => Effect.Effect<A, SessionStoreError>
  ) => Effect.Effect<A, SessionStoreError>
  readonly hot: HotScripts.HotScripts
  /** Reads what is at a key by one plain command. */
  readonly read: (key: string) => Effect.Effect<Layout.Read, SessionStoreError>
  /** Reads header and payload by one plain command, and makes something of the reply; if there is something else to do, does that. */
  readonly lookUp: <A>(
    key: string,
    use: (reply: Reply) => Effect.Effect<A, SessionStoreError>,
    instead: () => Effect.Effect<A, SessionStoreError> | undefined
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

  const direct = Direct.of(client.send)

  type Resume<A> = (effect: Effect.Effect<A, SessionStoreError>) => void

  // One command, and what is made of its reply, as a single step of a fiber: a session is read with each request.
  const exchange = <A>(
    resume: Resume<A>,
    direct: Direct.Direct,
    name: string,
    key: string,
    args: ReadonlyArray<Argument>,
    onSuccess: (reply: Reply) => Effect.Effect<A, SessionStoreError>,
    onFailure: (error: RedisError) => Effect.Effect<A, SessionStoreError>
  ): void =>
    direct(
      name,
      key,
      args,
      (reply) => {
        let next: Effect.Effect<A, SessionStoreError>
        try {
          next = onSuccess(reply)
        } catch (defect) {
          next = Effect.die(defect)
        }
        resume(next)
      },
      (effect) => resume(Effect.matchEffect(effect, { onSuccess, onFailure }))
    )

  const fail = (error: RedisError): Effect.Effect<never, SessionStoreError> => Effect.fail(fromRedis(error))

  const evaluate = <A>(
    script: Script,
    key: string,
    parameters: ReadonlyArray<Argument>,
    use: (reply: Reply) => Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> =>
    direct === undefined
      ? Effect.flatMap(
        nameOf(script),
        (name) =>
          Effect.matchEffect(client.send("EVALSHA", name, ...parameters), {
            onSuccess: use,
            onFailure: retrying(script, parameters, use)
          })
      )
      : Effect.callback((resume) => {
        const name = names.get(script)
        if (name === undefined) {
          return resume(Effect.flatMap(nameOf(script), () => evaluate(script, key, parameters, use)))
        }
        const onFailure = retrying(script, parameters, use)
        exchange(resume, direct, "evalsha", key, [name, ...parameters], use, onFailure)
      })

  const nameOf = (script: Script): Effect.Effect<string, SessionStoreError> =>
    Effect.suspend(() => {
      const name = names.get(script)
      return name === undefined ? Effect.mapError(load(script), fromRedis) : Effect.succeed(name)
    })

  // The server was restarted or its scripts were flushed. It keeps the text that it runs.
  const retrying = <A>(
    script: Script,
    parameters: ReadonlyArray<Argument>,
    use: (reply: Reply) => Effect.Effect<A, SessionStoreError>
  ) =>
  (error: RedisError): Effect.Effect<A, SessionStoreError> =>
    error.reason._tag === "NoScript"
      ? Effect.flatMap(Effect.mapError(client.send("EVAL", script, ...parameters), fromRedis), use)
      : fail(error)

  const answerOf = (reply: Reply, sentAt: number): Effect.Effect<Answer, SessionStoreError> => {
    const answer = parse(reply)
    if (answer === undefined) return Effect.fail(unreadable("reply"))
    clock.learn(answer.now, sentAt)
    return answer.tag === "Bad" ? Effect.fail(unreadable(String(answer.rest[0]))) : Effect.succeed(answer)
  }

  const [headerField, payloadField] = Layout.lookupFields

  return {
    layout,
    clock,
    run: (script, keys, args) =>
      Effect.suspend(() => {
        const parameters = [String(keys.length), ...keys, ...shared, ...args]
        const sentAt = clock.mark()
        return evaluate(script, keys[0], parameters, (reply) => answerOf(reply, sentAt))
      }),
    // What `evaluate` does, in one step once the server knows the script.
    runShort: (script, key, args, use) =>
      Effect.callback((resume) => {
        const at = layout.session(key)
        const sentAt = clock.mark()
        const name = names.get(script)
        const useReply = (reply: Reply) => use(reply, sentAt)
        if (direct === undefined || name === undefined) {
          return resume(evaluate(script, at, ["1", at, ...args()], useReply))
        }
        // V8 would take literals that outlive a small first heap for objects that live long.
        const parts = Array.of<Argument>(name, "1", at, ...args())
        exchange(resume, direct, "evalsha", at, parts, useReply, (error) =>
          retrying(script, parts.slice(1), useReply)(error))
      }),
    hot: HotScripts.make(settings.linger),
    read: (key) =>
      Effect.suspend(() =>
        Effect.matchEffect(client.send("HMGET", layout.session(key), ...Layout.fields), {
          onSuccess: (reply) => Effect.succeed(Layout.readOf(reply)),
          onFailure: (error) => Effect.fail(fromRedis(error))
        })
      ),
    lookUp: (key, use, instead) =>
      direct === undefined
        ? Effect.suspend(() =>
          instead() ?? Effect.matchEffect(client.send("HMGET", layout.session(key), headerField, payloadField), {
            onSuccess: use,
            onFailure: fail
          })
        )
        : Effect.callback((resume) => {
          const other = instead()
          if (other !== undefined) return resume(other)
          const at = layout.session(key)
          exchange(resume, direct, "hmget", at, [at, headerField, payloadField], use, fail)
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
