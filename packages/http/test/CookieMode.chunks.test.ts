import { Revocations, type SessionError } from "@effect-session/core"
import { CookieChunks, SessionCookie, SessionMiddleware } from "@effect-session/http"
import { TestClient } from "@effect-session/http/testing"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Effect, Exit, Layer, Logger, Redacted } from "effect"
import { HttpRouter } from "effect/http"
import * as CookieMode from "./CookieModeApp.ts"
import * as App from "./SessionApp.ts"

const secrets = Redacted.make("Wq8-Zr5_Kt2.Hn7+Lm3*Pd6!Xc9?Vb4@")
const config = { preset: "testing", secrets } as const
const host = { name: "__Host-session", secure: true }
const three = SessionCookie.make({ ...host, chunks: 3 })
const maxToken = CookieChunks.capacity(three)

/** An application whose sessions may fill `chunks` cookies. */
const inChunks = (chunks: number, options: CookieMode.Options = {}) => {
  const cookie = { ...host, chunks }
  return CookieMode.application({
    config,
    cookie: { maxToken: Math.min(CookieChunks.capacity(SessionCookie.make(cookie)), chunks === 1 ? 4000 : Infinity) },
    ...options,
    transport: { cookie, ...options.transport }
  })
}

type Browser = ReturnType<typeof App.browser>

const fill = (user: Browser, size: number) => user.send("POST", `/fill?size=${size}`)
const sizeOf = (user: Browser) => Effect.map(user.send("GET", "/me"), (answer) => App.shown(answer).note.length)
const namesIn = (header: string | undefined) =>
  (header ?? "").split("; ").map((pair) => pair.slice(0, pair.indexOf("="))).toSorted()

const names = (count: number) => ["", ".1", ".2", ".3"].slice(0, count).map((suffix) => `__Host-session${suffix}`)

