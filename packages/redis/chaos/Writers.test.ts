import { SessionManager } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as RedisServer from "../test/RedisServer.ts"
import * as Lab from "./Lab.ts"
import * as Writer from "./Writer.ts"

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** A process that is ready to write, by its standard input and the lines it prints. */
const process = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(globalThis.process.execPath, ["--import", path("Sources.ts"), path("Writer.ts"), ...args], {
        stdio: ["pipe", "pipe", "inherit"]
      })
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      const line = Effect.promise(async () => String((await lines.next()).value))
      return { child, line }
    }),
    ({ child }) => ended(child)
  )

const ended = (child: ChildProcess) =>
  Effect.promise(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill("SIGKILL")
    await once(child, "exit")
  })

describe("many writers", () => {
  it.live("200 at once in 4 processes lose no update", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const services = yield* Layer.build(Writer.layer(server.url, Lab.secret))
      const manager = yield* Effect.provideContext(SessionManager.make(Writer.Counter), services)
      const { token } = yield* manager.run(undefined, Writer.increment)
      assert(token !== undefined)
      const args = [Redacted.value(server.url), Redacted.value(Lab.secret), token, "50"]
      const workers = yield* Effect.all(Array.from({ length: 4 }, () => process(...args)))
      for (const { line } of workers) assert.strictEqual(yield* line, "ready")
      const start = performance.now()
      for (const { child } of workers) child.stdin.write("go\n")
      const results = (yield* Effect.all(workers.map(({ line }) => line), { concurrency: 4 })).map((line) =>
        JSON.parse(line) as { readonly done: number; readonly failures: ReadonlyArray<string> }
      )
      const { value } = yield* manager.run(token, Writer.Counter.get)
      yield* Lab.report(
        `200 writers in 4 processes: ${value.n - 1} updates in ${Math.round(performance.now() - start)} ms`
      )
      assert.deepStrictEqual(results, Array.from({ length: 4 }, () => ({ done: 50, failures: [] })))
      assert.strictEqual(value.n, 201)
    }), 120_000)
})

describe("sign-ins at once", () => {
  it.live("10 of one subject leave 10 in the index, and one revocation leaves none", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const nodes = yield* Effect.all([Lab.openUrl(server.url), Lab.openUrl(server.url)])
      for (let round = 0; round < Lab.rounds(20, 500); round++) {
        const subject = `subject-${round}`
        const keys = Array.from({ length: 10 }, () => Lab.newKey(subject))
        yield* Effect.forEach(keys, (key, index) => nodes[index % 2].store.create(Lab.newRecord(key, subject)), {
          concurrency: "unbounded"
        })
        const listed = (yield* nodes[0].query.bySubject(subject)).map(({ key }) => key)
        assert.deepStrictEqual(listed.toSorted(), keys.toSorted())
        assert.strictEqual((yield* nodes[1].query.destroyBySubject(subject)).length, 10)
        assert.deepStrictEqual(yield* nodes[0].query.bySubject(subject), [])
        for (const key of keys) assert.strictEqual((yield* nodes[0].store.load(key))._tag, "Absent")
      }
    }), 120_000)

  it.live(
    "a revocation among sign-ins and renewals ends all that came before it, and the index tells the truth",
    () =>
      Effect.gen(function*() {
        const server = yield* RedisServer.make()
        const nodes = yield* Effect.all([Lab.openUrl(server.url), Lab.openUrl(server.url)])
        for (let round = 0; round < Lab.rounds(20, 500); round++) {
          const subject = `subject-${round}`
          const before = Array.from({ length: 5 }, () => Lab.newKey(subject))
          const renewedTo = before.map(() => Lab.newKey(subject))
          const after = Array.from({ length: 5 }, () => Lab.newKey(subject))
          yield* Effect.forEach(before, (key) => nodes[0].store.create(Lab.newRecord(key, subject)))
          const shaken = <A, E>(effect: Effect.Effect<A, E>) => Effect.delay(effect, Math.random() * 3)
          const [revoked] = yield* Effect.all([
            shaken(nodes[1].query.destroyBySubject(subject)),
            Effect.forEach(
              before,
              (key, index) => shaken(nodes[index % 2].store.renew(key, 1, Lab.replacement(renewedTo[index], subject))),
              { concurrency: "unbounded" }
            ),
            Effect.forEach(after, (key) => shaken(nodes[0].store.create(Lab.newRecord(key, subject))), {
              concurrency: "unbounded"
            })
          ], { concurrency: "unbounded" })
          const listed = (yield* nodes[0].query.bySubject(subject)).map(({ key }) => key)
          for (const key of [...before, ...renewedTo]) {
            assert.isFalse(Lab.isLive(yield* nodes[0].store.load(key)), "none of those before lives on, renewed or not")
          }
          const live: Array<string> = []
          for (const key of after) if (Lab.isLive(yield* nodes[0].store.load(key))) live.push(key)
          assert.deepStrictEqual(listed.toSorted(), live.toSorted())
          assert.strictEqual(revoked.length + live.length, 10)
        }
      }),
    120_000
  )

  it.live("50 renewals of one session at once have one winner", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const nodes = yield* Effect.all([Lab.openUrl(server.url), Lab.openUrl(server.url)])
      for (let round = 0; round < Lab.rounds(10, 200); round++) {
        const key = Lab.newKey("one")
        yield* nodes[0].store.create(Lab.newRecord(key, "one"))
        const rivals = Array.from({ length: 50 }, () => Lab.newKey("one"))
        const exits = yield* Effect.forEach(
          rivals,
          (rival, index) =>
            Effect.exit(nodes[index % 2].store.renew(key, 1, Lab.replacement(rival, "one"), { grace: 5000 })),
          { concurrency: "unbounded" }
        )
        const winners = rivals.filter((_, index) => {
          const exit = exits[index]
          return Exit.isSuccess(exit) && exit.value._tag === "Renewed"
        })
        assert.strictEqual(winners.length, 1)
        for (const rival of rivals) {
          assert.strictEqual(Lab.isLive(yield* nodes[1].store.load(rival)), rival === winners[0])
        }
        yield* nodes[0].store.destroy(key)
      }
    }), 120_000)
})
