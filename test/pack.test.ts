import { assert, beforeAll, describe, it } from "@effect/vitest"
import {
  cpSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { publint } from "publint"
import { formatMessage } from "publint/utils"
import * as DocExamples from "./DocExamples.ts"
import * as Program from "./Program.ts"

const names = readdirSync(join(Program.root, "packages"))

// A copy of the packages, so that what is packed was built from nothing and by nobody else at the same time.
const copy = join(Program.root, ".artifacts/pack")
const tarballs = join(Program.root, ".artifacts/tarballs")

const manifestOf = (name: string) => JSON.parse(readFileSync(join(copy, "packages", name, "package.json"), "utf8"))
const tarballOf = (name: string) => join(tarballs, `effect-session-${name}-${manifestOf(name).version}.tgz`)
const contentOf = async (name: string) =>
  (await Program.command("tar", ["-tzf", tarballOf(name)])).trim().split("\n").map((path) =>
    path.slice("package/".length)
  )

beforeAll(async () => {
  for (const folder of [copy, tarballs]) {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
  }
  for (const file of ["tsconfig.base.json", "tsconfig.packages.json"]) {
    cpSync(join(Program.root, file), join(copy, file))
  }
  mkdirSync(join(copy, "node_modules/@effect-session"), { recursive: true })
  for (const name of names) {
    cpSync(join(Program.root, "packages", name), join(copy, "packages", name), {
      recursive: true,
      filter: (path) => !/\/(?:dist|node_modules)$/.test(path)
    })
    symlinkSync(join(copy, "packages", name), join(copy, "node_modules/@effect-session", name))
  }
  await Program.command("tsc", ["-b", "tsconfig.packages.json", "--pretty", "false"], { cwd: copy })
  for (const name of names) {
    await Program.command("npm", ["pack", "--silent", "--pack-destination", tarballs], {
      cwd: join(copy, "packages", name)
    })
  }
}, 120_000)

describe.each(names)("tarball of %s", (name) => {
  it("holds each module as source, code, declarations and maps, and nothing else", async () => {
    const modules = globSync("**/*.ts", { cwd: join(Program.root, "packages", name, "src") })
      .map((path) => path.slice(0, -".ts".length))
    const files = modules.flatMap((module) => [
      `src/${module}.ts`,
      ...["js", "js.map", "d.ts", "d.ts.map"].map((extension) => `dist/${module}.${extension}`)
    ])
    const expected = ["LICENSE", "README.md", "package.json", ...files]
    assert.deepStrictEqual((await contentOf(name)).toSorted(), expected.toSorted())
  })

  it("is an ES module package without side effects, whose users bring effect", () => {
    const { dependencies, engines, license, peerDependencies, sideEffects, type } = manifestOf(name)
    assert.deepStrictEqual(sideEffects, [])
    assert.strictEqual(type, "module")
    assert.strictEqual(license, "MIT")
    assert.strictEqual(engines.node, ">=22.19.0")
    assert.property(peerDependencies, "effect")
    assert.notProperty(dependencies ?? {}, "effect")
    for (const other of Object.keys(dependencies ?? {}).filter((other) => other.startsWith("@effect-session/"))) {
      assert.strictEqual(dependencies[other], manifestOf(other.slice("@effect-session/".length)).version)
    }
  })

  it("runs nothing when it is installed, and brings no package but ours", () => {
    const { dependencies, scripts } = manifestOf(name)
    for (const script of ["preinstall", "install", "postinstall", "prepare"]) assert.notProperty(scripts ?? {}, script)
    for (const dependency of Object.keys(dependencies ?? {})) assert.match(dependency, /^@effect-session\//)
  })

  it("has nothing that publint objects to", async () => {
    const tarball = readFileSync(tarballOf(name))
    const { messages, pkg } = await publint({
      pack: {
        tarball: tarball.buffer.slice(tarball.byteOffset, tarball.byteOffset + tarball.byteLength) as ArrayBuffer
      },
      strict: true
    })
    assert.deepStrictEqual(messages.map((message) => formatMessage(message, pkg, { color: false })), [])
  })
})

describe("an empty project that installs the tarballs", () => {
  let project = ""

  const locked = JSON.parse(readFileSync(join(Program.root, "package-lock.json"), "utf8")).packages
  const install = (...packages: ReadonlyArray<string>) => {
    const specifiers = packages.map((name) =>
      name.endsWith(".tgz") ? name : `${name}@${locked[`node_modules/${name}`].version}`
    )
    return Program.command("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", ...specifiers], {
      cwd: project
    })
  }

  beforeAll(async () => {
    project = mkdtempSync(join(tmpdir(), "project-"))
    writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }))
    await install(...names.map(tarballOf), "effect", "@effect/platform-node", "ioredis", "@types/node")
    return () => rmSync(project, { recursive: true, force: true })
  }, 180_000)

  const modulesOf = (pattern: string) =>
    names.flatMap((name) =>
      globSync(pattern, { cwd: join(copy, "packages", name, "src") })
        .map((file) => `@effect-session/${name}/${file.replace(/(?:\/?index)?\.ts$/, "")}`.replace(/\/$/, ""))
    )

  /** What an import of each module gives: its own name, or the code of the error. */
  const outcomes = async (modules: ReadonlyArray<string>) => {
    const file = join(project, "imports.ts")
    writeFileSync(
      file,
      `for (const name of ${JSON.stringify(modules)}) {
         console.log(await import(name).then(() => name, (error) => error.code ?? error))
       }`
    )
    const { code, stderr, stdout } = await Program.run(file, { cwd: project })
    assert.strictEqual(code, 0, stderr)
    return stdout.trim().split("\n")
  }

  it("imports every public module, without the optional peers", async () =>
    assert.deepStrictEqual(await outcomes(modulesOf("*.ts")), modulesOf("*.ts")))

  it("imports no internal module", async () => {
    const internal = [...modulesOf("internal/*.ts"), ...names.map((name) => `@effect-session/${name}/index`)]
    assert.deepStrictEqual(await outcomes(internal), internal.map(() => "ERR_PACKAGE_PATH_NOT_EXPORTED"))
  })

  it("imports the testing kits once the optional peers are there", async () => {
    const peers = names.flatMap((name) => Object.keys(manifestOf(name).peerDependenciesMeta ?? {}))
    assert.deepStrictEqual(readdirSync(join(project, "node_modules")).filter((name) => peers.includes(name)), [])
    // The kits need what the workspace has; a native peer such as sodium-native is for those who want it.
    await install(...new Set(peers.filter((name) => locked[`node_modules/${name}`] !== undefined)))
    const kits = modulesOf("testing/{index,model}.ts")
    assert.deepStrictEqual(await outcomes(kits), kits)
  })

  it("type-checks and serves the quick start of the README", { timeout: 60_000 }, async () => {
    const [quickStart] = DocExamples.examplesOf("README.md", readFileSync(join(Program.root, "README.md"), "utf8"))
    const file = join(project, "server.ts")
    writeFileSync(file, quickStart.code)
    writeFileSync(
      join(project, "tsconfig.json"),
      JSON.stringify({
        files: ["server.ts"],
        compilerOptions: { module: "NodeNext", target: "ES2023", strict: true, noEmit: true, types: ["node"] }
      })
    )
    assert.strictEqual(await Program.command("tsc", ["-p", project]), "")
    await Program.serve(file, { cwd: project }, async (port) => {
      const first = await fetch(`http://localhost:${port}`)
      assert.strictEqual(first.status, 200)
      assert.isNotNull(first.headers.get("set-cookie"))
    })
  })
})
