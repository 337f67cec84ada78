import { assert, describe, it } from "@effect/vitest"
import { SeenKeys } from "../src/internal/seenKeys.ts"
import { keyIn } from "./StoreFixture.ts"

describe("the memory of a scan", () => {
  it("knows each key once it has met it, and no other", () => {
    const seen = new SeenKeys()
    const keys = Array.from({ length: 20_000 }, (_, i) => keyIn("aa", `${i}`))
    for (const key of keys) assert.isTrue(seen.add(key))
    for (const key of keys) assert.isFalse(seen.add(key))
    for (const key of keys) assert.isTrue(seen.add(`${key}x`))
  })

  it("takes at most 40 bytes for a key", () => {
    const seen = new SeenKeys()
    const count = 300_000
    for (let i = 0; i < count; i++) seen.add(`key ${i}`)
    const tables: ReadonlyArray<unknown> = Object.values(seen).flat().flatMap((table) => Object.values(table))
    const bytes = tables.reduce<number>((sum, value) => sum + (value instanceof Uint32Array ? value.byteLength : 0), 0)
    assert.isAtMost(bytes / count, 40)
  })
})
