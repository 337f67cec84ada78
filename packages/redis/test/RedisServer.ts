import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { Redis } from "ioredis"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

export class ServerError extends Data.TaggedError("ServerError")<{ readonly message: string }> {}

/** A real server on a free loopback port, with a directory of its own. For tests on real time. */
export interface RedisServer {
  readonly port: number
  readonly directory: string
  readonly url: Redacted.Redacted<string>
  /** One command on a connection of its own. */
  readonly admin: (command: string, ...args: ReadonlyArray<string | number>) => Effect.Effect<unknown, ServerError>
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  readonly kill: Effect.Effect<void>
  readonly start: (...args: ReadonlyArray<string>) => Effect.Effect<void, ServerError>
}

export const freePort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

export const make: (
  ...args: ReadonlyArray<string>
) => Effect.Effect<RedisServer, ServerError, Scope.Scope> = Effect.fnUntraced(function*(...always) {
  const port = yield* freePort
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "redis-test-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  let child: ChildProcess | undefined

  const admin = (command: string, ...args: ReadonlyArray<string | number>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const client = new Redis({
          host: "127.0.0.1",
          port,
          protocol: 2,
          lazyConnect: true,
          disableClientInfo: true,
          enableReadyCheck: false,
          retryStrategy: null
        })
        client.on("error", () => {})
        return client
      }),
      (client) =>
        Effect.tryPromise({
          try: () => client.connect().then(() => client.call(command, ...args)),
          catch: (cause) => new ServerError({ message: String(cause) })
        }),
      (client) => Effect.sync(() => client.disconnect())
    )

  const signal = (name: NodeJS.Signals) => Effect.sync(() => void child?.kill(name))
  const kill = Effect.callback<void>((resume) => {
    const running = child
    child = undefined
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return resume(Effect.void)
    running.once("exit", () => resume(Effect.void))
    running.kill("SIGKILL")
  })
  const start = (...args: ReadonlyArray<string>) =>
    Effect.suspend(() => {
      child = spawn(
        "redis-server",
        [
          "--port",
          String(port),
          "--bind",
          "127.0.0.1",
          "--dir",
          directory,
          "--save",
          "",
          "--appendonly",
          "no",
          "--enable-debug-command",
          "yes",
          ...always,
          ...args
        ],
        { stdio: "ignore" }
      )
      return admin("PING").pipe(
        Effect.catchIf((error) => /NOAUTH|LOADING/.test(error.message), () => Effect.void),
        Effect.retry(Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(250)]))
      )
    })

  yield* Effect.addFinalizer(() => kill)
  yield* start()
  return {
    port,
    directory,
    url: Redacted.make(`redis://127.0.0.1:${port}`),
    admin,
    pause: signal("SIGSTOP"),
    resume: signal("SIGCONT"),
    kill,
    start
  }
})
