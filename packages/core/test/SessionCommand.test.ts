import { MemoryStore, SessionQuery, SessionStore } from "@effect-session/core"
import * as SessionCommand from "@effect-session/core/SessionCommand"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Queue, Stream, Terminal } from "effect"
import { Command } from "effect/cli"
import { TestClock, TestConsole } from "effect/testing"

const run = Command.runWith(SessionCommand.command, { version: "1.0.0", renderErrors: false })

const day = 24 * 60 * 60 * 1000

const add = (key: string, subject?: string, lifetime = 300 * day) =>
  Effect.flatMap(
    SessionStore.SessionStore,
    (store) => store.create({ key, idleTimeout: lifetime, lifetime, subject, format: 1, payload: "{}" })
  )

const keys = Effect.gen(function*() {
  const { scan } = yield* SessionQuery.SessionQuery
  return (yield* Stream.runCollect(scan)).map(({ key }) => key).toSorted()
})

/** The last line that a command has printed. */
const printed = (...args: ReadonlyArray<string>) =>
  Effect.andThen(run(args), Effect.map(TestConsole.logLines, (lines) => String(lines.at(-1))))

/** Somebody who presses a key, and what was shown before. */
const operator = Effect.fnUntraced(function*(name: string) {
  const shown: Array<string> = []
  const keys = yield* Queue.unbounded<Terminal.UserInput>()
  yield* Queue.offer(keys, { input: Option.some(name), key: { name, ctrl: false, meta: false, shift: false } })
  const terminal = Terminal.make({
    columns: Effect.succeed(80),
    rows: Effect.succeed(24),
    size: Queue.unbounded<Terminal.Size>(),
    readInput: Effect.succeed(keys),
    readLine: Effect.succeed(""),
    display: (text) => Effect.sync(() => void shown.push(text))
  })
  return { shown, terminal: Layer.succeed(Terminal.Terminal, terminal) }
})

const services = Layer.mergeAll(MemoryStore.layerStore({ sweepInterval: "1000 days" }), NodeServices.layer)

/** Three sessions of ada, one of bob, two of nobody, of different age and use. */
const site = Effect.gen(function*() {
  const store = yield* SessionStore.SessionStore
  yield* TestClock.adjust(400 * day)
  yield* add("ada-old", "ada")
  yield* add("nobody-old")
  yield* add("over", "ada", day)
  yield* TestClock.adjust(40 * day)
  yield* add("ada-new", "ada")
  yield* add("ada-phone", "ada")
  yield* add("bob", "bob")
  yield* add("nobody")
  yield* store.touch("nobody-old")
})

