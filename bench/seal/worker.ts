/**
 * Child process of one contender.
 */
import { serve } from "../http/child.ts"
import { type Contender, groups, type Operation } from "./contenders.ts"

let contender: Contender | undefined

const commands = {
  /** Whether the contender is there: libsodium may not be. */
  start: async ({ group, name }: { readonly group: keyof typeof groups; readonly name: string }): Promise<boolean> => {
    const known: { readonly [name: string]: () => Promise<Contender> } = groups[group]
    try {
      contender = await known[name]()
      return true
    } catch {
      return false
    }
  },

  /** Microseconds of processor time for each operation. */
  run: async ({ operation, size, times }: {
    readonly operation: Operation
    readonly size: number
    readonly times: number
  }): Promise<number> => {
    if (contender === undefined) throw new Error("there is no contender")
    const start = process.cpuUsage()
    await contender.run(operation, size, times)
    const { system, user } = process.cpuUsage(start)
    return (system + user) / times
  }
}

/** Commands of a worker. */
export type WorkerCommands = typeof commands

serve(commands)
