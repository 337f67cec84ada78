/**
 * Handlers of fetch requests without a server: this library around Hono, bare Hono, and `hono-sessions`.
 *
 *     npm run bench -- fetch [--rounds=15] [--requests=2000] [--store=memory]
 *                            [--only=hono,fetch-session] [--workloads=read,write]
 *
 * Every handler has a process of its own, which makes its requests and reads its responses; they take turns, each round
 * in another order. Printed are medians of the rounds: processor time of all threads for each request, and its ratio
 * to that of the other handlers in the same round. `npm run bench -- http` has the same handlers behind a server.
 */
import type { FetchCommands } from "./fetch/worker.ts"
import { type Child, start } from "./http/child.ts"
import { type Contender, titles } from "./http/contenders.ts"
import { type Workload, workloads } from "./http/data.ts"
import * as Options from "./http/options.ts"

const contenders = {
  memory: ["hono", "fetch-session", "hono-sessions"],
  cookie: ["hono", "fetch-session-cookie", "hono-sessions-cookie"]
} as const satisfies { readonly [store: string]: ReadonlyArray<Contender> }

const rounds = Options.number("rounds", 15)
const requests = Options.number("requests", 2000)
const known: ReadonlyArray<Contender> = contenders[Options.one("store", ["memory", "cookie"])]
const names = Options.some("only", known)
const cases = Options.some("workloads", workloads)

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]
const row = (...cells: ReadonlyArray<string>) => console.log(`| ${cells.join(" | ")} |`)

const workers: Array<Child<FetchCommands>> = []
for (const name of names) {
  const worker = start<FetchCommands>("../fetch/worker.ts", 0)
  await worker.call("start", { contender: name })
  workers.push(worker)
}

row("workload", "handler", "CPU µs", ...names.map((name) => `x ${titles[name]}`))
row("---", "---", ...["CPU µs", ...names].map(() => "--:"))
for (const workload of cases) {
  const measured = names.map((): Array<number> => [])
  const run = (worker: Child<FetchCommands>, workload: Workload) => worker.call("run", { workload, requests })
  for (const worker of workers) for (let i = 0; i < 4; i++) await run(worker, workload)
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < workers.length; turn++) {
      const index = (turn + round) % workers.length
      measured[index].push(await run(workers[index], workload))
    }
  }
  for (const [index, name] of names.entries()) {
    const ratios = measured.map((others) => median(measured[index].map((cpu, round) => cpu / others[round])))
    row(workload, titles[name], median(measured[index]).toFixed(1), ...ratios.map((ratio) => ratio.toFixed(2)))
  }
}
for (const worker of workers) await worker.stop()
