import { globSync, readFileSync } from "node:fs"

/** A source file of a package. */
export interface SourceFile {
  /** From the root of the workspace: `packages/core/src/internal/commit.ts`. */
  readonly path: string
  readonly package: string
  /** File name without its folders and `.ts`. */
  readonly name: string
  readonly text: string
  /** The text without its comments; every other character stands where it stood. */
  readonly code: string
  /** What the file imports and re-exports from. */
  readonly imports: ReadonlyArray<string>
}

// Strings, templates and regular expressions are matched so that a `//` inside of them is not taken for a comment.
const tokens =
  /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|(?<=[=(,:!&|?{};\n]\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+\/|\/\*[^]*?\*\/|\/\/[^\n]*/g

/** Blanks out the comments of TypeScript source. */
export const withoutComments = (text: string): string =>
  text.replace(tokens, (token) => /^\/[*/]/.test(token) ? token.replace(/[^\n]/g, " ") : token)

/** What a source imports, re-exports or imports dynamically. */
export const importsOf = (code: string): ReadonlyArray<string> =>
  Array.from(code.matchAll(/(?:\bfrom|\bimport\s*\(?|^import)\s*"([^"\n]+)"/gm), (match) => match[1])

/** Every source file of every package. */
export const all: ReadonlyArray<SourceFile> = globSync("packages/*/src/**/*.ts").toSorted().map((path) => {
  const text = readFileSync(path, "utf8")
  const code = withoutComments(text)
  return {
    path,
    package: path.split("/")[1],
    name: path.slice(path.lastIndexOf("/") + 1, -".ts".length),
    text,
    code,
    imports: importsOf(code)
  }
})
