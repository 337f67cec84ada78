/** Old sessions move in behind every adapter; the old applications are the real packages. */
import { IronSession, LegacySession } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { getIronSession } from "iron-session"
import * as Http from "node:http"
import * as Adapters from "./AdapterApp.ts"
import { CookieJar } from "./CookieJar.ts"
import * as Legacy from "./LegacyApp.ts"
import * as Old from "./OldApplications.ts"
import * as App from "./SessionApp.ts"

const { shown } = App
const signedIn = { status: "active", subject: "ada", n: 41, note: "moved" }
const nobody = { status: "anonymous", subject: null, n: 0, note: "" }

/** One browser, which has the cookies of one host whichever application it asks. */
const browser = () => {
  const jar = new CookieJar()
  const place = { host: "app.test", path: "/", secure: true, topLevelSite: "https://app.test" }
  const header = () => jar.header(place, Date.now())
  const ask = Effect.fnUntraced(function*(client: App.Client, path: string, method = "GET") {
    const cookie = header()
    const answer = yield* client.send(method, path, { headers: cookie === undefined ? {} : { cookie } })
    for (const line of answer.setCookies) jar.setCookie(line, place, Date.now())
    return answer
  })
  return {
    ask,
    give: (line: string) => jar.setCookie(line, place, Date.now()),
    header,
    names: () => (header() ?? "").split("; ").map((pair) => pair.split("=")[0]).toSorted()
  }
}

const moving = (reader: LegacySession.Reader, options: Partial<LegacySession.Options<Legacy.Data>> = {}) =>
  LegacySession.layer(App.UserSession, {
    sources: [{ reader, map: Legacy.arrive }],
    deadline: new Date(Date.now() + 86_400_000),
    ...options
  })

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
const distances = { "a store in memory": Effect.void, "a store far away": turn } as const

const cases = Object.entries(Adapters.servers).flatMap(([name, serve]) =>
  Object.entries(distances).map(([distance, pause]) => ({ name: `${name}, ${distance}`, serve, pause }))
)

