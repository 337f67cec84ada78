import { assert, it } from "@effect/vitest"

it("runs on the Node that npm ci brings, not on an older one of the machine", () => {
  const [major, minor] = process.versions.node.split(".").map(Number)
  assert.isTrue(major > 22 || (major === 22 && minor >= 19), `Node ${process.versions.node} runs the tests`)
})
