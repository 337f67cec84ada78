import { describe, it } from "@effect/vitest"
import * as RandomFaults from "./RandomFaults.ts"

describe("three nodes whose wires lose, delay and refuse frames at random", () => {
  it.effect(
    "serve nothing that ended or changed longer ago than the bound, and lose no update",
    // More of them in chaos/RandomFaults.test.ts.
    () => RandomFaults.runs(12),
    60_000
  )
})
