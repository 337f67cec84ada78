import { type SessionConfig, SessionStore } from "@effect-session/core"
import { Csrf, SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { ByteSize, Effect, Layer, Metric, Redacted } from "effect"
import { HttpIncomingMessage, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { CookieJar } from "./CookieJar.ts"
import * as CookieMode from "./CookieModeApp.ts"
import * as App from "./SessionApp.ts"

const { UserSession } = App

const secrets = Redacted.make("a secret of the tests, of 32 octets or more: 7Kq-Zr5_Wt2.Hn8+")

const form = HttpRouter.add("GET", "/form", Effect.map(Csrf.input, (input) => HttpServerResponse.text(input)))

const page = HttpRouter.add(
  "GET",
  "/token",
  Effect.map(Csrf.token, (token) => HttpServerResponse.text(token))
)

const echo = Effect.gen(function*() {
  const request = yield* HttpServerRequest.HttpServerRequest
  const fields = yield* Effect.orDie(request.urlParamsBody)
  return HttpServerResponse.jsonUnsafe({ fields: [...fields], text: yield* Effect.orDie(request.text) })
})

const Prefixed = HttpRouter.use((router) => router.prefixed("/area").add("POST", "/echo", echo))

const routes = Layer.mergeAll(
  App.routes,
  form,
  page,
  Prefixed,
  HttpRouter.add("POST", "/echo", echo),
  HttpRouter.add(
    "GET",
    "/two",
    Effect.gen(function*() {
      return HttpServerResponse.text(`${yield* Csrf.token} ${yield* Csrf.token}`)
    })
  ),
  HttpRouter.add(
    "GET",
    "/cached",
    Effect.gen(function*() {
      return HttpServerResponse.text(yield* Csrf.token, { headers: { "cache-control": "private, max-age=5" } })
    })
  )
)

const makeApp = (store: App.TestStore, options: Csrf.Options = {}, config?: SessionConfig.Options) =>
  routes.pipe(
    Layer.provide(Csrf.layerGlobal(UserSession, options)),
    Layer.provide(SessionMiddleware.layerGlobal(UserSession)),
    Layer.provide(App.backend(store, config))
  )

const start = Effect.fnUntraced(
  function*(
    options: Csrf.Options = {},
    transport: keyof typeof App.transports = "fetch handler",
    around: Layer.Layer<never, never, HttpRouter.HttpRouter> = Layer.empty
  ) {
    const store = yield* App.makeStore()
    const client = yield* App.transports[transport](makeApp(store, options).pipe(Layer.provide(around)))
    const browser = App.browser(client)
    const token = Effect.map(browser.send("GET", "/token"), ({ body }) => body)
    const post = (path: string, token?: string, headers: Record<string, string> = {}) =>
      browser.send("POST", path, { headers: { ...(token === undefined ? {} : { "x-csrf-token": token }), ...headers } })
    const submit = (path: string, body: string, headers: Record<string, string> = {}) =>
      browser.send("POST", path, { headers: { "content-type": "application/x-www-form-urlencoded", ...headers }, body })
    return { store, client, browser, token, post, submit }
  }
)

// An application with a limit of its own for the bodies it reads.
const limitedTo = (octets: number) =>
  HttpRouter.middleware(
    Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.fromInputUnsafe(octets)),
    { global: true }
  )

// An outage in which the route's policy lets requests go on without their session.
const goesOn = Effect.fail(
  new SessionStore.SessionStoreError({
    reason: new SessionStore.StoreUnavailable({ description: "connection refused", continueAs: "anonymous" })
  })
)

type Started = Effect.Success<ReturnType<typeof start>>

const logIn = ({ post, token }: Pick<Started, "post" | "token">) =>
  Effect.flatMap(token, (token) => post("/login", token))

const status = (reply: Effect.Effect<App.Reply>) => Effect.map(reply, ({ status }) => status)

describe.each(["fetch handler", "Node server"] as const)("Csrf over %s", (transport) => {
  it.effect("lets a write through with a token in the header or in the form, and no other", () =>
    Effect.gen(function*() {
      const app = yield* start({}, transport)
      assert.strictEqual((yield* logIn(app)).status, 200)
      const { post, submit } = app
      const token = yield* app.token
      assert.strictEqual(yield* status(post("/inc", token)), 200)
      assert.strictEqual(yield* status(submit("/echo", `_csrf=${token}&a=b`)), 200)
      assert.strictEqual(yield* status(post("/inc")), 403)
      assert.strictEqual(yield* status(submit("/echo", "a=b")), 403)
      assert.strictEqual(yield* status(post(`/inc?_csrf=${token}`)), 403)
      assert.strictEqual(yield* status(post(`/inc?x-csrf-token=${token}`)), 403)
    }))

  it.effect("a handler reads the form that was read for its token, also below a prefix", () =>
    Effect.gen(function*() {
      const app = yield* start({}, transport)
      yield* logIn(app)
      const token = yield* app.token
      const body = `a=b&_csrf=${token}&c=d%20e`
      for (const path of ["/echo", "/area/echo"]) {
        const answer = yield* app.submit(path, body)
        assert.deepStrictEqual(JSON.parse(answer.body), {
          fields: [["a", "b"], ["_csrf", token], ["c", "d e"]],
          text: body
        })
      }
    }))

  it.effect("a form that is too large is refused before it is held", () =>
    Effect.gen(function*() {
      const app = yield* start({ maxBody: 1000 }, transport)
      yield* logIn(app)
      const token = yield* app.token
      const large = `_csrf=${token}&a=${"x".repeat(2000)}`
      assert.strictEqual(yield* status(app.submit("/echo", large)), 413)
      assert.strictEqual(yield* status(app.submit("/echo", `_csrf=${token}&a=x`)), 200)
    }))

  it.effect("the smaller limit counts where the application has one of its own", () =>
    Effect.gen(function*() {
      for (const [own, maxBody] of [[1_000_000, 1000], [1000, 1_000_000]] as const) {
        const app = yield* start({ maxBody }, transport, limitedTo(own))
        yield* logIn(app)
        const token = yield* app.token
        assert.strictEqual(yield* status(app.submit("/echo", `_csrf=${token}&a=${"x".repeat(2000)}`)), 413)
        assert.strictEqual(yield* status(app.submit("/echo", `_csrf=${token}&a=x`)), 200)
      }
    }))
})

describe("Csrf", () => {
  it.effect("safe methods need no token, and read no session for one", () =>
    Effect.gen(function*() {
      const { browser, store } = yield* start()
      for (const method of ["GET", "HEAD", "OPTIONS"]) {
        const answer = yield* browser.send(method, "/plain", { headers: { "sec-fetch-site": "cross-site" } })
        assert.notStrictEqual(answer.status, 403)
      }
      assert.deepStrictEqual(store.calls, [])
    }))

  it.effect("methods count as they are written", () =>
    Effect.gen(function*() {
      const { browser, client, token } = yield* start()
      yield* token
      for (const method of ["PUT", "PATCH", "DELETE", "QUERY"]) {
        assert.strictEqual(yield* status(client.send(method, "/plain")), 403, method)
        assert.strictEqual(
          yield* status(browser.send(method, "/plain", { headers: { "x-http-method-override": "GET" } })),
          403,
          method
        )
      }
    }))

  it.effect("no two tokens are alike, and all of them count", () =>
    Effect.gen(function*() {
      const app = yield* start()
      yield* logIn(app)
      const tokens = new Set<string>()
      for (let i = 0; i < 5; i++) tokens.add(yield* app.token)
      for (const token of (yield* app.browser.send("GET", "/two")).body.split(" ")) tokens.add(token)
      assert.strictEqual(tokens.size, 7)
      // Only the id of the key is the same in all of them.
      const [first, second] = tokens
      assert.isBelow([...first].filter((character, at) => character === second[at]).length, 20)
      for (const token of tokens) assert.strictEqual(yield* status(app.post("/inc", token)), 200)
    }))

  it.effect("the token of another session is refused", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* App.inProcess(makeApp(store))
      const tokenOf = Effect.fnUntraced(function*() {
        const browser = App.browser(client)
        const before = (yield* browser.send("GET", "/token")).body
        yield* browser.send("POST", "/login", { headers: { "x-csrf-token": before } })
        return { browser, token: (yield* browser.send("GET", "/token")).body }
      })
      const ada = yield* tokenOf()
      const eve = yield* tokenOf()
      const write = (browser: typeof ada.browser, token: string) =>
        status(browser.send("POST", "/inc", { headers: { "x-csrf-token": token } }))
      assert.strictEqual(yield* write(ada.browser, eve.token), 403)
      assert.strictEqual(yield* write(eve.browser, ada.token), 403)
      assert.strictEqual(yield* write(ada.browser, ada.token), 200)
    }))

  it.effect("a token ends with the sign-in, a new id and the sign-out", () =>
    Effect.gen(function*() {
      const app = yield* start()
      const { post, token } = app
      const visitor = yield* token
      yield* post("/inc", visitor)
      const anonymous = yield* token
      assert.strictEqual(yield* status(post("/inc", anonymous)), 200)
      yield* post("/login", anonymous)
      assert.strictEqual(yield* status(post("/inc", visitor)), 403)
      assert.strictEqual(yield* status(post("/inc", anonymous)), 403)

      const signedIn = yield* token
      assert.strictEqual(yield* status(post("/renew", signedIn)), 200)
      assert.strictEqual(yield* status(post("/inc", signedIn)), 403)

      const renewed = yield* token
      assert.strictEqual(yield* status(post("/logout", renewed)), 204)
      assert.strictEqual(yield* status(post("/inc", renewed)), 403)
      assert.strictEqual(yield* status(post("/inc", signedIn)), 403)
    }))

  it.effect("a sign-in needs the token of its visitor, for whom nothing is stored", () =>
    Effect.gen(function*() {
      const { browser, client, post, store, token } = yield* start()
      assert.strictEqual(yield* status(post("/login")), 403)
      const first = yield* browser.send("GET", "/token")
      assert.match(first.setCookies.join(), /^csrf=[\w-]{32}; Path=\/; HttpOnly; SameSite=Lax$/)
      assert.strictEqual(first.header("cache-control"), "no-store")
      assert.strictEqual(first.header("vary"), "Cookie")
      assert.deepStrictEqual(yield* store.keys, [])
      // The same visitor keeps the cookie.
      assert.deepStrictEqual((yield* browser.send("GET", "/token")).setCookies, [])
      assert.strictEqual(yield* status(client.send("POST", "/login", { headers: { "x-csrf-token": first.body } })), 403)
      assert.strictEqual(yield* status(post("/login", yield* token)), 200)
      // Once signed in, it is of no use and goes.
      const cleared = yield* browser.send("GET", "/token")
      assert.match(cleared.setCookies.join(), /^csrf=; Max-Age=0; Path=\/; Expires=Thu, 01 Jan 1970/)
      assert.notInclude(browser.cookie() ?? "", "csrf=")
    }))

  it.effect("two tokens of one page belong to one visitor", () =>
    Effect.gen(function*() {
      const { browser, post } = yield* start()
      const answer = yield* browser.send("GET", "/two")
      assert.strictEqual(answer.setCookies.length, 1)
      for (const token of answer.body.split(" ")) assert.strictEqual(yield* status(post("/inc", token)), 200)
    }))

  it.effect("the token of a visitor counts until somebody signs in, also after the first write", () =>
    Effect.gen(function*() {
      const { post, token } = yield* start()
      const visitor = yield* token
      assert.strictEqual(yield* status(post("/inc", visitor)), 200)
      assert.strictEqual(yield* status(post("/inc", visitor)), 200)
    }))

  it.effect("a planted pair of cookie and token is refused", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* App.inProcess(makeApp(store))
      const attacker = App.browser(client)
      const planted = (yield* attacker.send("GET", "/token")).body
      const victim = App.browser(client)
      yield* victim.send("GET", "/token")
      const pair = `${victim.cookie()}; ${attacker.cookie()}`
      for (const cookie of [pair, `${attacker.cookie()}; ${victim.cookie()}`]) {
        const answer = yield* client.send("POST", "/login", { headers: { cookie, "x-csrf-token": planted } })
        assert.strictEqual(answer.status, 403)
      }
      // Copied into the cookie, or signed by nobody.
      for (const cookie of [`csrf=${planted}`, `csrf=${"a".repeat(32)}`, "csrf="]) {
        const answer = yield* client.send("POST", "/login", { headers: { cookie, "x-csrf-token": planted } })
        assert.strictEqual(answer.status, 403, cookie)
      }
      // A subdomain cannot plant the cookie that production uses.
      const jar = new CookieJar()
      const place = { host: "evil.app.test", path: "/", secure: true, topLevelSite: "https://app.test" }
      assert.isFalse(jar.setCookie("__Host-csrf=x; Path=/; Secure; Domain=app.test", place, 0))
    }))

  it.effect("a token in a cookie alone is not looked at", () =>
    Effect.gen(function*() {
      const app = yield* start()
      yield* logIn(app)
      const token = yield* app.token
      const session = app.browser.cookie() ?? ""
      for (const name of ["_csrf", "csrf", "x-csrf-token", "XSRF-TOKEN"]) {
        assert.strictEqual(
          yield* status(app.client.send("POST", "/inc", { headers: { cookie: `${session}; ${name}=${token}` } })),
          403
        )
      }
    }))

  it.effect("anything but one whole token is refused, at no cost", () =>
    Effect.gen(function*() {
      const app = yield* start()
      yield* logIn(app)
      const token = yield* app.token
      const flipped = (at: number) => token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1)
      const bad = [
        "",
        " ",
        "null",
        "undefined",
        "x".repeat(77),
        "x".repeat(100_000),
        token.slice(1),
        token.slice(0, -1),
        `${token}x`,
        `${token}, ${token}`,
        `${token},${token}`,
        token.toLowerCase(),
        token.slice(32) + token.slice(0, 32),
        ...Array.from(token, (_, at) => flipped(at))
      ]
      app.store.calls.length = 0
      for (const value of bad.filter((value) => value.length !== token.length)) {
        assert.strictEqual(yield* status(app.post("/inc", value)), 403)
      }
      assert.deepStrictEqual(app.store.calls, [])
      for (const value of bad) {
        assert.strictEqual(yield* status(app.post("/inc", value)), 403, value.slice(0, 100))
        assert.strictEqual(yield* status(app.submit("/echo", `_csrf=${encodeURIComponent(value)}`)), 403)
      }
      for (
        const body of [`_csrf=${token}&_csrf=${token}`, `_csrf=x&_csrf=${token}`, `_CSRF=${token}`, `_csrf[]=${token}`]
      ) {
        assert.strictEqual(yield* status(app.submit("/echo", body)), 403, body)
      }
      // A header that is there decides, whatever the form says.
      assert.strictEqual(yield* status(app.submit("/echo", `_csrf=${token}`, { "x-csrf-token": "x" })), 403)
      for (const type of ["text/plain", "multipart/form-data; boundary=x", "application/json", ""]) {
        assert.strictEqual(
          yield* status(app.submit("/echo", `_csrf=${token}`, { "content-type": type })),
          403,
          type
        )
      }
      assert.strictEqual(yield* status(app.post("/inc", token)), 200)
    }))

  it.effect("what the browser says comes first: a page of another site cannot write with a token", () =>
    Effect.gen(function*() {
      const app = yield* start({ crossOrigin: { origins: ["https://app.test"] } })
      yield* logIn(app)
      const token = yield* app.token
      const write = (headers: Record<string, string>) => status(app.post("/inc", token, headers))
      assert.strictEqual(yield* write({ "sec-fetch-site": "same-origin" }), 200)
      assert.strictEqual(yield* write({ origin: "https://app.test" }), 200)
      assert.strictEqual(yield* write({ "sec-fetch-site": "cross-site" }), 403)
      assert.strictEqual(yield* write({ "sec-fetch-site": "same-site" }), 403)
      assert.strictEqual(yield* write({ origin: "https://evil.example" }), 403)
      assert.strictEqual(yield* write({ origin: "null" }), 403)
    }))

  it.effect("unattested asks for a token only where the browser says nothing", () =>
    Effect.gen(function*() {
      const { browser } = yield* start({ require: "unattested" })
      const write = (headers: Record<string, string>) => status(browser.send("POST", "/inc", { headers }))
      assert.strictEqual(yield* write({ "sec-fetch-site": "same-origin" }), 200)
      assert.strictEqual(yield* write({ "sec-fetch-site": "none" }), 200)
      assert.strictEqual(yield* write({ "sec-fetch-site": "cross-site" }), 403)
      assert.strictEqual(yield* write({ "sec-fetch-site": "" }), 403)
      assert.strictEqual(yield* write({ origin: "https://evil.example" }), 403)
      assert.strictEqual(yield* write({}), 403)
      const token = (yield* browser.send("GET", "/token")).body
      assert.strictEqual(yield* write({ "x-csrf-token": token }), 200)
    }))

  it.effect("an outage is a 503, and gives no visitor's token to somebody who may be signed in", () =>
    Effect.gen(function*() {
      const app = yield* start()
      yield* logIn(app)
      const token = yield* app.token
      for (const outage of [App.down, goesOn]) {
        app.store.before = () => outage
        assert.strictEqual(yield* status(app.post("/inc", token)), 503)
        assert.strictEqual(yield* status(app.browser.send("GET", "/token")), 503)
      }
      app.store.before = () => Effect.void
      assert.strictEqual(yield* status(app.post("/inc", token)), 200)
    }))

  it.effect("counts what it refuses, and lets the application answer", () =>
    Effect.gen(function*() {
      const { browser } = yield* start({ onRefused: () => HttpServerResponse.text("reload", { status: 419 }) })
      const before = (yield* Metric.value(Csrf.refused)).count
      const answer = yield* browser.send("POST", "/inc")
      assert.deepStrictEqual([answer.status, answer.body], [419, "reload"])
      assert.strictEqual((yield* Metric.value(Csrf.refused)).count, before + 1)
    }))

  it.effect("is one field of a form, and keeps the page's own caching rules", () =>
    Effect.gen(function*() {
      const app = yield* start({ field: "csrf.token" })
      yield* logIn(app)
      assert.match(
        (yield* app.browser.send("GET", "/form")).body,
        /^<input type="hidden" name="csrf\.token" value="[\w-]{77}">$/
      )
      const cached = yield* app.browser.send("GET", "/cached")
      assert.strictEqual(cached.header("cache-control"), "private, max-age=5")
      assert.strictEqual(yield* status(app.post("/inc", cached.body)), 200)
    }))

  it.effect("works where the session is in the cookie: a write keeps the tokens, a renewal ends them", () =>
    Effect.gen(function*() {
      const client = yield* App.inProcess(
        routes.pipe(
          Layer.provide(Csrf.layerGlobal(UserSession)),
          Layer.provide(SessionMiddleware.layerGlobal(UserSession)),
          Layer.provide(CookieMode.backend({}))
        )
      )
      const browser = App.browser(client)
      const token = Effect.map(browser.send("GET", "/token"), ({ body }) => body)
      const post = (path: string, token: string) =>
        status(browser.send("POST", path, { headers: { "x-csrf-token": token } }))
      const visitor = yield* token
      assert.strictEqual(yield* post("/login", visitor), 200)
      assert.strictEqual(yield* post("/inc", visitor), 403)
      const signedIn = yield* token
      assert.strictEqual(yield* post("/inc", signedIn), 200)
      assert.strictEqual(yield* post("/inc", signedIn), 200)
      assert.strictEqual(yield* post("/renew", signedIn), 200)
      assert.strictEqual(yield* post("/inc", signedIn), 403)
    }))

  it.effect("binds its cookie to the host where the transport is secure", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* App.inProcess(makeApp(store, {}, { preset: "production", secrets }))
      const { setCookies } = yield* client.send("GET", "/token")
      assert.match(setCookies.join(), /^__Host-csrf=[\w-]{32}; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
    }))

  it.effect("the tokens of two session services are of no use to each other", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const admin = yield* App.inProcess(
        page.pipe(
          Layer.provide(Csrf.layerGlobal(App.AdminSession)),
          Layer.provide(SessionMiddleware.layerGlobal(App.AdminSession)),
          Layer.provide(App.backend(store, { preset: "testing", secrets }))
        )
      )
      const client = yield* App.inProcess(makeApp(store, {}, { preset: "testing", secrets }))
      const { body, setCookies } = yield* admin.send("GET", "/token")
      const cookie = setCookies.join().split(";")[0]
      assert.strictEqual(
        yield* status(client.send("POST", "/inc", { headers: { cookie, "x-csrf-token": body } })),
        403
      )
      const own = yield* client.send("GET", "/token", { headers: { cookie } })
      assert.strictEqual(
        yield* status(client.send("POST", "/inc", { headers: { cookie, "x-csrf-token": own.body } })),
        200
      )
    }))

  it("refuses options that cannot work", () => {
    const make = (options: Csrf.Options) => () => Csrf.layerGlobal(UserSession, options)
    const run = (options: Csrf.Options) =>
      Effect.runPromiseExit(
        Effect.scoped(Effect.flatMap(App.makeStore(), (store) =>
          Layer.build(Layer.provide(make(options)(), Layer.mergeAll(App.backend(store), HttpRouter.layer)))) as never)
      )
    return Promise.all(
      [{ header: "a b" }, { field: "a\"b" }, { maxBody: 0 }, { crossOrigin: { origins: ["evil"] } }].map(async (
        options
      ) => assert.strictEqual((await run(options))._tag, "Failure", JSON.stringify(options)))
    )
  })
})
