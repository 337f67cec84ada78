/**
 * The Redis store against a bare `ioredis` with the same octets, and against `connect-redis`.
 *
 *     npm run bench -- redis [--rounds=15] [--millis=100] [--lanes=1,64,512]
 *                            [--only=ioredis,effect-session] [--operations=read,write,rolling] [--profile=30]
 *
 * Needs `redis-server`. Each contender has a process, on a core that Redis does not use; they take turns of a tenth of
 * a second, in an order that changes. Ratios are medians of the ratios of one round: those can be compared between
 * machines. `--profile` prints that many functions where the client spends its time instead.
 */
import { type Child, start } from "./http/child.ts"
import * as Options from "./http/options.ts"
import { contenders, type Name, type Operation, operations } from "./redis/contenders.ts"
import { cpuOf, startRedis } from "./redis/server.ts"
import type { WorkerCommands } from "./redis/worker.ts"

const rounds = Options.number("rounds", 15)
const millis = Options.number("millis", 100)
const lanes = Options.some("lanes", ["1", "64", "512"]).map(Number)
const names = Options.some("only", Object.keys(contenders) as ReadonlyArray<Name>)
const cases = Options.some("operations", operations)
const warmUp = Options.number("warmup", 1500)
const profiled = process.argv.some((argument) => argument.startsWith("--profile="))

interface Measurement {
  readonly rate: number
  readonly cpu: number
  /** Microseconds of processor time of the server. */
  readonly server: number
}

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >>> 1]
const row = (...cells: ReadonlyArray<string | number>) => console.log(`| ${cells.join(" | ")} |`)

const redis = await startRedis()
const workers: Array<{ readonly name: Name; readonly child: Child<WorkerCommands> }> = []
for (const name of names) {
  const child = start<WorkerCommands>("../redis/worker.ts", 0)
  await child.call("start", { name, port: redis.port })
  workers.push({ name, child })
}

const measure = async (child: Child<WorkerCommands>, operation: Operation, lanes: number): Promise<Measurement> => {
  const before = await cpuOf(redis)
  const { cpu, done, rate } = await child.call("run", { operation, lanes, millis })
  return { rate, cpu, server: (await cpuOf(redis) - before) / done }
}

const profile = async (top: number) => {
  for (const { child, name } of workers) {
    for (const operation of cases) {
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

const compare = async () => {
  row("operation", "at once", "contender", "per second", `x ${names[0]}`, "CPU µs", `x ${names[0]}`, "µs of Redis")
  row("---", "--:", "---", "--:", "--:", "--:", "--:", "--:")
  for (const operation of cases) {
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
        const ratio = (field: keyof Measurement, other = 0) =>
          median(results[index].map((one, round) => one[field] / results[other][round][field]))
        row(
          operation,
          concurrency,
          name,
          Math.round(of("rate")),
          ratio("rate").toFixed(2),
          of("cpu").toFixed(1),
          ratio("cpu").toFixed(2),
          of("server").toFixed(1)
        )
      }
    }
  }
}

if (profiled) await profile(Options.number("profile", 30))
else await compare()
for (const { child } of workers) await child.stop()
await redis.stop()
