/**
 * Runs the steps of `npm test` in order and stops at the first that fails.
 *
 * `node scripts/test.mjs format lint` runs just these.
 */
import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"

const steps = [
  { name: "prerequisites", run: ["node", "scripts/prerequisites.mjs"] },
  { name: "format", run: ["dprint", "check"], hint: "`npm run format` formats every file." },
  { name: "lint", run: ["oxlint", "--deny-warnings"] },
  { name: "types", run: ["tsc", "-b"] },
  { name: "type-tests", run: ["node", "scripts/type-tests.mjs"] },
  {
    name: "tests",
    run: ["vitest", "run", "--reporter=default", "--reporter=json", "--outputFile.json=.artifacts/vitest.json"],
    hint: "One file: `npx vitest run path/to/file.test.ts`."
  }
]

const root = fileURLToPath(new URL("..", import.meta.url))
const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !steps.some((step) => step.name === name))
if (unknown.length > 0) {
  console.error(`No step ${unknown.join(", ")}. There are: ${steps.map((step) => step.name).join(", ")}.`)
  process.exit(2)
}
const chosen = wanted.length === 0 ? steps : steps.filter((step) => wanted.includes(step.name))

const env = { ...process.env, PATH: `${join(root, "node_modules", ".bin")}${delimiter}${process.env.PATH}` }

rmSync(join(root, ".artifacts", "vitest.json"), { force: true })
for (const { hint, name, run: [command, ...args] } of chosen) {
  console.log(`\n== ${name}: ${[command, ...args].join(" ")}`)
  const { error, status } = spawnSync(command, args, { cwd: root, env, stdio: ["ignore", "inherit", "inherit"] })
  if (status !== 0) {
    console.error(`\nFAILED: ${name}${error === undefined ? "" : ` (${error.message})`}.${hint ? ` ${hint}` : ""}`)
    console.error(`This step alone: npm test -- ${name}`)
    process.exit(1)
  }
}
console.log(`\nPASSED: ${chosen.map((step) => step.name).join(", ")}`)
