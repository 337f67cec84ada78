/**
 * Child process that runs one contender, says how much processor time it has
 * used, and profiles itself.
 */
import { serve } from "./child.ts"
import type { Contender } from "./contenders.ts"
import { profile, profiled } from "./profiler.ts"

const commands = {
  /** Starts to listen and returns the port. `redis`: the port of Redis, where there is one. */
  start: async ({ contender, redis }: { readonly contender: Contender; readonly redis?: number | undefined }) => {
    const module: { readonly listen: (redis: number | undefined) => Promise<number> } = await import(
      `./contenders/${contender}.ts`
    )
    return module.listen(redis)
  },

  /** Microseconds of processor time so far. */
  cpu: () => process.cpuUsage(),

  profile,
  profiled
}

/** Commands of a server. */
export type ServerCommands = typeof commands

serve(commands)
