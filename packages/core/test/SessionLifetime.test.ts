import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import * as SessionManager from "../src/SessionManager.ts"
import { down } from "./FaultyStore.ts"
import { increment, issued, layer, loginAs, setup, UserSession } from "./Fixture.ts"

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

describe("the idle deadline", () => {
  it.effect("may be recorded by the read itself, and is then not recorded twice", () =>
    Effect.gen(function*() {
      const { manager, start, store } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("2 minutes")
      store.next("load", (call) =>
        Effect.flatMap(call, (lookup) =>
          Effect.map(Clock.currentTimeMillis, (lastSeenAt) =>
            typeof lookup === "object" && lookup !== null && "record" in lookup && typeof lookup.record === "object"
              ? { ...lookup, touched: true, record: { ...lookup.record, lastSeenAt } }
              : lookup)))
      store.forget()
      for (const active of [true, false]) {
        const session = manager.open({ token, active })
        yield* session.get
        yield* session.finish("success")
      }
      assert.deepStrictEqual(store.calls.map(([method, , options]) => [method, options]), [
        ["load", { touchAfter: 60_000 }],
        ["load", undefined]
      ])
    }).pipe(Effect.provide(layer())))

  it.effect("ends a session to the millisecond", () =>
    Effect.gen(function*() {
      const { start, statusOf, stored } = yield* setup
      const token = yield* start
      yield* TestClock.adjust(30 * minute - 1)
      assert.strictEqual((yield* stored(token))?.version, 1)
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* statusOf(token), "expired")
      assert.isUndefined(yield* stored(token))
    }).pipe(Effect.provide(layer())))

  it.effect("is moved by activity", () =>
    Effect.gen(function*() {
      const { start, statusOf } = yield* setup
      const token = yield* start
      for (let i = 0; i < 5; i++) {
        yield* TestClock.adjust(30 * minute - 1)
        assert.strictEqual(yield* statusOf(token), "active")
      }
      yield* TestClock.adjust(30 * minute)
      assert.strictEqual(yield* statusOf(token), "expired")
    }).pipe(Effect.provide(layer())))

  it.effect("is not moved by reads or writes without sliding, but by an explicit touch", () =>
    Effect.gen(function*() {
      const { run, start, statusOf } = yield* setup
      const [read, written, touched] = [yield* start, yield* start, yield* start]
      yield* TestClock.adjust("20 minutes")
      yield* run(read, UserSession.get)
      yield* run(written, increment)
      yield* run(touched, UserSession.touch)
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* Effect.forEach([read, written, touched], statusOf), [
        "expired",
        "expired",
        "active"
      ])
    }).pipe(Effect.provide(layer({ sliding: false }))))

  it.effect("is not moved by requests that are no activity", () =>
    Effect.gen(function*() {
      const { start, statusOf, store } = yield* setup
      const manager = yield* SessionManager.make(UserSession)
      const token = yield* start
      for (let i = 0; i < 29; i++) {
        yield* TestClock.adjust("1 minute")
        const poll = manager.open({ token, active: false })
        yield* poll.get
        if (i === 10) yield* poll.update((data) => ({ ...data, n: 5 }))
        assert.deepStrictEqual(yield* poll.finish("success"), { _tag: "Keep" })
      }
      assert.strictEqual(store.count("touch"), 0)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* statusOf(token), "expired")
    }).pipe(Effect.provide(layer({ renewalInterval: "5 minutes" }))))
})

describe("the absolute deadline", () => {
  it.effect("ends a session that is kept alive, to the millisecond", () =>
    Effect.gen(function*() {
      const { start, statusOf } = yield* setup
      const token = yield* start
      for (let at = 0; at + 10_000 < hour; at += 10_000) {
        yield* TestClock.adjust(10_000)
        assert.strictEqual(yield* statusOf(token), "active")
      }
      yield* TestClock.adjust(9_999)
      assert.strictEqual(yield* statusOf(token), "active")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* statusOf(token), "expired")
    }).pipe(Effect.provide(layer({ lifetime: "1 hour" }))))

  it.effect("is not moved by writes", () =>
    Effect.gen(function*() {
      const { run, start, statusOf } = yield* setup
      const token = yield* start
      for (let i = 1; i < 60; i++) {
        yield* TestClock.adjust("1 minute")
        yield* run(token, increment)
      }
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* statusOf(token), "expired")
    }).pipe(Effect.provide(layer({ lifetime: "1 hour" }))))
})

