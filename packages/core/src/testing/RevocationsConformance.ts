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
 *   // All the processes of a test that have this list in memory are one.
 *   open: (name, settings) => Effect.map(Revocations.makeMemory(settings), (list) => [list, list])
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
   * Opens a list that nobody has used yet, as two processes of one application
   * have it. No two laws give it the same name.
   */
  readonly open: (
    name: string,
    settings: Settings
  ) => Effect.Effect<readonly [one: Revocations["Service"], other: Revocations["Service"]], E, R>
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

interface Lists<out E, out R> extends Trial.Expectations, Trial.Time {
  /** The list in two processes. */
  readonly open: (settings?: Settings) => Effect.Effect<readonly [Service, Service], E, R>
  readonly live: (list: Service, session: Revocable) => Effect.Effect<void, ConformanceError | SessionStoreError>
  readonly over: (list: Service, session: Revocable) => Effect.Effect<void, ConformanceError | SessionStoreError>
}

interface Definition {
  readonly name: string
  readonly check: <E, R>(t: Lists<E, R>) => Effect.Effect<void, ConformanceError | SessionStoreError | E, R>
}

const session = (key: string, at: number, subject?: string): Revocable => ({
  key,
  subject,
  authenticatedAt: subject === undefined ? undefined : at,
  issuedAt: at
})

const now = Clock.currentTimeMillis

// Of two lists in turn.
const callers = <A, E>(lists: readonly [Service, Service], call: (list: Service, i: number) => Effect.Effect<A, E>) =>
  Effect.all(Array.from({ length: 20 }, (_, i) => call(lists[i % 2], i)), { concurrency: "unbounded" })