describe.each(Object.entries(App.transports))("cookie mode in chunks, %s", (_name, serve) => {
  it.effect("a session grows and shrinks over one, two and three cookies, and leaves none behind", () =>
    Effect.gen(function*() {
      const user = App.browser(yield* serve(inChunks(3)))
      const sizes = [1, 2500, 3000, 5000, 6000, 8000, 5000, 2800, 8100, 1, 8000, 0]
      for (const size of sizes) {
        const answer = yield* fill(user, size)
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(yield* sizeOf(user), size)
        const token = CookieChunks.read(three, user.cookie())
        assert.isString(token)
        const count = CookieChunks.set(three, String(token)).length
        assert.deepStrictEqual(namesIn(user.cookie()), names(count))
        assert.strictEqual(answer.header("cache-control"), "no-store")
      }
      yield* fill(user, 8000)
      assert.strictEqual(user.jar.size, 3)
      const left = yield* user.send("POST", "/logout")
      assert.strictEqual(left.setCookies.length, 3)
      assert.strictEqual(user.jar.size, 0)
    }))

  it.effect("every size around a boundary comes back, up to the last octet, and the next one is a 413 that changes nothing", () =>
    Effect.gen(function*() {
      const errors: Array<SessionError.SessionError> = []
      const onError = (error: SessionError.SessionError) => {
        errors.push(error)
        return SessionMiddleware.toResponse(error)
      }
      const user = App.browser(yield* serve(inChunks(3, { transport: { onError } })))
      const seen = new Set<number>()
      let last = 0
      let size = 2700
      while (errors.length === 0) {
        const before = user.cookie()
        const answer = yield* fill(user, size)
        if (answer.status === 200) {
          const token = String(CookieChunks.read(three, user.cookie()))
          seen.add(user.jar.size)
          assert.isAtMost(token.length, maxToken)
          assert.strictEqual(yield* sizeOf(user), size)
          last = token.length
          // By octets next to a boundary, in leaps between two.
          const next = [4082, 2 * 3826, maxToken].find((boundary) => token.length <= boundary + 1) ?? maxToken
          size += Math.max(1, Math.floor((next - token.length - 8) * 3 / 4))
        } else {
          assert.deepStrictEqual([answer.status, answer.setCookies, answer.body], [413, [], ""])
          assert.strictEqual(user.cookie(), before)
          assert.strictEqual(yield* sizeOf(user), size - 1)
        }
      }
      assert.deepStrictEqual([...seen].toSorted(), [1, 2, 3])
      assert.isAbove(last, maxToken - 3)
      const [{ reason }] = errors
      assert.strictEqual(reason._tag, "TooLarge")
      if (reason._tag !== "TooLarge") return
      assert.strictEqual(reason.maximum, maxToken)
      assert.isAbove(reason.actual, maxToken)
      assert.isBelow(reason.actual, maxToken + 4)
      assert.include(reason.message, String(reason.actual))
    }))

  it.effect("a sign-in that does not fit leaves the session as it was", () =>
    Effect.gen(function*() {
      const user = App.browser(yield* serve(inChunks(2)))
      yield* fill(user, 5000)
      const before = user.cookie()
      // The note goes along, and so does a subject of 600 octets.
      const answer = yield* user.send("POST", `/login?as=${"a".repeat(800)}`)
      assert.deepStrictEqual([answer.status, answer.setCookies], [413, []])
      assert.strictEqual(user.cookie(), before)
      assert.strictEqual(yield* sizeOf(user), 5000)
    }))

  it.effect("a set with a gap, a stranger or a change is no session: one dull answer, and no cookie is touched", () =>
    Effect.gen(function*() {
      const client = yield* serve(inChunks(3))
      const [ada, eve] = [App.browser(client), App.browser(client)]
      yield* fill(ada, 7000)
      yield* fill(eve, 7000)
      const parts = (user: Browser) =>
        user.cookie()!.replaceAll("=", " ").split("; ").toSorted().map((pair) => pair.replace(" ", "="))
      const [a, b, c] = parts(ada)
      const [x, y, z] = parts(eve)
      const valueOf = (pair: string) => pair.slice(pair.indexOf("=") + 1)
      const flip = (pair: string, at: number) => pair.slice(0, at) + (pair[at] === "A" ? "B" : "A") + pair.slice(at + 1)
      const get = (cookies: ReadonlyArray<string>) =>
        client.send("GET", "/me", { headers: { cookie: cookies.join("; ") } })
      assert.strictEqual(App.shown(yield* get([c, a, b])).note.length, 7000)
      const sets = [
        [a],
        [a, b],
        [a, c],
        [a, b, z],
        [a, y, c],
        [x, b, c],
        [a, b, b, c],
        [a, b, c, c],
        [a, a, b, c],
        [a, b, y, c],
        [a, b, c, z],
        [a, b.replace(".1=", ".2="), c.replace(".2=", ".1=")],
        [a.replace("=3.", "=2."), b],
        [a.replace("=3.", "=2."), b, c],
        [a.replace("=3.", "="), b, c],
        [`__Host-session=3.${valueOf(b)}`, `__Host-session.1=${valueOf(a).slice(2)}`, c],
        [a.slice(0, -1), b, c],
        [a, b, c.slice(0, -1)],
        [a, b, `${c}A`],
        [a, `__Host-session.1=`, c],
        [flip(a, 40), b, c],
        [a, flip(b, 2000), c],
        [a, b, flip(c, c.length - 3)],
        [a, ...Array.from({ length: 400 }, (_, i) => `__Host-session.${i + 1}=x`)],
        [`__Host-session=9.${valueOf(a).slice(2)}`, b, c]
      ]
      for (const [i, set] of sets.entries()) {
        const answer = yield* get(set)
        assert.strictEqual(answer.status, 200, `set ${i}`)
        assert.strictEqual(answer.body, "{\"status\":\"invalid\",\"subject\":null,\"n\":0,\"note\":\"\"}", `set ${i}`)
        assert.deepStrictEqual(answer.setCookies, [], `set ${i}`)
      }
      // Without the first part there is nothing at all.
      assert.strictEqual(App.shown(yield* get([b, c])).status, "anonymous")
      // What is beyond the number of parts harms nobody, and goes with the next write.
      const strayed = [a, b, c, "__Host-session.5=x", "__Host-session.99=x"]
      assert.strictEqual(App.shown(yield* get(strayed)).note.length, 7000)
      const written = yield* client.send("POST", "/inc", { headers: { cookie: strayed.join("; ") } })
      assert.sameDeepMembers(
        written.setCookies.map((line) => [line.slice(0, line.indexOf("=")), line.includes("Max-Age=0")]),
        [...names(3).map((name) => [name, false]), ["__Host-session.5", true]]
      )
    }))

  it.effect("two sessions side by side have their own parts, also where one of them does not fit", () =>
    Effect.gen(function*() {
      const draft = { cookie: { name: "__Host-draft", secure: true, chunks: 2 } }
      const options = { config, cookie: { maxToken: 7000 }, transport: { cookie: { ...host, chunks: 2 } }, draft }
      const client = yield* serve(CookieMode.twoSessions(options))
      const user = App.browser(client)
      const both = (u: number, d: number) => user.send("POST", `/both?user=${u}&draft=${d}`)
      const look = Effect.map(user.send("GET", "/both"), ({ body }) => body)
      const steps: ReadonlyArray<readonly [number, number, number]> = [[10, 10, 2], [4500, 10, 3], [4500, 4500, 4], [
        10,
        4500,
        3
      ], [1, 1, 2]]
      for (const [u, d, cookies] of steps) {
        const answer = yield* both(u, d)
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(user.jar.size, cookies)
        assert.strictEqual(yield* look, `[${u},${d}]`)
      }
      // The one that was committed first is delivered whole, with the refusal of the other.
      yield* both(4500, 4500)
      for (const [u, d] of [[4600, 6000], [6000, 4600]]) {
        const answer = yield* both(u, d)
        assert.strictEqual(answer.status, 413)
        assert.include(["[4600,4500]", "[4500,4500]", "[4500,4600]", "[4600,4600]"], yield* look)
        assert.include([0, 2], answer.setCookies.length)
        assert.strictEqual(user.jar.size, 4)
      }
      yield* user.send("POST", "/leave")
      assert.deepStrictEqual(namesIn(user.cookie()), ["__Host-draft", "__Host-draft.1"])
      assert.match(yield* look, /^\[0,4[56]00\]$/)
      // Parts of one session are nothing to the other.
      const crossed = user.cookie()!.replaceAll("__Host-draft", "__Host-session")
      const seen = yield* client.send("GET", "/both", { headers: { cookie: crossed } })
      assert.strictEqual(seen.body, "[0,0]")
    }))

  it.effect("a deployment from one cookie to several and back loses only what no longer fits", () =>
    Effect.gen(function*() {
      const one = yield* serve(inChunks(1))
      const readable = yield* serve(inChunks(3, { cookie: { maxToken: 4000 } }))
      const several = yield* serve(inChunks(3))
      let target = one
      const user = App.browser({ port: undefined, send: (...request) => target.send(...request) })
      yield* fill(user, 2000)
      // First every process can read parts, then they are written: no request meets one that cannot.
      for (const next of [readable, one, readable, several, readable, several]) {
        target = next
        assert.strictEqual(yield* sizeOf(user), 2000)
        yield* fill(user, 2000)
      }
      yield* fill(user, 6000)
      assert.strictEqual(user.jar.size, 3)
      // Back: what needs parts is no session there, and it is not deleted because of that.
      for (const back of [readable, one]) {
        target = back
        const answer = yield* user.send("GET", "/me")
        assert.deepStrictEqual([App.shown(answer).status, answer.setCookies], ["invalid", []])
        target = several
        assert.strictEqual(yield* sizeOf(user), 6000)
      }
      // The next write there begins anew and takes the parts along.
      target = one
      assert.strictEqual(App.shown(yield* user.send("POST", "/inc")).n, 1)
      assert.deepStrictEqual(namesIn(user.cookie()), names(1))
      target = several
      assert.strictEqual(App.shown(yield* user.send("GET", "/me")).n, 1)
    }))
})

