/**
 * Reporter for vitest: writes what failed, and when, to `.artifacts/failures.json`, for `heldUp.ts`. Its own report does
 * not say when a test ran, nor what failed outside of every test.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Reporter, TestModule } from "vitest/node"
import type { Failure, Failures } from "./heldUp.ts"

const failuresOf = (module: TestModule): ReadonlyArray<Failure> => {
  const failed = [...module.children.allTests("failed")].map((test): Failure => {
    const { duration = 0, startTime } = test.diagnostic() ?? {}
    return { file: module.moduleId, name: test.fullName, from: startTime, to: startTime && startTime + duration }
  })
  // A file that could not be loaded, and one whose hooks have failed.
  return failed.length > 0 || module.ok()
    ? failed
    : [{ file: module.moduleId, name: "", from: undefined, to: undefined }]
}

export default class implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, errors: ReadonlyArray<unknown>): void {
    const failures: Failures = { outside: errors.length, inside: modules.flatMap(failuresOf) }
    mkdirSync(".artifacts", { recursive: true })
    writeFileSync(join(".artifacts", "failures.json"), JSON.stringify(failures))
  }
}
