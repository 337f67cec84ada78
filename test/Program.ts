import { type ChildProcess, execFile, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

/** How to start a program. */
export interface Options {
  readonly cwd?: string | undefined
  readonly env?: Record<string, string | undefined> | undefined
  /** Modules of `test/preload` to load first. */
  readonly preload?: ReadonlyArray<"freePort" | "sources" | "webOnly"> | undefined
}

/** What a program wrote, and how it ended. */
export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const start = (file: string, { cwd, env, preload = [] }: Options) => {
  const child = fork(file, [], {
    cwd,
    env: { ...process.env, NODE_OPTIONS: "", NODE_ENV: undefined, VITEST: undefined, NO_COLOR: "1", ...env },
    execArgv: preload.map((name) => `--import=${new URL(`preload/${name}.ts`, import.meta.url).href}`),
    silent: true
  })
  const output = { stdout: "", stderr: "" }
  child.stdout?.on("data", (chunk) => output.stdout += chunk)
  child.stderr?.on("data", (chunk) => output.stderr += chunk)
  return { child, ended: once(child, "close"), output }
}

const withDeadline = <A>(promise: Promise<A>, child: ChildProcess, late: () => string): Promise<A> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL")
      reject(new Error(late()))
    }, 20_000)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })

/** Runs a Node program to its end. */
export const run = async (file: string, options: Options): Promise<Outcome> => {
  const { child, ended, output } = start(file, options)
  const [code] = await withDeadline(ended, child, () => `${file} does not end.\n${output.stdout}${output.stderr}`)
  return { code, ...output }
}

// A server that listens may not have its request handler yet, and never answers what comes in before that.
const answers = async (port: number): Promise<void> => {
  const answered = await fetch(`http://localhost:${port}/is-anybody-there`, { signal: AbortSignal.timeout(500) })
    .then(() => true, () => false)
  return answered ? undefined : answers(port)
}

/** Runs a Node program that serves, calls `use` with its port, and ends it as an operator would. */
export const serve = async (
  file: string,
  options: Options,
  use: (port: number) => Promise<void>
): Promise<Outcome> => {
  const { child, ended, output } = start(file, { ...options, preload: ["freePort", ...(options.preload ?? [])] })
  const written = () => `\n${output.stdout}${output.stderr}`
  try {
    const serving = once(child, "message").then(([{ port }]) => answers(port).then(() => port))
    const died = ended.then(([code]) => Promise.reject(new Error(`${file} ended with ${code}.${written()}`)))
    died.catch(() => {})
    const port = await withDeadline(
      Promise.race([serving, died]),
      child,
      () => `${file} does not serve.${written()}`
    )
    await use(port)
  } finally {
    child.kill("SIGTERM")
  }
  const [code] = await withDeadline(ended, child, () => `${file} does not end on SIGTERM.${written()}`)
  return { code, ...output }
}

/** Runs a command to its end and returns what it wrote to both outputs; fails when the command does. */
export const command = (name: string, args: ReadonlyArray<string>, options: Options = {}): Promise<string> =>
  new Promise((resolve, reject) =>
    execFile(
      name,
      args,
      { ...options, env: { ...process.env, ...options.env } },
      (error, stdout, stderr) =>
        error === null ? resolve(stdout + stderr) : reject(new Error(`${error.message}\n${stdout}${stderr}`))
    )
  )

/** The root of the workspace. */
export const root: string = fileURLToPath(new URL("..", import.meta.url))
