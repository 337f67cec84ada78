import { readdirSync } from "node:fs"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const source = fileURLToPath(new URL("packages/$1/src", import.meta.url))

// Tests run from the sources, never from `dist`: each package has one copy of every module.
const alias = [
  { find: /^@effect-session\/(\w+)$/, replacement: `${source}/index.ts` },
  { find: /^@effect-session\/(\w+)\/testing$/, replacement: `${source}/testing/index.ts` },
  { find: /^@effect-session\/(\w+)\/(.+)$/, replacement: `${source}/$2.ts` }
]

const project = (
  name: string,
  root: string,
  include: ReadonlyArray<string>,
  groupOrder: number,
  maxWorkers?: number,
  exclude: ReadonlyArray<string> = []
) => ({
  resolve: { alias },
  test: {
    name,
    root,
    include: [...include],
    exclude: ["**/node_modules/**", ...exclude],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    ...(maxWorkers === undefined ? {} : { maxWorkers }),
    sequence: { groupOrder }
  }
})

const inPackage = (name: string, groupOrder: number, maxWorkers?: number) =>
  project(name, `packages/${name}`, ["test/**/*.test.ts"], groupOrder, maxWorkers)

// Measures how long answers take.
const outage = "test/demo.outage.test.ts"

// Most of what these do is computing: they take the whole processor. Others start servers and watch their timing.
const computing = ["core", "http"]
const others = readdirSync("packages").filter((name) => !computing.includes(name))

export default defineConfig({
  test: {
    projects: [
      ...computing.map((name) => inPackage(name, 0, availableParallelism())),
      ...others.map((name) => inPackage(name, 1)),
      // Real servers are frozen, killed and cut off, one after the other: what they do is a matter of real time.
      {
        resolve: { alias },
        test: {
          name: "chaos",
          root: ".",
          include: ["{packages/*,scratchpad}/chaos/**/*.test.ts", `scratchpad/${outage}`],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 2 }
        }
      },
      // These wait for browsers and processes most of the time.
      project("demo", "scratchpad", ["**/*.test.ts"], 3, availableParallelism(), ["chaos/**", outage]),
      // These build, install and start programs.
      project("workspace", ".", ["test/**/*.test.ts"], 4, availableParallelism())
    ]
  }
})
