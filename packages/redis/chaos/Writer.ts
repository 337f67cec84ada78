// A process of its own: waits for a line, adds one to a session many times at once, and says what came of it.
import { Session, SessionConfig, SessionManager } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { Effect, Layer, Redacted, Schema } from "effect"
import { once } from "node:events"
import * as RedisClient from "../src/RedisClient.ts"
import * as RedisStore from "../src/RedisStore.ts"

export class Counter extends Session.Service<Counter>()("chaos/Counter", {
  data: Schema.Struct({ n: Schema.Number }),
  initial: { n: 0 }
}) {}

export const increment = Counter.update(({ n }) => ({ n: n + 1 }))

export const layer = (url: Redacted.Redacted<string>, secret: Redacted.Redacted<string>) =>
  RedisStore.layer().pipe(
    Layer.provideMerge(RedisClient.layer({ url, commandTimeout: "10 seconds" })),
    Layer.provideMerge(CryptoNode.layer),
    Layer.provideMerge(SessionConfig.layer({ preset: "development", secrets: secret, conflictRetries: 1000 }))
  )

const work = (token: string, writers: number) =>
  Effect.gen(function*() {
    const manager = yield* SessionManager.make(Counter)
    yield* manager.run(token, Counter.get)
    process.stdout.write("ready\n")
    yield* Effect.promise(() => once(process.stdin, "data"))
    const outcomes = yield* Effect.all(
      Array.from({ length: writers }, () => Effect.result(manager.run(token, increment))),
      { concurrency: "unbounded" }
    )
    const failures = outcomes.flatMap((outcome) => outcome._tag === "Failure" ? [outcome.failure.reason._tag] : [])
    process.stdout.write(`${JSON.stringify({ done: outcomes.length - failures.length, failures })}\n`)
  })

if (process.argv[1] === import.meta.filename) {
  const [url, secret, token, writers] = process.argv.slice(2)
  await Effect.runPromise(
    work(token, Number(writers)).pipe(Effect.provide(layer(Redacted.make(url), Redacted.make(secret))))
  )
  process.exit(0)
}
