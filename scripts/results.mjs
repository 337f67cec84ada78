/**
 * Prints what failed and `N passed, N failed` from vitest's JSON report, for CI:
 * `node scripts/results.mjs <report> <status of the run>`.
 *
 * The names come last, with the message's first lines, because the end of a log is what everybody keeps.
 * A run that failed has at least one failure, also when it ended before a test did, or outside of one.
 */
import { existsSync, readFileSync } from "node:fs"
import { relative } from "node:path"
import { stripVTControlCharacters } from "node:util"

const [report, status] = process.argv.slice(2)
const { numFailedTests, numPassedTests, success, testResults, triedAgain = [] } = existsSync(report)
  ? JSON.parse(readFileSync(report, "utf8"))
  : { numFailedTests: 0, numPassedTests: 0, success: false, testResults: [] }
const failed = success && status === "0" ? numFailedTests : Math.max(numFailedTests, 1)

/** The first lines of a failure, without colours. */
const summary = (message) => stripVTControlCharacters(message).split("\n").slice(0, 12).join("\n    ")

let named = 0
const tell = (name, texts) => {
  named++
  console.log(`\n${name}`)
  for (const text of texts) console.log(`    ${summary(text)}`)
}

for (const { assertionResults, message, name, status } of testResults) {
  const file = relative(process.cwd(), name)
  const failures = assertionResults.filter(({ status }) => status === "failed")
  for (const { failureMessages, fullName } of failures) tell(`${file}: ${fullName}`, failureMessages)
  // A file that could not be loaded, and one whose hooks have failed.
  if (failures.length === 0 && status === "failed") tell(file, [message || "failed outside of its tests, see above"])
}
if (failed > named) console.log("\nSomething failed outside of every test, or before them; see above.")

for (const name of triedAgain) console.log(`\nPassed at the second try, the machine stood still at the first: ${name}`)
console.log(`\n${numPassedTests} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
