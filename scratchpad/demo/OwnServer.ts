/** Servers of the demo's own, for as long as the demo runs. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { basename } from "node:path"
import { setImmediate } from "node:timers/promises"

/** The reason why there is no server. */
export class ServerMissing extends Error {
  override readonly name = "ServerMissing"
}

export interface Options {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly spawn?: Pick<SpawnOptions, "cwd" | "gid" | "uid"> | undefined
  /** What it says when it can be talked to. */
  readonly ready: string
  /** What to tell who does not have the program. */
  readonly missing: string
  /** Ends it, also when it was stopped; by default it is killed. */
  readonly end?: ((child: ChildProcess) => void) | undefined
  /** Ends it at once, for when this process ends without closing its scopes, or `end` has no effect. */
  readonly kill?: ((child: ChildProcess) => void) | undefined
}

// Time to end before it is killed.
const patience = 3000

export const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

// One that was stopped hears nothing but this.
const killOne = (child: ChildProcess) => void child.kill("SIGKILL")

const spawned = ({ args, command, kill = killOne, missing, ready, spawn: options }: Options) =>
  Effect.callback<ChildProcess, ServerMissing>((resume) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] })
    // However this process ends, it leaves none behind, and before what it has of files is removed.
    const onExit = () => kill(child)
    process.prependOnceListener("exit", onExit)
    child.once("exit", () => process.removeListener("exit", onExit))
    child.once("error", () => resume(Effect.fail(new ServerMissing(missing))))
    for (const stream of [child.stdout, child.stderr]) {
      let said = ""
      stream?.setEncoding("utf8").on("data", (text: string) => {
        // What it says may come in pieces, and goes on for as long as it lives.
        said = (said + text).slice(-4096)
        if (said.includes(ready)) resume(Effect.succeed(child))
      })
    }
    child.once("exit", (code) => resume(Effect.fail(new ServerMissing(`${basename(command)} ended with code ${code}`))))
  })

const ended = (child: ChildProcess, { end = killOne, kill = killOne }: Options) =>
  Effect.promise(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, "close")
    end(child)
    const last = setTimeout(kill, patience, child)
    await closed
    clearTimeout(last)
    // Its handle is closed at the end of this turn of the event loop: after the first immediate, before the second.
    await setImmediate()
    await setImmediate()
  })

/** Starts a server, and returns when it can be talked to. */
export const start = (options: Options): Effect.Effect<ChildProcess, ServerMissing, Scope.Scope> =>
  Effect.acquireRelease(spawned(options), (child) => ended(child, options))
