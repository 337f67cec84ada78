/**
 * The memory store against a bare Map of objects: memory for each session,
 * look-ups per second, and how long the process stands still while it sweeps
 * and while it evicts.
 *
 *     node bench/memory.ts [--sessions=1000000]
 *
 * Ratios of one run can be compared, its absolute numbers belong to its machine.
 */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const option = process.argv.find((argument) => argument.startsWith("--sessions="))
const sessions = option?.slice("--sessions=".length) ?? "1000000"
const worker = fileURLToPath(new URL("memory/worker.ts", import.meta.url))

const run = (task: string, name: string) =>
  JSON.parse(
    execFileSync(process.execPath, ["--expose-gc", "--max-old-space-size=8192", worker, task, name, sessions], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"]
    })
  )

const print = (...cells: ReadonlyArray<string | number>) =>
  process.stdout.write(
    `${cells.map((cell, i) => i === 0 ? String(cell).padEnd(30) : String(cell).padStart(14)).join("")}\n`
  )

const stores = ["bare Map", "MemoryStore"]

print(`${sessions} sessions`, "heap B", "external B", "sum B")
for (const name of stores) {
  const { external, heap } = run("heap", name)
  print(name, heap, external, heap + external)
}

const loads = run("load", "all")
for (const [task, title] of [["every", "load, each session once"], ["same", "load, the same sixteenth"]]) {
  print(`\n${title}`, "per second", "ratio")
  for (const { name, rate, ratio } of loads[task]) print(name, rate, ratio.toFixed(2))
}

for (const [task, title] of [["sweep", "sweep of all, expired"], ["evict", "100,000 inserts when full"]]) {
  print(`\n${title}`, "pause p99", "longest", "work, no gc", "longest gc", "total ms")
  for (const name of stores) {
    const result = run(task, name)
    print(
      name,
      ...["p99", "longest", "own", "collection"].map((field) => result[field].toFixed(1)),
      Math.round(result.total)
    )
  }
}
