// A process of its own that writes to sessions late: each line says which, and each line it prints says what came of it.
import type { SessionStore } from "@effect-session/core"
import { Effect, Redacted } from "effect"
import { createInterface } from "node:readline"
import * as Lab from "./Lab.ts"

export interface Task {
  readonly id: number
  readonly key: string
  readonly next: string
  readonly version: number
  readonly subject: string
  readonly grace: number
}

export interface Outcome {
  readonly id: number
  readonly renewed: boolean
}

const work = Effect.fnUntraced(function*(store: SessionStore.SessionStore["Service"], task: Task) {
  const { grace, id, key, next, subject, version } = task
  const soon = <A, E>(effect: Effect.Effect<A, E>) => Effect.delay(effect, Math.random() * 5)
  const [renewed] = yield* Effect.all([
    soon(store.renew(key, version, Lab.replacement(next, subject), { grace })),
    soon(store.save(key, version, Lab.change("late"))),
    soon(store.touch(key)),
    soon(store.load(key, { touchAfter: 0 }))
  ], { concurrency: "unbounded" })
  return { id, renewed: renewed._tag === "Renewed" } satisfies Outcome
})

if (process.argv[1] === import.meta.filename) {
  await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const { store } = yield* Lab.openUrl(Redacted.make(process.argv[2]))
    const run = Effect.runForkWith(yield* Effect.context<never>())
    process.stdout.write("ready\n")
    yield* Effect.promise(async () => {
      for await (const line of createInterface({ input: process.stdin })) {
        const task: Task = JSON.parse(line)
        run(Effect.map(work(store, task), (outcome) => process.stdout.write(`${JSON.stringify(outcome)}\n`)))
      }
    })
  })))
  process.exit(0)
}
