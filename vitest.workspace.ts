import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const source = fileURLToPath(new URL("packages/$1/src", import.meta.url))

// Tests run from the sources, never from `dist`: each package has one copy of every module.
const alias = [
  { find: /^@effect-session\/(\w+)$/, replacement: `${source}/index.ts` },
  { find: /^@effect-session\/(\w+)\/testing$/, replacement: `${source}/testing/index.ts` },
  { find: /^@effect-session\/(\w+)\/(.+)$/, replacement: `${source}/$2.ts` }
]

const project = (name: string, root: string, include: ReadonlyArray<string>, groupOrder: number) => ({
  resolve: { alias },
  test: { name, root, include: [...include], testTimeout: 30_000, hookTimeout: 60_000, sequence: { groupOrder } }
})

const packages = readdirSync("packages")

export default defineConfig({
  test: {
    projects: [
      ...packages.map((name) => project(name, `packages/${name}`, ["test/**/*.test.ts"], 0)),
      // These build, install and start programs, so they wait until the packages are done.
      // Real servers are frozen, killed and cut off, one after the other: what they do is a matter of real time.
      {
        resolve: { alias },
        test: {
          name: "chaos",
          root: ".",
          include: ["packages/*/chaos/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 }
        }
      },
      project("demo", "scratchpad", ["**/*.test.ts"], 2),
      project("workspace", ".", ["test/**/*.test.ts"], 3)
    ]
  }
})
