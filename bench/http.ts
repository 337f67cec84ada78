/**
 * HTTP from end to end: this library on Effect's server, on bare `node:http` and
 * around Hono, the same servers without sessions, and the session libraries of
 * Fastify, Express and Hono, all in memory; or, with `--store=cookie` and
 * `--store=redis`, what there is with sealed cookies and on Redis.
 *
 *     npm run bench -- http [--rounds=4] [--seconds=1] [--warmup=15000] [--connections=50]
 *                           [--only=effect,effect-session] [--workloads=read,write] [--store=memory]
 *
 * Every server has a process and a core of its own, the load generator another,
 * which it shares with Redis where there is one.
 * A round starts each server anew and warms it up with some thousand requests; then they take turns of a
 * fraction of a second, in an order that changes. Results are medians over all
 * turns, ratios are medians of the ratios between neighbouring turns: those can
 * be compared between machines, absolute numbers cannot. Processor time is what
 * other work on the machine disturbs least, and of it the part in user mode.
 *
 * Slow peers make the turns long, and a server that lies idle between them is
 * slower: `--only` compares a few more exactly.
 *
 * `npm run bench -- fetch` has fetch handlers alone, without a server.
 * `node bench/http/profile.ts` shows where a server spends its time.
 */
import { cpus } from "node:os"
import { pinned, start } from "./http/child.ts"
import { type Contender, contenders, isBare, isOwn, startServer, stores, titles, verify } from "./http/contenders.ts"
import { type Workload, workloads } from "./http/data.ts"
import type { LoadCommands } from "./http/load.ts"
import { connect, type Loaded, type Measurement } from "./http/measure.ts"
import * as Options from "./http/options.ts"
import { startRedis } from "./redis/server.ts"

const rounds = Options.number("rounds", 4)
const connections = Options.number("connections", 50)
const seconds = Options.number("seconds", 1)
const warmup = Options.number("warmup", 15_000)
/** Into how many parts the seconds are cut, so that contenders take turns often. */
const slices = 5
const store = Options.one("store", stores)
const known: ReadonlyArray<Contender> = contenders[store]
const names = Options.some("only", known)
const cases = Options.some("workloads", workloads)

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

const results = new Map<string, Array<Measurement>>()
const resultsOf = (workload: Workload, contender: Contender): Array<Measurement> => {
  const key = `${workload} ${contender}`
  const known = results.get(key) ?? []
  results.set(key, known)
  return known
}

const redis = store === "redis" ? await startRedis() : undefined
const load = start<LoadCommands>("load.ts", 1)
for (let round = 0; round < rounds; round++) {
  const servers = await Promise.all(names.map((name) => startServer(name, store, connections, redis?.port)))
  for (const workload of cases) {
    const loaded: Array<Loaded> = []
    for (const server of servers) loaded.push(await connect(load, server, workload, redis !== undefined))
    for (const one of loaded) await one.warmUp(warmup)
    for (let slice = 0; slice < slices; slice++) {
      for (let turn = 0; turn < loaded.length; turn++) {
        const index = (turn + slice + round) % loaded.length
        resultsOf(workload, names[index]).push(await loaded[index].run(seconds / slices))
      }
    }
    for (const one of loaded) await one.close()
  }
  for (const server of servers) {
    await verify(server)
    await server.process.stop()
  }
  process.stderr.write(`round ${round + 1} of ${rounds}\n`)
}
await load.stop()
await redis?.stop()

const of = (workload: Workload, contender: Contender, field: keyof Measurement): number =>
  median(resultsOf(workload, contender).map((run) => run[field]))

/** Median of the ratios of neighbouring slices. */
const ratio = (workload: Workload, contender: Contender, other: Contender, field: keyof Measurement): number => {
  const others = resultsOf(workload, other)
  return median(resultsOf(workload, contender).map((run, i) => run[field] / others[i][field]))
}

const row = (...cells: ReadonlyArray<string | number>) => console.log(`| ${cells.join(" | ")} |`)
const fixed = (value: number, digits: number): string => value.toFixed(digits)

const baselines = names.filter((name) => name === "effect" || name === "node")
console.log(
  `Node ${process.versions.node}, ${cpus()[0]?.model ?? "unknown processor"}, ` +
    `${pinned ? "one core for the server, one for the load" : "cores shared by server and load"}, ` +
    `${connections} connections, ${rounds} rounds of ${seconds} s\n`
)
const columns = (unit: string) => [unit, ...baselines.map((name) => `x ${name}`)]
const header = [
  "workload",
  "server",
  ...columns("requests/s"),
  ...columns("CPU µs"),
  ...columns("user mode µs"),
  "p99 ms"
]
row(...header)
row(...header.map((_, i) => i < 2 ? "---" : "--:"))
for (const workload of cases) {
  for (const name of names) {
    const cells = (field: keyof Measurement, digits: number) => [
      fixed(of(workload, name, field), digits),
      ...baselines.map((baseline) => fixed(ratio(workload, name, baseline, field), 2))
    ]
    row(
      workload,
      titles[name],
      ...cells("rate", 0),
      ...cells("cpu", 1),
      ...cells("user", 1),
      fixed(of(workload, name, "p99"), 1)
    )
  }
}

const owns = names.filter(isOwn)
const peers = names.filter((name) => !isOwn(name) && !isBare(name))
if (owns.length > 0 && peers.length > 0) {
  console.log("\nThis library against its peers: times their requests/s, times their CPU\n")
  row("workload", "server", ...peers.map((peer) => titles[peer]))
  row("---", "---", ...peers.map(() => "--:"))
  for (const workload of cases) {
    for (const own of owns) {
      row(
        workload,
        titles[own],
        ...peers.map((peer) =>
          `${fixed(ratio(workload, own, peer, "rate"), 2)}, ${fixed(ratio(workload, own, peer, "cpu"), 2)}`
        )
      )
    }
  }
}
