/** A PostgreSQL server of the demo's own. Nothing of it is kept. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type ChildProcess, execFile, spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import {
  accessSync,
  chownSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, isAbsolute, join } from "node:path"
import * as OwnServer from "./OwnServer.ts"

const missing = "There is no PostgreSQL server on PATH or in /usr/lib/postgresql. " +
  "Install it (apt-get install postgresql), or give --database-url."

// Debian puts the programs of each major version where no path leads.
const directories = (): ReadonlyArray<string> => {
  const debian = "/usr/lib/postgresql"
  const versions = existsSync(debian) ? readdirSync(debian).toSorted((a, b) => Number(b) - Number(a)) : []
  return [
    ...(process.env.PATH ?? "").split(delimiter).filter(isAbsolute),
    ...versions.map((version) => join(debian, version, "bin"))
  ]
}

const isProgram = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

// Of one version: a server refuses the files of another.
const programs = Effect.suspend(() => {
  const directory = directories().find((directory) =>
    ["initdb", "postgres"].every((name) => isProgram(join(directory, name)))
  )
  return directory === undefined
    ? Effect.fail(new OwnServer.ServerMissing(missing))
    : Effect.succeed({ initdb: join(directory, "initdb"), postgres: join(directory, "postgres") })
})

// The server refuses to run as root.
const otherUser = (): { readonly uid: number; readonly gid: number } | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const rows = readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"))
  const row = rows.find(([name]) => name === "postgres") ?? rows.find(([name]) => name === "nobody")
  return row === undefined ? undefined : { uid: Number(row[2]), gid: Number(row[3]) }
}

const newDirectory = (owner: ReturnType<typeof otherUser>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const path = mkdtempSync(join(tmpdir(), "effect-session-demo-"))
        // Goes on where a server that is still ending removes a file at the same time, which `rmSync` does not.
        const remove = () => void spawnSync("rm", ["-rf", path])
        process.once("exit", remove)
        if (owner !== undefined) chownSync(path, owner.uid, owner.gid)
        return { path, remove }
      }),
      ({ remove }) =>
        Effect.sync(() => {
          process.removeListener("exit", remove)
          remove()
        })
    ),
    ({ path }) => path
  )

interface Place {
  readonly cwd: string
  readonly uid?: number
  readonly gid?: number
}

const initialized = (initdb: string, data: string, passwordFile: string, place: Place) =>
  Effect.callback<void, OwnServer.ServerMissing>((resume) => {
    const args = [
      "--pgdata",
      data,
      "--username",
      "demo",
      "--auth",
      "scram-sha-256",
      "--encoding",
      "UTF8",
      "--locale",
      "C"
    ]
    const child = execFile(
      initdb,
      [...args, "--pwfile", passwordFile, "--no-sync"],
      place,
      (error, _output, complaint) => {
        const reason = () => complaint.trim().split("\n").at(-1) || error?.message
        resume(
          error === null
            ? Effect.void
            : Effect.fail(new OwnServer.ServerMissing(`A PostgreSQL server cannot be made: ${reason()}`))
        )
      }
    )
    // It takes back what it has made, also its directory; that one is removed after it has.
    return Effect.promise(async () => {
      const closed = once(child, "close")
      child.kill()
      await closed
    })
  })

// Each process of the server leads a group of its own. Those that were stopped hear nothing until they go on.
const thaw = ({ pid }: ChildProcess) =>
  void spawnSync("sh", ["-c", `kill -CONT ${pid} $(pgrep -P ${pid})`], { stdio: "ignore" })

const signal = (name: NodeJS.Signals) => (child: ChildProcess) => {
  thaw(child)
  child.kill(name)
}

/** Starts the server, says how to freeze it, and returns its address. */
export const make: Effect.Effect<Redacted.Redacted<string>, OwnServer.ServerMissing, Scope.Scope> = Effect.gen(
  function*() {
    const { initdb, postgres } = yield* programs
    const user = otherUser()
    const directory = yield* newDirectory(user)
    const data = join(directory, "data")
    // Where this user may be.
    const place = { cwd: "/", ...user }
    // Whoever is on this machine reaches its port.
    const password = randomBytes(18).toString("base64url")
    const passwordFile = join(directory, "password")
    writeFileSync(passwordFile, password, { mode: 0o600 })
    if (user !== undefined) chownSync(passwordFile, user.uid, user.gid)
    yield* initialized(initdb, data, passwordFile, place)
    const port = yield* OwnServer.freePort
    const settings = [`unix_socket_directories=${directory}`, "fsync=off", "full_page_writes=off"]
    const { pid } = yield* OwnServer.start({
      command: postgres,
      args: ["-D", data, "-h", "127.0.0.1", "-p", String(port), ...settings.flatMap((setting) => ["-c", setting])],
      spawn: place,
      ready: "database system is ready to accept connections",
      missing,
      // What PostgreSQL calls a fast shutdown, and an immediate one.
      end: signal("SIGINT"),
      kill: signal("SIGQUIT")
    })
    const all = `${pid} $(pgrep -P ${pid})`
    yield* Console.log(
      `A PostgreSQL server of its own runs as process ${pid}: kill -STOP ${all} freezes it, kill -CONT ${all} thaws it.`
    )
    return Redacted.make(`postgres://demo:${password}@127.0.0.1:${port}/postgres`)
  }
)
