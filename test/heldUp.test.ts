import { assert, describe, it } from "@effect/vitest"
import * as HeldUp from "../scripts/heldUp.ts"

const file = (name: string, from: number, to: number, ...tests: ReadonlyArray<string>) => ({
  name: `/work/${name}`,
  status: tests.every((status) => status === "passed") && tests.length > 0 ? "passed" : "failed",
  startTime: from,
  endTime: to,
  assertionResults: tests.map((status, i) => ({ status, fullName: `test ${i}` }))
})

const report = (...testResults: ReadonlyArray<ReturnType<typeof file>>): HeldUp.Report =>
  HeldUp.merged({ success: false, numPassedTests: 0, numFailedTests: 0, testResults }, {
    success: false,
    numPassedTests: 0,
    numFailedTests: 0,
    testResults: []
  })

const pause = (from: number, to: number): HeldUp.Pause => ({ from, to })
const files = (report: HeldUp.Report, ...pauses: ReadonlyArray<HeldUp.Pause>) => HeldUp.files("/work", report, pauses)

const store = "packages/redis/test/RedisStore.test.ts"
const outage = "scratchpad/test/demo.outage.test.ts"
const memory = "packages/core/test/MemoryStore.test.ts"

describe("a test that failed while the machine stood still", () => {
  const late = file(store, 1000, 2000, "passed", "failed")

  it("is run again", () => {
    assert.deepStrictEqual(files(report(late), pause(1500, 1700)), [`/work/${store}`])
    assert.deepStrictEqual(files(report(late), pause(900, 1001)), [`/work/${store}`])
    const chaos = file("packages/core/chaos/Soak.test.ts", 1000, 2000, "failed")
    assert.lengthOf(files(report(late, chaos, file(outage, 1900, 9000, "failed")), pause(1950, 2050)), 3)
  })

  it("is not when it stood still at another time, or not at all", () => {
    assert.deepStrictEqual(files(report(late), pause(0, 1000), pause(2000, 9000)), [])
    assert.deepStrictEqual(files(report(late)), [])
    assert.deepStrictEqual(files(report(late, file(outage, 5000, 6000, "failed")), pause(1500, 1700)), [])
  })

  it("is not beside one that has no such excuse", () => {
    assert.deepStrictEqual(files(report(late, file(memory, 1000, 2000, "failed")), pause(1500, 1700)), [])
    assert.deepStrictEqual(files(report(late, file("test/pack.test.ts", 1000, 2000, "failed")), pause(1500, 1700)), [])
    // Could not be loaded.
    assert.deepStrictEqual(files(report(late, file(outage, 1000, 2000)), pause(1500, 1700)), [])
  })

  it("counts as what it was the second time", () => {
    const first = report(late, file(memory, 0, 9, "passed", "passed"))
    assert.deepStrictEqual([first.success, first.numPassedTests, first.numFailedTests], [false, 3, 1])
    const second = HeldUp.merged(first, report(file(store, 3000, 4000, "passed", "passed")))
    assert.deepStrictEqual([second.success, second.numPassedTests, second.numFailedTests], [true, 4, 0])
    const failed = HeldUp.merged(first, report(file(store, 3000, 4000, "failed", "failed")))
    assert.deepStrictEqual([failed.success, failed.numPassedTests, failed.numFailedTests], [false, 2, 2])
  })

  it("is told by a process that did nothing itself", async () => {
    const watch = HeldUp.watch()
    const began = Date.now()
    await new Promise((resolve) => setTimeout(resolve, 30))
    while (Date.now() - began < 200) { /* holds this process up */ }
    await new Promise((resolve) => setTimeout(resolve, 30))
    watch.stop()
    assert.isTrue(watch.pauses.some(({ from, to }) => from < began + 190 && to >= began + 200), "a pause")
  })
})
