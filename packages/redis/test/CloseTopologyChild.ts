// A process of its own: opens a client of sentinels or of a cluster, waits for the end of stdin, sends, closes, and
// says what is left.
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as RedisClient from "../src/RedisClient.ts"

const kinds = () => process.getActiveResourcesInfo().filter((kind) => !/Pipe|TTY|FS/.test(kind))
const [kind, ...urls] = process.argv.slice(2)
const servers = urls.map((url) => Redacted.make(url))
const options = { commandTimeout: "300 millis", onUnavailableAtStart: "continue" } as const

await Effect.runPromise(Effect.gen(function*() {
  const scope = yield* Scope.make()
  const made = kind === "sentinel"
    ? RedisClient.makeSentinel({ ...options, url: Redacted.make("redis://main"), sentinels: servers })
    : RedisClient.makeCluster({ ...options, nodes: servers })
  const redis = yield* Scope.provide(made, scope)
  yield* Effect.ignore(Effect.scoped(Effect.flatMap(redis.dedicated, ({ send }) => send("PING"))))
  process.stdout.write("open\n")
  yield* Effect.callback<void>((resume) => void process.stdin.resume().on("end", () => resume(Effect.void)))
  yield* Effect.forkChild(Effect.ignore(redis.send("SET", "a", "b")), { startImmediately: true })
  const blocking = Effect.flatMap(redis.dedicated, ({ send }) => send("BLPOP", "none", "60"))
  yield* Effect.forkChild(Effect.ignore(Effect.scoped(blocking)), { startImmediately: true })
  yield* Effect.sleep("20 millis")
  yield* Scope.close(scope, Exit.void)
}))
process.stdout.write(`closed, left: ${kinds().join(" ")}\n`)
