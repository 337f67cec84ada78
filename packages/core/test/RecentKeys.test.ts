import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { RecentKeys } from "../src/internal/recentKeys.ts"
import { length } from "../src/SessionToken.ts"

// What finds the place of a token are characters near its end.
const tokenOf = (name: string, end = "end") => name.padEnd(length - end.length, "x") + end

const known = (keys: RecentKeys, token: string) => {
  const key = keys.get(token)
  return key === undefined ? undefined : Effect.runSync(key)
}

describe("keys of recent tokens", () => {
  it("are remembered for two tokens of one place, the last ones", () => {
    const keys = new RecentKeys()
    const [one, two, three] = ["one", "two", "three"].map((name) => tokenOf(name))
    assert.isUndefined(known(keys, one))
    assert.strictEqual(keys.set(one, "1"), "1")
    keys.set(two, "2")
    assert.deepStrictEqual([one, two, three].map((token) => known(keys, token)), ["1", "2", undefined])
    keys.set(three, "3")
    assert.deepStrictEqual([one, two, three].map((token) => known(keys, token)), [undefined, "2", "3"])
  })

  it("are those of the whole token", () => {
    const keys = new RecentKeys()
    const token = tokenOf("one")
    keys.set(token, "1")
    for (let i = 0; i < length; i++) {
      assert.isUndefined(known(keys, `${token.slice(0, i)}_${token.slice(i + 1)}`))
    }
    for (const other of ["", token.slice(1), `${token}x`, `é${token.slice(2)}`]) assert.isUndefined(known(keys, other))
  })

  it("stay within their places, whatever comes", () => {
    const keys = new RecentKeys()
    for (let i = 0; i < 20_000; i++) keys.set(tokenOf(String(i), i.toString(36).padStart(4, "-")), String(i))
    let held = 0
    for (let i = 0; i < 20_000; i++) {
      const key = known(keys, tokenOf(String(i), i.toString(36).padStart(4, "-")))
      if (key === undefined) continue
      assert.strictEqual(key, String(i))
      held++
    }
    assert.isAbove(held, 100)
    assert.isAtMost(held, 4096)
  })
})
