/**
 * The laws of sessions, in cookie mode: those that hold, and by name those that cannot hold where the client keeps the
 * record. That logout is final is in `CookieStore.logout.test.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Revocations } from "../src/Revocations.ts"
import * as SessionEvents from "../src/SessionEvents.ts"
import * as CookieFixture from "./CookieFixture.ts"
import { increment, issued, loginAs, reasonOf, UserSession } from "./Fixture.ts"

const { inside, Script, setup } = CookieFixture
const minute = 60_000
const hour = 60 * minute

describe("limits are inside the seal", () => {
  it.effect("a token is refused at its idle deadline", () =>
    Effect.gen(function*() {
      const { signIn, statusOf } = yield* setup
      const token = yield* signIn("ada")
      yield* TestClock.adjust(30 * minute - 1)
      assert.strictEqual(yield* statusOf(token), "active")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* statusOf(token), "expired")
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("activity moves the idle deadline and never the absolute one", () =>
    Effect.gen(function*() {
      const { run, signIn, statusOf } = yield* setup
      let token: string | undefined = yield* signIn("ada")
      for (let i = 0; i < 71; i++) {
        yield* TestClock.adjust("20 minutes")
        const next: { readonly value: unknown; readonly token: string | undefined } = yield* run(
          token,
          i % 2 === 0 ? UserSession.get : increment
        )
        assert.notStrictEqual(next.token, token)
        token = next.token
      }
      yield* TestClock.adjust(20 * minute - 1)
      assert.strictEqual(yield* statusOf(token), "active")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* statusOf(token), "expired")
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("no session outlives the time for which the epoch of its subject is remembered", () =>
    Effect.gen(function*() {
      const { run, signIn, statusOf } = yield* setup
      const list = yield* Revocations
      const [revoked, token] = [yield* signIn("bob"), yield* signIn("ada")]
      yield* list.revokeSubject("bob")
      const { token: long } = yield* run(
        token,
        UserSession.setLifetime({ idleTimeout: "90 hours", lifetime: "90 hours" })
      )
      yield* TestClock.adjust(2 * hour - 1)
      assert.strictEqual(yield* statusOf(revoked), "anonymous")
      assert.strictEqual(yield* statusOf(long), "active")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* statusOf(revoked), "expired")
      assert.strictEqual(yield* statusOf(long), "expired")
    }).pipe(Effect.provide(CookieFixture.layer({ idleTimeout: "3 hours", list: { subjectLifetime: "2 hours" } }))))
})

describe("renewal", () => {
  it.effect("the old id is over at once, whatever renewed it", () =>
    Effect.gen(function*() {
      const { run, signIn, start, statusOf } = yield* setup
      const anonymous = yield* start
      const { token: signedIn } = yield* run(anonymous, loginAs("ada"))
      assert.strictEqual(yield* statusOf(anonymous), "anonymous")
      for (const work of [UserSession.renew, UserSession.elevate("5 minutes"), UserSession.reauthenticate]) {
        const token = yield* signIn("ada")
        const { token: renewed } = yield* run(token, work)
        assert.strictEqual(yield* statusOf(token), "anonymous")
        assert.strictEqual(yield* statusOf(renewed), "active")
        assert.notStrictEqual((yield* inside(token)).key, (yield* inside(renewed!)).key)
      }
      yield* TestClock.adjust("10 minutes")
      const { token: aged } = yield* run(signedIn, UserSession.get)
      assert.strictEqual(yield* statusOf(signedIn), "anonymous")
      assert.strictEqual((yield* inside(aged!)).record.createdAt, 0)
    }).pipe(Effect.provide(CookieFixture.layer({ renewalInterval: "10 minutes" }))))

  it.effect("of two renewals of one id at the same time, one makes a new one", () =>
    Effect.gen(function*() {
      const { open, signIn } = yield* setup
      const token = yield* signIn("ada")
      const sessions = [open(token), open(token), open(token)]
      for (const session of sessions) yield* session.renew
      const results = yield* Effect.forEach(sessions, (session) => Effect.result(session.finish("success")), {
        concurrency: "unbounded"
      })
      assert.strictEqual(results.filter(({ _tag }) => _tag === "Success").length, 1)
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("by age: of requests at the same time one renews, the others succeed and issue nothing", () =>
    Effect.gen(function*() {
      const { open, signIn } = yield* setup
      const token = yield* signIn("ada")
      yield* TestClock.adjust("10 minutes")
      const sessions = [open(token), open(token), open(token)]
      for (const session of sessions) yield* session.get
      const changes = yield* Effect.forEach(sessions, (session) => session.finish("success"))
      assert.deepStrictEqual(changes.map(({ _tag }) => _tag), ["Issue", "Keep", "Keep"])
    }).pipe(Effect.provide(CookieFixture.layer({ renewalInterval: "10 minutes" }))))
})

describe("no silent outage, and an outage is never a logout", () => {
  it.effect("a list that does not answer makes the session unavailable, never active", () =>
    Effect.gen(function*() {
      const { open, signIn, start } = yield* setup
      const script = yield* Script
      for (const token of [yield* signIn("ada"), yield* start]) {
        script.down.add("isRevoked")
        const session = open(token)
        assert.strictEqual(yield* session.status, "unavailable")
        assert.strictEqual(yield* reasonOf(session.get), "Unavailable")
        assert.deepStrictEqual(session.tokenChange, { _tag: "Keep" })
        script.down.clear()
        assert.strictEqual(yield* open(token).status, "active")
      }
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("an end that the list did not confirm fails, and the client keeps its token to try again", () =>
    Effect.gen(function*() {
      const { open, signIn, statusOf } = yield* setup
      const script = yield* Script
      const token = yield* signIn("ada")
      script.down.add("revoke")
      const session = open(token)
      yield* session.destroy
      assert.strictEqual(yield* reasonOf(session.finish("success")), "Unavailable")
      assert.deepStrictEqual(session.tokenChange, { _tag: "Keep" })
      script.down.clear()
      const again = open(token)
      yield* again.destroy
      assert.deepStrictEqual(yield* again.finish("success"), { _tag: "Revoke" })
      assert.strictEqual(yield* statusOf(token), "anonymous")
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("nothing is issued while the list cannot tell whether it may be", () =>
    Effect.gen(function*() {
      const { open, run, signIn } = yield* setup
      const script = yield* Script
      const token = yield* signIn("ada")
      const session = open(token)
      yield* session.update((data) => ({ ...data, n: 5 }))
      script.down.add("isRevoked")
      assert.strictEqual(yield* reasonOf(session.finish("success")), "Unavailable")
      assert.deepStrictEqual(session.tokenChange, { _tag: "Keep" })
      script.down.clear()
      for (const method of ["epoch", "revoke"] as const) {
        script.down.add(method)
        assert.strictEqual(yield* reasonOf(run(token, loginAs("bob"))), "Unavailable")
        script.down.clear()
      }
      script.down.add("epoch")
      assert.strictEqual(yield* reasonOf(run(undefined, loginAs("bob"))), "Unavailable")
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("activity that could not be recorded takes nothing from the answer", () =>
    Effect.gen(function*() {
      const { open, start } = yield* setup
      const script = yield* Script
      const token = yield* start
      yield* TestClock.adjust("5 minutes")
      const session = open(token)
      yield* session.get
      script.down.add("isRevoked")
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
    }).pipe(Effect.provide(CookieFixture.layer())))
})

describe("no cross-talk", () => {
  it.effect("a hundred interleaved users never mix", () =>
    Effect.gen(function*() {
      const { run, signIn } = yield* setup
      const users = Array.from({ length: 100 }, (_, i) => `user-${i}`)
      const tokens = yield* Effect.forEach(users, signIn, { concurrency: "unbounded" })
      const seen = yield* Effect.forEach(
        tokens,
        (token) =>
          run(
            token,
            Effect.gen(function*() {
              yield* increment
              yield* Effect.yieldNow
              return `${yield* UserSession.subject} ${(yield* UserSession.get).who}`
            })
          ),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(seen.map(({ value }) => value), users.map((user) => `${user} ${user}`))
    }).pipe(Effect.provide(CookieFixture.layer({ cookie: { remembered: 10 } }))))
})

describe("reads do not write", () => {
  it.effect("without a session nothing is issued, asked or remembered", () =>
    Effect.gen(function*() {
      const { open } = yield* setup
      const script = yield* Script
      const session = open()
      yield* session.get
      yield* session.touch
      yield* session.renew
      yield* session.destroy
      assert.notStrictEqual((yield* session.finish("success"))._tag, "Issue")
      assert.deepStrictEqual([script.seals, script.opens, script.calls], [0, 0, []])
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("a request that reads asks the list once, and one that does not read not at all", () =>
    Effect.gen(function*() {
      const { open, start } = yield* setup
      const script = yield* Script
      const token = yield* start
      script.forget()
      yield* open(token).finish("success")
      assert.deepStrictEqual(script.calls, [])
      const session = open(token)
      yield* session.get
      yield* session.subject
      yield* session.finish("success")
      assert.deepStrictEqual([script.calls, script.seals], [["isRevoked"], 0])
    }).pipe(Effect.provide(CookieFixture.layer())))
})

describe("the raw id never leaves", () => {
  const events: Array<SessionEvents.SessionEvent> = []
  const record = (event: SessionEvents.SessionEvent) => Effect.sync(() => events.push(event)).pipe(Effect.asVoid)
  const recorded = SessionEvents.layer({
    hooks: { created: record, loaded: record, saved: record, renewed: record, destroyed: record }
  })

  it.effect("the list and the events see neither token nor data, and the token shows nothing", () =>
    Effect.gen(function*() {
      const { run, signIn, statusOf } = yield* setup
      const script = yield* Script
      const token = yield* signIn("ada-secret")
      const { key } = yield* inside(token)
      assert.notInclude(Buffer.from(token, "base64url").toString("latin1"), "ada-secret")
      assert.notInclude(Buffer.from(token, "base64url").toString("latin1"), key)
      const { token: next } = yield* run(token, Effect.andThen(increment, UserSession.renew))
      yield* run(next, UserSession.destroy)
      yield* statusOf(next)
      // Hooks are called one after the other, beside the request.
      for (let i = 0; i < 20; i++) yield* TestClock.adjust(1)
      const seen = JSON.stringify([script.given, events])
      assert.include(seen, key)
      for (const secret of [token, next!, "\"cart\""]) assert.notInclude(seen, secret)
      assert.notInclude(JSON.stringify(events), key)
      assert.isAbove(events.length, 3)
    }).pipe(Effect.provide(CookieFixture.layer().pipe(Layer.provideMerge(recorded)))))
})

describe("revocation is complete", () => {
  it.effect("the epoch of a subject ends all its sessions, and nobody else's", () =>
    Effect.gen(function*() {
      const { signIn, statusOf } = yield* setup
      const list = yield* Revocations
      const mine = yield* Effect.forEach(Array.from({ length: 10 }), () => signIn("ada"), { concurrency: "unbounded" })
      const other = yield* signIn("bob")
      yield* list.revokeSubject("ada")
      for (const token of mine) assert.strictEqual(yield* statusOf(token), "anonymous")
      assert.strictEqual(yield* statusOf(other), "active")
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("sign-ins and an epoch in random order: before it none lives, after it all, within one millisecond", () =>
    Effect.gen(function*() {
      const { signIn, statusOf } = yield* setup
      const list = yield* Revocations
      for (let round = 0; round < 20; round++) {
        const tokens: Array<string> = []
        for (let i = 0; i < 10; i++) {
          if (i === round % 10) yield* list.revokeSubject("ada")
          tokens.push(yield* signIn("ada"))
        }
        const live = yield* Effect.forEach(tokens, (token) => Effect.map(statusOf(token), (is) => is === "active"))
        assert.deepStrictEqual(live, tokens.map((_, i) => i >= round % 10))
      }
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("a change of the password ends every session but the one that signs in again", () =>
    Effect.gen(function*() {
      const { dataOf, run, signIn, statusOf } = yield* setup
      const [here, there] = [yield* signIn("ada"), yield* signIn("ada")]
      const changed = yield* run(
        here,
        Effect.gen(function*() {
          yield* UserSession.get
          yield* Effect.flatMap(Revocations, ({ revokeSubject }) => revokeSubject("ada"))
          yield* loginAs("ada")
        })
      )
      assert.strictEqual(yield* statusOf(here), "anonymous")
      assert.strictEqual(yield* statusOf(there), "anonymous")
      assert.strictEqual((yield* dataOf(changed.token)).who, "ada")
      const { token: renewed } = yield* run(changed.token, UserSession.renew)
      assert.strictEqual(yield* statusOf(renewed), "active")
    }).pipe(Effect.provide(CookieFixture.layer())))
})

describe("what the client keeps cannot promise", () => {
  it.effect("compare-and-set across parallel responses: the last one wins and the other change is lost", () =>
    Effect.gen(function*() {
      const { dataOf, open, start } = yield* setup
      const token = yield* start
      const sessions = [open(token), open(token)]
      for (const session of sessions) yield* session.update((data) => ({ ...data, n: data.n + 1 }))
      const changes = yield* Effect.forEach(sessions, (session) => session.finish("success"))
      for (const change of changes) assert.strictEqual((yield* dataOf(issued(change))).n, 2)
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("exactly once: an earlier token of a live session shows what it held, flash messages included", () =>
    Effect.gen(function*() {
      const { run, start } = yield* setup
      const { token } = yield* run(yield* start, UserSession.flash.notice("saved"))
      for (let i = 0; i < 2; i++) {
        assert.deepStrictEqual((yield* run(token, UserSession.flash.get("notice"))).value, ["saved"])
      }
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("a grace window: a renewed id reads nothing, and using it is not reported as a theft", () =>
    Effect.gen(function*() {
      const { run, signIn, statusOf } = yield* setup
      const token = yield* signIn("ada")
      yield* TestClock.adjust("10 minutes")
      const { token: renewed } = yield* run(token, UserSession.get)
      assert.strictEqual(yield* statusOf(token), "anonymous")
      // A sign-out that was on its way with the old id leaves the new one.
      yield* run(token, UserSession.destroy)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* statusOf(token), "anonymous")
      assert.strictEqual(yield* statusOf(renewed), "active")
    }).pipe(Effect.provide(CookieFixture.layer({ renewalInterval: "10 minutes", renewalGrace: "30 seconds" }))))

  it.effect("a limit on concurrent sessions: it is refused when the application starts", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.provide(setup, CookieFixture.layer({ maxSessions: 1 })))
      assert.strictEqual(error._tag, "SessionConfigError")
    }))
})
