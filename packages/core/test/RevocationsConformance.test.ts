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
  "a subject stays over when its epoch is forgotten",
  "keys are those of anonymous sessions",
  "a key spares what is issued later",
  "keys are compared without case",
  "keys are compared by all but their last character",
  "anonymous keys are forgotten early",
  "a subject makes its keys live again",
  "nobody knows when means never",
  "whoever accepts earlier sessions ends none",
  "each process has a beginning of its own",
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
  const keys = new Map<string, { readonly until: number; readonly early: number }>()
  const subjects = new Map<string, { readonly epoch: number; readonly first: number }>()
  const subjectName = (subject: string) =>
    has("an epoch ends everybody's sessions")
      ? ""
      : has("subjects are cut at their first zero")
      ? subject.split("\0")[0]
      : subject
  const keyName = (key: string) =>
    has("keys are compared without case")
      ? key.toLowerCase()
      : has("keys are compared by all but their last character")
      ? key.slice(0, -1)
      : key
  const epochOf = (subject: string, now: number) => {
    const entry = subjects.get(subjectName(subject))
    if (entry === undefined || has("a subject is never forgotten")) return entry?.epoch
    const from = has("a subject is forgotten by its first epoch") ? entry.first : entry.epoch
    return now < from + subjectLifetime ? entry.epoch : undefined
  }
  const isEnded = (key: string, now: number) => {
    const entry = keys.get(keyName(key))
    return entry !== undefined && (now < entry.until - entry.early || has("a key is never forgotten"))
  }
  const ends = !(acceptEarlier && has("whoever accepts earlier sessions ends none"))
  const list = (startedAt: number): List => ({
    subjectLifetime,
    revoke: (key, until, options) =>
      Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        if (has("two calls end one session")) yield* Effect.yieldNow
        const known = keys.get(keyName(key))
        if (known !== undefined && (isEnded(key, now) || has("an entry that is over stays in the way"))) {
          if (has("an earlier deadline counts")) keys.set(keyName(key), { ...known, until })
          else if (!has("a later deadline is ignored")) {
            keys.set(keyName(key), { ...known, until: Math.max(known.until, until) })
          }
          return has("two calls end one session")
        }
        if (until <= now && !has("what has passed is ended")) return false
        const early = has("a key is forgotten a moment early")
          ? 1
          : options?.anonymous === true && has("anonymous keys are forgotten early")
          ? 2000
          : 0
        keys.set(keyName(key), { until, early })
        return true
      }),
    revokeSubject: (subject) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const last = epochOf(subject, now)
        const at = has("an epoch lies in the past") ? now - 1 : now
        const epoch = last === undefined || has("epochs repeat") ? at : Math.max(at, last + 1)
        const name = subjectName(subject)
        subjects.set(name, { epoch, first: subjects.get(name)?.first ?? epoch })
        if (has("a subject makes its keys live again")) keys.clear()
        return epoch
      }),
    epoch: (subject) => Effect.map(Clock.currentTimeMillis, (now) => epochOf(subject, now)),
    isRevoked: ({ authenticatedAt, issuedAt, key, subject }) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const accepts = (acceptEarlier || has("earlier sessions are accepted")) &&
          !has("earlier sessions are never accepted")
        const allowance = has("a session must be younger than the list by a minute") ? 60_000 : 0
        if (issuedAt < startedAt + allowance && !accepts) return true
        if (!ends) return false
        const spared = (has("keys are those of anonymous sessions") && subject !== undefined) ||
          (has("a key spares what is issued later") && issuedAt > now)
        if (isEnded(key, now) && !spared) return true
        if (subject === undefined && !has("an epoch ends anonymous sessions")) return false
        const epoch = subject === undefined
          ? Math.max(-1, ...[...subjects.values()].map(({ epoch }) => epoch))
          : has("a subject stays over when its epoch is forgotten")
          ? subjects.get(subject)?.epoch
          : epochOf(subject, now)
        if (epoch === undefined) return false
        if (authenticatedAt === undefined && subject !== undefined) return !has("nobody knows when means never")
        const at = has("an epoch looks at the renewal") ? issuedAt : authenticatedAt ?? issuedAt
        return has("an epoch spares its own millisecond") ? at < epoch : at <= epoch
      })
  })
  let opened = 0
  return Effect.gen(function*() {
    if (has("other processes do not know") && opened++ > 0) {
      return yield* Revocations.makeMemory({ acceptEarlier, subjectLifetime })
    }
    return list(has("each process has a beginning of its own") ? yield* Clock.currentTimeMillis : startedAt)
  })
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
    open: (_, settings) => Effect.map(Revocations.makeMemory(settings), Effect.succeed)
  })
  for (const law of laws) it.effect(law.name, () => law.run)
})
