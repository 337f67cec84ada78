import { assert, describe, it } from "@effect/vitest"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Program from "./Program.ts"

const folder = join(Program.root, ".artifacts/portable")

const run = (name: string, code: string) => {
  mkdirSync(folder, { recursive: true })
  const file = join(folder, name)
  writeFileSync(file, code)
  return Program.run(file, { preload: ["sources", "webOnly"] })
}

describe("a platform with nothing of Node", () => {
  it("has none of Node's globals and modules, in these tests", async () => {
    const { code, stdout } = await run(
      "nothing.mjs",
      "const refused = await import(\"node:fs\").then(() => false, () => true)\n" +
        "console.log(typeof process, typeof Buffer, typeof setImmediate, refused)\n"
    )
    assert.deepStrictEqual([code, stdout], [0, "undefined undefined undefined true\n"])
  })

  it.each(["core", "core/testing", "http", "http/testing"])("loads %s", async (name) => {
    const { code, stderr } = await run(`${name.replace("/", "-")}.mjs`, `import "@effect-session/${name}"\n`)
    assert.strictEqual(code, 0, stderr)
  })

  it("keeps sessions in memory and in cookies: sign-in, writes, a streamed body, sign-out", async () => {
    const { code, stderr, stdout } = await Program.run(join(Program.root, "scripts/runtimes/inProcess.mjs"), {
      preload: ["sources", "webOnly"]
    })
    assert.strictEqual(code, 0, stderr)
    assert.strictEqual(stdout, "memory\ncookie\n")
  })
})
