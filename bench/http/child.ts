/**
 * Child processes, each on a core of its own where the machine allows it.
 */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"

/** What a child can be asked to do. */
export type Commands = { readonly [name: string]: (input: never) => unknown }

/** A child process that carries out commands, one at a time. */
export interface Child<C extends Commands> {
  readonly call: <K extends keyof C>(name: K, input: Parameters<C[K]>[0]) => Promise<Awaited<ReturnType<C[K]>>>
  readonly stop: () => Promise<void>
}

const pins = availableParallelism() > 1 &&
  ["0", "1"].every((core) => spawnSync("taskset", ["-c", core, "true"]).status === 0)

/** Whether children are tied to cores. */
export const pinned: boolean = pins

/** Starts a module of this directory as a child process. */
export const start = <C extends Commands>(module: string, core: 0 | 1, ...args: ReadonlyArray<string>): Child<C> => {
  const command = [process.execPath, fileURLToPath(new URL(module, import.meta.url)), ...args]
  const [program, ...rest] = pins ? ["taskset", "-c", String(core), ...command] : command
  const child = spawn(program, rest, { stdio: ["ignore", "inherit", "inherit", "ipc"] })
  const exited = once(child, "exit")
  return {
    call: (name, input) =>
      new Promise((resolve, reject) => {
        const onExit = (code: number | null) => reject(new Error(`${module} ended with ${code}`))
        child.once("exit", onExit)
        child.once("message", (message: { readonly value: never } | { readonly error: string }) => {
          child.off("exit", onExit)
          if ("error" in message) reject(new Error(message.error))
          else resolve(message.value)
        })
        child.send({ name, input })
      }),
    stop: async () => {
      child.kill("SIGKILL")
      await exited
    }
  }
}

/** Carries out commands in a child process. */
export const serve = (commands: Commands): void => {
  process.on("disconnect", () => process.exit())
  process.on("message", async ({ input, name }: { readonly name: string; readonly input: never }) => {
    try {
      process.send!({ value: await commands[name](input) })
    } catch (error) {
      process.send!({ error: error instanceof Error ? error.stack : String(error) })
    }
  })
}
