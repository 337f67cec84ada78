/** An old application and ours, each on a port of its own, and one browser that knows both. */
import { IronSession, type LegacySession } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as Net from "node:net"
import { CookieJar } from "./CookieJar.ts"
import * as Legacy from "./LegacyApp.ts"
import * as Old from "./OldApplications.ts"
import * as App from "./SessionApp.ts"

/** A browser that has the cookies of one host, whichever port it asks. */
const browser = () => {
  const jar = new CookieJar()
  const place = { host: "127.0.0.1", path: "/", secure: true, topLevelSite: "https://127.0.0.1" }
  const ask = (port: number, path: string, method = "GET") =>
    Effect.promise(async () => {
      const cookie = jar.header(place, Date.now())
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        method,
        headers: cookie === undefined ? {} : { cookie }
      })
      for (const line of response.headers.getSetCookie()) jar.setCookie(line, place, Date.now())
      const body = await response.text()
      return { status: response.status, user: body === "" ? undefined : JSON.parse(body) }
    })
  return { jar, ask, names: () => (jar.header(place, Date.now()) ?? "").split("; ").map((pair) => pair.split("=")[0]) }
}

const newApplication = Effect.fnUntraced(function*(reader: LegacySession.Reader) {
  yield* TestClock.setTime(Date.now())
  const deadline = new Date(Date.now() + 86_400_000)
  const { port } = yield* App.transports["Node server"](
    Legacy.application(yield* App.makeStore(), reader, { deadline })
  )
  return port!
})

const signedIn = { status: "active", subject: "ada", n: 41, note: "moved" }

describe("users stay signed in across a switch", () => {
  it.effect("from express-session, while both applications run, until they sign out of both", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      const before = yield* Old.expressApplication(old)
      const after = yield* newApplication(yield* Legacy.expressReader(old))
      const { ask, names } = browser()
      yield* ask(before, "/login")
      assert.deepStrictEqual((yield* ask(after, "/me")).user, signedIn)
      // Back and forth, as a load balancer would send them.
      assert.deepStrictEqual((yield* ask(before, "/")).user, { user: "ada" })
      assert.strictEqual((yield* ask(after, "/inc", "POST")).user.n, 42)
      assert.deepStrictEqual((yield* ask(before, "/")).user, { user: "ada" })
      assert.strictEqual((yield* ask(after, "/me")).user.n, 42)
      assert.deepStrictEqual(names().toSorted(), ["connect.sid", "session"])

      yield* ask(after, "/logout", "POST")
      assert.deepStrictEqual(names(), [""])
      assert.deepStrictEqual((yield* ask(before, "/")).user, { user: null })
      assert.strictEqual((yield* ask(after, "/me")).user.subject, null)
    }))

  it.effect("from express-session, and a copy of the old cookie brings nobody back", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      const before = yield* Old.expressApplication(old)
      const after = yield* newApplication(yield* Legacy.expressReader(old))
      const user = browser()
      const thief = browser()
      yield* user.ask(before, "/login")
      const place = { host: "127.0.0.1", path: "/", secure: true, topLevelSite: "https://127.0.0.1" }
      thief.jar.setCookie(`${user.jar.header(place, Date.now())}; Path=/`, place, Date.now())
      assert.deepStrictEqual((yield* user.ask(after, "/me")).user, signedIn)
      assert.strictEqual((yield* thief.ask(after, "/me")).user.subject, null)
      yield* user.ask(after, "/logout", "POST")
      assert.strictEqual((yield* thief.ask(after, "/me")).user.subject, null)
      assert.strictEqual((yield* thief.ask(before, "/")).user.user, null)
    }))

  it.effect("from iron-session, until they sign out", () =>
    Effect.gen(function*() {
      const before = yield* Old.ironApplication
      const reader = yield* IronSession.make({
        password: Redacted.make(Old.ironOptions.password),
        cookie: { name: Old.ironOptions.cookieName }
      })
      const after = yield* newApplication(reader)
      const { ask, names } = browser()
      yield* ask(before, "/login")
      assert.deepStrictEqual((yield* ask(after, "/me")).user, signedIn)
      assert.deepStrictEqual((yield* ask(before, "/")).user, { user: "ada" })
      assert.deepStrictEqual((yield* ask(after, "/me")).user, signedIn)
      yield* ask(after, "/logout", "POST")
      assert.deepStrictEqual(names(), [""])
      assert.deepStrictEqual((yield* ask(before, "/")).user, { user: null })
    }))
})

describe("raw requests", () => {
  const raw = (port: number, cookie: Buffer) =>
    Effect.promise(async () => {
      const socket = Net.connect(port, "127.0.0.1")
      socket.end(Buffer.concat([
        Buffer.from("GET /me HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: "),
        cookie,
        Buffer.from("\r\n\r\n")
      ]))
      let answer = ""
      for await (const chunk of socket) answer += String(chunk)
      return Number(answer.slice(9, 12))
    })

  it.effect("with any octets in the old cookie never get a 5xx", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      const after = yield* newApplication(yield* Legacy.expressReader(old))
      const iron = yield* newApplication(
        yield* IronSession.make({ password: Redacted.make(Old.ironOptions.password), cookie: { name: "app" } })
      )
      const values = [
        "",
        "=",
        "s%3A",
        "s:a.b",
        "%ff%fe",
        "\x80\xff",
        "Fe26.2*1*a*b*c**d*e",
        "Fe26.2*1*\xff*b*c**d*e",
        "*".repeat(8000),
        `s:${"a".repeat(6000)}.${"A".repeat(43)}`,
        "\t s:x.y \t",
        "__proto__"
      ]
      for (const value of values) {
        for (const [port, name] of [[after, "connect.sid"], [iron, "app"], [iron, "app.0"]] as const) {
          const status = yield* raw(port, Buffer.from(`${name}=${value}`, "latin1"))
          assert.strictEqual(status, 200, `${name}=${value.slice(0, 40)}`)
        }
      }
      assert.strictEqual(old.reads, 0)
    }))
})
