/**
 * Child process that runs one contender, says how much processor time it has
 * used, and profiles itself.
 */
import { Session } from "node:inspector/promises"
import { serve } from "./child.ts"
import type { Contender } from "./contenders.ts"

const inspector = new Session()

const commands = {
  /** Starts to listen and returns the port. */
  start: async ({ contender }: { readonly contender: Contender }) => {
    const { listen } = await import(`./contenders/${contender}.ts`) as { readonly listen: () => Promise<number> }
    return listen()
  },

  /** Microseconds of processor time so far. */
  cpu: () => process.cpuUsage(),

  profile: async () => {
    inspector.connect()
    await inspector.post("Profiler.enable")
    await inspector.post("Profiler.setSamplingInterval", { interval: 100 })
    await inspector.post("Profiler.start")
  },

  profiled: async () => {
    const { profile } = await inspector.post("Profiler.stop")
    inspector.disconnect()
    return profile
  }
}

/** Commands of a server. */
export type ServerCommands = typeof commands

serve(commands)
