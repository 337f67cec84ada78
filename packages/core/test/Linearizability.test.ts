import { assert, describe, it } from "@effect/vitest"
import * as Linearizability from "../src/testing/Linearizability.ts"

// A register that starts at 0.
type Call = { readonly write: number } | { readonly read: number }

const register: Linearizability.Specification<number, Call> = {
  step: (state, call) => "write" in call ? call.write : call.read === state ? state : undefined,
  fingerprint: String
}

const event = (invoked: number, returned: number, call: Call): Linearizability.Event<Call> => ({
  invoked,
  returned,
  call
})

describe("Linearizability", () => {
  it("orders overlapping calls so that the model explains them", () => {
    const order = Linearizability.linearize(0, [
      event(0, 9, { write: 1 }),
      event(1, 3, { read: 1 }),
      event(4, 8, { write: 2 }),
      event(5, 6, { read: 1 }),
      event(10, 11, { read: 2 })
    ], register)
    assert.deepStrictEqual(order, [{ write: 1 }, { read: 1 }, { read: 1 }, { write: 2 }, { read: 2 }])
  })

  it("keeps the order of calls that do not overlap", () => {
    const stale = [event(0, 1, { write: 1 }), event(2, 3, { read: 0 })]
    assert.isUndefined(Linearizability.linearize(0, stale, register))
    const overlapping = [event(0, 3, { write: 1 }), event(1, 2, { read: 0 })]
    assert.isDefined(Linearizability.linearize(0, overlapping, register))
  })

  it("refuses a value that goes back", () => {
    const history = [event(0, 9, { write: 1 }), event(1, 2, { read: 1 }), event(3, 4, { read: 0 })]
    assert.isUndefined(Linearizability.linearize(0, history, register))
  })

  it("asks whether the last state is right", () => {
    const history = [event(0, 9, { write: 1 }), event(1, 8, { write: 2 })]
    for (const last of [1, 2]) {
      const order = Linearizability.linearize(0, history, { ...register, isFinal: (state) => state === last })
      assert.deepStrictEqual(order?.at(-1), { write: last })
    }
    assert.isUndefined(Linearizability.linearize(0, history, { ...register, isFinal: (state) => state === 3 }))
  })

  it("keeps only the order of calls that it is told to keep", () => {
    // A read of something kept follows the calls of its own reader, and those of others with a delay.
    interface Read extends Linearizability.Event<Call> {
      readonly by: string
    }
    const by = (reader: string, event: Linearizability.Event<Call>): Read => ({ ...event, by: reader })
    const stale: Linearizability.Specification<number, Call, Read> = {
      ...register,
      precedes: (earlier, later) => earlier.returned + (earlier.by === later.by ? 0 : 10) < later.invoked
    }
    const write = by("a", event(0, 1, { write: 1 }))
    assert.isDefined(Linearizability.linearize(0, [write, by("b", event(5, 6, { read: 0 }))], stale))
    assert.isUndefined(Linearizability.linearize(0, [write, by("b", event(12, 13, { read: 0 }))], stale))
    assert.isUndefined(Linearizability.linearize(0, [write, by("a", event(5, 6, { read: 0 }))], stale))
    // What a reader has seen it goes on seeing.
    const first = by("b", event(5, 6, { read: 1 }))
    assert.isUndefined(Linearizability.linearize(0, [write, first, by("b", event(7, 8, { read: 0 }))], stale))
    assert.isDefined(Linearizability.linearize(0, [write, first, by("c", event(7, 8, { read: 0 }))], stale))
  })

  it("explains an empty history and refuses one that is too long to search", () => {
    assert.deepStrictEqual(Linearizability.linearize(0, [], register), [])
    const long = Array.from({ length: 31 }, (_, i) => event(i, i, { read: 0 }))
    assert.throws(() => Linearizability.linearize(0, long, register), RangeError)
  })

  it("remembers configurations, so that a history without an explanation ends soon", () => {
    const history = [
      ...Array.from({ length: 12 }, () => event(0, 100, { read: 0 })),
      event(101, 102, { read: 1 })
    ]
    let steps = 0
    const counted: Linearizability.Specification<number, Call> = {
      ...register,
      step: (state, call) => {
        steps++
        return register.step(state, call)
      }
    }
    assert.isUndefined(Linearizability.linearize(0, history, counted))
    assert.isBelow(steps, 13 * 2 ** 12 + 1)
  })
})
