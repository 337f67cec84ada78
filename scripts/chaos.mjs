/**
 * Runs the tests of faults with their full number of rounds, and prints what they measure.
 *
 * `node scripts/chaos.mjs short` runs the short form; `node scripts/chaos.mjs Cuts` runs one file in full.
 */
import { spawnSync } from "node:child_process"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const args = process.argv.slice(2)
const filters = args.filter((name) => name !== "short")
const env = {
  ...process.env,
  CHAOS: args.includes("short") ? "short" : "long",
  PATH: `${join(root, "node_modules", ".bin")}${delimiter}${process.env.PATH}`
}
const { status } = spawnSync("vitest", ["run", "--project", "chaos", "--reporter=default", ...filters], {
  cwd: root,
  env,
  stdio: ["ignore", "inherit", "inherit"]
})
process.exit(status ?? 1)
