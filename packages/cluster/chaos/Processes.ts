/** Nodes as processes of their own, and what can be done to them. */
import { Effect, Redacted, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import type { Command } from "./Node.ts"

export interface Answer {
  readonly error?: string
  readonly live?: number
  readonly trust?: string
  readonly over?: ReadonlyArray<string>
  readonly left?: number
  readonly last?: Readonly<Record<string, number>>
  readonly acknowledged?: Readonly<Record<string, number>>
}

export interface Process {
  readonly ask: (command: Command) => Effect.Effect<Answer>
  /** Sends what nobody may be left to answer. */
  readonly tell: (command: Command) => Effect.Effect<void>
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<void>
}

type Url = Redacted.Redacted<string>

/** On one machine every process reads the same monotonic clock. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6

export const secret = "Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1?"

export const start: (store: Url, channel: Url, listen: Url) => Effect.Effect<Process, never, Scope.Scope> = Effect
  .fnUntraced(function*(store, channel, listen) {
    const file = (name: string) => new URL(name, import.meta.url)
    const waiting: Array<(answer: Answer) => void> = []
    const child: ChildProcess = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(
          process.execPath,
          [
            "--import",
            file("../../redis/chaos/Sources.ts").href,
            file("Node.ts").pathname,
            ...[store, channel, listen].map(Redacted.value),
            secret
          ],
          { stdio: ["pipe", "pipe", "inherit"] }
        )
      ),
      (child) =>
        Effect.callback<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
          child.once("exit", () => resume(Effect.void))
          child.kill("SIGKILL")
        })
    )
    const next = Effect.callback<Answer>((resume) => void waiting.push((answer) => resume(Effect.succeed(answer))))
    // One that was killed takes in nothing more, and answers nothing.
    child.once("exit", () => {
      for (const answer of waiting.splice(0)) answer({ error: "the process has ended" })
    })
    child.stdin?.on("error", () => {})
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on("line", (line) => waiting.shift()?.(JSON.parse(line)))
    }
    const { error } = yield* next
    if (error !== undefined) return yield* Effect.die(new Error(error))
    const write = (command: Command) => void child.stdin?.write(`${JSON.stringify(command)}\n`)
    return {
      ask: (command) =>
        Effect.suspend(() => {
          write(command)
          return next
        }),
      tell: (command) => Effect.sync(() => write(command)),
      signal: (name) => Effect.sync(() => void child.kill(name))
    }
  })
