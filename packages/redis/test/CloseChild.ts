// A process of its own: opens a client, waits for the end of stdin, sends, closes, and says what is left.
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as RedisClient from "../src/RedisClient.ts"

const kinds = () => process.getActiveResourcesInfo().filter((kind) => !/Pipe|TTY|FS/.test(kind))

await Effect.runPromise(Effect.gen(function*() {
  const scope = yield* Scope.make()
  const redis = yield* RedisClient.make({
    url: Redacted.make(process.argv[2]),
    commandTimeout: "300 millis",
    onUnavailableAtStart: "continue"
  }).pipe(Scope.provide(scope))
  process.stdout.write("open\n")
  yield* Effect.callback<void>((resume) => void process.stdin.resume().on("end", () => resume(Effect.void)))
  yield* Effect.forkChild(Effect.ignore(redis.send("SET", "a", "b")), { startImmediately: true })
  yield* Scope.close(scope, Exit.void)
}))
process.stdout.write(`closed, left: ${kinds().join(" ")}\n`)
