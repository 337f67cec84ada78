import { RedisError } from "@effect-session/redis"
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

const guide = readFileSync(new URL("../../../docs/redis.md", import.meta.url), "utf8")

type Row = readonly [tag: string, flags: ReadonlyArray<string>]

describe("the guide", () => {
  it("classifies every error as the table of errors does", () => {
    const rows = Array.from(
      guide.matchAll(/^\| ((?:`\w+`(?:, )?)+) +\| +(yes|no) +\| +(yes|no) +\| +(yes|no) +\|$/gm),
      ([, names, ...flags]) => [...names.matchAll(/`(\w+)`/g)].map(([, name]): Row => [name, flags])
    ).flat()
    const word = (flag: boolean) => flag ? "yes" : "no"
    const table = Object.values(RedisError.table).map((
      { _tag, infrastructure, outcomeUnknown, transient }
    ): Row => [_tag, [word(transient), word(infrastructure), word(outcomeUnknown)]])
    const byName = (a: Row, b: Row) => a[0] < b[0] ? -1 : 1
    assert.deepStrictEqual(rows.toSorted(byName), table.toSorted(byName))
  })
})
