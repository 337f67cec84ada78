/**
 * Contenders with a process each that take turns on one server, and what is printed of them.
 */
import { type Child, start } from "../http/child.ts"
import type { LaneCommands } from "./lanes.ts"

export interface Worker<Name extends string, Operation extends string> {
  readonly name: Name
  readonly child: Child<LaneCommands<Name, Operation>>
}

interface Cases<Name extends string, Operation extends string> {
  readonly workers: ReadonlyArray<Worker<Name, Operation>>
  readonly operations: ReadonlyArray<Operation>
  readonly lanes: ReadonlyArray<number>
}

interface Measurement {
  readonly rate: number
  readonly cpu: number
  /** Microseconds of processor time of the server. */
  readonly server: number
}

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >>> 1]
const row = (...cells: ReadonlyArray<string | number>) => console.log(`| ${cells.join(" | ")} |`)

/** Starts a process for each contender, one after the other, from a module that serves its commands. */
export const startWorkers = async <Name extends string, Operation extends string>(
  module: string,
  names: ReadonlyArray<Name>,
  port: number
): Promise<ReadonlyArray<Worker<Name, Operation>>> => {
  const workers: Array<Worker<Name, Operation>> = []
  for (const name of names) {
    const child = start<LaneCommands<Name, Operation>>(module, 0)
    await child.call("start", { name, port })
    workers.push({ name, child })
  }
  return workers
}

/** Prints so many files and functions where the clients spend their time. */
export const profile = async <Name extends string, Operation extends string>(
  { lanes, operations, workers }: Cases<Name, Operation>,
  top: number
): Promise<void> => {
  for (const { child, name } of workers) {
    for (const operation of operations) {
      for (const concurrency of lanes) {
        await child.call("run", { operation, lanes: concurrency, millis: 1500 })
        const { cpu } = await child.call("run", { operation, lanes: concurrency, millis: 500 })
        await child.call("profile", undefined)
        await child.call("run", { operation, lanes: concurrency, millis: 2000 })
        const { nodes, samples = [], timeDeltas = [] } = await child.call("profiled", undefined)
        const frames = new Map(nodes.map(({ callFrame, id }) => [id, callFrame]))
        const functions = new Map<string, number>()
        const files = new Map<string, number>()
        let total = 0
        for (const [i, id] of samples.entries()) {
          const { functionName, lineNumber, url } = frames.get(id)!
          if (functionName === "(idle)" || url === "node:inspector") continue
          const file = url.split("/").slice(-3).join("/") || functionName
          const at = `${functionName || "(anonymous)"} ${file}:${lineNumber + 1}`
          files.set(file, (files.get(file) ?? 0) + timeDeltas[i])
          functions.set(at, (functions.get(at) ?? 0) + timeDeltas[i])
          total += timeDeltas[i]
        }
        console.log(`\n# ${name}, ${operation}, ${concurrency} at once: ${cpu.toFixed(1)} µs of processor time each`)
        for (const table of [files, functions]) {
          console.log("")
          for (const [at, time] of [...table].toSorted((a, b) => b[1] - a[1]).slice(0, top)) {
            console.log(`${(time / total * cpu).toFixed(2).padStart(8)}  ${at}`)
          }
        }
      }
    }
  }
}

/** Prints medians of the rounds, rates against those of some of the contenders, and processor time against the first. */
export const compare = async <Name extends string, Operation extends string>(
  { against, lanes, millis, operations, rounds, server, warmUp, workers }: Cases<Name, Operation> & {
    readonly against: ReadonlyArray<Name>
    readonly rounds: number
    readonly millis: number
    readonly warmUp: number
    readonly server: { readonly name: string; readonly cpu: () => number | Promise<number> }
  }
): Promise<void> => {
  const measure = async (
    child: Worker<Name, Operation>["child"],
    operation: Operation,
    lanes: number
  ): Promise<Measurement> => {
    const before = await server.cpu()
    const { cpu, done, rate } = await child.call("run", { operation, lanes, millis })
    return { rate, cpu, server: (await server.cpu() - before) / done }
  }

  const first = workers[0].name
  const others = against.map((name) => workers.findIndex((worker) => worker.name === name)).filter((index) =>
    index >= 0
  )
  const rates = others.map((index) => `x ${workers[index].name}`)
  row("operation", "at once", "contender", "per second", ...rates, "CPU µs", `x ${first}`, `µs of ${server.name}`)
  row("---", "--:", "---", "--:", ...rates.map(() => "--:"), "--:", "--:", "--:")
  for (const operation of operations) {
    for (const concurrency of lanes) {
      const results = workers.map((): Array<Measurement> => [])
      for (const { child } of workers) await child.call("run", { operation, lanes: concurrency, millis: warmUp })
      for (let round = 0; round < rounds; round++) {
        for (let turn = 0; turn < workers.length; turn++) {
          const index = (turn + round) % workers.length
          results[index].push(await measure(workers[index].child, operation, concurrency))
        }
      }
      for (const [index, { name }] of workers.entries()) {
        const of = (field: keyof Measurement) => median(results[index].map((one) => one[field]))
        const ratio = (field: keyof Measurement, other: number) =>
          median(results[index].map((one, round) => one[field] / results[other][round][field])).toFixed(2)
        row(
          operation,
          concurrency,
          name,
          Math.round(of("rate")),
          ...others.map((other) => ratio("rate", other)),
          of("cpu").toFixed(1),
          ratio("cpu", 0),
          of("server").toFixed(1)
        )
      }
    }
  }
}
