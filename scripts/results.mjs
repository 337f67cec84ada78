/**
 * Prints `N passed, N failed` from vitest's JSON report, for CI: `node scripts/results.mjs <report> <status of the run>`.
 *
 * A run that failed has at least one failure, also when it ended before a test did, or outside of one.
 */
import { existsSync, readFileSync } from "node:fs"

const [report, status] = process.argv.slice(2)
const { numFailedTests, numPassedTests, success } = existsSync(report)
  ? JSON.parse(readFileSync(report, "utf8"))
  : { numFailedTests: 0, numPassedTests: 0, success: false }
const failed = success && status === "0" ? numFailedTests : Math.max(numFailedTests, 1)

console.log(`${numPassedTests} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
