/**
 * A Redis of the benchmark's own, on a free port, without persistence.
 */
import { Redis } from "ioredis"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { tmpdir } from "node:os"
import { pinned } from "../http/child.ts"
import { freePort } from "../stores/freePort.ts"

/** A server, with a connection to ask it about itself. */
export interface Server {
  readonly port: number
  readonly admin: Redis
  readonly stop: () => Promise<void>
}

/** Starts a server, on the second core where there are two. */
export const startRedis = async (): Promise<Server> => {
  const port = await freePort()
  const command = ["redis-server", "--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
  const [program, ...args] = pinned ? ["taskset", "-c", "1", ...command] : command
  const child = spawn(program, [...args, "--dir", tmpdir()], { stdio: "ignore" })
  const exited = once(child, "exit")
  process.once("exit", () => child.kill("SIGKILL"))
  const admin = new Redis({ port, host: "127.0.0.1", retryStrategy: () => 50, protocol: 2 })
  admin.on("error", () => {})
  await Promise.race([
    new Promise<void>((resolve) => admin.once("ready", resolve)),
    exited.then(() => Promise.reject(new Error("redis-server ended; is it installed?")))
  ])
  return {
    port,
    admin,
    stop: async () => {
      admin.disconnect()
      child.kill("SIGKILL")
      await exited
    }
  }
}

/** The numbers of `INFO`, by name. */
export const numbersOf = (info: string): ReadonlyMap<string, number> =>
  new Map(Array.from(info.matchAll(/^(\w+):([\d.]+)/gm), ([, name, value]) => [name, Number(value)]))

/** Microseconds of processor time that the server has used. */
export const cpuOf = async ({ admin }: Server): Promise<number> => {
  const numbers = numbersOf(await admin.info("cpu"))
  return ((numbers.get("used_cpu_user") ?? 0) + (numbers.get("used_cpu_sys") ?? 0)) * 1e6
}