describe("touch", () => {
  it.effect("is recorded at most once in the touch interval, exactly", () =>
    Effect.gen(function*() {
      const { start, statusOf, store } = yield* setup
      const token = yield* start
      yield* TestClock.adjust(minute - 1)
      yield* statusOf(token)
      assert.strictEqual(store.count("touch"), 0)
      yield* TestClock.adjust(1)
      yield* statusOf(token)
      assert.strictEqual(store.count("touch"), 1)
      yield* statusOf(token)
      yield* TestClock.adjust(minute - 1)
      yield* statusOf(token)
      assert.strictEqual(store.count("touch"), 1)
      yield* TestClock.adjust(1)
      yield* statusOf(token)
      assert.strictEqual(store.count("touch"), 2)
      assert.strictEqual(store.count("save", "renew"), 0)
    }).pipe(Effect.provide(layer())))

  it.effect("does not wait for the interval when it is asked for", () =>
    Effect.gen(function*() {
      const { run, start, store } = yield* setup
      const token = yield* start
      yield* TestClock.adjust(1)
      yield* run(token, UserSession.touch)
      assert.strictEqual(store.count("touch"), 1)
      assert.strictEqual((yield* run(token, UserSession.info)).value?.lastSeenAt, 1)
    }).pipe(Effect.provide(layer())))

  it.effect("takes nothing from the answer when the store fails", () =>
    Effect.gen(function*() {
      const { run, start, store } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("2 minutes")
      store.next("touch", down)
      const { value } = yield* run(token, UserSession.get)
      assert.strictEqual(value.n, 1)
      assert.strictEqual(store.count("touch"), 1)
    }).pipe(Effect.provide(layer())))
})

describe("the facts about a session", () => {
  it.effect("count down by the store's time", () =>
    Effect.gen(function*() {
      const { run, start } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("30 seconds")
      const { value } = yield* run(
        token,
        Effect.all({
          info: UserSession.info,
          expiresAt: UserSession.expiresAt,
          left: UserSession.timeUntilExpiry
        })
      )
      assert.deepStrictEqual(value.info, {
        createdAt: hour,
        authenticatedAt: undefined,
        lastSeenAt: hour,
        idleExpiresAt: hour + 30 * minute,
        absoluteExpiresAt: hour + day,
        subject: undefined,
        now: hour + 30_000
      })
      assert.strictEqual(value.expiresAt, hour + 30 * minute)
      assert.strictEqual(Duration.toMillis(value.left), 30 * minute - 30_000)
    }).pipe(Effect.provide(layer({}, hour))))

  it.effect("are the earlier of the two deadlines near the end", () =>
    Effect.gen(function*() {
      const { run, start } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("25 minutes")
      yield* run(token, UserSession.touch)
      assert.strictEqual((yield* run(token, UserSession.expiresAt)).value, 40 * minute)
    }).pipe(Effect.provide(layer({ lifetime: "40 minutes" }))))
})

