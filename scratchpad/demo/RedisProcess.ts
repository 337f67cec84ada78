/** A redis-server of the demo's own, for as long as the demo runs. Nothing is kept on disk. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { setImmediate } from "node:timers/promises"

export class RedisMissing extends Error {
  override readonly name = "RedisMissing"
}

const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

const spawned = (port: number) =>
  Effect.callback<ChildProcess, RedisMissing>((resume) => {
    const child = spawn("redis-server", [
      "--port",
      String(port),
      "--bind",
      "127.0.0.1",
      "--save",
      "",
      "--appendonly",
      "no"
    ], {
      stdio: ["ignore", "pipe", "ignore"]
    })
    // However this process ends, it leaves none behind.
    const kill = () => child.kill("SIGKILL")
    process.once("exit", kill)
    child.once("exit", () => process.removeListener("exit", kill))
    child.once("error", () =>
      resume(Effect.fail(
        new RedisMissing(
          "There is no redis-server on PATH. Install it (apt-get install redis-server), or give --redis-url."
        )
      )))
    // It says so when it can be talked to.
    child.stdout?.on("data", (text: Buffer) => {
      if (text.includes("Ready to accept connections")) resume(Effect.succeed(child))
    })
    child.once("exit", (code) => resume(Effect.fail(new RedisMissing(`redis-server ended with code ${code}`))))
  })

const ended = (child: ChildProcess) =>
  Effect.promise(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    // One that was stopped hears nothing but this.
    child.kill("SIGKILL")
    await once(child, "close")
    // Its handle is closed at the end of this turn of the event loop: after the first immediate, before the second.
    await setImmediate()
    await setImmediate()
  })

/** Starts the server and returns its address. */
export const make: Effect.Effect<
  { readonly url: Redacted.Redacted<string>; readonly pid: number | undefined },
  RedisMissing,
  Scope.Scope
> = Effect.gen(function*() {
  const port = yield* freePort
  const child = yield* Effect.acquireRelease(spawned(port), ended)
  return { url: Redacted.make(`redis://127.0.0.1:${port}`), pid: child.pid }
})
