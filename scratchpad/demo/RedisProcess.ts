/** A redis-server of the demo's own. Nothing is kept on disk. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as OwnServer from "./OwnServer.ts"

/** Starts the server, says how to freeze it, and returns its address. */
export const make: Effect.Effect<Redacted.Redacted<string>, OwnServer.ServerMissing, Scope.Scope> = Effect.gen(
  function*() {
    const port = yield* OwnServer.freePort
    const { pid } = yield* OwnServer.start({
      command: "redis-server",
      args: ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
      ready: "Ready to accept connections",
      missing: "There is no redis-server on PATH. Install it (apt-get install redis-server), or give --redis-url."
    })
    yield* Console.log(
      `A redis-server of its own runs as process ${pid}: kill -STOP ${pid} freezes it, kill -CONT ${pid} thaws it.`
    )
    return Redacted.make(`redis://127.0.0.1:${port}`)
  }
)
