/**
 * Where a server of the HTTP benchmark spends its time: self time by module and
 * by function, in microseconds per request.
 *
 *     node bench/http/profile.ts [--only=effect-session] [--workloads=read] [--seconds=3] [--top=25] [--store=memory]
 */
import { startRedis } from "../redis/server.ts"
import { start } from "./child.ts"
import { type Contender, contenders, startServer, stores, titles } from "./contenders.ts"
import { workloads } from "./data.ts"
import type { LoadCommands } from "./load.ts"
import { connect } from "./measure.ts"
import * as Options from "./options.ts"

const seconds = Options.number("seconds", 3)
const top = Options.number("top", 25)

const moduleOf = (url: string, functionName: string): string => {
  if (url === "") return functionName.startsWith("(") ? functionName : "native"
  if (url.startsWith("node:")) return url
  const inside = url.split("/node_modules/").at(-1)!.replace(/^.*\/packages\//, "@effect-session/")
  return inside.replace("/dist/", "/").replace(/\.[jt]s$/, "")
}

const add = (table: Map<string, number>, key: string, value: number) => table.set(key, (table.get(key) ?? 0) + value)

const print = (title: string, table: ReadonlyMap<string, number>, micros: number) => {
  const total = [...table.values()].reduce((sum, value) => sum + value, 0)
  console.log(`\n${title}`)
  for (const [key, value] of [...table].toSorted((a, b) => b[1] - a[1]).slice(0, top)) {
    console.log(`${((value / total) * micros).toFixed(2).padStart(8)}  ${key}`)
  }
}

const store = Options.one("store", stores)
const known: ReadonlyArray<Contender> = contenders[store]
const redis = store === "redis" ? await startRedis() : undefined
const load = start<LoadCommands>("load.ts", 1)
for (const contender of Options.some("only", known)) {
  for (const workload of Options.some("workloads", workloads)) {
    const server = await startServer(contender, store, 50, redis?.port)
    const loaded = await connect(load, server, workload, redis !== undefined)
    await loaded.warmUp(30_000)
    const { cpu } = await loaded.run(1)
    await server.process.call("profile", undefined)
    await loaded.run(seconds)
    const { nodes, samples = [], timeDeltas = [] } = await server.process.call("profiled", undefined)
    await loaded.close()
    await server.process.stop()

    const frames = new Map(nodes.map(({ callFrame, id }) => [id, callFrame]))
    const modules = new Map<string, number>()
    const functions = new Map<string, number>()
    for (const [i, id] of samples.entries()) {
      const { functionName, lineNumber, url } = frames.get(id)!
      // The profiler itself is no part of the server.
      if (functionName === "(idle)" || url === "node:inspector") continue
      const module = moduleOf(url, functionName)
      add(modules, module, timeDeltas[i])
      add(functions, `${functionName || "(anonymous)"} ${module}:${lineNumber + 1}`, timeDeltas[i])
    }
    console.log(`\n# ${titles[contender]}, ${workload}: ${cpu.toFixed(1)} µs of processor time per request`)
    print("by module", modules, cpu)
    print("by function", functions, cpu)
  }
}
await load.stop()
await redis?.stop()
