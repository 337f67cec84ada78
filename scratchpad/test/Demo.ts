import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** The demo as a program of its own, on the sources of the packages. */
export interface Demo {
  readonly child: ChildProcess
  readonly output: { stdout: string; stderr: string }
  /** The exit code, once it has ended and all its output is there. */
  readonly ended: Promise<number | null>
}

export const run = (...args: ReadonlyArray<string>): Demo => runWith([], ...args)

/** The same with modules that are loaded before it. */
export const runWith = (modules: ReadonlyArray<string>, ...args: ReadonlyArray<string>): Demo => {
  const child = spawn(
    process.execPath,
    [
      `--import=${new URL("../../test/preload/sources.ts", import.meta.url).href}`,
      ...modules.map((module) => `--import=${module}`),
      file("../demo/main.ts"),
      ...args
    ],
    { env: { ...process.env, NODE_OPTIONS: "", NODE_ENV: undefined, VITEST: undefined, NO_COLOR: "1" } }
  )
  const output = { stdout: "", stderr: "" }
  child.stdout.on("data", (chunk) => output.stdout += chunk)
  child.stderr.on("data", (chunk) => output.stderr += chunk)
  return { child, output, ended: once(child, "close").then(([code]) => code) }
}

/** Waits until the demo says where it is. */
export const address = async ({ child, ended, output }: Demo): Promise<string> => {
  const died = ended.then((code) => Promise.reject(new Error(`The demo ended with ${code}: ${output.stderr}`)))
  died.catch(() => {})
  const said = () => /http:\/\/localhost:\d+/.exec(output.stdout)?.[0]
  const next = (): Promise<string> => {
    const url = said()
    return url === undefined ? Promise.race([once(child.stdout!, "data"), died]).then(next) : Promise.resolve(url)
  }
  return next()
}

/** Ends the demo as Ctrl-C or an operator would, and returns its exit code. */
export const end = (demo: Demo, signal: "SIGINT" | "SIGTERM" = "SIGTERM"): Promise<number | null> => {
  demo.child.kill(signal)
  return demo.ended
}
