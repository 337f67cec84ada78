import { describe, it } from "@effect/vitest"
import * as RandomFaults from "../test/RandomFaults.ts"

describe("three nodes whose wires lose, delay and refuse frames at random", () => {
  it.effect(
    "hold the bound and lose no update, with many seeds",
    () => RandomFaults.runs(process.env.CHAOS === "long" ? 300 : 5),
    300_000
  )
})
