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

const report = ".artifacts/vitest.json"
const failures = ".artifacts/failures.json"
const reporters = ["--reporter=default", "--reporter=./scripts/failures.ts", "--reporter=json"]
const vitest = (to) => ["vitest", "run", ...reporters, `--outputFile.json=${to}`]

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

/** Runs the tests, and once more those of real servers that failed while the machine stood still. */
const runTests = async (command) => {
  // Here, so that an old Node gets as far as being told so.
  const HeldUp = await import("./heldUp.ts")
  const watch = HeldUp.watch()
  const first = await run(command)
  watch.stop()
  if (first.passed || !existsSync(join(root, report)) || !existsSync(join(root, failures))) return first
  const failed = read(failures)
  const files = HeldUp.files(root, failed, watch.pauses)
  if (files.length === 0) return first
  console.error(`\nThe machine stood still for ${HeldUp.longEnough} ms or more while these failed. Once more:`)
  for (const { file, name } of failed.inside) console.error(`  ${relative(root, file)}: ${name}`)
  const merge = read(report)
  const again = ".artifacts/vitest.again.json"
  const second = await run([...vitest(again), ...files])
  if (!second.passed) return second
  const merged = HeldUp.merged(merge, read(again), failed)
  writeFileSync(join(root, report), JSON.stringify(merged))
  return { passed: merged.success, why: first.why }
}

for (const path of [report, failures]) rmSync(join(root, path), { force: true })
for (const step of chosen) {
  console.log(`\n== ${step.name}: ${step.run.join(" ")}`)
  const { passed, why } = await (step.name === "tests" ? runTests : run)(step.run)
  if (!passed) {
    console.error(`\nFAILED: ${step.name}${why}.${step.hint ? ` ${step.hint}` : ""}`)
    console.error(`This step alone: npm test -- ${step.name}`)
    process.exit(1)
  }
}
console.log(`\nPASSED: ${chosen.map((step) => step.name).join(", ")}`)
