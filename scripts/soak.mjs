/**
 * Uses the demo for a long time while its store fails at random, and looks for what leaks.
 *
 * `node scripts/soak.mjs` takes 30 minutes for each store; `node scripts/soak.mjs 5 Redis` takes 5, for one of them;
 * `cluster` is three nodes with one Redis.
 */
import { spawnSync } from "node:child_process"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"

const [minutes = "30", store] = process.argv.slice(2)
if (!(Number(minutes) >= 1)) {
  console.error(`Not a number of minutes: ${minutes}. Usage: npm run test:soak -- [minutes] [Redis|PostgreSQL|cluster]`)
  process.exit(2)
}
const root = fileURLToPath(new URL("..", import.meta.url))
const env = {
  ...process.env,
  SOAK_MINUTES: minutes,
  ...(store === undefined ? {} : { SOAK_STORE: store }),
  PATH: `${join(root, "node_modules", ".bin")}${delimiter}${process.env.PATH}`
}
const { status } = spawnSync("vitest", ["run", "--project", "chaos", "--reporter=default", "scratchpad/chaos/Soak"], {
  cwd: root,
  env,
  stdio: ["ignore", "inherit", "inherit"]
})
process.exit(status ?? 1)
