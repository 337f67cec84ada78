import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as RecordCodec from "../src/internal/recordCodec.ts"
import { Revocations } from "../src/Revocations.ts"
import * as CookieFixture from "./CookieFixture.ts"
import { increment, issued, reasonOf, UserSession } from "./Fixture.ts"

const { forge, inside, Script, setup } = CookieFixture
const hour = 60 * 60_000

describe("logout is final", () => {
  it.effect("a copy of the token is refused after the session was ended, and every earlier token with it", () =>
    Effect.gen(function*() {
      const { run, signIn, statusOf } = yield* setup
      const first = yield* signIn("ada")
      const { token: second } = yield* run(first, increment)
      const { token: third } = yield* run(second, increment)
      assert.isUndefined((yield* run(second, UserSession.destroy)).token)
      for (const token of [first, second, third]) assert.strictEqual(yield* statusOf(token), "anonymous")
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("also for an anonymous session", () =>
    Effect.gen(function*() {
      const { run, start, statusOf } = yield* setup
      const token = yield* start
      yield* run(token, UserSession.destroy)
      assert.strictEqual(yield* statusOf(token), "anonymous")
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("visitors who leave stand in nobody's way, to sign out, to renew or to sign in", () =>
    Effect.gen(function*() {
      const { run, signIn, start, statusOf } = yield* setup
      const [ada, bob] = [yield* signIn("ada"), yield* signIn("bob")]
      for (let i = 0; i < 100; i++) {
        const visitor = yield* start
        yield* run(visitor, i % 2 === 0 ? UserSession.destroy : UserSession.renew)
      }
      yield* run(ada, UserSession.destroy)
      assert.strictEqual(yield* statusOf(ada), "anonymous")
      const renewed = yield* run(bob, UserSession.renew)
      assert.strictEqual(yield* statusOf(bob), "anonymous")
      assert.strictEqual(yield* statusOf(renewed.token), "active")
      const visitor = yield* start
      const eve = yield* run(visitor, UserSession.login("eve"))
      assert.strictEqual((yield* run(eve.token, UserSession.subject)).value, "eve")
      assert.strictEqual(yield* statusOf(visitor), "anonymous")
      // Only whoever was signed in takes the room of those who are.
      yield* run(renewed.token, UserSession.destroy)
      assert.strictEqual(yield* reasonOf(run(eve.token, UserSession.destroy)), "Unavailable")
    }).pipe(Effect.provide(CookieFixture.layer({ list: { capacity: 3 } }))))

  it.effect("a session whose data cannot be read is ended when another one takes its place", () =>
    Effect.gen(function*() {
      const { run, start, statusOf } = yield* setup
      const { key, record } = yield* inside(yield* start)
      const token = yield* forge(RecordCodec.encode({ key, record: { ...record, payload: "{}" } }))
      assert.strictEqual(yield* statusOf(token), "invalid")
      yield* run(token, increment)
      assert.strictEqual(yield* statusOf(token), "anonymous")
    }).pipe(Effect.provide(CookieFixture.layer())))

  for (
    const [name, work] of [
      ["a save", (session: CookieFixture.Opened) => session.update((data) => ({ ...data, n: 9 }))],
      ["a renewal", (session: CookieFixture.Opened) => session.renew],
      ["a step-up", (session: CookieFixture.Opened) => session.elevate("5 minutes")],
      ["a proof of identity", (session: CookieFixture.Opened) => session.reauthenticate],
      ["a new lifetime", (session: CookieFixture.Opened) => session.setLifetime({ lifetime: "40 hours" })]
    ] as const
  ) {
    for (const end of ["its end", "the epoch of its subject"] as const) {
      it.effect(`${name} that was in flight at ${end} is refused and brings nothing back`, () =>
        Effect.gen(function*() {
          const { open, run, signIn } = yield* setup
          const token = yield* signIn("ada")
          const session = open(token)
          yield* work(session)
          if (end === "its end") yield* run(token, UserSession.destroy)
          else yield* Effect.flatMap(Revocations, ({ revokeSubject }) => revokeSubject("ada"))
          assert.strictEqual(yield* reasonOf(session.finish("success")), "Gone")
          assert.notStrictEqual(session.tokenChange._tag, "Issue")
        }).pipe(Effect.provide(CookieFixture.layer())))
    }
  }

  it.effect("activity that was in flight issues nothing, and its request succeeds", () =>
    Effect.gen(function*() {
      const { open, run, start } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("10 minutes")
      const session = open(token)
      yield* session.get
      yield* run(token, UserSession.destroy)
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("a token written just before the end is over with it", () =>
    Effect.gen(function*() {
      const { open, run, start, statusOf } = yield* setup
      const script = yield* Script
      const token = yield* start
      const session = open(token)
      yield* session.update((data) => ({ ...data, n: 9 }))
      // The save has found the session live; then it ends.
      const next = issued(yield* session.finish("success"))
      yield* run(token, UserSession.destroy)
      assert.include(script.calls, "revoke")
      assert.strictEqual(yield* statusOf(next), "anonymous")
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("a renewal and an end at the same time: never a session after the end", () =>
    Effect.gen(function*() {
      const { open, run, signIn } = yield* setup
      const script = yield* Script
      const token = yield* signIn("ada")
      const session = open(token)
      yield* session.renew
      yield* session.update((data) => ({ ...data, n: 1 }))
      // The renewal has looked, and found the session live, when it ends.
      script.before.set("revoke", Effect.ignore(run(token, UserSession.destroy)))
      assert.strictEqual(yield* reasonOf(session.finish("success")), "Gone")
      assert.notStrictEqual(session.tokenChange._tag, "Issue")
    }).pipe(Effect.provide(CookieFixture.layer())))

  for (const end of ["its end", "the epoch of its subject"] as const) {
    it.effect(`requests and ${end} in 300 random orders: no token that anybody got is accepted afterwards`, () =>
      Effect.gen(function*() {
        const { open, signIn, statusOf } = yield* setup
        const list = yield* Revocations
        const script = yield* Script
        let state = 1
        const below = (n: number) => {
          state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
          return (state >>> 8) % n
        }
        const pause = Effect.suspend(() => Effect.forEach(Array.from({ length: below(4) }), () => Effect.yieldNow))
        const works = [
          (session: CookieFixture.Opened) => session.update((data) => ({ ...data, n: data.n + 1 })),
          (session: CookieFixture.Opened) => session.touch,
          // A renewal that came before the end has another key: only the epoch ends that.
          ...(end === "its end" ? [] : [
            (session: CookieFixture.Opened) => session.renew,
            (session: CookieFixture.Opened) => session.elevate("1 minute"),
            (session: CookieFixture.Opened) => session.setLifetime({ lifetime: "40 hours" })
          ])
        ]
        let refused = 0
        for (let round = 0; round < 300; round++) {
          const first = yield* signIn("ada")
          const tokens = [first]
          const actor = Effect.gen(function*() {
            const session = open(first)
            yield* pause
            if ((yield* session.status) !== "active") return
            yield* works[below(works.length)](session)
            yield* pause
            script.before.set("isRevoked", pause)
            const result = yield* Effect.result(session.finish("success"))
            if (result._tag === "Failure") refused++
            else if (result.success._tag === "Issue") tokens.push(result.success.token)
          })
          const ending = end === "its end"
            ? Effect.gen(function*() {
              const session = open(first)
              yield* session.destroy
              yield* pause
              yield* session.finish("success")
            })
            : Effect.andThen(pause, list.revokeSubject("ada"))
          yield* Effect.all([actor, ending, actor, actor], { concurrency: "unbounded" })
          for (const token of tokens) assert.strictEqual(yield* statusOf(token), "anonymous", `round ${round}`)
        }
        assert.isAbove(refused, 10)
      }).pipe(Effect.provide(CookieFixture.layer())))
  }

  it.effect("what was revoked is remembered until the token has expired by itself, and no longer", () =>
    Effect.gen(function*() {
      const { run, signIn, statusOf } = yield* setup
      const list = yield* Revocations
      const token = yield* signIn("ada")
      const { key, record } = yield* inside(token)
      yield* run(token, UserSession.destroy)
      const revocable = { ...record, key }
      yield* TestClock.adjust(24 * hour - 1)
      assert.isTrue(yield* list.isRevoked(revocable))
      yield* TestClock.adjust(1)
      assert.isFalse(yield* list.isRevoked(revocable))
      assert.strictEqual(yield* statusOf(token), "expired")
    }).pipe(Effect.provide(CookieFixture.layer({ idleTimeout: "24 hours" }))))

  it.effect("a longer lifetime takes a new key: no token outlives the revocation of its key", () =>
    Effect.gen(function*() {
      const { run, signIn, statusOf } = yield* setup
      const short = yield* signIn("ada")
      const { token: long } = yield* run(
        short,
        UserSession.setLifetime({ idleTimeout: "100 hours", lifetime: "100 hours" })
      )
      assert.strictEqual(yield* statusOf(short), "anonymous")
      yield* run(short, UserSession.destroy)
      assert.strictEqual(yield* statusOf(long), "active")
      yield* run(long, UserSession.destroy)
      yield* TestClock.adjust(99 * hour)
      assert.strictEqual(yield* statusOf(long), "anonymous")
      yield* TestClock.adjust(hour)
      assert.strictEqual(yield* statusOf(long), "expired")
    }).pipe(Effect.provide(CookieFixture.layer())))
})
