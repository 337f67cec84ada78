/**
 * The conformance kit of lists of revocations: the promises of `Revocations` as
 * laws that any test runner can run against any list.
 *
 * **Example** (Every law on the list in memory)
 *
 * ```ts
 * import { Revocations } from "@effect-session/core"
 * import { RevocationsConformance } from "@effect-session/core/testing"
 * import { it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * const laws = RevocationsConformance.laws({
 *   elapse: TestClock.adjust,
 *   // What is in memory has one process.
 *   open: (name, settings) => Effect.map(Revocations.makeMemory(settings), Effect.succeed)
 * })
 * for (const law of laws) it.effect(law.name, () => law.run)
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Revocable, Revocations } from "../Revocations.ts"
import type { SessionStoreError } from "../SessionStore.ts"
import type { ConformanceError, Timing } from "./Law.ts"
import * as Trial from "./Trial.ts"

/**
 * What a law asks of the list it looks at. A list that adds an allowed skew of
 * clocks to what it remembers is opened without.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Settings {
  /** How long the epoch of a subject is remembered, in milliseconds. */
  readonly subjectLifetime?: number | undefined
  /** Whether sessions that are older than the list are accepted. */
  readonly acceptEarlier?: boolean | undefined
}

/**
 * How a list under test is run.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options<out E = never, out R = never> extends Timing {
  /**
   * Makes room for a list that nobody has used yet. What it returns opens the list
   * in one process more each time. No two laws give the same name.
   */
  readonly open: (
    name: string,
    settings: Settings
  ) => Effect.Effect<Effect.Effect<Revocations["Service"], E, R>, E, R>
}

/**
 * One promise of a list of revocations, ready to run. Laws may run at once, unless
 * they share a `TestClock`.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Law<out E = never, out R = never> {
  /** Says the behaviour, fit for the name of a test. */
  readonly name: string
  readonly run: Effect.Effect<void, ConformanceError | SessionStoreError | E, R>
}

type Service = Revocations["Service"]

interface Lists<out E, out R> {
  /** The list in two processes, and in one more. */
  readonly a: Service
  readonly b: Service
  readonly another: Effect.Effect<Service, E, R>
}

interface Bench<out E, out R> extends Trial.Expectations, Trial.Time {
  readonly open: (settings?: Settings) => Effect.Effect<Lists<E, R>, E, R>
  readonly live: (list: Service, ...sessions: ReadonlyArray<Revocable>) => Check
  readonly over: (list: Service, ...sessions: ReadonlyArray<Revocable>) => Check
}

type Check = Effect.Effect<void, ConformanceError | SessionStoreError>

interface Definition {
  readonly name: string
  readonly check: <E, R>(t: Bench<E, R>) => Effect.Effect<void, ConformanceError | SessionStoreError | E, R>
}

// Keys are told apart by each of their characters.
const key = Trial.keyOf("key")
const lastCharacter = `${key.slice(0, -1)}${key.endsWith("A") ? "B" : "A"}`
const otherCase = Array.from(key, (c) => c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase()).join("")

const session = (key: string, at: number, subject?: string): Revocable => ({
  key,
  subject,
  authenticatedAt: subject === undefined ? undefined : at,
  issuedAt: at
})

// Whose ever it is, and however often its token was written anew.
const sessions = (key: string, at: number): ReadonlyArray<Revocable> => [
  session(key, at),
  session(key, at, "ada"),
  { ...session(key, at, "ada"), issuedAt: at + 1_000_000 }
]

const now = Clock.currentTimeMillis

// In two processes by turns.
const callers = <A, E>({ a, b }: Lists<unknown, unknown>, call: (list: Service, i: number) => Effect.Effect<A, E>) =>
  Effect.all(Array.from({ length: 20 }, (_, i) => call(i % 2 === 0 ? a : b, i)), { concurrency: "unbounded" })

