import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as CommitPlan from "../src/CommitPlan.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import { secret } from "./Fixture.ts"

const now = 1_000_000
const stored = "stored"
const initial = "initial"

const current: CommitPlan.Current = {
  token: "token",
  key: "key",
  alias: undefined,
  record: {
    version: 3,
    createdAt: now - 9000,
    issuedAt: now - 6000,
    authenticatedAt: undefined,
    lastSeenAt: now - 500,
    idleTimeout: 60_000,
    expiresAt: now + 600_000,
    subject: undefined,
    format: 1,
    payload: stored
  }
}
const signedIn: CommitPlan.Current = { ...current, record: { ...current.record, subject: "ada", authenticatedAt: now } }
const alias: CommitPlan.Current = { ...current, alias: "successor" }

const identity: CommitPlan.Identity = { renew: false, subject: undefined, authenticated: false }
const login: CommitPlan.Identity = { renew: true, subject: "ada", authenticated: true }

const options = {
  secrets: secret,
  idleTimeout: 60_000,
  lifetime: 600_000,
  touchInterval: 1000,
  maxSessions: 2
} as const

const plan = (changes: Partial<CommitPlan.Situation>, override: SessionConfig.Options = {}) =>
  Effect.map(SessionConfig.make({ ...options, ...override }), (settings) =>
    CommitPlan.make({
      current,
      ended: false,
      identity,
      payload: changes.current === undefined && "current" in changes || changes.ended === true ? initial : stored,
      initialPayload: initial,
      format: 1,
      override: undefined,
      lifetimeChanged: false,
      touch: false,
      active: true,
      mayRenewByAge: true,
      now,
      settings,
      ...changes
    }))

/** The plan in short: the steps, or that it is read-only. */
const outline = (plan: CommitPlan.Plan): string =>
  plan._tag === "ReadOnly" ? "ReadOnly" : plan.steps.map((step) => step._tag).join(" ")

const stepOf = <Tag extends CommitPlan.Step["_tag"]>(plan: CommitPlan.Plan, tag: Tag) => {
  const step = plan._tag === "Steps" ? plan.steps.find((step) => step._tag === tag) : undefined
  if (step?._tag !== tag) assert.fail(`no ${tag} in ${outline(plan)}`)
  return step as Extract<CommitPlan.Step, { readonly _tag: Tag }>
}

const unseen: CommitPlan.Current = { ...current, record: { ...current.record, lastSeenAt: now - 1000 } }
const old: CommitPlan.Current = { ...unseen, record: { ...unseen.record, issuedAt: now - 7000 } }
const renewal = { renewalInterval: 7000, renewalGrace: 2000 }
const none = { current: undefined }

const table: ReadonlyArray<
  readonly [what: string, Partial<CommitPlan.Situation>, expected: string, SessionConfig.Options?]
> = [
  ["nothing on nothing", none, ""],
  ["a touch of nothing", { ...none, touch: true }, ""],
  ["a renewal of nothing", { ...none, identity: { ...identity, renew: true } }, ""],
  ["a proof of identity by nobody", { ...none, identity: { ...identity, renew: true, authenticated: true } }, ""],
  ["the initial data written to nothing", { ...none, payload: initial }, ""],
  ["data for nothing", { ...none, payload: "data" }, "Create"],
  ["a sign-in without a session", { ...none, identity: login }, "Create"],
  ["the end of nothing", { ...none, ended: true }, ""],
  ["the end of nothing, then data", { ...none, ended: true, payload: "data" }, "Create"],
  ["the end", { ended: true }, "Destroy"],
  ["the end, then data", { ended: true, payload: "data" }, "Destroy Create"],
  ["the end, then a sign-in", { ended: true, identity: login }, "Destroy Create"],
  ["the end, then a renewal", { ended: true, identity: { ...identity, renew: true } }, "Destroy"],
  ["the end through an alias", { current: alias, ended: true }, "Destroy"],
  ["a read", {}, ""],
  ["a read through an alias", { current: alias }, ""],
  ["a touch through an alias", { current: alias, touch: true }, ""],
  ["data through an alias", { current: alias, payload: "data" }, "ReadOnly"],
  ["a new lifetime through an alias", { current: alias, lifetimeChanged: true }, "ReadOnly"],
  ["a sign-in through an alias", { current: alias, identity: login }, "ReadOnly"],
  ["a renewal through an alias", { current: alias, identity: { ...identity, renew: true } }, "ReadOnly"],
  ["an alias old enough for a renewal", { current: { ...old, alias: "successor" } }, "", renewal],
  ["a renewal", { identity: { ...identity, renew: true } }, "Renew"],
  ["a sign-in", { identity: login }, "Renew"],
  ["data and a sign-in", { identity: login, payload: "data" }, "Renew"],
  ["a read at the touch interval", { current: unseen }, "Touch"],
  ["a passive read at the touch interval", { current: unseen, active: false }, ""],
  ["a read at the touch interval, without sliding", { current: unseen }, "", { sliding: false }],
  ["an explicit touch", { touch: true }, "Touch"],
  ["an explicit touch, without sliding", { touch: true }, "Touch", { sliding: false }],
  ["data", { payload: "data" }, "Save"],
  ["data and a touch that is due", { current: unseen, payload: "data" }, "Save"],
  ["a new lifetime", { lifetimeChanged: true }, "Save"],
  ["an old id", { current: old }, "Renew", renewal],
  ["an old id and data", { current: old, payload: "data" }, "Renew", renewal],
  [
    "an id one millisecond younger",
    { current: { ...old, record: { ...old.record, issuedAt: now - 6999 } } },
    "Touch",
    renewal
  ],
  ["an old id of an aborted request", { current: old, mayRenewByAge: false }, "Touch", renewal],
  ["an old id of a passive request", { current: old, active: false }, "", renewal],
  ["an old id without an interval", { current: old }, "Touch"]
]

