/**
 * What the process of one contender does: operations on sessions, so many at once.
 */
import { Effect } from "effect"
import { profile, profiled } from "../http/profiler.ts"

/** One operation on the session number `index`. */
export type Step = (index: number) => Promise<unknown> | Effect.Effect<unknown, unknown>

export interface Contender<Operation extends string> {
  readonly create: Step
  readonly steps: { readonly [K in Operation]: Step }
}

/** How many sessions there are. */
export const count = 1024

export const each = <A>(value: (index: number) => A): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, i) => value(i))

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

/** Commands of the process, which opens one of the contenders. */
export const commandsOf = <Name extends string, Operation extends string>(
  contenders: { readonly [K in Name]: (port: number) => Promise<Contender<Operation>> }
) => {
  let contender: Contender<Operation> | undefined
  const running = (): Contender<Operation> => {
    if (contender === undefined) throw new Error("there is no contender")
    return contender
  }
  return {
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
}

export type LaneCommands<Name extends string, Operation extends string> = ReturnType<
  typeof commandsOf<Name, Operation>
>
