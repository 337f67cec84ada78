/**
 * HTTP from end to end: this library on Effect's server, the same server without
 * sessions, and the session libraries of Fastify and Express, all in memory; or,
 * with `--store=cookie` and `--store=redis`, this library and the ones of Fastify
 * with sealed cookies and on Redis.
 *
 *     npm run bench -- http [--rounds=4] [--seconds=1] [--warmup=15000] [--connections=50]
 *                           [--only=effect,effect-session] [--workloads=read,write] [--store=memory]
 *
 * Every server has a process and a core of its own, the load generator another.
 * A round starts each server anew and warms it up with some thousand requests; then they take turns of a
 * fraction of a second, in an order that changes. Results are medians over all
 * turns, ratios are medians of the ratios between neighbouring turns: those can
 * be compared between machines, absolute numbers cannot. Processor time is what
 * other work on the machine disturbs least, and of it the part in user mode.
 *
 * `node bench/http/profile.ts` shows where a server spends its time.
 */
import { cpus } from "node:os"
import { pinned, start } from "./http/child.ts"
import { type Contender, contenders, startServer, stores, titles, verify } from "./http/contenders.ts"
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
    for (const server of servers) loaded.push(await connect(load, server, workload))
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

/** Median of the ratios of neighbouring slices; `undefined` when the other one did not run. */
const ratio = (workload: Workload, contender: Contender, other: Contender, field: keyof Measurement) => {
  const others = resultsOf(workload, other)
  return others.length === 0
    ? undefined
    : median(resultsOf(workload, contender).map((run, i) => run[field] / others[i][field]))
}

const row = (...cells: ReadonlyArray<string | number>) => console.log(`| ${cells.join(" | ")} |`)
const fixed = (value: number | undefined, digits: number): string => value === undefined ? "" : value.toFixed(digits)

const [baseline, own, ...peers] = known
console.log(
  `Node ${process.versions.node}, ${cpus()[0]?.model ?? "unknown processor"}, ` +
    `${pinned ? "one core for the server, one for the load" : "cores shared by server and load"}, ` +
    `${connections} connections, ${rounds} rounds of ${seconds} s\n`
)
row("workload", "server", "requests/s", "x effect", "CPU µs/request", "x effect", "user mode x effect", "p99 ms")
row("---", "---", "--:", "--:", "--:", "--:", "--:", "--:")
for (const workload of cases) {
  for (const name of names) {
    row(
      workload,
      titles[name],
      Math.round(of(workload, name, "rate")),
      fixed(ratio(workload, name, baseline, "rate"), 2),
      fixed(of(workload, name, "cpu"), 1),
      fixed(ratio(workload, name, baseline, "cpu"), 2),
      fixed(ratio(workload, name, baseline, "user"), 2),
      fixed(of(workload, name, "p99"), 1)
    )
  }
}

const others = peers.filter((peer) => names.includes(peer))
if (names.includes(own) && others.length > 0) {
  console.log(`\n${titles[own]} against its peers: times their requests/s, times their CPU\n`)
  row("workload", ...others.map((peer) => titles[peer]))
  row("---", ...others.map(() => "--:"))
  for (const workload of cases) {
    row(
      workload,
      ...others.map((peer) =>
        `${fixed(ratio(workload, own, peer, "rate"), 2)}, ${fixed(ratio(workload, own, peer, "cpu"), 2)}`
      )
    )
  }
}
