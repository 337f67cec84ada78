/**
 * Commands for an operator: how many sessions there are, remove what is over,
 * end those that are chosen.
 *
 * An application puts them into a program of its own, beside the layer of its
 * store. Works with every store that can enumerate its sessions. Nothing that is
 * printed names a session, and what ends sessions asks before it does.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Prompt from "effect/cli/Prompt"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type Progress, type SessionEntry, SessionQuery } from "./SessionQuery.ts"

/**
 * Which sessions are meant. All conditions that are given have to hold; without
 * any, all sessions are.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Selection {
  /** Who is signed in. */
  readonly subject: string | undefined
  /** Nobody is signed in. */
  readonly anonymous: boolean
  /** No activity for so long, in milliseconds. */
  readonly idleFor: number | undefined
  /** Began so long ago, in milliseconds. */
  readonly olderThan: number | undefined
}

/**
 * Tells whether a session is meant at `now`, in UTC milliseconds.
 *
 * @stability unstable
 * @category predicates
 * @since 0.1.0
 */
export const isSelected = (
  { anonymous, idleFor, olderThan, subject }: Selection,
  { record }: SessionEntry,
  now: number
): boolean =>
  (subject === undefined || record.subject === subject) &&
  (!anonymous || record.subject === undefined) &&
  (idleFor === undefined || now - record.lastSeenAt >= idleFor) &&
  (olderThan === undefined || now - record.createdAt >= olderThan)

/**
 * Error of a command that was told nothing, or things that do not go together.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class SelectionError extends Data.TaggedError("SelectionError")<{
  readonly message: string
}> {}

const sessions = (count: number): string => count === 1 ? "1 session" : `${count} sessions`

const total = <E, R>(progress: Stream.Stream<Progress, E, R>): Effect.Effect<number, E, R> =>
  Stream.runFold(progress, () => 0, (_, { removed }) => removed)

const counting = Command.make("count", {}, () =>
  Effect.gen(function*() {
    const query = yield* SessionQuery
    yield* Console.log(sessions(yield* query.count))
  })).pipe(Command.withDescription("Print how many sessions are live"))

const purging = Command.make("purge", {}, () =>
  Effect.gen(function*() {
    const query = yield* SessionQuery
    yield* Console.log(`${sessions(yield* total(query.purgeExpired))} past the deadline removed`)
  })).pipe(Command.withDescription("Remove what is past its deadline; stores also do that by themselves"))

const duration = (name: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withDescription(description),
    Flag.withMetavar("duration"),
    Flag.withSchema(Schema.DurationFromString),
    Flag.filter(
      (duration) => Duration.isFinite(duration) && Duration.isPositive(duration),
      () => `--${name} must be above zero, and finite`
    ),
    Flag.optional
  )

const millis = (flag: Option.Option<Duration.Duration>): number | undefined =>
  Option.isSome(flag) ? Duration.toMillis(flag.value) : undefined

const ending = Command.make("end", {
  subject: Flag.String("subject").pipe(Flag.withDescription("Those of a user"), Flag.optional),
  anonymous: Flag.Boolean("anonymous").pipe(
    Flag.withDescription("Those nobody is signed in to"),
    Flag.withDefault(false)
  ),
  idleFor: duration("idle-for", "Those without activity for so long, \"30 days\" for instance"),
  olderThan: duration("older-than", "Those that began so long ago"),
  all: Flag.Boolean("all").pipe(Flag.withDescription("All sessions"), Flag.withDefault(false)),
  dryRun: Flag.Boolean("dry-run").pipe(
    Flag.withDescription("Only print how many they are"),
    Flag.withDefault(false)
  ),
  yes: Flag.Boolean("yes").pipe(
    Flag.withAlias("y"),
    Flag.withDescription("Do not ask"),
    Flag.withDefault(false)
  )
}, (flags) =>
  Effect.gen(function*() {
    const query = yield* SessionQuery
    const selection: Selection = {
      subject: Option.getOrUndefined(flags.subject),
      anonymous: flags.anonymous,
      idleFor: millis(flags.idleFor),
      olderThan: millis(flags.olderThan)
    }
    const { anonymous, idleFor, olderThan, subject } = selection
    const narrows = anonymous || idleFor !== undefined || olderThan !== undefined
    if (flags.all === (narrows || subject !== undefined)) {
      return yield* new SelectionError({
        message: "Say which sessions to end: --all, or some of --subject, --anonymous, --idle-for, --older-than"
      })
    }
    const now = yield* Clock.currentTimeMillis
    const selected = (entry: SessionEntry) => isSelected(selection, entry, now)
    // All sessions of a user end in one step, those that are renewed at that moment too.
    const [found, ended] = subject !== undefined && !narrows
      ? [
        Effect.map(query.bySubject(subject), ({ length }) => length),
        Effect.map(query.destroyBySubject(subject), ({ length }) => length)
      ]
      : [query.scan.pipe(Stream.filter(selected), Stream.runCount), total(query.destroyWhere(selected))]
    if (flags.dryRun) return yield* Console.log(`${sessions(yield* found)} would end`)
    if (!flags.yes) {
      const count = yield* found
      if (count === 0) return yield* Console.log("No session is meant")
      if (!(yield* Prompt.run(Prompt.Confirm({ message: `End ${sessions(count)}?`, initial: false })))) {
        return yield* Console.log("Nothing was ended")
      }
    }
    yield* Console.log(`${sessions(yield* ended)} ended`)
  })).pipe(
    Command.withDescription("End sessions"),
    Command.withExamples([
      { command: "sessions end --subject ada", description: "Sign a user out everywhere" },
      {
        command: "sessions end --idle-for \"30 days\" --dry-run",
        description: "Count what has not been used for a month"
      },
      { command: "sessions end --all --yes", description: "Sign everybody out, in a script" }
    ])
  )

/**
 * The command `sessions` with what is below it: `count`, `purge` and `end`.
 *
 * **Details**
 *
 * `end` wants to be told which sessions: `--subject`, `--anonymous`, `--idle-for`
 * and `--older-than`, of which all that are given have to hold, or `--all`. It
 * says how many they are and asks; `--yes` does not ask, `--dry-run` ends none.
 * Durations are texts like `30 days`. A session that changes meanwhile is looked
 * at again.
 *
 * Fails with a `SelectionError` when it is not told which sessions, and with
 * `SessionStoreError` when the store fails; a command that was cut off can be
 * given again.
 *
 * **Example** (A program for the operator)
 *
 * ```ts
 * import { MemoryStore } from "@effect-session/core"
 * import * as SessionCommand from "@effect-session/core/SessionCommand"
 * import * as NodeServices from "@effect/platform-node/NodeServices"
 * import { Effect, Layer } from "effect"
 * import { Command } from "effect/cli"
 *
 * // The layer of the application's store stands where the memory store's does.
 * const services = Layer.merge(MemoryStore.layerStore(), NodeServices.layer)
 * const run = Command.runWith(SessionCommand.command, { version: "1.0.0" })
 *
 * // Command.run takes the arguments of the process.
 * await Effect.runPromise(Effect.provide(run(["count"]), services)) // => 0 sessions
 * await Effect.runPromise(Effect.provide(run(["end", "--idle-for", "30 days", "--dry-run"]), services)) // => 0 sessions would end
 * ```
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const command = Command.make("sessions").pipe(
  Command.withDescription("Look at the sessions of the application, and end them"),
  Command.withSubcommands([counting, purging, ending])
)
