/** A block of code in the documentation. */
export interface Example {
  /** `README.md:43`, the line of its fence. */
  readonly at: string
  /** Name of its file in `.artifacts/docs`. */
  readonly name: string
  /** Its code, on the same lines as in the documentation. */
  readonly code: string
  readonly kind: "program" | "server" | "test"
  /** The lines that it prints, from its `// =>` comments. */
  readonly prints: ReadonlyArray<string>
  /** The shell commands that follow a server, and what each prints. */
  readonly requests: ReadonlyArray<{ readonly command: string; readonly prints: string }>
}

interface Block {
  readonly line: number
  readonly language: string
  readonly tags: ReadonlyArray<string>
  readonly lines: ReadonlyArray<string>
}

const blocksOf = (text: string): ReadonlyArray<Block> => {
  const lines = text.split("\n")
  const blocks: Array<Block> = []
  for (let i = 0; i < lines.length; i++) {
    // The margin is that of a list or of a JSDoc comment.
    const fence = /^(\s*(?:\* ?)?\s*)```(\w+)(.*)$/.exec(lines[i])
    if (fence === null) continue
    const [, margin, language, tags] = fence
    const end = lines.findIndex((line, j) => j > i && line.trimEnd() === `${margin}\`\`\``)
    if (end === -1) throw new Error(`The block of line ${i + 1} has no end`)
    const body = lines.slice(i + 1, end).map((line) => line.slice(margin.length))
    blocks.push({ line: i + 1, language, tags: tags.trim().split(/\s+/).filter(Boolean), lines: body })
    i = end
  }
  return blocks
}

const requestsOf = (block: Block) =>
  block.lines.filter((line) => line.trim() !== "").map((line) => {
    const [command, prints = ""] = line.split(" # ")
    return { command: command.trim(), prints: prints.trim() }
  })

/**
 * Finds the examples of a Markdown or TypeScript file.
 *
 * `ts` stands for a program, `ts server` for one that serves, and `ts continued` for one that goes on where the block
 * before it ended. There is no way to write code that is not run.
 */
export const examplesOf = (path: string, text: string): ReadonlyArray<Example> => {
  const examples: Array<Example> = []
  const blocks = blocksOf(text)
  let before: ReadonlyArray<string> = []
  for (const [i, { language, line, lines, tags }] of blocks.entries()) {
    const at = `${path}:${line}`
    if (/^(?:[cm]?[jt]sx?|javascript|typescript)$/.test(language) && language !== "ts") {
      throw new Error(`${at}: write it as \`ts\`, so that it is run`)
    }
    if (language !== "ts") continue
    const unknown = tags.filter((tag) => tag !== "server" && tag !== "continued")
    if (unknown.length > 0) throw new Error(`${at}: unknown tag ${unknown.join(", ")}`)
    if (!tags.includes("continued")) before = []
    // Filled up with empty lines, so that the line numbers of errors are those of the documentation.
    before = [...before, ...Array.from({ length: line - before.length }, () => ""), ...lines]
    const code = before.join("\n")
    const isTest = /from "(?:@effect\/)?vitest"/.test(code)
    const next = blocks[i + 1]
    examples.push({
      at,
      name: `${path.replace(/^packages\//, "").replace(/\.\w+$/, "").replaceAll("/", "-")}-${line}`,
      code: `${code}\n`,
      kind: tags.includes("server") ? "server" : isTest ? "test" : "program",
      prints: before.flatMap((text) => /\/\/ => (.*)$/.exec(text)?.[1].trim() ?? []),
      requests: tags.includes("server") && next?.lines.every((line) => line.startsWith("curl ")) ? requestsOf(next) : []
    })
  }
  return examples
}
