import { readdirSync } from "node:fs"
import { defineConfig } from "vitest/config"

// Tests run from the sources: the paths of tsconfig.tests.json stand for the packages' `dist`.
const project = (name: string, root: string, include: ReadonlyArray<string>, groupOrder: number) => ({
  resolve: { tsconfigPaths: true },
  test: { name, root, include: [...include], testTimeout: 30_000, hookTimeout: 60_000, sequence: { groupOrder } }
})

const packages = readdirSync("packages")

export default defineConfig({
  test: {
    projects: [
      ...packages.map((name) => project(name, `packages/${name}`, ["test/**/*.test.ts"], 0)),
      // These build, install and start programs, so they wait until the packages are done.
      project("demo", "scratchpad", ["**/*.test.ts"], 1),
      project("workspace", ".", ["test/**/*.test.ts"], 2)
    ]
  }
})
