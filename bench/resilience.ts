/**
 * What the decorator of `Resilience` costs: a load through it against the bare
 * store, the answer of an open circuit, and 10,000 calls of a store that is dead.
 *
 *     node bench/resilience.ts [--calls=10000]
 *
 * Goals: at most 2 microseconds more for a load, an open circuit that answers in
 * less than a millisecond, a heap that stays as it was, and at most 1.1 commands
 * for each call. Ratios of one run can be compared, its absolute numbers belong to
 * its machine.
 */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const option = process.argv.find((argument) => argument.startsWith("--calls="))
const calls = option?.slice("--calls=".length) ?? "10000"
const worker = fileURLToPath(new URL("resilience/worker.ts", import.meta.url))

const run = (task: string) =>
  JSON.parse(
    execFileSync(process.execPath, ["--expose-gc", worker, task, calls], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"]
    })
  )

const print = (...cells: ReadonlyArray<string | number>) =>
  process.stdout.write(
    `${cells.map((cell, i) => i === 0 ? String(cell).padEnd(40) : String(cell).padStart(14)).join("")}\n`
  )

print("a load, memory store", "bare us", "decorated us", "more us", "ratio")
for (const { bare, decorated, difference, name, ratio } of run("load")) {
  print(name, bare.toFixed(2), decorated.toFixed(2), difference.toFixed(2), ratio.toFixed(2))
}

const { longest, p50, p99 } = run("open")
print("\nanswer of an open circuit", "p50 us", "p99 us", "longest us")
print("load", p50.toFixed(1), p99.toFixed(1), longest.toFixed(1))

print(`\n2 x ${calls} loads of a dead store`, "commands", "for each", "heap B each", "longest ms", "total ms")
for (const task of ["refused", "refusedOpen", "frozen", "frozenOpen"]) {
  const { commands, each, heap, longest, name, total } = run(task)
  print(name, commands, each.toFixed(3), heap.toFixed(1), longest.toFixed(1), Math.round(total))
}
