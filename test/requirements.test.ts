import { assert, describe, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as SourceFiles from "./SourceFiles.ts"

const page = "docs/requirements.md"
const text = readFileSync(page, "utf8")

/** How many rules each list has. */
const lists = { S: 68, R: 52, F: 130 }

interface NamedTest {
  /** From the root of the workspace. */
  readonly file: string
  readonly title: string
}

interface Rule {
  readonly id: string
  readonly statement: string
  readonly tests: ReadonlyArray<NamedTest>
  /** What `Open` and `Waived` say. */
  readonly remarks: ReadonlyArray<readonly [kind: string, text: string]>
  /** What below the rule is none of these. */
  readonly other: ReadonlyArray<string>
}

/** The lines of a rule as paragraphs: the statement, and each point below it. */
const paragraphsOf = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const paragraphs: Array<string> = []
  for (const line of lines) {
    if (line.startsWith("  - ") || paragraphs.length === 0) paragraphs.push(line.replace(/^ *- /, "").trim())
    else paragraphs.push(`${paragraphs.pop()} ${line.trim()}`)
  }
  return paragraphs
}

const ruleOf = (lines: ReadonlyArray<string>): Rule => {
  const [head, ...points] = paragraphsOf(lines)
  const [, id = "", statement = ""] = /^\*\*([A-Z]-\d+)\*\*\s*(.*)$/.exec(head) ?? []
  const tests: Array<NamedTest> = []
  const remarks: Array<readonly [string, string]> = []
  const other: Array<string> = []
  for (const point of points) {
    const link = /^\[[^\]]+\]\(\.\.\/([^)]+)\):(.*)$/.exec(point)
    const remark = /^(Open|Waived):(.*)$/.exec(point)
    const titles = link === null ? [] : Array.from(link[2].matchAll(/`([^`]+)`/g), ([, title]) => title)
    if (link !== null && titles.length > 0) tests.push(...titles.map((title) => ({ file: link[1], title })))
    else if (remark !== null) remarks.push([remark[1], remark[2].trim()])
    else other.push(point)
  }
  return { id, statement, tests, remarks, other }
}

const rulesOf = (text: string): ReadonlyArray<Rule> => {
  const rules: Array<Rule> = []
  let lines: Array<string> = []
  const end = () => {
    if (lines.length > 0) rules.push(ruleOf(lines))
    lines = []
  }
  for (const line of text.split("\n")) {
    if (/^- \*\*[A-Z]-\d+\*\*/.test(line)) {
      end()
      lines = [line]
    } else if (line.startsWith("  ") && lines.length > 0) {
      lines.push(line)
    } else {
      end()
    }
  }
  end()
  return rules
}

const codes = new Map<string, string>()

/** The code of a file without its comments, or nothing. */
const codeOf = (file: string): string => {
  const known = codes.get(file)
  if (known !== undefined) return known
  const code = existsSync(file) ? SourceFiles.withoutComments(readFileSync(file, "utf8")) : ""
  codes.set(file, code)
  return code
}

/** Whether a file has a test, a group of tests or a law of exactly this title, and does not skip it. */
const has = ({ file, title }: NamedTest): boolean => {
  const literals = [JSON.stringify(title), `\`${title}\``].map((literal) =>
    literal.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
  )
  return new RegExp(`(?:(?<!\\.(?:skip|todo|fails))\\(|\\bname:)\\s*(?:${literals.join("|")})`).test(codeOf(file))
}

/** What is wrong with the page. */
const problemsOf = (text: string): ReadonlyArray<string> => {
  const rules = rulesOf(text)
  const ids = Object.entries(lists).flatMap(([list, length]) =>
    Array.from({ length }, (_, i) => `${list}-${String(i + 1).padStart(list === "F" ? 1 : 2, "0")}`)
  )
  const counted = ids.flatMap((id) => {
    const count = rules.filter((rule) => rule.id === id).length
    return count === 1 ? [] : [`${id} is there ${count} times`]
  })
  return [
    ...counted,
    ...rules.filter(({ id }) => !ids.includes(id)).map(({ id }) => `${id} is no rule`),
    ...rules.flatMap(({ id, other, remarks, statement, tests }) => [
      ...(statement === "" ? [`${id} says nothing`] : []),
      ...(tests.length === 0 && remarks.every(([kind]) => kind === "Open") ? [`${id} has no test and no waiver`] : []),
      ...remarks.filter(([, why]) => why === "").map(([kind]) => `${id}: "${kind}" says nothing`),
      ...tests.filter((test) => !has(test)).map(({ file, title }) =>
        `${id}: ${existsSync(file) ? `no test "${title}" in ${file}` : `no file ${file}`}`
      ),
      ...other.map((point) => `${id}: neither tests nor a remark: ${point}`)
    ])
  ]
}

describe("requirements", () => {
  it("are all there, each with a test that exists or a waiver with a reason", () =>
    assert.deepStrictEqual(problemsOf(text), []))

  it("do not pass with a wrong name, a missing rule or an empty waiver", () => {
    const first = rulesOf(text)[0].tests[0]
    const edits: ReadonlyArray<readonly [what: string, edit: (text: string) => string, problem: RegExp]> = [
      [
        "another title",
        (text) => text.replace(`\`${first.title}\``, "`another title`"),
        /^S-01: no test "another title"/
      ],
      ["a part of a title", (text) => text.replace(first.title, first.title.slice(1)), /^S-01: no test /],
      ["another file", (text) => text.replace(`../${first.file}`, "../test/none.test.ts"), /^S-01: no file test\/none/],
      ["a rule less", (text) => text.replace("- **R-01** ", "- "), /^R-01 is there 0 times$/],
      ["a rule twice", (text) => text.replace("- **R-02** ", "- **R-01** "), /^R-01 is there 2 times$/],
      ["a rule too many", (text) => `${text}\n- **S-69** More.\n`, /^S-69 is no rule$/],
      ["an empty waiver", (text) => text.replace(/- Waived: [^]*?\n(?=\s*-)/, "- Waived:\n"), /"Waived" says nothing$/],
      ["an empty remark", (text) => text.replace(/- Open: [^]*?\n(?=\s*-)/, "- Open:\n"), /"Open" says nothing$/],
      [
        "nothing below",
        (text) => text.replace(/(\*\*S-01\*\*.*)[^]*?(?=- \*\*S-02)/, "$1\n"),
        /^S-01 has no test and no waiver$/
      ],
      ["no statement", (text) => text.replace(/\*\*F-14\*\*.*/, "**F-14**"), /^F-14 says nothing$/]
    ]
    for (const [what, edit, problem] of edits) {
      const edited = edit(text)
      assert.notStrictEqual(edited, text, what)
      assert.isTrue(
        problemsOf(edited).some((found) => problem.test(found)),
        `${what}: ${problemsOf(edited).join("; ")}`
      )
    }
  })

  it("link to files that exist", () => {
    const links = Array.from(text.matchAll(/\]\((?!#|https?:)([^)]+)\)/g), ([, link]) => join("docs", link))
    assert.isNotEmpty(links)
    assert.deepStrictEqual(links.filter((link) => !existsSync(link)), [])
  })
})
