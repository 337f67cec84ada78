/**
 * Tests of real servers run in real time. One of them that fails while the machine stands still has seen nothing: its
 * file is run once more, and the run says so.
 *
 * Whether it stood still is not for the test to say: who runs the tests, and does nothing meanwhile, keeps the time.
 */
import { relative, sep } from "node:path"

/** From the last moment this process was seen running to the next one, in milliseconds since the epoch. */
export interface Pause {
  readonly from: number
  readonly to: number
}

interface TestFile {
  readonly name: string
  readonly status: string
  readonly startTime: number
  readonly endTime: number
  readonly assertionResults: ReadonlyArray<{ readonly status: string; readonly fullName: string }>
}

/** What is read of the report that vitest writes. */
export interface Report {
  readonly success: boolean
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly testResults: ReadonlyArray<TestFile>
}

const step = 10

/** A pause this long, in milliseconds, may fail a test that keeps time. */
export const longEnough = 100

/** Notes when this process does not get its turn, until it is stopped. */
export const watch = (): { readonly pauses: ReadonlyArray<Pause>; readonly stop: () => void } => {
  const pauses: Array<Pause> = []
  let last = Date.now()
  const timer = setInterval(() => {
    const now = Date.now()
    if (now - last >= step + longEnough) pauses.push({ from: last, to: now })
    last = now
  }, step)
  return { pauses, stop: () => clearInterval(timer) }
}

const inRealTime = /^(packages\/(redis|cluster|sql)\/|packages\/\w+\/chaos\/|scratchpad\/)/

/**
 * The files that are worth another run: those with failures, if tests of real servers are all that has failed, and the
 * machine stood still while each of them ran. Otherwise none.
 */
export const files = (root: string, report: Report, pauses: ReadonlyArray<Pause>): ReadonlyArray<string> => {
  const failed = report.testResults.filter(({ status }) => status === "failed")
  const excused = failed.filter(({ assertionResults, endTime, name, startTime }) =>
    inRealTime.test(relative(root, name).split(sep).join("/")) &&
    assertionResults.some(({ status }) => status === "failed") &&
    pauses.some(({ from, to }) => from < endTime && to > startTime)
  )
  return excused.length === failed.length ? excused.map(({ name }) => name) : []
}

const passed = ({ assertionResults }: TestFile): number =>
  assertionResults.filter(({ status }) => status === "passed").length

/** The report of a run, with the files that were run again as they were then. */
export const merged = <A extends Report>(report: A, again: Report): A => {
  const latest = report.testResults.map((file) => again.testResults.find(({ name }) => name === file.name) ?? file)
  return {
    ...report,
    success: latest.every(({ status }) => status === "passed"),
    numPassedTests: latest.reduce((sum, file) => sum + passed(file), 0),
    numFailedTests:
      latest.flatMap(({ assertionResults }) => assertionResults.filter(({ status }) => status === "failed"))
        .length,
    testResults: latest
  }
}
