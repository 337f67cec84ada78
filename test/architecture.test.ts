import { assert, describe, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import * as SourceFiles from "./SourceFiles.ts"

type SourceFile = SourceFiles.SourceFile

const files = SourceFiles.all
const packages = [...new Set(files.map((file) => file.package))]

const isNodeEntryPoint = (file: SourceFile) => file.name.startsWith("Node") || file.name.endsWith("Node")
const isBarrel = (file: SourceFile) => file.name === "index"

/** The modules a barrel lists, as they stand in it. */
const modulesOf = (barrel: string): ReadonlyArray<string> =>
  existsSync(barrel)
    ? Array.from(
      readFileSync(barrel, "utf8").matchAll(/^export \* as \w+ from "\.\/(\w+)\.ts"$/gm),
      (match) => match[1]
    )
    : []

// The modules of a package that users can import: those of `src`, and in its folders those that a barrel lists.
const isPublic = (file: SourceFile) =>
  !isBarrel(file) &&
  (dirname(file.path).endsWith("/src") || modulesOf(join(dirname(file.path), "index.ts")).includes(file.name))

// Whoever imports a package does not load what parses the arguments of programs.
const isForPrograms = (file: SourceFile) => file.imports.some((specifier) => specifier.startsWith("effect/cli/"))

/** Fails with a list of `path: what is wrong`. */
const none = (problems: ReadonlyArray<string>) =>
  assert.strictEqual(problems.length, 0, `\n  ${problems.join("\n  ")}\n`)

const lineOf = (text: string, index: number) => text.slice(0, index).split("\n").length

/** Where the code of files, comments aside, matches a pattern. */
const matches = (files: ReadonlyArray<SourceFile>, pattern: RegExp) =>
  files.flatMap(({ code, path }) =>
    Array.from(code.matchAll(pattern), (match) => `${path}:${lineOf(code, match.index)}: ${match[0].trim()}`)
  )

/** Imports of files that a rule refuses. */
const imports = (files: ReadonlyArray<SourceFile>, refused: (specifier: string, file: SourceFile) => boolean) =>
  files.flatMap((file) =>
    file.imports.filter((specifier) => refused(specifier, file)).map((specifier) => `${file.path}: ${specifier}`)
  )

describe("platform", () => {
  it("core and http import node: modules only in entry points named after Node", () =>
    none(imports(
      files.filter((file) => ["core", "http"].includes(file.package) && !isNodeEntryPoint(file)),
      (specifier) => specifier.startsWith("node:") || specifier.startsWith("@effect/platform-")
    )))

  it("time, randomness, environment and console are services", () =>
    none(matches(
      files,
      /\b(?:Date\.now|new Date\(\)|Math\.random|randomUUID|getRandomValues|performance\.now|process\.env|console\.\w+|setTimeout|setInterval)\b/g
    )))
})

describe("security", () => {
  it("no code comes from data", () => none(matches(files, /\beval\(|\bnew Function\b|\bFunction\(|node:vm\b/g)))

  // The seals of `iron-session` are read as that package writes them.
  it("no weak algorithm is named", () =>
    none(matches(
      files.filter(({ name }) => name !== "IronSession"),
      /\b(?:md5|sha-?1|hmacSha1|rc4|des(?:-ede)?|aes-?\d*-(?:ecb|ctr))\b/gi
    )))

  it("secrets are compared in constant time only", () =>
    none(matches(
      files.filter((file) =>
        /^(?:sealer|signer|primitives\w*|portablePrimitives|ClientBinding|Crypto\w*)$/.test(file.name)
      ),
      /\b(?:mac|expected|received|signature|commitment|fingerprint|digest)\w*\s*[!=]==?\s*(?!undefined)\w/gi
    )))
})

describe("dependencies", () => {
  const allowed: Record<string, ReadonlyArray<string>> = {
    core: [],
    http: ["core"],
    redis: ["core"],
    cluster: ["core", "redis"],
    sql: ["core"]
  }

  it("run one way between packages", () =>
    none(imports(files, (specifier, file) => {
      const other = /^@effect-session\/([^/]+)/.exec(specifier)?.[1]
      return other !== undefined && !allowed[file.package].includes(other)
    })))

  it("are declared by the package that imports them", () => {
    const declared = new Map(packages.map((name) => {
      const manifest = JSON.parse(readFileSync(`packages/${name}/package.json`, "utf8"))
      return [name, Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })]
    }))
    none(imports(files, (specifier, file) => {
      const dependency = /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier
      return !/^(?:node:|\.)/.test(specifier) && !declared.get(file.package)?.includes(dependency)
    }))
  })

  it("on optional peers come from the testing kit only", () =>
    none(imports(
      files.filter((file) => !file.path.includes("/testing/")),
      (specifier) => specifier === "fast-check" || specifier.startsWith("effect/testing")
    )))

  it("do not reach into another package", () =>
    none(imports(files, (specifier, file) =>
      specifier.startsWith(".")
        ? !join(dirname(file.path), specifier).startsWith(`packages/${file.package}/src/`)
        : /^@effect-session\/.*\b(?:internal|src|dist)\b/.test(specifier))))

  it("name single modules of effect, not its barrels", () =>
    none(
      imports(files, (specifier) => /^effect(?:\/[a-z][\w-]*)?$/.test(specifier) || /^@effect\/[^/]+$/.test(specifier))
    ))

  it("name files of the package with their extension", () =>
    none(imports(files, (specifier) => specifier.startsWith(".") && !specifier.endsWith(".ts"))))
})

describe("files", () => {
  const lines = (file: SourceFile) => file.text.trimEnd().split("\n").length

  it("stay readable: about 400 lines", async ({ annotate }) => {
    const longer = (than: number) =>
      files.filter((file) => lines(file) > than).map((file) => `${file.path}: ${lines(file)} lines`)
    none(longer(450))
    for (const file of longer(400)) await annotate(file)
  })

  it("are named after a concept", () =>
    none(files.filter((file) => /utils?$|helpers?$|impl$|common$|misc$/i.test(file.name)).map((file) => file.path)))
})

describe("public API", () => {
  // What stands before an export must be its own documentation.
  const undocumented = (file: SourceFile) =>
    Array.from(file.text.matchAll(/^export (?!\*|\{|type \{)[^\n]*/gm)).filter((match) => {
      const before = file.text.slice(0, match.index).trimEnd()
      const doc = before.slice(before.lastIndexOf("/**"))
      return !(before.endsWith("*/") && /@since \d/.test(doc) && /@category \w/.test(doc))
    })

  it("documents every export, with a category and the version it came with", () =>
    none(
      files.filter(isPublic).flatMap((file) =>
        undocumented(file).map((match) => `${file.path}:${lineOf(file.text, match.index)}: ${match[0]}`)
      )
    ))

  it("explains every module in its head", () =>
    none(
      files.filter((file) => isPublic(file) && !/^\/\*\*[^]*?@since \d[^]*?\*\//.test(file.text))
        .map((file) => file.path)
    ))

  it.each(packages)("%s: the barrel lists every public module in order, and nothing else", (name) => {
    const path = `packages/${name}/src/index.ts`
    assert.isTrue(existsSync(path), `${path} is missing`)
    const modules = files.filter((file) => dirname(file.path) === `packages/${name}/src`)
    const expected = modules.filter((file) => !isBarrel(file) && !isNodeEntryPoint(file) && !isForPrograms(file))
      .map((file) => file.name)
    assert.deepStrictEqual(modulesOf(path), expected.toSorted())
  })

  it("lists the modules of other barrels in order", () => {
    for (const { path } of files.filter((file) => isBarrel(file) && !file.path.endsWith("/src/index.ts"))) {
      const names = modulesOf(path)
      assert.isNotEmpty(names, path)
      assert.deepStrictEqual(names, names.toSorted(), path)
    }
  })
})
