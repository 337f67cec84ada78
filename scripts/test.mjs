/**
 * Runs the steps of `npm test` in order and stops at the first that fails.
 *
 * `node scripts/test.mjs format lint` runs just these.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { delimiter, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import * as HeldUp from "./heldUp.ts"

const report = ".artifacts/vitest.json"
const vitest = (to) => ["vitest", "run", "--reporter=default", "--reporter=json", `--outputFile.json=${to}`]

const steps = [
  { name: "prerequisites", run: ["node", "scripts/prerequisites.mjs"] },
  { name: "format", run: ["dprint", "check"], hint: "`npm run format` formats every file." },
  { name: "lint", run: ["oxlint", "--deny-warnings"] },
  { name: "types", run: ["tsc", "-b"] },
  { name: "type-tests", run: ["node", "scripts/type-tests.mjs"] },
  {
    name: "tests",
    run: vitest(report),
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

/** Runs a command to its end. */
const run = async ([command, ...args]) => {
  const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", "inherit", "inherit"] })
  try {
    const [status, signal] = await once(child, "exit")
    return { passed: status === 0, why: signal === null ? "" : ` (${signal})` }
  } catch (error) {
    return { passed: false, why: ` (${error.message})` }
  }
}

const read = (path) => JSON.parse(readFileSync(join(root, path), "utf8"))

/** Whether the tests that failed while the machine stood still pass when they are run again. */
const passesAgain = async (pauses) => {
  if (!existsSync(join(root, report))) return false
  const first = read(report)
  const files = HeldUp.files(root, first, pauses)
  if (files.length === 0) return false
  console.error(`\nThe machine stood still for ${HeldUp.longEnough} ms or more while these failed. Once more:`)
  for (const file of files) console.error(`  ${relative(root, file)}`)
  const second = ".artifacts/vitest.again.json"
  const { passed } = await run([...vitest(second), ...files])
  if (!passed) return false
  const merged = HeldUp.merged(first, read(second))
  writeFileSync(join(root, report), JSON.stringify(merged))
  return merged.success
}

rmSync(join(root, report), { force: true })
for (const step of chosen) {
  console.log(`\n== ${step.name}: ${step.run.join(" ")}`)
  const watch = HeldUp.watch()
  const { passed, why } = await run(step.run)
  watch.stop()
  if (!passed && !(step.name === "tests" && await passesAgain(watch.pauses))) {
    console.error(`\nFAILED: ${step.name}${why}.${step.hint ? ` ${step.hint}` : ""}`)
    console.error(`This step alone: npm test -- ${step.name}`)
    process.exit(1)
  }
}
console.log(`\nPASSED: ${chosen.map((step) => step.name).join(", ")}`)
