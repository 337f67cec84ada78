import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Deadlines from "../src/internal/deadlines.ts"

const setup = Effect.gen(function*() {
  const deadlines = yield* Deadlines.make(yield* Clock.Clock)
  const rang: Array<string> = []
  const ring = (name: string) => () => void rang.push(name)
  const add = (from: number, then: () => void) => deadlines.add(new Deadlines.Alarm(deadlines.now() + from, then))
  return { deadlines, rang, ring, add }
})

describe("deadlines", () => {
  it.effect("pass in the order of their moments, whatever the order in which they were added", () =>
    Effect.gen(function*() {
      const { add, rang, ring } = yield* setup
      for (const at of [30, 10, 20]) add(at, ring(`${at}`))
      yield* TestClock.adjust(20)
      assert.deepStrictEqual(rang, ["10", "20"])
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(rang, ["10", "20", "30"])
    }))

  it.effect("that have passed when they are added pass at once, and those after them in time", () =>
    Effect.gen(function*() {
      const { add, rang, ring } = yield* setup
      for (const round of ["1", "2"]) {
        add(-1, ring(`past ${round}`))
        add(50, ring(`later ${round}`))
        yield* TestClock.adjust(50)
      }
      assert.deepStrictEqual(rang, ["past 1", "later 1", "past 2", "later 2"])
    }))

  it.effect("that are added while others pass are watched by one fiber, which ends with the scope", () =>
    Effect.gen(function*() {
      const { add, deadlines, rang, ring } = yield* setup
      add(-1, () => {
        add(-1, ring("at once"))
        add(50, ring("later"))
      })
      assert.deepStrictEqual(rang, ["at once"])
      yield* TestClock.adjust(49)
      yield* deadlines.stop()
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(rang, ["at once"])
    }))

  it.effect("pass although one before them has thrown", () =>
    Effect.gen(function*() {
      const { add, rang, ring } = yield* setup
      add(10, () => {
        throw new Error("thrown by an alarm")
      })
      yield* TestClock.adjust(10)
      add(10, ring("next"))
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(rang, ["next"])
    }))
})