describe("setLifetime", () => {
  it.effect("is stored with the session and outlives every other write", () =>
    Effect.gen(function*() {
      const { run, start, statusOf } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("1 minute")
      yield* run(token, UserSession.setLifetime({ idleTimeout: "2 hours", lifetime: "7 days" }))
      yield* run(token, increment)
      const { value } = yield* run(token, UserSession.info)
      assert.deepInclude(value, { idleExpiresAt: minute + 2 * hour, absoluteExpiresAt: minute + 7 * day })
      const renewed = yield* run(token, UserSession.renew)
      assert.deepInclude((yield* run(renewed.token, UserSession.info)).value, {
        idleExpiresAt: minute + 2 * hour,
        absoluteExpiresAt: minute + 7 * day
      })
      yield* TestClock.adjust(2 * hour - 1)
      assert.strictEqual(yield* statusOf(renewed.token), "active")
      yield* TestClock.adjust(2 * hour)
      assert.strictEqual(yield* statusOf(renewed.token), "expired")
    }).pipe(Effect.provide(layer())))

  it.effect("changes what it names and nothing else", () =>
    Effect.gen(function*() {
      const { run, start } = yield* setup
      const token = yield* start
      yield* TestClock.adjust("1 minute")
      yield* run(token, UserSession.setLifetime({ idleTimeout: "1 hour" }))
      assert.deepInclude((yield* run(token, UserSession.info)).value, {
        idleExpiresAt: minute + hour,
        absoluteExpiresAt: day
      })
    }).pipe(Effect.provide(layer())))

  it.effect("tells the client how long to keep a persistent session, and only that", () =>
    Effect.gen(function*() {
      const { open, start } = yield* setup
      const session = open(yield* start)
      yield* session.setLifetime({ persistent: true, lifetime: "7 days" })
      const change = yield* session.finish("success")
      assert.deepInclude(change, { _tag: "Issue", expiresIn: 7 * day })
      yield* TestClock.adjust("1 minute")
      const renewed = open(issued(change))
      yield* renewed.renew
      assert.deepInclude(yield* renewed.finish("success"), { _tag: "Issue", expiresIn: 7 * day - minute })
      const browser = open()
      yield* browser.login("ada")
      assert.deepInclude(yield* browser.finish("success"), { _tag: "Issue", expiresIn: undefined })
    }).pipe(Effect.provide(layer())))

  it.effect("keeps the token when it has to be told a new expiry", () =>
    Effect.gen(function*() {
      const { open, start } = yield* setup
      const token = yield* start
      const session = open(token)
      yield* session.setLifetime({ persistent: true })
      assert.strictEqual(issued(yield* session.finish("success")), token)
      const later = open(token)
      yield* later.update((data) => ({ ...data, n: 9 }))
      assert.deepStrictEqual(yield* later.finish("success"), { _tag: "Keep" })
    }).pipe(Effect.provide(layer())))

  it.effect("may come before the sign-in it is for", () =>
    Effect.gen(function*() {
      const { open } = yield* setup
      const session = open()
      yield* session.setLifetime({ persistent: true, lifetime: "30 days" })
      yield* session.login("ada")
      assert.deepInclude(yield* session.finish("success"), { _tag: "Issue", expiresIn: 30 * day })
    }).pipe(Effect.provide(layer())))

  it.effect("is refused for no time at all, and for too long", () =>
    Effect.gen(function*() {
      const { run, start } = yield* setup
      const token = yield* start
      for (const duration of [0, -1, "401 days", Infinity] as const) {
        for (const options of [{ idleTimeout: duration }, { lifetime: duration }]) {
          assert.strictEqual((yield* Effect.exit(run(token, UserSession.setLifetime(options))))._tag, "Failure")
        }
      }
    }).pipe(Effect.provide(layer())))
})

describe("a store whose clock is not the process's", () => {
  for (const skew of [-5 * minute, 5 * minute, 3 * hour]) {
    it.effect(`changes no lifetime when it is ${skew / minute} minutes off`, () =>
      Effect.gen(function*() {
        yield* TestClock.adjust(day)
        const { open, run, statusOf } = yield* setup
        const session = open()
        yield* session.login("ada")
        yield* session.commit
        // Facts of a session that was just created, by a process that never read the store's time.
        assert.strictEqual(Duration.toMillis(yield* session.timeUntilExpiry), 30 * minute)
        const change = yield* session.finish("success")
        assert.deepInclude(change, { _tag: "Issue", expiresIn: day })
        const token = issued(change)
        const raised = yield* run(token, UserSession.elevate("5 minutes"))
        yield* TestClock.adjust(5 * minute - 1)
        assert.isTrue((yield* run(raised.token, UserSession.isElevated)).value)
        yield* TestClock.adjust(1)
        assert.isFalse((yield* run(raised.token, UserSession.isElevated)).value)
        yield* TestClock.adjust(25 * minute - 2)
        assert.strictEqual(yield* statusOf(raised.token), "active")
        yield* TestClock.adjust(30 * minute)
        assert.strictEqual(yield* statusOf(raised.token), "expired")
      }).pipe(Effect.provide(layer({ persistent: true }, skew))))
  }

  it.effect("touches and renews by the store's time", () =>
    Effect.gen(function*() {
      const { run, statusOf, store } = yield* setup
      const { token } = yield* run(undefined, loginAs("ada"))
      yield* TestClock.adjust(minute - 1)
      yield* statusOf(token)
      assert.strictEqual(store.count("touch"), 0)
      yield* TestClock.adjust(1)
      yield* statusOf(token)
      assert.strictEqual(store.count("touch"), 1)
      yield* TestClock.adjust(9 * minute - 1)
      yield* statusOf(token)
      assert.strictEqual(store.count("renew"), 0)
      yield* TestClock.adjust(1)
      yield* statusOf(token)
      assert.strictEqual(store.count("renew"), 1)
    }).pipe(Effect.provide(layer({ renewalInterval: "10 minutes" }, 2 * hour))))
})