describe("cookie mode in chunks", () => {
  it.effect("does not start where the cookie cannot carry the longest token", () =>
    Effect.gen(function*() {
      const starts = (chunks: number | undefined, maxToken: number | undefined, name = "__Host-session") =>
        SessionMiddleware.make(App.UserSession, { cookie: { ...host, name, chunks } }).pipe(
          Effect.provide(CookieMode.backend({ config, cookie: { maxToken } })),
          Effect.exit
        )
      const fits: ReadonlyArray<Parameters<typeof starts>> = [[undefined, undefined], [1, 4082], [2, 7652], [
        3,
        maxToken
      ], [8, 30_608]]
      for (const given of fits) {
        assert.isTrue(Exit.isSuccess(yield* starts(...given)), String(given))
      }
      const refused: ReadonlyArray<Parameters<typeof starts>> = [
        [undefined, 4083],
        [1, 4083],
        [2, 7653],
        [3, maxToken + 1],
        [undefined, undefined, `__Host-${"n".repeat(90)}`]
      ]
      for (const given of refused) {
        const exit = yield* starts(...given)
        assert.isTrue(Exit.isFailure(exit), String(given))
        if (Exit.isFailure(exit)) {
          assert.match(Cause.pretty(exit.cause), /chunks: the cookie carries tokens of at most \d+/)
        }
      }
    }))

  it.effect("a test client starts, sends and inspects sessions in parts", () =>
    Effect.gen(function*() {
      const list = yield* Revocations.makeMemory()
      const options = { config, list, cookie: { maxToken: 7000 } }
      const { dispose, handler } = HttpRouter.toWebHandler(
        inChunks(2, options).pipe(
          Layer.provideMerge(Layer.merge(Logger.layer([]), Layer.succeed(Clock.Clock, yield* Clock.Clock)))
        ),
        { disableLogger: true }
      )
      yield* Effect.addFinalizer(() => Effect.promise(dispose))
      const client = TestClient.make(App.UserSession, handler, { cookieName: "__Host-session" })
      yield* Effect.gen(function*() {
        for (const size of [4500, 10]) {
          yield* client.start({ subject: "ada", data: { n: 1, note: "x".repeat(size) } })
          assert.strictEqual(client.cookies.size, size > 3000 ? 2 : 1)
          yield* client.post("/inc")
          const { data, status, subject } = yield* client.session
          assert.deepStrictEqual([data.n, data.note.length, status, subject], [2, size, "active", "ada"])
        }
      }).pipe(Effect.provide(CookieMode.backend(options)))
    }))

  it.effect("three parts fit the 16 KiB of headers that Node takes by default, five do not", () =>
    Effect.gen(function*() {
      const client = yield* App.transports["Node server"](inChunks(5))
      const user = App.browser(client)
      yield* fill(user, 8100)
      assert.strictEqual(yield* sizeOf(user), 8100)
      assert.strictEqual(user.jar.size, 3)
      const five = SessionCookie.make({ ...host, chunks: 5 })
      const pairs = CookieChunks.set(five, "x".repeat(CookieChunks.capacity(five))).map((line) => line.split(";")[0])
      const answer = yield* client.send("GET", "/me", { headers: { cookie: pairs.join("; ") } })
      assert.strictEqual(answer.status, 431)
    }))
})
