import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import * as Revocations from "../src/Revocations.ts"
import * as RevocationsConformance from "../src/testing/RevocationsConformance.ts"

type List = Revocations.Revocations["Service"]

const faults = [
  "two calls end one session",
  "other processes do not know",
  "a key is never forgotten",
  "a key is forgotten a moment early",
  "what has passed is ended",
  "a later deadline is ignored",
  "an earlier deadline counts",
  "an entry that is over stays in the way",
  "an epoch spares its own millisecond",
  "an epoch looks at the renewal",
  "an epoch ends everybody's sessions",
  "an epoch ends anonymous sessions",
  "an epoch lies in the past",
  "epochs repeat",
  "a subject is forgotten by its first epoch",
  "a subject is never forgotten",
  "subjects are cut at their first zero",
  "earlier sessions are accepted",
  "earlier sessions are never accepted",
  "a session must be younger than the list by a minute"
] as const

type Fault = (typeof faults)[number]

const lifetime = 400 * 24 * 60 * 60 * 1000

/** The list as its contract says it, or with something wrong with it. */
const reference = Effect.fnUntraced(function*(
  { acceptEarlier = false, subjectLifetime = lifetime }: RevocationsConformance.Settings,
  fault?: Fault
) {
  const has = (name: Fault) => fault === name
  const startedAt = yield* Clock.currentTimeMillis
  const keys = new Map<string, number>()
  const subjects = new Map<string, { readonly epoch: number; readonly first: number }>()
  const name = (subject: string) =>
    has("an epoch ends everybody's sessions")
      ? ""
      : has("subjects are cut at their first zero")
      ? subject.split("\0")[0]
      : subject
  const epochOf = (subject: string, now: number) => {
    const entry = subjects.get(name(subject))
    if (entry === undefined || has("a subject is never forgotten")) return entry?.epoch
    const from = has("a subject is forgotten by its first epoch") ? entry.first : entry.epoch
    return now < from + subjectLifetime ? entry.epoch : undefined
  }
  const untilOf = (key: string, now: number) => {
    const until = keys.get(key)
    const early = has("a key is forgotten a moment early") ? 1 : 0
    return until !== undefined && (now < until - early || has("a key is never forgotten")) ? until : undefined
  }
  const list: List = {
    subjectLifetime,
    revoke: (key, until) =>
      Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        if (has("two calls end one session")) yield* Effect.yieldNow
        const known = has("an entry that is over stays in the way") ? keys.get(key) : untilOf(key, now)
        if (known !== undefined) {
          if (has("an earlier deadline counts")) keys.set(key, until)
          else if (!has("a later deadline is ignored")) keys.set(key, Math.max(known, until))
          return has("two calls end one session")
        }
        if (until <= now && !has("what has passed is ended")) return false
        keys.set(key, until)
        return true
      }),
    revokeSubject: (subject) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const last = epochOf(subject, now)
        const at = has("an epoch lies in the past") ? now - 1 : now
        const epoch = last === undefined || has("epochs repeat") ? at : Math.max(at, last + 1)
        subjects.set(name(subject), { epoch, first: subjects.get(name(subject))?.first ?? epoch })
        return epoch
      }),
    epoch: (subject) => Effect.map(Clock.currentTimeMillis, (now) => epochOf(subject, now)),
    isRevoked: ({ authenticatedAt, issuedAt, key, subject }) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const accepts = (acceptEarlier || has("earlier sessions are accepted")) &&
          !has("earlier sessions are never accepted")
        const allowance = has("a session must be younger than the list by a minute") ? 60_000 : 0
        if (issuedAt < startedAt + allowance && !accepts) return true
        if (untilOf(key, now) !== undefined) return true
        if (subject === undefined && !has("an epoch ends anonymous sessions")) return false
        const epoch = subject === undefined
          ? Math.max(-1, ...[...subjects.values()].map(({ epoch }) => epoch))
          : epochOf(subject, now)
        if (epoch === undefined) return false
        const at = has("an epoch looks at the renewal") ? issuedAt : authenticatedAt ?? issuedAt
        return has("an epoch spares its own millisecond") ? at < epoch : at <= epoch
      })
  }
  if (!has("other processes do not know")) return [list, list] as const
  return [list, yield* Revocations.makeMemory({ acceptEarlier, subjectLifetime })] as const
})

const lawsOf = (fault?: Fault) =>
  RevocationsConformance.laws({ elapse: TestClock.adjust, open: (_, settings) => reference(settings, fault) })

describe("conformance kit of lists of revocations", () => {
  for (const law of lawsOf()) it.effect(law.name, () => law.run)

  it("gives every law its own name", () => {
    const names = lawsOf().map(({ name }) => name)
    assert.strictEqual(new Set(names).size, names.length)
  })
})

describe("conformance kit on a broken list of revocations", () => {
  const broken = new Set<string>()
  for (const fault of faults) {
    it.effect(fault, () =>
      Effect.gen(function*() {
        let caught = 0
        for (const law of lawsOf(fault)) {
          const exit = yield* Effect.exit(law.run)
          if (Exit.isSuccess(exit)) continue
          caught++
          broken.add(law.name)
        }
        assert.isAbove(caught, 0)
      }))
  }

  it("breaks every law at least once", () =>
    assert.deepStrictEqual(lawsOf().map(({ name }) => name).filter((name) => !broken.has(name)), []))
})

describe("the list of revocations in memory", () => {
  const laws = RevocationsConformance.laws({
    elapse: TestClock.adjust,
    open: (_, settings) => Effect.map(Revocations.makeMemory(settings), (list) => [list, list])
  })
  for (const law of laws) it.effect(law.name, () => law.run)
})