describe.each(cases)("old sessions move in behind $name", ({ pause, serve }) => {
  const begin = Effect.fnUntraced(function*(
    reader: LegacySession.Reader,
    options?: Partial<LegacySession.Options<Legacy.Data>>,
    routes: Adapters.Routes = Adapters.routes
  ) {
    yield* TestClock.setTime(Date.now())
    const store = yield* App.makeStore()
    store.before = () => pause
    const client = yield* serve(routes, store, { moving: moving(reader, options) })
    return { client, store }
  })

  it.effect("users of express-session stay signed in, while both applications run, until they sign out of both", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      const before = yield* App.connect(yield* Old.expressApplication(old))
      const { client: after } = yield* begin(yield* Legacy.expressReader(old))
      const user = browser()
      const thief = browser()
      yield* user.ask(before, "/login")
      thief.give(`${user.header()}; Path=/`)
      assert.deepStrictEqual(shown(yield* user.ask(after, "/me")), signedIn)
      // Back and forth, as a load balancer would send them.
      assert.strictEqual((yield* user.ask(before, "/")).body, "{\"user\":\"ada\"}")
      assert.strictEqual(shown(yield* user.ask(after, "/inc", "POST")).n, 42)
      assert.strictEqual((yield* user.ask(before, "/")).body, "{\"user\":\"ada\"}")
      assert.strictEqual(shown(yield* user.ask(after, "/me")).n, 42)
      assert.deepStrictEqual(user.names(), ["connect.sid", "session"])
      assert.deepStrictEqual(shown(yield* thief.ask(after, "/me")), nobody)

      assert.strictEqual((yield* user.ask(after, "/logout", "POST")).status, 204)
      assert.deepStrictEqual(user.names(), [""])
      assert.strictEqual((yield* user.ask(before, "/")).body, "{\"user\":null}")
      assert.deepStrictEqual(shown(yield* user.ask(after, "/me")), nobody)
      assert.strictEqual((yield* thief.ask(before, "/")).body, "{\"user\":null}")
      assert.deepStrictEqual(shown(yield* thief.ask(after, "/me")), nobody)
    }))

  it.effect("users of iron-session stay signed in, until they sign out", () =>
    Effect.gen(function*() {
      const before = yield* App.connect(yield* Old.ironApplication)
      const { cookieName, password } = Old.ironOptions
      const { client: after } = yield* begin(
        yield* IronSession.make({ password: Redacted.make(password), cookie: { name: cookieName } })
      )
      const user = browser()
      yield* user.ask(before, "/login")
      const seal = user.header()
      assert.deepStrictEqual(shown(yield* user.ask(after, "/me")), signedIn)
      assert.strictEqual((yield* user.ask(before, "/")).body, "{\"user\":\"ada\"}")
      assert.deepStrictEqual(shown(yield* user.ask(after, "/me")), signedIn)
      assert.strictEqual((yield* user.ask(after, "/logout", "POST")).status, 204)
      assert.deepStrictEqual(user.names(), [""])
      assert.strictEqual((yield* user.ask(before, "/")).body, "{\"user\":null}")
      user.give(`${seal}; Path=/`)
      assert.deepStrictEqual(shown(yield* user.ask(after, "/me")), nobody)
    }))

  it.effect("an old session is taken over by what uses the session, once", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      old.entries.set("sess:ada-1", Legacy.expressRecord({ user: "ada", n: 41 }))
      const { client, store } = yield* begin(yield* Legacy.expressReader(old))
      const headers = { cookie: Legacy.expressCookie("ada-1") }
      const plain = yield* client.send("GET", "/plain", { headers })
      assert.deepStrictEqual([plain.setCookies, plain.header("vary"), old.reads, store.calls], [[], undefined, 0, []])
      const answers = yield* Effect.all(Array.from({ length: 5 }, () => client.send("GET", "/me", { headers })), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(answers.map((answer) => shown(answer).subject).toSorted(), ["ada", null, null, null, null])
      const moved = answers.filter(({ setCookies }) => setCookies.length > 0)
      assert.strictEqual(moved.length, 1)
      assert.deepStrictEqual([moved[0].header("vary"), moved[0].header("cache-control")], ["Cookie", "no-store"])
    }))

  it.effect("a route that may not write takes nothing over, and the next one does", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      old.entries.set("sess:ada-1", Legacy.expressRecord({ user: "ada", n: 41 }))
      const { client, store } = yield* begin(yield* Legacy.expressReader(old), {}, {
        ...Adapters.routes,
        "/read": async (_session, _query, { reader }) => ({ body: await reader({ access: "read" }).status() })
      })
      const headers = { cookie: Legacy.expressCookie("ada-1") }
      const answer = yield* client.send("GET", "/read", { headers })
      assert.deepStrictEqual([answer.body, answer.setCookies, store.calls], ["anonymous", [], []])
      assert.deepStrictEqual(shown(yield* client.send("GET", "/me", { headers })), signedIn)
    }))

  it.effect("outages are neither sign-outs nor lost sessions", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      old.entries.set("sess:ada-1", Legacy.expressRecord({ user: "ada", n: 41 }))
      const { client, store } = yield* begin(yield* Legacy.expressReader(old))
      const cookie = Legacy.expressCookie("ada-1")
      const ask = (path: string, header = cookie) => client.send("GET", path, { headers: { cookie: header } })
      const refused = function*(path: string, header?: string) {
        const answer = yield* ask(path, header)
        assert.deepStrictEqual([answer.status, answer.setCookies.length], [503, 0], path)
        assert.strictEqual(answer.header("retry-after"), "1")
      }
      old.down = true
      assert.strictEqual((yield* ask("/plain")).status, 200)
      yield* refused("/inc")
      old.down = false
      // Our store takes the mark and not the session: the mark is taken back.
      let creations = 0
      store.before = (method) => method === "create" && ++creations === 2 ? App.down : pause
      yield* refused("/inc")
      store.before = () => pause
      const arrived = yield* ask("/me")
      assert.deepStrictEqual(shown(arrived), signedIn)

      // A sign-out that the old store does not confirm is none.
      const both = `${cookie}; session=${App.tokenOf(arrived)}`
      old.down = true
      const half = yield* ask("/logout", both)
      assert.deepStrictEqual([half.status, half.body], [503, ""])
      assert.isTrue(old.entries.has("sess:ada-1"))
      old.down = false
      assert.strictEqual((yield* ask("/logout", both)).status, 204)
      assert.isFalse(old.entries.has("sess:ada-1"))
    }))

  it.effect("a sign-out that is committed at once ends an old session that was never moved", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      const before = yield* App.connect(yield* Old.expressApplication(old))
      const { client: after } = yield* begin(yield* Legacy.expressReader(old), {}, {
        "/logout": async (session) => {
          await session.destroy()
          await session.commit()
          return { status: 204 }
        }
      })
      const user = browser()
      yield* user.ask(before, "/login")
      assert.strictEqual((yield* user.ask(after, "/logout", "POST")).status, 204)
      assert.deepStrictEqual([user.names(), old.entries.size], [[""], 0])
    }))

  it.effect("with keepOld off, a move ends the old session and clears its cookie", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      const before = yield* App.connect(yield* Old.expressApplication(old))
      const { client: after } = yield* begin(yield* Legacy.expressReader(old), { keepOld: false })
      const user = browser()
      yield* user.ask(before, "/login")
      assert.deepStrictEqual(shown(yield* user.ask(after, "/me")), signedIn)
      assert.deepStrictEqual([user.names(), old.entries.size], [["session"], 0])
      assert.deepStrictEqual(shown(yield* user.ask(after, "/me")), signedIn)
    }))
})

