/**
 * Lists the benchmarks, or runs those that are named. Options go to each: `npm run bench -- memory --sessions=1000`.
 */
import { spawnSync } from "node:child_process"
import { readdirSync } from "node:fs"

const all = readdirSync("bench").filter((file) => file.endsWith(".ts")).map((file) => file.slice(0, -3))
const names = process.argv.slice(2).filter((argument) => !argument.startsWith("-"))
const options = process.argv.slice(2).filter((argument) => argument.startsWith("-"))

const unknown = names.filter((name) => !all.includes(name))
if (names.length === 0 || unknown.length > 0) {
  if (unknown.length > 0) console.error(`No benchmark ${unknown.join(", ")}.`)
  console.log(`Benchmarks: ${all.join(", ")}\nRun with: npm run bench -- <name>...`)
  process.exit(unknown.length > 0 ? 1 : 0)
}
for (const name of names) {
  const { status } = spawnSync("node", [`bench/${name}.ts`, ...options], { stdio: "inherit" })
  if (status !== 0) process.exit(status ?? 1)
}
