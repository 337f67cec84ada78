import * as PgClient from "@effect/sql-pg/PgClient"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { accessSync, chownSync, constants, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { createConnection, createServer } from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"

export class ServerError extends Data.TaggedError("ServerError")<{ readonly message: string }> {}

/** A real server on a free loopback port, with a directory of its own. For tests on real time. */
export interface PostgresServer {
  readonly port: number
  readonly url: Redacted.Redacted<string>
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** Ends the server as a crash would. */
  readonly kill: Effect.Effect<void>
  readonly start: Effect.Effect<void, ServerError>
}

const loopback = "127.0.0.1"

// Debian puts the programs of each major version where no path leads.
const directories = (): ReadonlyArray<string> => {
  const debian = "/usr/lib/postgresql"
  let versions: ReadonlyArray<string> = []
  try {
    versions = readdirSync(debian).toSorted((a, b) => Number(b) - Number(a)).map((version) =>
      join(debian, version, "bin")
    )
  } catch {
    // There is none.
  }
  return [...(process.env.PATH ?? "").split(delimiter), ...versions]
}

const program = (name: string): string => {
  for (const directory of directories()) {
    try {
      accessSync(join(directory, name), constants.X_OK)
      return join(directory, name)
    } catch {
      // Not here.
    }
  }
  return name
}

// The server refuses to run as root.
const user = (): { readonly uid: number; readonly gid: number } | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const rows = readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"))
  const row = rows.find(([name]) => name === "postgres") ?? rows.find(([name]) => name === "nobody")
  return row === undefined ? undefined : { uid: Number(row[2]), gid: Number(row[3]) }
}

// A worker that ends without closing its scopes leaves no server behind, a stopped one neither.
const running = new Set<ChildProcess>()

// Each process of a server leads a group of its own, so they are found by their parent.
const processesOf = (child: ChildProcess): ReadonlyArray<number> => {
  const { pid } = child
  if (pid === undefined) return []
  const children = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).filter((name) => {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1")
      return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === pid
    } catch {
      return false
    }
  })
  return [pid, ...children.map(Number)]
}

const signalAll = (child: ChildProcess, name: NodeJS.Signals) => {
  for (const pid of processesOf(child)) {
    try {
      process.kill(pid, name)
    } catch {
      // It has ended.
    }
  }
}

process.once("exit", () => {
  for (const child of running) signalAll(child, "SIGKILL")
})

const freePort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = createServer()
  server.listen(0, loopback, () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

const accepts = (port: number): Effect.Effect<void, ServerError> =>
  Effect.callback((resume) => {
    const socket = createConnection({ host: loopback, port })
    const end = (exit: Effect.Effect<void, ServerError>) => {
      socket.destroy()
      resume(exit)
    }
    socket.once("error", (error) => end(Effect.fail(new ServerError({ message: error.message }))))
    socket.once("connect", () => end(Effect.void))
  })

const runToEnd = (command: string, args: ReadonlyArray<string>): Effect.Effect<void, ServerError> =>
  Effect.callback((resume) => {
    const child = spawn(program(command), args, { stdio: ["ignore", "ignore", "pipe"], cwd: "/", ...user() })
    let said = ""
    child.stderr.setEncoding("utf8").on("data", (text) => said += text)
    child.once("error", (error) => resume(Effect.fail(new ServerError({ message: error.message }))))
    child.once("close", (code) =>
      resume(
        code === 0 ? Effect.void : Effect.fail(new ServerError({ message: `${command} ended with ${code}: ${said}` }))
      ))
  })

export const make: (
  ...settings: ReadonlyArray<string>
) => Effect.Effect<PostgresServer, ServerError, Scope.Scope> = Effect.fnUntraced(function*(...settings) {
  const port = yield* freePort
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const directory = mkdtempSync(join(tmpdir(), "postgres-test-"))
      const owner = user()
      if (owner !== undefined) chownSync(directory, owner.uid, owner.gid)
      return directory
    }),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  const data = join(directory, "data")
  yield* runToEnd("initdb", [
    "--pgdata",
    data,
    "--username",
    "test",
    "--auth",
    "trust",
    "--encoding",
    "UTF8",
    "--locale",
    "C",
    "--no-sync"
  ])
  let child: ChildProcess | undefined
  const signal = (name: NodeJS.Signals) =>
    Effect.sync(() => {
      if (child !== undefined) signalAll(child, name)
    })
  const endWith = (name: NodeJS.Signals, all: boolean) =>
    Effect.callback<void>((resume) => {
      const ending = child
      child = undefined
      if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return resume(Effect.void)
      ending.once("exit", () => resume(Effect.void))
      // Who is stopped hears nothing else.
      signalAll(ending, "SIGCONT")
      if (all) signalAll(ending, name)
      else ending.kill(name)
    })
  const kill = endWith("SIGKILL", true)
  const options = ["fsync=off", "full_page_writes=off", "max_connections=60", `unix_socket_directories=${directory}`]
  const start = Effect.suspend(() => {
    const args = [...options, ...settings].flatMap((setting) => ["-c", setting])
    const started = spawn(program("postgres"), ["-D", data, "-h", loopback, "-p", String(port), ...args], {
      stdio: "ignore",
      cwd: "/",
      ...user()
    })
    running.add(started)
    started.once("exit", () => running.delete(started))
    // The program may be missing; the attempts to connect tell.
    started.once("error", () => {})
    child = started
    return ready.pipe(
      Effect.retry({
        schedule: Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(500)]),
        while: () => started.exitCode === null
      })
    )
  })
  const url = Redacted.make(`postgres://test@${loopback}:${port}/postgres`)
  // It accepts connections before it answers queries.
  const ready = Effect.andThen(
    accepts(port),
    Effect.scoped(Effect.asVoid(Effect.provide(
      Effect.flatMap(PgClient.PgClient, (sql) => sql`SELECT 1`),
      PgClient.layer({ url })
    ))).pipe(Effect.mapError(({ message }) => new ServerError({ message })))
  )

  // One that is killed leaves its shared memory behind.
  yield* Effect.addFinalizer(() => endWith("SIGQUIT", false))
  yield* start
  return { port, url, pause: signal("SIGSTOP"), resume: signal("SIGCONT"), kill, start }
})
