import { assert, describe, it } from "@effect/vitest"
import * as HeldUp from "../scripts/heldUp.ts"

const failure = (name: string, from?: number, to?: number): HeldUp.Failure => ({
  file: `/work/${name}`,
  name: `${name} fails`,
  from,
  to
})
const files = (inside: ReadonlyArray<HeldUp.Failure>, pauses: ReadonlyArray<HeldUp.Pause>, outside = 0) =>
  HeldUp.files("/work", { outside, inside }, pauses)

const store = "packages/redis/test/RedisStore.test.ts"
const outage = "scratchpad/test/demo.outage.test.ts"
const memory = "packages/core/test/MemoryStore.test.ts"

describe("a test that failed while the machine stood still", () => {
  const late = failure(store, 1000, 2000)
  const pauses = [{ from: 1500, to: 1700 }]

  it("is run again", () => {
    assert.deepStrictEqual(files([late, late], pauses), [`/work/${store}`])
    assert.deepStrictEqual(files([late], [{ from: 900, to: 1001 }]), [`/work/${store}`])
    const chaos = failure("packages/core/chaos/Soak.test.ts", 1000, 2000)
    assert.lengthOf(files([late, chaos, failure(outage, 1600, 9000)], pauses), 3)
  })

  it("is not when it stood still at another time, or not at all", () => {
    assert.deepStrictEqual(files([late], [{ from: 0, to: 1000 }, { from: 2000, to: 9000 }]), [])
    assert.deepStrictEqual(files([late], []), [])
    assert.deepStrictEqual(files([late, failure(outage, 5000, 6000)], pauses), [])
  })

  it("is not beside one that has no such excuse", () => {
    assert.deepStrictEqual(files([late, failure(memory, 1000, 2000)], pauses), [])
    assert.deepStrictEqual(files([late, failure("test/pack.test.ts", 1000, 2000)], pauses), [])
    // Could not be loaded.
    assert.deepStrictEqual(files([late, failure(outage)], pauses), [])
    // Outside of every test.
    assert.deepStrictEqual(files([late], pauses, 1), [])
  })

  it("counts as what it was the second time, and is named", () => {
    const file = (name: string, ...statuses: ReadonlyArray<string>) => ({
      name,
      status: statuses.every((status) => status === "passed") ? "passed" : "failed",
      assertionResults: statuses.map((status) => ({ status }))
    })
    const report = (...testResults: ReadonlyArray<ReturnType<typeof file>>): HeldUp.Report => ({
      success: false,
      numPassedTests: 0,
      numFailedTests: 0,
      testResults
    })
    const first = report(file(store, "passed", "failed"), file(memory, "passed", "passed"))
    const merged = (...statuses: ReadonlyArray<string>) => {
      const { numFailedTests, numPassedTests, success, triedAgain } = HeldUp.merged(
        first,
        report(file(store, ...statuses)),
        { outside: 0, inside: [late] }
      )
      return [success, numPassedTests, numFailedTests, triedAgain]
    }
    assert.deepStrictEqual(merged("passed", "passed"), [true, 4, 0, [late.name]])
    assert.deepStrictEqual(merged("failed", "failed"), [false, 2, 2, [late.name]])
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
