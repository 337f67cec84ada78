import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Exit, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as CookieStore from "../src/CookieStore.ts"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as Revocations from "../src/Revocations.ts"
import { SessionBackend } from "../src/SessionBackend.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as CookieFixture from "./CookieFixture.ts"
import { increment, issued, loginAs, reasonOf, secret, UserSession } from "./Fixture.ts"

const { inside, Script, setup } = CookieFixture
const minute = 60_000

describe("CookieStore: the token is the record", () => {
  it.effect("a session lives in its token, with all that a session can do", () =>
    Effect.gen(function*() {
      const { dataOf, run, start } = yield* setup
      const first = yield* start
      assert.deepStrictEqual(yield* dataOf(first), { n: 1, who: "guest", cart: [] })
      const { token, value } = yield* run(
        first,
        Effect.gen(function*() {
          yield* UserSession.update((data) => ({ ...data, cart: ["tea"] }))
          yield* loginAs("ada")
          yield* UserSession.flash.notice("hello")
          yield* UserSession.commit
          return yield* UserSession.info
        })
      )
      assert.strictEqual(value?.subject, "ada")
      assert.deepStrictEqual(yield* dataOf(token), { n: 0, who: "ada", cart: ["tea"] })
      const elevated = yield* run(
        token,
        Effect.gen(function*() {
          yield* UserSession.elevate("5 minutes")
          return yield* UserSession.flash.get("notice")
        })
      )
      assert.deepStrictEqual(elevated.value, ["hello"])
      const checked = yield* run(
        elevated.token,
        Effect.all([UserSession.isElevated, UserSession.flash.all, UserSession.isNew, UserSession.handle])
      )
      assert.deepStrictEqual(checked.value.slice(0, 3), [true, [], false])
      assert.isDefined(checked.value[3])
      const modified = yield* run(checked.token, UserSession.modify((data) => [data.who, { ...data, n: 7 }]))
      assert.strictEqual(modified.value, "ada")
      const reset = yield* run(modified.token, UserSession.reset)
      assert.deepStrictEqual(yield* dataOf(reset.token), { n: 0, who: "guest", cart: [] })
      const set = yield* run(reset.token, UserSession.set({ n: 3, who: "x", cart: [] }))
      assert.strictEqual((yield* dataOf(set.token)).n, 3)
      const again = yield* run(set.token, UserSession.reauthenticate)
      const ended = yield* run(again.token, Effect.andThen(UserSession.get, UserSession.destroy))
      assert.isUndefined(ended.token)
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("every write makes a new token of the next version; within a request the newest one counts", () =>
    Effect.gen(function*() {
      const { open, start } = yield* setup
      const token = yield* start
      const session = open(token)
      yield* session.update((data) => ({ ...data, n: 2 }))
      yield* session.commit
      const second = issued(session.tokenChange)
      yield* session.update((data) => ({ ...data, n: 3 }))
      const third = issued(yield* session.finish("success"))
      assert.strictEqual(new Set([token, second, third]).size, 3)
      const [a, b, c] = yield* Effect.all([inside(token), inside(second), inside(third)])
      assert.deepStrictEqual([a, b, c].map(({ record }) => record.version), [1, 2, 3])
      assert.strictEqual(new Set([a.key, b.key, c.key]).size, 1)
      assert.include(String(c.record.payload), "\"n\":3")
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("the time of the session is right after a write made it another token", () =>
    Effect.gen(function*() {
      const { open, start } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("10 minutes")
      const session = open(token)
      yield* session.update((data) => data.n === 1 ? { ...data, n: 2 } : data)
      yield* session.commit
      assert.strictEqual((yield* session.info)?.now, 10 * minute)
      assert.strictEqual((yield* session.info)?.idleExpiresAt, 40 * minute)
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("reading within the touch interval issues nothing and asks for no seal", () =>
    Effect.gen(function*() {
      const { open, start } = yield* setup
      const script = yield* Script
      const token = yield* start
      yield* TestClock.adjust("59 seconds")
      script.forget()
      const session = open(token)
      yield* session.get
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
      assert.strictEqual(script.seals, 0)
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("activity after the touch interval is in the next token: same version, same key, later idle deadline", () =>
    Effect.gen(function*() {
      const begin = Date.UTC(2026, 0, 1)
      yield* TestClock.setTime(begin)
      const { open, start, statusOf } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("20 minutes")
      const session = open(token)
      yield* session.get
      const next = issued(yield* session.finish("success"))
      const [before, after] = yield* Effect.all([inside(token), inside(next)])
      assert.deepStrictEqual(after, { ...before, record: { ...before.record, lastSeenAt: begin + 20 * minute } })
      assert.strictEqual(next.length, token.length)
      yield* TestClock.adjust("20 minutes")
      assert.strictEqual(yield* statusOf(token), "expired")
      assert.strictEqual(yield* statusOf(next), "active")
    }).pipe(Effect.provide(CookieFixture.layer({ list: { sweepInterval: "400 days" } }))))

  it.effect("a persistent session tells the client how long to keep each new token", () =>
    Effect.gen(function*() {
      const { open, start } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("20 minutes")
      const session = open(token)
      yield* session.get
      const change = yield* session.finish("success")
      assert.deepStrictEqual(change, {
        _tag: "Issue",
        token: issued(change),
        expiresIn: 24 * 60 * minute - 20 * minute
      })
    }).pipe(Effect.provide(CookieFixture.layer({ persistent: true }))))

  it.effect("a token holds the data and little more", () =>
    Effect.gen(function*() {
      const { signIn } = yield* setup
      const token = yield* signIn("user-4711")
      const { record } = yield* inside(token)
      assert.isAtMost(token.length - Math.ceil(record.payload.length * 4 / 3), 260)
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("a session that does not fit the longest token is refused with its size, and the old token stays", () =>
    Effect.gen(function*() {
      const { run, start, statusOf } = yield* setup
      const token = yield* start
      const grow = (length: number) => UserSession.update((data) => ({ ...data, who: "x".repeat(length) }))
      assert.strictEqual(yield* reasonOf(run(token, grow(3000))), "TooLarge")
      const fits = yield* run(token, grow(2000))
      assert.isAtMost(fits.token!.length, 4000)
      assert.strictEqual(yield* reasonOf(run(token, Effect.andThen(grow(3000), UserSession.renew))), "TooLarge")
      assert.strictEqual(yield* statusOf(token), "active")
      const error = yield* Effect.flip(run(undefined, grow(3000)))
      assert.include(error.message, "at most 4000")
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("octets stay octets and belong to the caller", () =>
    Effect.gen(function*() {
      const backend = yield* SessionBackend
      const payload = Uint8Array.of(10, 0, 255, 10)
      const stored = yield* backend.apply({
        _tag: "Create",
        record: { idleTimeout: minute, lifetime: minute, subject: undefined, format: 9, payload },
        limit: undefined
      })
      if (stored._tag !== "Stored") return assert.fail(stored._tag)
      payload[0] = 1
      for (let i = 0; i < 2; i++) {
        const found = yield* backend.load(stored.token)
        if (found._tag !== "Found" || found.lookup._tag !== "Live") return assert.fail("not live")
        const read = found.lookup.record.payload
        assert.deepStrictEqual(read, Uint8Array.of(10, 0, 255, 10))
        if (typeof read !== "string") read[0] = 7
      }
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("texts of any alphabet survive, in data and subject", () =>
    Effect.gen(function*() {
      const { run } = yield* setup
      const name = "\ufeffzürich\n\u0000東京\ud83d\ude00"
      const odd = `${name}\ud800`
      const { token } = yield* run(undefined, UserSession.login(name, (data) => ({ ...data, who: odd })))
      const { value } = yield* run(token, Effect.all([UserSession.subject, UserSession.get]))
      assert.strictEqual(value[0], name)
      assert.strictEqual(value[1].who, odd)
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("of the tokens that it issued only the last are kept, and an earlier one opens as before", () =>
    Effect.gen(function*() {
      const { dataOf, run, start } = yield* setup
      const script = yield* Script
      const first = yield* start
      let token = first
      for (let i = 0; i < 512; i++) token = (yield* run(token, increment)).token ?? token
      script.forget()
      assert.strictEqual((yield* dataOf(token)).n, 513)
      assert.strictEqual(script.opens, 0)
      for (let i = 0; i < 3; i++) assert.strictEqual((yield* dataOf(first)).n, 1)
      assert.strictEqual(script.opens, 1)
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("a token is opened once, and its issuer need not open it; without memory it is opened each time", () =>
    Effect.gen(function*() {
      const opensFor = (token: string) =>
        Effect.gen(function*() {
          const { dataOf } = yield* setup
          const script = yield* Script
          script.forget()
          for (let i = 0; i < 3; i++) assert.strictEqual((yield* dataOf(token)).n, 1)
          return script.opens
        })
      const elsewhere = (options?: CookieFixture.Options) => Effect.provide(Layer.fresh(CookieFixture.layer(options)))
      const token = yield* (yield* setup).start
      assert.strictEqual(yield* opensFor(token), 0)
      assert.strictEqual(yield* opensFor(token).pipe(elsewhere()), 1)
      assert.strictEqual(yield* opensFor(token).pipe(elsewhere({ cookie: { remembered: 0 } })), 3)
    }).pipe(Effect.provide(CookieFixture.layer())))
})

describe("CookieStore: secrets", () => {
  it.effect("a token under an old secret, or of another suite, opens and is sealed anew at its next write", () =>
    Effect.gen(function*() {
      const token = yield* Effect.flatMap(setup, ({ signIn }) => signIn("ada")).pipe(
        Effect.provide(Layer.fresh(CookieFixture.layer({ suite: "aes256CbcHmacSha256" })))
      )
      const newest = Redacted.make("Newest-8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1?")
      const next = yield* Effect.gen(function*() {
        const { dataOf, run } = yield* setup
        assert.strictEqual((yield* dataOf(token)).who, "ada")
        const { token: next } = yield* run(token, increment)
        yield* run(next, UserSession.destroy)
        // The key is the same under either secret: the list knows both tokens.
        assert.strictEqual((yield* dataOf(token)).who, "guest")
        return (yield* run(undefined, increment)).token!
      }).pipe(Effect.provide(Layer.fresh(CookieFixture.layer({ secrets: [newest, secret] }))))
      yield* Effect.gen(function*() {
        const { statusOf } = yield* setup
        assert.strictEqual(yield* statusOf(token), "invalid")
        assert.strictEqual(yield* statusOf(next), "active")
      }).pipe(Effect.provide(Layer.fresh(CookieFixture.layer({ secrets: newest }))))
    }))
})

describe("CookieStore: what must not be configured", () => {
  it.effect("a limit of sessions, and options out of range, stop the start with every problem", () =>
    Effect.gen(function*() {
      const build = (options: CookieFixture.Options) =>
        Effect.flip(Effect.provide(Effect.asVoid(SessionBackend), Layer.fresh(CookieFixture.layer(options))))
      const error = yield* build({ maxSessions: 3, cookie: { maxToken: 10, remembered: -1 } })
      if (!(error instanceof SessionConfig.SessionConfigError)) return assert.fail(String(error))
      assert.deepStrictEqual(error.problems.map((problem) => problem.split(":")[0]), [
        "maxSessions",
        "maxToken",
        "remembered"
      ])
      const anonymous = yield* Effect.flip(
        Effect.provide(Effect.asVoid(SessionBackend), Layer.fresh(CookieFixture.layerAnonymous({ maxSessions: 3 })))
      )
      assert.strictEqual(anonymous._tag, "SessionConfigError")
    }))

  it.effect("without a list anonymous sessions work, a sign-in is a defect that says what to provide", () =>
    Effect.gen(function*() {
      const { dataOf, run, start, statusOf } = yield* setup
      const token = yield* start
      assert.strictEqual((yield* dataOf(token)).n, 1)
      const renewed = yield* run(token, Effect.andThen(increment, UserSession.renew))
      assert.strictEqual((yield* dataOf(renewed.token)).n, 2)
      for (const from of [undefined, token]) {
        const exit = yield* Effect.exit(run(from, loginAs("ada")))
        assert.isTrue(Exit.isFailure(exit))
        if (Exit.isFailure(exit)) assert.include(JSON.stringify(exit.cause.reasons.map(String)), "Revocations")
      }
      assert.isUndefined((yield* run(token, UserSession.destroy)).token)
      const signedIn = yield* Effect.flatMap(setup, ({ signIn }) => signIn("ada")).pipe(
        Effect.provide(Layer.fresh(CookieFixture.layer()))
      )
      assert.strictEqual(yield* statusOf(signedIn), "anonymous")
    }).pipe(Effect.provide(CookieFixture.layerAnonymous())))

  it.effect("options can come from the configuration", () =>
    Effect.gen(function*() {
      const { start, statusOf } = yield* setup
      assert.strictEqual(yield* statusOf(yield* start), "active")
      const { start: refused } = yield* Effect.provide(setup, Layer.fresh(CookieFixture.layer()))
      assert.strictEqual(yield* statusOf(yield* refused), "invalid")
    }).pipe(
      Effect.provide(
        CookieStore.layerConfig({ place: Config.String("PLACE"), maxToken: Config.Int("MAX_TOKEN") }).pipe(
          Layer.provideMerge(Revocations.layerMemoryConfig({ capacity: Config.Int("CAPACITY") })),
          Layer.provideMerge(CryptoNode.layer),
          Layer.provideMerge(CookieFixture.config()),
          Layer.provide(
            ConfigProvider.layer(ConfigProvider.fromUnknown({ PLACE: "here", MAX_TOKEN: 1000, CAPACITY: 10 }))
          )
        )
      )
    ))
})
