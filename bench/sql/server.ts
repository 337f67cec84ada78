/**
 * A PostgreSQL of the benchmark's own, on a free port, that does not wait for the disk.
 */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { pinned } from "../http/child.ts"
import { freePort } from "../stores/freePort.ts"

export interface Server {
  readonly port: number
  readonly pid: number
  readonly stop: () => Promise<void>
}

// Debian puts the programs of each major version where no path leads.
const programs = (): string => {
  const debian = "/usr/lib/postgresql"
  const versions = existsSync(debian) ? readdirSync(debian).toSorted((a, b) => Number(b) - Number(a)) : []
  const directories = [
    ...(process.env.PATH ?? "").split(delimiter),
    ...versions.map((version) => join(debian, version, "bin"))
  ]
  const found = directories.find((directory) =>
    ["initdb", "postgres"].every((name) => existsSync(join(directory, name)))
  )
  if (found === undefined) throw new Error("there is no initdb and postgres; is PostgreSQL installed?")
  return found
}

// The server refuses to run as root.
const user = (): { readonly uid: number; readonly gid: number } | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const rows = readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"))
  const row = rows.find(([name]) => name === "postgres") ?? rows.find(([name]) => name === "nobody")
  return row === undefined ? undefined : { uid: Number(row[2]), gid: Number(row[3]) }
}

// What the server says of itself there: the last line is its state.
const isReady = (data: string): boolean => {
  const file = join(data, "postmaster.pid")
  return existsSync(file) && /^ready/m.test(readFileSync(file, "utf8"))
}

// A server that ends still writes.
const remove = (directory: string) => {
  for (let left = 20; existsSync(directory) && left > 0; left--) {
    try {
      rmSync(directory, { recursive: true })
    } catch {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
    }
  }
}

/** Starts a server, on the second core where there are two. */
export const startPostgres = async (): Promise<Server> => {
  const bin = programs()
  const owner = user()
  const options = { stdio: "ignore", cwd: "/", ...owner } as const
  const directory = mkdtempSync(join(tmpdir(), "postgres-bench-"))
  process.once("exit", () => remove(directory))
  if (owner !== undefined) chownSync(directory, owner.uid, owner.gid)
  const data = join(directory, "data")
  const setup = [`--pgdata=${data}`, "--username=bench", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
  execFileSync(join(bin, "initdb"), setup, options)

  const port = await freePort()
  const settings = ["fsync=off", "full_page_writes=off", `unix_socket_directories=${directory}`]
  const server = [join(bin, "postgres"), "-D", data, "-h", "127.0.0.1", "-p", String(port)]
  const command = [...server, ...settings.flatMap((setting) => ["-c", setting])]
  const [program, ...args] = pinned ? ["taskset", "-c", "1", ...command] : command
  const child = spawn(program, args, options)
  const exited = once(child, "exit")
  // It ends its own processes at once.
  const end = () => child.kill("SIGQUIT")
  process.prependOnceListener("exit", end)
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1))
  while (!isReady(data)) {
    const ended = child.exitCode ?? child.signalCode
    if (ended !== null) throw new Error(`postgres ended with ${ended}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    port,
    pid: child.pid!,
    stop: async () => {
      end()
      await exited
      remove(directory)
    }
  }
}

/** Microseconds of processor time that those processes of the server have used that still run, where the system tells. */
export const cpuOf = ({ pid }: Server): number => {
  if (!existsSync("/proc/self/schedstat")) return Number.NaN
  let nanos = 0
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1")
      const parent = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]
      if (Number(parent) === pid) nanos += Number(readFileSync(`/proc/${name}/schedstat`, "latin1").split(" ")[0])
    } catch {
      // It has ended.
    }
  }
  return nanos / 1000
}
