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

/** A test that has failed. Of one that never ran, nobody knows when. */
export interface Failure {
  readonly file: string
  readonly name: string
  readonly from: number | undefined
  readonly to: number | undefined
}

/** What failed in a run, as `failures.ts` writes it. */
export interface Failures {
  /** Errors that belong to no test. */
  readonly outside: number
  readonly inside: ReadonlyArray<Failure>
}

interface TestFile {
  readonly name: string
  readonly status: string
  readonly assertionResults: ReadonlyArray<{ readonly status: string }>
}

/** What is read of the report that vitest writes. */
export interface Report {
  readonly success: boolean
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly testResults: ReadonlyArray<TestFile>
  /** Names of what passed when it was run again. */
  readonly triedAgain?: ReadonlyArray<string>
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
 * machine stood still while each of these tests ran. Otherwise none.
 */
export const files = (
  root: string,
  { inside, outside }: Failures,
  pauses: ReadonlyArray<Pause>
): ReadonlyArray<string> => {
  const isExcused = ({ file, from, to }: Failure) =>
    from !== undefined && to !== undefined && inRealTime.test(relative(root, file).split(sep).join("/")) &&
    pauses.some((pause) => pause.from < to && pause.to > from)
  return outside === 0 && inside.every(isExcused) ? [...new Set(inside.map(({ file }) => file))] : []
}

const passed = ({ assertionResults }: TestFile): number =>
  assertionResults.filter(({ status }) => status === "passed").length

/** The report of a run, with the files that were run again as they were then. */
export const merged = <A extends Report>(report: A, again: Report, { inside }: Failures): A => {
  const latest = report.testResults.map((file) => again.testResults.find(({ name }) => name === file.name) ?? file)
  return {
    ...report,
    success: latest.every(({ status }) => status === "passed"),
    numPassedTests: latest.reduce((sum, file) => sum + passed(file), 0),
    numFailedTests:
      latest.flatMap(({ assertionResults }) => assertionResults.filter(({ status }) => status === "failed"))
        .length,
    testResults: latest,
    triedAgain: inside.map(({ name }) => name)
  }
}
