/**
 * Preloaded into a program under test: tells whoever connects to its socket what it holds, once everything that is
 * garbage is gone.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { readdirSync, rmSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { queryObjects, setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { isMainThread } from "node:worker_threads"

/** What a process holds. */
export interface Vitals {
  /** Bytes of live objects, and of what they have outside of the heap. */
  readonly heap: number
  readonly external: number
  readonly descriptors: number
  readonly sockets: number
  readonly timers: number
  /** Fibers that something can still reach. */
  readonly fibers: number
  /** Milliseconds that the event loop was late since the last time it was asked, at most and for one turn in a hundred. */
  readonly delay: { readonly longest: number; readonly p99: number }
}

const pathOf = (pid: number) => join(tmpdir(), `effect-session-vitals-${pid}.sock`)

/** What makes a program tell. */
export const module = import.meta.url

/** Asks a process. */
export const of = (pid: number): Promise<Vitals> =>
  new Promise((resolve, reject) => {
    let text = ""
    const socket = connect(pathOf(pid))
    socket.setEncoding("utf8").on("data", (chunk) => text += chunk).on("error", reject)
    socket.on("end", () => resolve(JSON.parse(text)))
  })

const tell = () => {
  setFlagsFromString("--expose-gc")
  const collect: () => void = runInNewContext("gc")
  const probe = Effect.runFork(Effect.never)
  const FiberClass = Object.getPrototypeOf(probe).constructor
  Effect.runFork(Fiber.interrupt(probe))
  const delay = monitorEventLoopDelay({ resolution: 10 })
  delay.enable()
  // That counting objects is new to Node is no news of the program's.
  const { emitWarning } = process
  process.emitWarning = (warning: string | Error, ...rest: ReadonlyArray<unknown>) => {
    if (!String(warning).includes("queryObjects")) Reflect.apply(emitWarning, process, [warning, ...rest])
  }
  const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - 10)

  const server = createServer((socket) => {
    const before = { longest: late(delay.max), p99: late(delay.percentile(99)) }
    // What finalizers let go of is garbage the next time.
    for (let i = 0; i < 3; i++) collect()
    const { external, heapUsed } = process.memoryUsage()
    const open = process.getActiveResourcesInfo()
    const vitals: Vitals = {
      heap: heapUsed,
      external,
      descriptors: readdirSync("/proc/self/fd").length,
      sockets: open.filter((name) => name.startsWith("TCP")).length,
      timers: open.filter((name) => name === "Timeout").length,
      fibers: queryObjects(FiberClass, { format: "count" }),
      delay: before
    }
    delay.reset()
    socket.end(JSON.stringify(vitals))
  })
  server.listen(pathOf(process.pid)).unref()
  process.once("exit", () => rmSync(pathOf(process.pid), { force: true }))
}

if (isMainThread && process.execArgv.includes(`--import=${module}`)) tell()