describe("a fetch handler", () => {
  it.effect("takes over the cookie that iron-session has set on its response", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.now())
      const { cookieName, password } = Old.ironOptions
      const before = async (request: Request) => {
        const response = new Response()
        const session = await getIronSession<{ user?: string; n?: number }>(request, response, Old.ironOptions)
        Object.assign(session, { user: "ada", n: 41 })
        await session.save()
        return response
      }
      const reader = yield* IronSession.make({ password: Redacted.make(password), cookie: { name: cookieName } })
      const sessions = yield* Adapters.fetchSessions(yield* App.makeStore(), { moving: moving(reader) })
      const after = sessions.handler(async (request) => new Response((await Adapters.show(sessions.of(request))).body))
      const old = yield* Effect.promise(() => before(new Request("https://app.test/login")))
      const cookie = old.headers.getSetCookie()[0].split(";")[0]
      const ask = () =>
        Effect.promise(() => after(new Request("https://app.test", { headers: { cookie } })).then((r) => r.json()))
      assert.deepStrictEqual(yield* ask(), signedIn)
      assert.deepStrictEqual(yield* ask(), nobody)
    }))
})

describe("a response that begins past the session middleware", () => {
  it.effect("is broken off if it took an old session over, and not if it only could have", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.now())
      const old = Legacy.oldStore()
      for (const id of ["a", "b"]) old.entries.set(`sess:${id}`, Legacy.expressRecord({ user: "ada", n: 41 }))
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.nodeSessions(store, { moving: moving(yield* Legacy.expressReader(old)) })
      const client = yield* Adapters.listen(Http.createServer(sessions.listener(async (request, response) => {
        const session = sessions.of(request)
        if (request.url === "/me") return response.end((await Adapters.show(session)).body)
        if (request.url === "/use") await session.get()
        Http.ServerResponse.prototype.writeHead.call(response, 200, { "Content-Length": "4" })
        response.write("te")
        return setImmediate(() => setImmediate(() => response.end("xt")))
      })))
      const ask = (path: string, cookie: string) =>
        Effect.promise(() =>
          fetch(`http://127.0.0.1:${client.port}${path}`, { headers: { cookie } })
            .then((response) => response.text()).catch(() => "broken off")
        )
      const cookie = Legacy.expressCookie("a")
      assert.strictEqual(yield* ask("/plain", cookie), "text")
      const moved = yield* client.send("GET", "/me", { headers: { cookie } })
      assert.deepStrictEqual(shown(moved), signedIn)
      assert.strictEqual(yield* ask("/use", `${cookie}; session=${App.tokenOf(moved)}`), "text")
      assert.strictEqual(yield* ask("/use", Legacy.expressCookie("b")), "broken off")
    }))
})
