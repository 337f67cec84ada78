/**
 * Child process of one contender.
 */
import { Effect } from "effect"
import { serve } from "../http/child.ts"
import { profile, profiled } from "../http/profiler.ts"
import { type Contender, contenders, count, type Name, type Operation, type Step } from "./contenders.ts"

let contender: Contender | undefined
let next = 0

/** Runs one step after the other in each of so many lanes; says how many it were. */
const drive = async (step: Step, lanes: number, isOver: () => boolean): Promise<number> => {
  let done = 0
  let over = false
  const isRunning = () => !over
  const begin = () => step(next++ % count)
  const tick = () => {
    done++
    if ((done & 15) === 0 && isOver()) over = true
  }
  const first = begin()
  if (Effect.isEffect(first)) {
    const lane = Effect.whileLoop({
      while: isRunning,
      body: () => {
        const one = begin()
        return Effect.isEffect(one) ? one : Effect.promise(() => one)
      },
      step: tick
    })
    await Effect.runPromise(first)
    await Effect.runPromise(
      Effect.all(Array.from({ length: lanes }, () => lane), { concurrency: "unbounded", discard: true })
    )
  } else {
    const lane = async () => {
      while (isRunning()) {
        await begin()
        tick()
      }
    }
    await first
    await Promise.all(Array.from({ length: lanes }, lane))
  }
  return done
}

const running = (): Contender => {
  if (contender === undefined) throw new Error("there is no contender")
  return contender
}

const commands = {
  start: async ({ name, port }: { readonly name: Name; readonly port: number }): Promise<void> => {
    contender = await contenders[name](port)
    let created = 0
    await drive(running().create, 1, () => ++created * 16 >= count)
    next = 0
  },

  /** Operations per second, and microseconds of processor time for each. */
  run: async ({ lanes, millis, operation }: {
    readonly operation: Operation
    readonly lanes: number
    readonly millis: number
  }) => {
    const used = process.cpuUsage()
    const start = performance.now()
    const done = await drive(running().steps[operation], lanes, () => performance.now() - start >= millis)
    const seconds = (performance.now() - start) / 1000
    const { system, user } = process.cpuUsage(used)
    return { done, rate: done / seconds, cpu: (user + system) / done }
  },

  profile,
  profiled
}

/** Commands of a worker. */
export type WorkerCommands = typeof commands

serve(commands)