const definitions: ReadonlyArray<Definition> = [
  {
    name: "a key is over in every process from its revocation until its deadline, and one call ends it",
    check: Effect.fnUntraced(function*(t) {
      const lists = yield* t.open()
      const [a, b] = lists
      yield* t.elapse(t.unit)
      const at = yield* now
      yield* t.live(b, session("k", at))
      const answers = yield* callers(lists, (list, i) => list.revoke("k", at + 8 * t.unit, { anonymous: i % 3 === 0 }))
      yield* t.same("calls that ended it", answers.filter((ended) => ended).length, 1)
      yield* t.over(a, session("k", at))
      yield* t.live(b, session("other", at))
      yield* t.approach(8 * t.unit)
      yield* t.over(b, session("k", at))
      yield* t.reach(8 * t.unit)
      yield* t.live(b, session("k", at))
    })
  },
  {
    name: "a key whose deadline has passed is not ended",
    check: Effect.fnUntraced(function*(t) {
      const [a, b] = yield* t.open()
      yield* t.elapse(2 * t.unit)
      const at = yield* now
      yield* t.same("revoke", yield* a.revoke("k", at - t.unit), false)
      yield* t.live(b, session("k", at))
    })
  },
  {
    name: "the later of two deadlines counts",
    check: Effect.fnUntraced(function*(t) {
      const [a, b] = yield* t.open()
      yield* t.elapse(t.unit)
      const at = yield* now
      yield* t.same("revoke", yield* a.revoke("k", at + 4 * t.unit), true)
      yield* t.same("revoke", yield* b.revoke("k", at + 12 * t.unit), false)
      yield* t.same("revoke", yield* a.revoke("k", at + 6 * t.unit), false)
      yield* t.elapse(6 * t.unit)
      yield* t.approach(6 * t.unit)
      yield* t.over(b, session("k", at))
      yield* t.reach(6 * t.unit)
      yield* t.live(b, session("k", at))
    })
  },
  {
    name: "a key that is over by itself can be ended again, by one call",
    check: Effect.fnUntraced(function*(t) {
      const lists = yield* t.open()
      yield* t.elapse(t.unit)
      const at = yield* now
      yield* t.same("revoke", yield* lists[0].revoke("k", at + 2 * t.unit), true)
      yield* t.elapse(4 * t.unit)
      const answers = yield* callers(lists, (list) => list.revoke("k", at + 1000 * t.unit))
      yield* t.same("calls that ended it", answers.filter((ended) => ended).length, 1)
    })
  },
  {
    name: "an epoch ends what its subject signed in to, and nothing that comes after",
    check: Effect.fnUntraced(function*(t) {
      const [a, b] = yield* t.open()
      yield* t.elapse(t.unit)
      const at = yield* now
      yield* t.same("the epoch before", yield* b.epoch("ada"), undefined)
      const epoch = yield* a.revokeSubject("ada")
      yield* t.that("an epoch from now on", epoch >= at, epoch)
      yield* t.same("the epoch", yield* b.epoch("ada"), epoch)
      for (const list of [a, b]) {
        yield* t.over(list, session("k", at, "ada"))
        yield* t.over(list, session("k", epoch, "ada"))
        // A renewal does not make a sign-in younger.
        yield* t.over(list, { ...session("k", at, "ada"), issuedAt: epoch + 1 })
        yield* t.live(list, session("k", epoch + 1, "ada"))
        yield* t.live(list, session("k", at, "bob"))
        yield* t.live(list, session("k", at))
      }
      yield* t.same("the epoch of somebody else", yield* a.epoch("bob"), undefined)
    })
  },
  {
    name: "epochs of a subject grow, whoever asks for them",
    check: Effect.fnUntraced(function*(t) {
      const lists = yield* t.open()
      const epochs = yield* callers(lists, (list) => list.revokeSubject("ada\u0000"))
      yield* t.same("different epochs", new Set(epochs).size, 20)
      yield* t.same("the last one", yield* lists[0].epoch("ada\u0000"), Math.max(...epochs))
      yield* t.same("the epoch of somebody else", yield* lists[0].epoch("ada"), undefined)
      const [one, two] = [yield* lists[0].revokeSubject("bob"), yield* lists[1].revokeSubject("bob")]
      yield* t.that("a later epoch", two > one, [one, two])
    })
  },
  {
    name: "a subject is remembered for its lifetime, from its last epoch on",
    check: Effect.fnUntraced(function*(t) {
      const [a, b] = yield* t.open({ subjectLifetime: 8 * t.unit })
      yield* t.same("subjectLifetime", a.subjectLifetime, 8 * t.unit)
      yield* a.revokeSubject("ada")
      yield* t.elapse(6 * t.unit)
      const epoch = yield* b.revokeSubject("ada")
      yield* t.approach(8 * t.unit)
      yield* t.same("the epoch", yield* a.epoch("ada"), epoch)
      yield* t.over(b, session("k", epoch, "ada"))
      yield* t.reach(8 * t.unit)
      yield* t.same("the epoch when it is over", yield* a.epoch("ada"), undefined)
    })
  },
  {
    name: "a session that is older than the list is over",
    check: Effect.fnUntraced(function*(t) {
      const before = yield* now
      yield* t.elapse(t.unit)
      const [a, b] = yield* t.open()
      yield* t.over(a, session("k", before))
      yield* t.elapse(t.unit)
      yield* t.live(b, session("k", yield* now))
    })
  },
  {
    name: "a session that is older than the list is accepted on request",
    check: Effect.fnUntraced(function*(t) {
      const [a, b] = yield* t.open({ acceptEarlier: true })
      for (const list of [a, b]) yield* t.live(list, session("k", 1))
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
      const { fail, same, that } = Trial.expectations(name)
      const says = (expected: boolean) => (list: Service, session: Revocable) =>
        Effect.flatMap(
          list.isRevoked(session),
          (revoked) => same(`isRevoked ${Trial.show(session)}`, revoked, expected)
        )
      return check<E, R>({
        ...Trial.time(options),
        fail,
        same,
        that,
        open: (settings = {}) => options.open(`${options.namespace ?? ""}/${name}`, settings),
        live: says(false),
        over: says(true)
      })
    })
  }))
