import { Revocations } from "@effect-session/core"
import { CookieChunks, SessionCookie } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as CookieMode from "./CookieModeApp.ts"
import * as App from "./SessionApp.ts"

const secrets = Redacted.make("Wq8-Zr5_Kt2.Hn7+Lm3*Pd6!Xc9?Vb4@")

/** Sessions of 5 minutes idle and 20 minutes in all, in one cookie and in three. */
const setUp = Effect.fnUntraced(function*(serve: CookieMode.Serve, size: number) {
  const list = yield* Revocations.makeMemory()
  const cookie = { chunks: size > 2000 ? 3 : 1 }
  const client = yield* serve(
    CookieMode.application({
      list,
      cookie: { maxToken: size > 2000 ? CookieChunks.capacity(SessionCookie.make(cookie)) : 4000 },
      transport: { cookie },
      config: {
        preset: "testing",
        secrets,
        idleTimeout: "5 minutes",
        lifetime: "20 minutes",
        sliding: true,
        persistent: true
      }
    })
  )
  /** Somebody who signs in and keeps a copy of every cookie. */
  const signIn = Effect.gen(function*() {
    const user = App.browser(client)
    const kept: Array<string> = []
    const send = (method: string, path: string) =>
      Effect.tap(user.send(method, path), () =>
        Effect.sync(() => {
          const header = user.cookie()
          if (header !== undefined && kept.at(-1) !== header) kept.push(header)
        }))
    yield* send("POST", "/login?as=ada")
    yield* send("POST", `/fill?size=${size}`)
    yield* send("POST", "/inc")
    assert.isAbove(kept.length, 2)
    return { user, kept, send }
  })
  /** Every copy finds nothing, for reading and for writing, and changes no cookie. */
  const areRefused = Effect.fnUntraced(function*(copies: ReadonlyArray<string>, why: string) {
    for (const cookie of copies) {
      const read = yield* client.send("GET", "/me", { headers: { cookie } })
      assert.strictEqual(read.status, 200, why)
      const { status, ...rest } = App.shown(read)
      assert.include(["anonymous", "expired"], status, why)
      assert.deepStrictEqual(rest, { subject: null, n: 0, note: "" }, why)
      assert.deepStrictEqual(read.setCookies, [], why)
      const written = App.shown(yield* client.send("POST", "/inc", { headers: { cookie } }))
      assert.deepStrictEqual([written.subject, written.n, written.note], [null, 1, ""], why)
    }
  })
  const isLive = (user: { readonly send: App.Client["send"] }) =>
    Effect.map(user.send("GET", "/me"), (answer) => App.shown(answer).subject === "ada")
  return { client, signIn, areRefused, isLive }
})

describe.each(
  Object.entries(App.transports).flatMap(([name, serve]) => [10, 6000].map((size) => ({ name, serve, size })))
)("a cookie kept, $name, $size characters", ({ serve, size }) => {
  it.effect("past its logout is refused", () =>
    Effect.gen(function*() {
      const { areRefused, isLive, signIn } = yield* setUp(serve, size)
      const { kept, send, user } = yield* signIn
      const other = yield* signIn
      yield* send("POST", "/logout")
      assert.strictEqual(user.jar.size, 0)
      yield* areRefused(kept, "logout")
      assert.isTrue(yield* isLive(other.user))
    }))

  it.effect("past the renewal of its id is refused", () =>
    Effect.gen(function*() {
      const { areRefused, isLive, signIn } = yield* setUp(serve, size)
      const { kept, user } = yield* signIn
      yield* user.send("POST", "/renew")
      yield* areRefused(kept, "renewal")
      assert.isTrue(yield* isLive(user))
    }))

  it.effect("past its idle limit is refused, whatever the browser was told", () =>
    Effect.gen(function*() {
      const { areRefused, isLive, signIn } = yield* setUp(serve, size)
      const { kept, user } = yield* signIn
      yield* TestClock.adjust("299 seconds")
      const copy = kept.at(-1)!
      // The copy itself is not extended by what its owner does.
      assert.isTrue(yield* isLive(user))
      assert.isTrue(user.cookie() !== copy)
      yield* TestClock.adjust("1 second")
      yield* areRefused(kept, "idle")
      assert.isTrue(yield* isLive(user))
    }))

  it.effect("past its absolute limit is refused, however active it was", () =>
    Effect.gen(function*() {
      const { areRefused, client, isLive, signIn } = yield* setUp(serve, size)
      const { kept, send, user } = yield* signIn
      for (let minute = 2; minute < 20; minute += 2) {
        yield* TestClock.adjust("2 minutes")
        yield* send("POST", "/inc")
        assert.isTrue(yield* isLive(user))
      }
      yield* TestClock.adjust("119 seconds")
      const last = { headers: { cookie: kept.at(-1)! } }
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", last)).subject, "ada")
      yield* TestClock.adjust("1 second")
      yield* areRefused(kept, "absolute")
    }))

  it.effect("past a change of the password is refused, on every device but the one that made it", () =>
    Effect.gen(function*() {
      const { areRefused, isLive, signIn } = yield* setUp(serve, size)
      const phone = yield* signIn
      const laptop = yield* signIn
      yield* laptop.user.send("POST", "/password")
      yield* areRefused([...phone.kept, ...laptop.kept], "password")
      assert.isFalse(yield* isLive(phone.user))
      assert.isTrue(yield* isLive(laptop.user))
    }))
})