describe("CommitPlan", () => {
  for (const [what, situation, expected, override] of table) {
    it.effect(`${what}: ${expected === "" ? "no step" : expected}`, () =>
      Effect.map(plan(situation, override), (plan) => {
        assert.strictEqual(outline(plan), expected)
      }))
  }

  it.effect("creates with the settings, or with the session's own lifetimes", () =>
    Effect.gen(function*() {
      const step = stepOf(yield* plan({ ...none, payload: "data" }), "Create")
      assert.deepStrictEqual(step.record, {
        idleTimeout: 60_000,
        lifetime: 600_000,
        subject: undefined,
        format: 1,
        payload: "data"
      })
      assert.isUndefined(step.limit)
      const own = { idleTimeout: 5, lifetime: 6, persistent: true }
      const short = stepOf(yield* plan({ ...none, payload: "data", override: own }), "Create")
      assert.deepStrictEqual([short.record.idleTimeout, short.record.lifetime], [5, 6])
    }))

  it.effect("a save is activity for who is active, and for who says so", () =>
    Effect.gen(function*() {
      const save = { payload: "data" }
      const of = (situation: object) =>
        Effect.map(plan({ ...save, ...situation }), (plan) => stepOf(plan, "Save").change.active)
      assert.isTrue(yield* of({}))
      assert.isFalse(yield* of({ active: false }))
      assert.isTrue(yield* of({ active: false, touch: true }))
    }))

  it.effect("applies the limit to sessions with a subject only", () =>
    Effect.gen(function*() {
      const limit = { max: 2, onLimit: "evict" } as const
      assert.deepStrictEqual(stepOf(yield* plan({ ...none, identity: login }), "Create").limit, limit)
      assert.deepStrictEqual(stepOf(yield* plan({ identity: login }), "Renew").limit, limit)
      assert.isUndefined(stepOf(yield* plan({ identity: { ...identity, renew: true } }), "Renew").limit)
      assert.deepStrictEqual(
        stepOf(yield* plan({ current: signedIn, identity: { ...identity, renew: true } }), "Renew").limit,
        limit
      )
    }))

  it.effect("gives no grace to the id of a privilege change, also when a timed renewal is due", () =>
    Effect.gen(function*() {
      for (const asked of [{ ...identity, renew: true }, login, { ...identity, renew: true, authenticated: true }]) {
        assert.strictEqual(stepOf(yield* plan({ current: old, identity: asked }, renewal), "Renew").grace, 0)
      }
      assert.strictEqual(stepOf(yield* plan({ current: old }, renewal), "Renew").grace, 2000)
    }))

  it.effect("moves the absolute deadline for a proof of identity or an own lifetime, and for nothing else", () =>
    Effect.gen(function*() {
      const lifetimeOf = (changes: Partial<CommitPlan.Situation>, override?: SessionConfig.Options) =>
        Effect.map(plan(changes, override), (plan) => stepOf(plan, "Renew").replacement.lifetime)
      assert.isUndefined(yield* lifetimeOf({ identity: { ...identity, renew: true } }))
      assert.isUndefined(yield* lifetimeOf({ current: old }, renewal))
      assert.strictEqual(yield* lifetimeOf({ identity: login }), 600_000)
      const changed = {
        lifetimeChanged: true,
        override: { idleTimeout: undefined, lifetime: 7, persistent: undefined }
      }
      assert.strictEqual(yield* lifetimeOf({ identity: { ...identity, renew: true }, ...changed }), 7)
      assert.strictEqual(stepOf(yield* plan(changed), "Save").change.lifetime, 7)
      assert.isUndefined(stepOf(yield* plan({ payload: "data" }), "Save").change.lifetime)
    }))

  it.effect("keeps the subject in a renewal and stamps the proof only where there is one", () =>
    Effect.gen(function*() {
      const kept = stepOf(yield* plan({ current: signedIn, identity: { ...identity, renew: true } }), "Renew")
      assert.deepStrictEqual([kept.replacement.subject, kept.replacement.authenticated], ["ada", false])
      const changed = stepOf(yield* plan({ current: signedIn, identity: { ...login, subject: "bob" } }), "Renew")
      assert.deepStrictEqual([changed.replacement.subject, changed.replacement.authenticated], ["bob", true])
    }))

  it.effect("counts a save as activity only for an active request with sliding on", () =>
    Effect.gen(function*() {
      const active = (changes: Partial<CommitPlan.Situation>, override?: SessionConfig.Options) =>
        Effect.map(plan({ payload: "data", ...changes }, override), (plan) => stepOf(plan, "Save").change.active)
      assert.isTrue(yield* active({}))
      assert.isFalse(yield* active({ active: false }))
      assert.isFalse(yield* active({}, { sliding: false }))
    }))
})
