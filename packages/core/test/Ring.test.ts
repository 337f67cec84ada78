import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "fast-check"
import { Ring } from "../src/internal/ring.ts"

describe("a ring of recent texts", () => {
  it("remembers the last ones, and no other", () => {
    const ring = new Ring<number>(3, 100)
    for (let i = 0; i < 5; i++) ring.set(`text ${i}.`, i)
    assert.deepStrictEqual([0, 1, 2, 3, 4].map((i) => ring.get(`text ${i}.`)), [undefined, undefined, 2, 3, 4])
    for (const text of ["", ".", "text 4", "text 4..", "Text 4."]) assert.isUndefined(ring.get(text))
  })

  it("does what a list of the last ones does, however the texts end", () => {
    const end = FastCheck.constantFrom("aa", "ab", "ba", "A", "\u{10FFFF}", "")
    const text = FastCheck.tuple(FastCheck.integer({ min: 0, max: 9 }), end).map(([n, end]) => `${n}${end}`)
    FastCheck.assert(
      FastCheck.property(
        FastCheck.integer({ min: 0, max: 8 }),
        FastCheck.array(text, { maxLength: 60 }),
        (capacity, texts) => {
          const ring = new Ring<number>(capacity, 4)
          const kept: Array<readonly [string, number]> = []
          for (const [i, text] of texts.entries()) {
            ring.set(text, i)
            if (text.length <= 4) kept.push([text, i])
            if (kept.length > capacity) kept.shift()
            for (const known of texts) {
              assert.strictEqual(ring.get(known), kept.findLast(([text]) => text === known)?.[1])
            }
          }
        }
      ),
      { numRuns: 300 }
    )
  })

  it("remembers none that is too long, and none at all without places", () => {
    const ring = new Ring<string>(2, 4)
    ring.set("12345", "long")
    assert.isUndefined(ring.get("12345"))
    ring.set("1234", "short")
    assert.strictEqual(ring.get("1234"), "short")
    const none = new Ring<string>(0, 4)
    none.set("1", "one")
    assert.isUndefined(none.get("1"))
  })
})