describe("the command for operators", () => {
  it.effect("counts what is live", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* printed("count"), "0 sessions")
      yield* add("a")
      assert.strictEqual(yield* printed("count"), "1 session")
      yield* add("b")
      assert.strictEqual(yield* printed("count"), "2 sessions")
    }).pipe(Effect.provide(services)))

  it.effect("removes what is past its deadline, and nothing else", () =>
    Effect.gen(function*() {
      yield* site
      assert.strictEqual(yield* printed("purge"), "1 session past the deadline removed")
      assert.strictEqual(yield* printed("purge"), "0 sessions past the deadline removed")
      assert.strictEqual((yield* keys).length, 6)
    }).pipe(Effect.provide(services)))

  it.effect("ends what all given conditions choose", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [ReadonlyArray<string>, ReadonlyArray<string>]> = [
        [["--subject", "ada"], ["ada-new", "ada-old", "ada-phone"]],
        [["--subject", "carol"], []],
        [["--anonymous"], ["nobody", "nobody-old"]],
        [["--idle-for", "30 days"], ["ada-old"]],
        [["--idle-for", "41 days"], []],
        [["--older-than", "40 days"], ["ada-old", "nobody-old"]],
        [["--older-than", "40 days", "--subject", "ada"], ["ada-old"]],
        [["--older-than", "40 days", "--anonymous"], ["nobody-old"]],
        [["--subject", "ada", "--anonymous"], []],
        [["--all"], ["ada-new", "ada-old", "ada-phone", "bob", "nobody", "nobody-old"]]
      ]
      for (const [flags, chosen] of cases) {
        const number = chosen.length === 1 ? "1 session" : `${chosen.length} sessions`
        yield* Effect.gen(function*() {
          yield* site
          const before = yield* keys
          assert.strictEqual(yield* printed("end", ...flags, "--dry-run"), `${number} would end`)
          assert.deepStrictEqual(yield* keys, before)
          assert.strictEqual(yield* printed("end", ...flags, "--yes"), `${number} ended`)
          assert.deepStrictEqual(yield* keys, before.filter((key) => !chosen.includes(key)), flags.join(" "))
        }).pipe(Effect.provide(Layer.fresh(services)))
      }
    }))

  it.effect("asks before it ends any, and takes no for an answer", () =>
    Effect.gen(function*() {
      yield* site
      const no = yield* operator("n")
      assert.strictEqual(yield* Effect.provide(printed("end", "--subject", "ada"), no.terminal), "Nothing was ended")
      assert.include(no.shown.join(""), "End 3 sessions?")
      assert.strictEqual((yield* keys).length, 6)
      const yes = yield* operator("y")
      assert.strictEqual(yield* Effect.provide(printed("end", "--subject", "ada"), yes.terminal), "3 sessions ended")
      assert.strictEqual((yield* keys).length, 3)
      const nobody = yield* operator("x")
      const none = yield* Effect.provide(printed("end", "--subject", "ada"), nobody.terminal)
      assert.strictEqual(none, "No session is meant")
      assert.deepStrictEqual(nobody.shown, [])
    }).pipe(Effect.provide(services)))

  it.effect("ends nothing unless it is told which, or when that makes no sense", () =>
    Effect.gen(function*() {
      yield* site
      for (const flags of [[], ["--all", "--subject", "ada"], ["--all", "--anonymous"]]) {
        const error = yield* Effect.flip(run(["end", "--yes", ...flags]))
        assert.strictEqual(error._tag, "SelectionError", flags.join(" "))
      }
      for (
        const flags of [
          ["--idle-for", "soon"],
          ["--idle-for"],
          ["--older-than", ""],
          ["--nobody"],
          ["--idle-for=-1 day"],
          [
            "--older-than=-Infinity"
          ],
          ["--older-than=Infinity"],
          ["--idle-for", "0 millis"]
        ]
      ) {
        const error = yield* Effect.flip(run(["end", "--yes", ...flags]))
        assert.strictEqual(error._tag, "ShowHelp", flags.join(" "))
      }
      assert.strictEqual((yield* keys).length, 6)
    }).pipe(Effect.provide(services)))

  it.effect("ends the sessions of a user in one step, not those that a scan happens to meet", () =>
    Effect.gen(function*() {
      yield* site
      const query = yield* SessionQuery.SessionQuery
      const atOnce = SessionQuery.SessionQuery.of({ ...query, scan: Stream.empty, destroyWhere: () => Stream.empty })
      const ended = yield* Effect.provideService(
        printed("end", "--subject", "ada", "--yes"),
        SessionQuery.SessionQuery,
        atOnce
      )
      assert.strictEqual(ended, "3 sessions ended")
    }).pipe(Effect.provide(services)))

  it.effect("fails with the error of a store that does not answer", () =>
    Effect.gen(function*() {
      const error = new SessionStore.SessionStoreError({
        reason: new SessionStore.StoreUnavailable({ description: "gone" })
      })
      const query = yield* SessionQuery.SessionQuery
      const gone = SessionQuery.SessionQuery.of({
        ...query,
        count: Effect.fail(error),
        scan: Stream.fail(error),
        purgeExpired: Stream.fail(error),
        destroyWhere: () => Stream.fail(error)
      })
      for (const args of [["count"], ["purge"], ["end", "--all", "--yes"], ["end", "--all", "--dry-run"]]) {
        const failure = yield* Effect.flip(Effect.provideService(run(args), SessionQuery.SessionQuery, gone))
        assert.strictEqual(failure, error)
      }
    }).pipe(Effect.provide(services)))
})
