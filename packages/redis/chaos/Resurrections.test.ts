import type { SessionStore } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Redacted, Stream } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as RedisServer from "../test/RedisServer.ts"
import * as Lab from "./Lab.ts"
import type { Outcome, Task } from "./Rival.ts"

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))

const stop = (child: ChildProcess) =>
  Effect.promise(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill("SIGKILL")
    await once(child, "exit")
  })

/** The other process: it writes to the session of a task, at some time. */
const rivalOf = Effect.fnUntraced(function*(url: Redacted.Redacted<string>) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["--import", path("Sources.ts"), path("Rival.ts"), Redacted.value(url)], {
        stdio: ["pipe", "pipe", "inherit"]
      })
    ),
    stop
  )
  const ready = Deferred.makeUnsafe<void>()
  const waiting = new Map<number, Deferred.Deferred<Outcome>>()
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (line === "ready") return void Deferred.doneUnsafe(ready, Effect.void)
    const outcome: Outcome = JSON.parse(line)
    const deferred = waiting.get(outcome.id)
    if (deferred !== undefined) Deferred.doneUnsafe(deferred, Effect.succeed(outcome))
  })
  yield* Deferred.await(ready)
  return (task: Task): Effect.Effect<Outcome> =>
    Effect.suspend(() => {
      const deferred = Deferred.makeUnsafe<Outcome>()
      waiting.set(task.id, deferred)
      child.stdin.write(`${JSON.stringify(task)}\n`)
      return Deferred.await(deferred)
    })
})

const ways = ["logout", "logout by the old id", "revoke-all", "renewal", "expiry", "admin delete"] as const

describe("two processes", () => {
  it.live(
    "a writer, a toucher and a renewer on the one bring back nothing that was ended on the other",
    () =>
      Effect.gen(function*() {
        const rounds = Lab.rounds(200, 5000)
        const server = yield* RedisServer.make()
        const { query, store } = yield* Lab.openUrl(server.url)
        const rival = yield* rivalOf(server.url)
        const counts = new Map<string, number>(ways.map((way) => [way, 0]))
        let raced = 0
        let revived = 0
        // A save that was faster is no reason not to renew.
        const renew = (
          key: string,
          version: number,
          own: string,
          subject: string
        ): Effect.Effect<unknown, SessionStore.SessionStoreError> =>
          Effect.flatMap(
            store.renew(key, version, Lab.replacement(own, subject)),
            ({ _tag }) => _tag === "Conflict" ? renew(key, version + 1, own, subject) : Effect.void
          )
        const round = Effect.fnUntraced(function*(id: number) {
          const subject = `subject ${id}`
          const [key, next, later, own] = Array.from({ length: 4 }, () => Lab.newKey(subject))
          const way = ways[Math.floor(Math.random() * ways.length)]
          counts.set(way, (counts.get(way) ?? 0) + 1)
          const grace = way === "logout by the old id" ? 60_000 : 0
          yield* store.create({ ...Lab.newRecord(key, subject), ...way === "expiry" ? { lifetime: 30 } : {} })
          const enders = {
            "logout": store.destroy(key),
            "logout by the old id": store.destroy(key),
            "revoke-all": query.destroyBySubject(subject),
            "renewal": renew(key, 1, own, subject),
            "expiry": Effect.sleep(60),
            "admin delete": Stream.runDrain(query.destroyWhere((entry) => entry.record.subject === subject))
          } satisfies Record<(typeof ways)[number], Effect.Effect<unknown, unknown>>
          const task: Task = { id, key, next, version: 1, subject, grace }
          const [{ renewed }] = yield* Effect.all([
            rival(task),
            Effect.delay(enders[way], Math.random() * 6)
          ], { concurrency: "unbounded" })
          // All of it once more, after the end.
          yield* rival({ ...task, id: id + rounds, next: later })

          // What was renewed first lives where it moved to, unless its end went after it.
          const moved = renewed && (way === "logout" || way === "renewal" || way === "admin delete")
          const live: Array<string> = []
          for (const at of [key, next, later, own]) if ((yield* store.load(at))._tag === "Live") live.push(at)
          if (renewed) raced++
          const allowed = way === "renewal"
            ? [renewed ? next : own]
            : moved || (way === "revoke-all" && renewed)
            ? [next]
            : []
          if (live.some((at) => !allowed.includes(at))) revived++
          if (way === "renewal") assert.strictEqual(live.length, 1, "one of two renewals has won")
          yield* query.destroyBySubject(subject)
        })
        yield* Effect.forEach(Array.from({ length: rounds }), (_, id) => round(id), { concurrency: 20, discard: true })
        yield* Lab.report(
          `${rounds} interleavings of two processes (${[...counts].map(([way, n]) => `${way} ${n}`).join(", ")}): ` +
            `the renewer was first in ${raced}, ${revived} sessions revived`
        )
        assert.strictEqual(revived, 0)
        assert.isAbove(raced, rounds / 20)
        assert.isBelow(raced, rounds * 0.95)
      }),
    300_000
  )
})
