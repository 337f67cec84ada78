// A node of its own process: takes commands as lines of JSON, answers each with one.
import { ClusterStore, Invalidation, RedisInvalidation } from "@effect-session/cluster"
import { SessionConfig, SessionStore } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { RedisClient, RedisStore } from "@effect-session/redis"
import { Context, Effect, Layer, Redacted } from "effect"
import { createInterface } from "node:readline"

export type Command =
  | { readonly op: "create"; readonly keys: ReadonlyArray<string> }
  | { readonly op: "load"; readonly keys: ReadonlyArray<string> }
  | { readonly op: "destroy"; readonly keys: ReadonlyArray<string> }
  | { readonly op: "watch"; readonly keys: ReadonlyArray<string>; readonly limit: number }
  | { readonly op: "over"; readonly keys: ReadonlyArray<string> }
  | { readonly op: "trust" }

/** On one machine every process reads the same monotonic clock. */
const now = () => Number(process.hrtime.bigint()) / 1e6

const layer = (store: string, channel: string, listen: string, secret: string) => {
  const stores = RedisStore.layerStore().pipe(
    Layer.provide(RedisClient.layer({ url: Redacted.make(store), commandTimeout: "5 seconds" }))
  )
  const invalidation = RedisInvalidation.layer({ urls: [Redacted.make(listen)] }).pipe(
    Layer.provide(Layer.fresh(RedisClient.layer({ url: Redacted.make(channel) })))
  )
  return ClusterStore.layer({ localTtl: "10 minutes", maxEntries: 100_000, onPublishFailed: "shorten" }).pipe(
    Layer.provideMerge(invalidation),
    Layer.provide(stores),
    Layer.provideMerge(CryptoNode.layer),
    Layer.provideMerge(SessionConfig.layer({ preset: "development", secrets: Redacted.make(secret) }))
  )
}

const run = (context: Context.Context<SessionStore.SessionStore | Invalidation.Invalidation>) => {
  const store = Context.get(context, SessionStore.SessionStore)
  const invalidation = Context.get(context, Invalidation.Invalidation)
  const each = <A>(keys: ReadonlyArray<string>, f: (key: string) => Effect.Effect<A, SessionStore.SessionStoreError>) =>
    Effect.forEach(keys, f, { concurrency: 64 })

  // When each key was served for the last time.
  const watch = Effect.fnUntraced(function*(keys: ReadonlyArray<string>, limit: number) {
    const last: Record<string, number> = {}
    const deadline = now() + limit
    let left = [...keys]
    while (left.length > 0 && now() < deadline) {
      const live: Array<string> = []
      for (const key of left) {
        const found = yield* Effect.match(store.load(key), { onSuccess: ({ _tag }) => _tag, onFailure: () => "Failed" })
        if (found === "Live") last[key] = now()
        if (found === "Live" || found === "Failed") live.push(key)
      }
      left = live
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    }
    return { last, left: left.length }
  })

  return (command: Command): Effect.Effect<unknown, SessionStore.SessionStoreError> => {
    switch (command.op) {
      case "create":
        return Effect.as(
          each(command.keys, (key) =>
            store.create({
              key,
              idleTimeout: 3_600_000,
              lifetime: 3_600_000,
              subject: undefined,
              format: 1,
              payload: "data"
            })),
          {}
        )
      case "load":
        return Effect.map(each(command.keys, (key) => store.load(key)), (found) => ({
          live: found.filter(({ _tag }) => _tag === "Live").length
        }))
      case "destroy": {
        const acknowledged: Record<string, number> = {}
        return Effect.as(
          each(command.keys, (key) => Effect.map(store.destroy(key), () => void (acknowledged[key] = now()))),
          { acknowledged }
        )
      }
      case "watch":
        return watch(command.keys, command.limit)
      case "over":
        return Effect.map(
          each(command.keys, (key) => Effect.map(store.load(key), ({ _tag }) => _tag === "Live" ? [] : [key])),
          (keys) => ({ over: keys.flat() })
        )
      case "trust":
        return Effect.sync(() => ({ trust: String(invalidation.trustUnsafe()) }))
    }
  }
}

const [store, channel, listen, secret] = process.argv.slice(2)
await Effect.runPromise(
  Effect.scoped(Effect.gen(function*() {
    const execute = run(yield* Layer.build(layer(store, channel, listen, secret)))
    process.stdout.write("{\"ready\":true}\n")
    yield* Effect.callback<void>((resume) => {
      const lines = createInterface({ input: process.stdin })
      lines.on("line", (line) => {
        Effect.runPromise(execute(JSON.parse(line))).then(
          (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`),
          (error) => process.stdout.write(`${JSON.stringify({ error: String(error) })}\n`)
        )
      })
      lines.on("close", () => resume(Effect.void))
    })
  }))
)
