import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as PostgresServer from "../packages/sql/test/PostgresServer.ts"
import * as DocExamples from "./DocExamples.ts"
import * as Program from "./Program.ts"

const documents = ["README.md", "docs/**/*.md", "packages/*/README.md", "packages/*/src/**/*.ts"]
const folder = join(Program.root, ".artifacts/docs")

const examples = globSync(documents, { cwd: Program.root, exclude: ["**/node_modules/**"] }).toSorted()
  .flatMap((path) => DocExamples.examplesOf(path, readFileSync(join(Program.root, path), "utf8")))
const fileOf = (example: DocExamples.Example) => join(folder, `${example.name}.ts`)
const ofKind = (kind: DocExamples.Example["kind"]) => examples.filter((example) => example.kind === kind)

rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
for (const example of examples) writeFileSync(fileOf(example), example.code)
writeFileSync(
  join(folder, "tsconfig.json"),
  JSON.stringify({
    extends: "../../tsconfig.tests.json",
    include: ["*.ts"],
    // An example may define what it does not use.
    compilerOptions: { noUnusedLocals: false, noUnusedParameters: false }
  })
)

/** The lines a program printed, without those that Effect's logger wrote. */
const linesOf = (output: string) =>
  output.split("\n").map((line) => line.trim()).filter((line) =>
    line !== "" && !/^\[\d\d:\d\d:\d\d\.\d{3}\] /.test(line)
  )

let directory = ""
let redis: ChildProcess | undefined
const postgres = Scope.makeUnsafe()
let postgresPort = ""
const environment = () => ({
  DATABASE_URL: "postgres://test@localhost:5432/postgres",
  POSTGRES_PORT: postgresPort,
  REDIS_SOCKET: join(directory, "redis.sock"),
  REDIS_URL: "redis://localhost:6379",
  SESSION_SECRET: "Rb7-Wx2_Ke9.Tn4+Yq6/Lz3=Gm8~Sc5^Hd1?"
})

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "docs-"))
  const { port } = await Effect.runPromise(Scope.provide(PostgresServer.make(), postgres))
  postgresPort = String(port)
  redis = spawn("redis-server", ["--port", "0", "--unixsocket", "redis.sock", "--save", ""], { cwd: directory })
  while (redis.stdout !== null && !/ready to accept/i.test(String(await once(redis.stdout, "data"))));
})

afterAll(async () => {
  await Effect.runPromise(Scope.close(postgres, Exit.void))
  if (redis !== undefined) {
    redis.kill()
    await once(redis, "exit")
  }
  rmSync(directory, { recursive: true, force: true })
})

describe("examples", () => {
  it("are there", () => assert.isNotEmpty(examples))

  it("compile under strict options", { timeout: 60_000 }, async () => {
    const errors = await Program.command("tsc", ["-p", folder, "--pretty", "false"]).catch((error) => error.message)
    assert.strictEqual(errors, "")
  })

  it.concurrent.each(ofKind("program"))("$at prints what it says", async (example) => {
    const { code, stderr, stdout } = await Program.run(fileOf(example), {
      env: environment(),
      preload: ["freePort", "sources"]
    })
    assert.strictEqual(code, 0, stderr + stdout)
    assert.deepStrictEqual(linesOf(stdout), example.prints)
  })

  it.each(ofKind("server"))("$at serves", { timeout: 60_000 }, async (example) => {
    await Program.serve(fileOf(example), { env: environment(), preload: ["sources"] }, async (port) => {
      if (example.requests.length === 0) {
        const { status } = await fetch(`http://localhost:${port}`)
        assert.isBelow(status, 500)
      }
      for (const { command, prints } of example.requests) {
        // The settings in CURL_HOME make curl silent and let it fail when the server does.
        writeFileSync(join(directory, ".curlrc"), "silent\nshow-error\nmax-time = 10\n")
        const output = await Program.command("sh", ["-c", command.replace(/localhost:\d+/g, `localhost:${port}`)], {
          cwd: directory,
          env: { CURL_HOME: directory }
        })
        assert.strictEqual(output.trim(), prints, command)
      }
    })
  })
})

for (const example of ofKind("test")) {
  describe(example.at, () => import(fileOf(example)))
}