const definitions: ReadonlyArray<Definition> = [
  {
    name: "a key is over in every process from its revocation until its deadline, and one call ends it",
    check: Effect.fnUntraced(function*(t) {
      const lists = yield* t.open()
      const { a, another, b } = lists
      yield* t.elapse(t.unit)
      const at = yield* now
      yield* t.live(b, ...sessions(key, at))
      const answers = yield* callers(lists, (list, i) => list.revoke(key, at + 8 * t.unit, { anonymous: i % 3 === 0 }))
      yield* t.same("calls that ended it", answers.filter((ended) => ended).length, 1)
      yield* t.over(a, ...sessions(key, at))
      yield* t.live(b, ...sessions(lastCharacter, at), ...sessions(otherCase, at))
      yield* t.over(yield* another, ...sessions(key, at))
      yield* t.approach(8 * t.unit)
      yield* t.over(b, ...sessions(key, at))
      yield* t.reach(8 * t.unit)
      yield* t.live(b, ...sessions(key, at))
    })
  },
  {
    name: "a key of an anonymous session is over until its deadline, where there is room",
    check: Effect.fnUntraced(function*(t) {
      const { a, b } = yield* t.open()
      yield* t.elapse(t.unit)
      const at = yield* now
      yield* t.same("revoke", yield* a.revoke(key, at + 8 * t.unit, { anonymous: true }), true)
      yield* t.approach(8 * t.unit)
      yield* t.over(b, ...sessions(key, at))
      yield* t.reach(8 * t.unit)
      yield* t.live(b, ...sessions(key, at))
    })
  },
  {
    name: "a key whose deadline has passed is not ended",
    check: Effect.fnUntraced(function*(t) {
      const { a, b } = yield* t.open()
      yield* t.elapse(2 * t.unit)
      const at = yield* now
      yield* t.same("revoke", yield* a.revoke(key, at - t.unit), false)
      yield* t.live(b, ...sessions(key, at))
    })
  },
  {
    name: "the later of two deadlines counts",
    check: Effect.fnUntraced(function*(t) {
      const { a, b } = yield* t.open()
      yield* t.elapse(t.unit)
      const at = yield* now
      yield* t.same("revoke", yield* a.revoke(key, at + 4 * t.unit), true)
      yield* t.same("revoke", yield* b.revoke(key, at + 12 * t.unit), false)
      yield* t.same("revoke", yield* a.revoke(key, at + 6 * t.unit), false)
      yield* t.elapse(6 * t.unit)
      yield* t.approach(6 * t.unit)
      yield* t.over(b, session(key, at))
      yield* t.reach(6 * t.unit)
      yield* t.live(b, session(key, at))
    })
  },
  {
    name: "a key that is over by itself can be ended again, by one call",
    check: Effect.fnUntraced(function*(t) {
      const lists = yield* t.open()
      yield* t.elapse(t.unit)
      const at = yield* now
      yield* t.same("revoke", yield* lists.a.revoke(key, at + 2 * t.unit), true)
      yield* t.elapse(4 * t.unit)
      const answers = yield* callers(lists, (list) => list.revoke(key, at + 1000 * t.unit))
      yield* t.same("calls that ended it", answers.filter((ended) => ended).length, 1)
      yield* t.over(lists.a, session(key, at))
    })
  },
  {
    name: "an epoch ends what its subject signed in to, and nothing that comes after",
    check: Effect.fnUntraced(function*(t) {
      const { a, another, b } = yield* t.open()
      yield* t.elapse(t.unit)
      const at = yield* now
      yield* t.same("the epoch before", yield* b.epoch("ada"), undefined)
      const epoch = yield* a.revokeSubject("ada")
      yield* t.that("an epoch from now on", epoch >= at, epoch)
      yield* t.same("the epoch", yield* b.epoch("ada"), epoch)
      for (const list of [a, b, yield* another]) {
        yield* t.over(
          list,
          session(key, at, "ada"),
          session(key, epoch, "ada"),
          // A renewal does not make a sign-in younger.
          { ...session(key, at, "ada"), issuedAt: epoch + 1 },
          // Nobody knows when.
          { ...session(key, epoch + 1, "ada"), authenticatedAt: undefined }
        )
        yield* t.live(list, session(key, epoch + 1, "ada"), session(key, at, "bob"), session(key, at))
      }
      yield* t.same("the epoch of somebody else", yield* a.epoch("bob"), undefined)
    })
  },
  {
    name: "keys and subjects are ended apart",
    check: Effect.fnUntraced(function*(t) {
      const { a, b } = yield* t.open()
      yield* t.elapse(t.unit)
      const at = yield* now
      yield* a.revoke(key, at + 1000 * t.unit)
      const epoch = yield* a.revokeSubject("ada")
      yield* t.over(b, session(key, at), session(key, epoch + 1, "ada"), session(key, at, "bob"))
      yield* a.revoke(lastCharacter, at + 1000 * t.unit)
      yield* t.same("the epoch", yield* b.epoch("ada"), epoch)
      yield* t.over(b, session(otherCase, epoch, "ada"))
    })
  },
  {
    name: "epochs of a subject grow, whoever asks for them",
    check: Effect.fnUntraced(function*(t) {
      const lists = yield* t.open()
      const { a, b } = lists
      const epochs = yield* callers(lists, (list) => list.revokeSubject("ada\u0000"))
      yield* t.same("different epochs", new Set(epochs).size, 20)
      yield* t.same("the last one", yield* a.epoch("ada\u0000"), Math.max(...epochs))
      yield* t.same("the epoch of somebody else", yield* a.epoch("ada"), undefined)
      const [one, two] = [yield* a.revokeSubject("bob"), yield* b.revokeSubject("bob")]
      yield* t.that("a later epoch", two > one, [one, two])
    })
  },
  {
    name: "a subject is remembered for its lifetime, from its last epoch on",
    check: Effect.fnUntraced(function*(t) {
      const { a, b } = yield* t.open({ subjectLifetime: 8 * t.unit })
      yield* t.same("subjectLifetime", a.subjectLifetime, 8 * t.unit)
      yield* t.elapse(t.unit)
      yield* a.revokeSubject("ada")
      yield* t.elapse(6 * t.unit)
      const epoch = yield* b.revokeSubject("ada")
      yield* t.approach(8 * t.unit)
      yield* t.same("the epoch", yield* a.epoch("ada"), epoch)
      yield* t.over(b, session(key, epoch, "ada"))
      yield* t.reach(8 * t.unit)
      yield* t.same("the epoch when it is over", yield* a.epoch("ada"), undefined)
      yield* t.live(b, session(key, epoch, "ada"))
    })
  },
  {
    name: "a session that is older than the list is over",
    check: Effect.fnUntraced(function*(t) {
      const before = yield* now
      yield* t.elapse(t.unit)
      const { a, another, b } = yield* t.open()
      yield* t.over(a, ...sessions(key, before).filter(({ issuedAt }) => issuedAt === before))
      yield* t.elapse(t.unit)
      const at = yield* now
      yield* t.elapse(t.unit)
      // A process that comes later does not begin the list anew.
      for (const list of [b, yield* another]) {
        yield* t.live(list, session(key, at))
        yield* t.over(list, session(key, before))
      }
    })
  },
  {
    name: "a session that is older than the list is accepted on request, unless it was ended",
    check: Effect.fnUntraced(function*(t) {
      const before = yield* now
      yield* t.elapse(t.unit)
      const { a, b } = yield* t.open({ acceptEarlier: true })
      yield* t.live(a, session(key, before), session(key, before, "ada"))
      yield* a.revoke(key, before + 1000 * t.unit)
      yield* a.revokeSubject("ada")
      yield* t.over(b, session(key, before), session(lastCharacter, before, "ada"))
      yield* t.live(b, session(lastCharacter, before), session(lastCharacter, before, "bob"))
    })
  }
]

/**
 * Lists the laws.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const laws = <E, R>(options: Options<E, R>): ReadonlyArray<Law<E, R>> =>
  definitions.map(({ check, name }) => ({
    name,
    run: Trial.inTime<Options<E, R>, SessionStoreError | E, R>(options, (options) => {
      const expect = Trial.expectations(name)
      const says = (expected: boolean) => (list: Service, ...sessions: ReadonlyArray<Revocable>) =>
        Effect.forEach(
          sessions,
          (session) =>
            Effect.flatMap(
              list.isRevoked(session),
              (revoked) => expect.same(`isRevoked ${Trial.show(session)}`, revoked, expected)
            ),
          { discard: true }
        )
      return check<E, R>({
        ...Trial.time(options),
        ...expect,
        open: (settings = {}) =>
          Effect.gen(function*() {
            const another = yield* options.open(`${options.namespace ?? ""}/${name}`, settings)
            return { a: yield* another, b: yield* another, another }
          }),
        live: says(false),
        over: says(true)
      })
    })
  }))
