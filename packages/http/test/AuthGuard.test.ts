import { SessionStore } from "@effect-session/core"
import { AuthGuard, RedirectTarget, SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as fc from "fast-check"
import * as Net from "node:net"
import * as App from "./SessionApp.ts"

const { UserSession } = App

const options: AuthGuard.GlobalOptions = {
  signIn: "/sign-in",
  allow: ["/", "/about", "/health", "/assets/*", "/docs/*", "/public", "/public/*", "/café"],
  api: ["/api/*"]
}

const text = (path: `/${string}`, body = path.slice(1)) => HttpRouter.add("*", path, HttpServerResponse.text(body))

const routes = Layer.mergeAll(
  App.routes,
  text("/", "home"),
  text("/about"),
  text("/health"),
  text("/sign-in"),
  text("/assets/*", "asset"),
  text("/public/:name", "public"),
  text("/public"),
  text("/docs", "classified docs"),
  text("/docs/intro", "intro"),
  text("/café", "coffee"),
  text("/admin/*", "classified below admin"),
  text("/api/secret", "classified api")
)

const makeApp = (store: App.TestStore, guard: AuthGuard.GlobalOptions = options) => {
  const Session = SessionMiddleware.layerGlobal(UserSession)
  return routes.pipe(
    Layer.provide(AuthGuard.layerGlobal(UserSession, guard)),
    Layer.provide(Session),
    Layer.provide(App.backend(store))
  )
}

const page = { accept: "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8" }

const start = Effect.fnUntraced(function*(transport: keyof typeof App.transports = "fetch handler") {
  const store = yield* App.makeStore()
  const client = yield* App.transports[transport](makeApp(store, { ...options, allow: [...options.allow!, "/login"] }))
  return { store, client, browser: App.browser(client) }
})

/** Sends a request target as it is. */
const raw = (port: number, target: string) =>
  Effect.callback<string>((resume) => {
    const socket = Net.connect(port, "127.0.0.1", () => {
      socket.end(`GET ${target} HTTP/1.1\r\nHost: app.test\r\nAccept: text/html\r\nConnection: close\r\n\r\n`, "latin1")
    })
    let answer = ""
    socket.setEncoding("latin1")
    socket.on("data", (text) => answer += text)
    socket.on("error", () => resume(Effect.succeed(answer)))
    socket.on("close", () => resume(Effect.succeed(answer)))
    return Effect.sync(() => socket.destroy())
  })

// Each of them looks like a path of the list to somebody.
const hostile = [
  "/admin?x=/public",
  "/admin?/health",
  "/admin#/health",
  "/admin?x=/assets/a",
  "/public/../admin",
  "/public/%2e%2e/admin",
  "/public/%2E%2E/admin",
  "/public/.%2e/admin",
  "/assets/../admin",
  "/assets/..%2fadmin",
  "/assets/..%5cadmin",
  "/assets/..\\admin",
  "/assets\\..\\admin",
  "/assets/%252e%252e/admin",
  "/assets/./../admin",
  "//admin",
  "///admin",
  "/\\admin",
  "/public//../admin",
  "//public/../admin",
  "/admin;x",
  "/admin;/health",
  "/admin;x=/public",
  "/admin%3b/health",
  "/admin%3f/health",
  "/admin%23/health",
  "/admin%00/health",
  "/admin%0a",
  "/%61dmin",
  "/%61%64%6d%69%6e",
  "/%41DMIN",
  "/ADMIN",
  "/Admin",
  "/admin/",
  "/admin//",
  "/admin/.",
  "/admin/..;/public",
  "/admin/health",
  "/admin/public",
  "/admin/about",
  "/adm\u00efn/../admin",
  "/docs",
  "/docs/",
  "/docs//",
  "/docs/.",
  "/docs/..",
  "/docs;/intro",
  "/docs?/intro",
  "/docs%2fintro/../../docs",
  "http://app.test/admin",
  "http://app.test/about/../admin",
  "http://evil.example/admin?x=/public",
  "/api/secret",
  "/sign-in/../admin",
  "/sign-in;/../admin",
  "/sign-in/..%2fadmin"
]

describe("AuthGuard.layerGlobal", () => {
  it.effect("lets those who are signed in through to every route, and others to the list", () =>
    Effect.gen(function*() {
      const { browser, client } = yield* start()
      const allowed = ["/", "/about", "/about/", "/about?a=b", "/health", "/assets/a.css", "/assets/a/b", "/public/x"]
      for (const path of [...allowed, "/docs/intro", "/sign-in", "/sign-in?redirect_to=%2F", "/caf%C3%A9"]) {
        assert.strictEqual((yield* client.send("GET", path, { headers: page })).status, 200, path)
      }
      assert.strictEqual((yield* client.send("GET", "/admin", { headers: page })).status, 303)
      yield* browser.send("POST", "/login")
      for (const path of ["/admin", "/docs", "/api/secret", "/admin/a"]) {
        assert.match((yield* browser.send("GET", path)).body, /classified/, path)
      }
      yield* browser.send("POST", "/logout")
      assert.strictEqual((yield* browser.send("GET", "/admin")).status, 401)
    }))

  it.effect("reads no session for what is on the list", () =>
    Effect.gen(function*() {
      const { browser, store } = yield* start()
      yield* browser.send("POST", "/login")
      store.calls.length = 0
      yield* browser.send("GET", "/about")
      assert.deepStrictEqual(store.calls, [])
    }))

  it.effect.each(hostile)("the target %s is not on the list", (target) =>
    Effect.gen(function*() {
      const { client } = yield* start("Node server")
      const answer = yield* raw(client.port!, target)
      assert.notInclude(answer, "classified")
      assert.match(answer, /^HTTP\/1\.1 (?:303|400|401) /)
    }))

  it.effect("no spelling of a protected path gets through", () =>
    Effect.gen(function*() {
      const { client } = yield* start("Node server")
      const piece = fc.constantFrom(
        ..."/admin docs public assets . .. %2e %2f %5c \\ ; ? # % %61 A // x %00 %25 about health api secret".split(" ")
      )
      const targets = fc.sample(fc.array(piece, { minLength: 1, maxLength: 8 }), { numRuns: 400, seed: 7 })
      for (const parts of targets) {
        for (const glue of ["", "/"]) {
          const target = `/${parts.join(glue)}`
          assert.notInclude(yield* raw(client.port!, target), "classified", target)
        }
      }
    }))

  it.effect("sends pages to the sign-in page with the whole target, encoded, and nothing of the host", () =>
    Effect.gen(function*() {
      const { client } = yield* start("Node server")
      const location = (path: string, headers: Record<string, string> = page) =>
        Effect.map(client.send("GET", path, { headers }), (reply) => [reply.status, reply.header("location")])
      assert.deepStrictEqual(yield* location("/admin"), [303, "/sign-in?redirect_to=%2Fadmin"])
      assert.deepStrictEqual(yield* location("/admin?a=1&b=2"), [303, "/sign-in?redirect_to=%2Fadmin%3Fa%3D1%26b%3D2"])
      for (const host of ["evil.example", "app.test:80", "evil.example/x", "evil.example#"]) {
        assert.deepStrictEqual(
          yield* location("/admin", { ...page, host, "x-forwarded-host": "evil.example" }),
          [303, "/sign-in?redirect_to=%2Fadmin"],
          host
        )
      }
      // What could be taken for another origin is not offered as a target.
      assert.deepStrictEqual(yield* location("//evil.example/admin"), [303, "/sign-in"])
      assert.deepStrictEqual(yield* location("/\\evil.example/admin"), [303, "/sign-in"])
      assert.deepStrictEqual(yield* location(`/admin?${"x".repeat(2100)}`), [303, "/sign-in"])
    }))

  it.effect("answers 401 to what is no page, and gives no target to a form", () =>
    Effect.gen(function*() {
      const { client } = yield* start()
      const rows: ReadonlyArray<
        readonly [method: string, path: string, headers: Record<string, string>, status: number]
      > = [
        ["GET", "/admin", {}, 401],
        ["GET", "/admin", { accept: "*/*" }, 401],
        ["GET", "/admin", { accept: "application/json" }, 401],
        ["GET", "/admin", { ...page, "x-requested-with": "XMLHttpRequest" }, 401],
        ["GET", "/admin", { ...page, "sec-fetch-mode": "cors" }, 401],
        ["GET", "/admin", { ...page, "sec-fetch-mode": "no-cors" }, 401],
        ["GET", "/admin", { "sec-fetch-mode": "navigate" }, 303],
        ["GET", "/admin", page, 303],
        ["HEAD", "/admin", page, 303],
        ["POST", "/admin", page, 303],
        ["GET", "/api/secret", page, 401],
        ["GET", "/api/unknown", { "sec-fetch-mode": "navigate" }, 401],
        ["GET", "/unknown", page, 303],
        ["GET", "/unknown", {}, 401]
      ]
      for (const [method, path, headers, status] of rows) {
        const answer = yield* client.send(method, path, { headers })
        assert.strictEqual(answer.status, status, `${method} ${path} ${JSON.stringify(headers)}`)
        assert.strictEqual(answer.header("cache-control"), "no-store")
        assert.deepStrictEqual(answer.setCookies, [])
      }
      const form = yield* client.send("POST", "/admin?a=b", { headers: page })
      assert.strictEqual(form.header("location"), "/sign-in")
    }))

  it.effect("an outage is a 503, not the sign-in page", () =>
    Effect.gen(function*() {
      const { browser, store } = yield* start()
      yield* browser.send("POST", "/login")
      const goesOn = Effect.fail(
        new SessionStore.SessionStoreError({
          reason: new SessionStore.StoreUnavailable({ description: "connection refused", continueAs: "anonymous" })
        })
      )
      for (const outage of [App.down, goesOn]) {
        store.before = () => outage
        assert.strictEqual((yield* browser.send("GET", "/admin", { headers: page })).status, 503)
      }
      store.before = () => Effect.void
      assert.strictEqual((yield* browser.send("GET", "/admin", { headers: page })).status, 200)
    }))

  it.effect("an ended or unknown session is sent to the sign-in page", () =>
    Effect.gen(function*() {
      const { client } = yield* start()
      for (const cookie of ["session=", "session=x", `session=${"a".repeat(60)}`, "session=a; session=b"]) {
        const answer = yield* client.send("GET", "/admin", { headers: { ...page, cookie } })
        assert.strictEqual(answer.status, 303, cookie)
      }
    }))

  it("refuses options that would not guard what is meant, with every problem", () => {
    const problems = AuthGuard.validate({
      signIn: "https://evil.example/sign-in",
      parameter: "a&b",
      allow: ["/*", "about", "/a/../b", "/a?b", "/a/", "/a*", "/a/*/b", "//a", "/a;b", "/ok", "/ok/*"],
      api: ["/api*"]
    })
    assert.strictEqual(problems.length, 12, problems.join("\n"))
    assert.throws(() => AuthGuard.make(UserSession, { signIn: "//evil.example" }), AuthGuard.AuthGuardConfigError)
    for (const signIn of ["/\\evil", "sign-in", "", "/a#b", "/a/../b", "javascript:alert(1)"]) {
      assert.isNotEmpty(AuthGuard.validate({ signIn }), signIn)
    }
    assert.isEmpty(AuthGuard.validate({ signIn: "/sign-in?from=guard" }))
  })
})

describe("AuthGuard.make", () => {
  it.effect("guards one handler, also below a prefix, and sends back to the whole path", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const guard = AuthGuard.make(UserSession, { signIn: "/sign-in?from=guard", parameter: "next" })
      const Guarded = HttpRouter.use((router) =>
        router.prefixed("/area").add("GET", "/notes", guard(Effect.succeed(HttpServerResponse.text("notes"))))
      )
      const client = yield* App.inProcess(App.withSession(Layer.merge(App.routes, Guarded), store))
      const answer = yield* client.send("GET", "/area/notes?a=b", { headers: page })
      assert.strictEqual(answer.header("location"), "/sign-in?from=guard&next=%2Farea%2Fnotes%3Fa%3Db")
      const browser = App.browser(client)
      yield* browser.send("POST", "/login")
      assert.strictEqual((yield* browser.send("GET", "/area/notes")).body, "notes")
    }))
})

describe("RedirectTarget", () => {
  const bad: ReadonlyArray<unknown> = [
    undefined,
    null,
    42,
    {},
    ["/a"],
    "",
    " ",
    "a",
    "?a",
    "#a",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    " //evil.example",
    "\t//evil.example",
    "/\u0000/evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https://evil.example",
    "HTTPS://evil.example",
    "http://origin.invalid/a",
    "//origin.invalid/a",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "%0d%0aSet-Cookie:a=b",
    "/%0d%0aSet-Cookie:a=b",
    "/a%0aLocation:%20//evil.example",
    "/a\r\nSet-Cookie: a=b",
    "/a%00",
    "/a\\b",
    "/%2f/evil.example",
    "/%2fevil.example",
    "/%5cevil.example",
    "/%5Cevil.example",
    "/..//evil.example",
    "/a/..//evil.example",
    "/./\\evil.example",
    "/.//evil.example",
    "/%2e%2e//evil.example",
    "/%2e//evil.example",
    "/../%2fevil.example",
    "/\u2028",
    "/\u3000/evil.example",
    "/\uff0fevil.example",
    "/caf\u00e9",
    "@evil.example",
    ".evil.example",
    `/${"a".repeat(2048)}`
  ]

  it.each(bad.map((value) => [value]))("%j is no target", (value) => {
    assert.strictEqual(RedirectTarget.fromInput(value, "/home"), "/home")
    assert.isFalse(RedirectTarget.isTarget(value))
  })

  it("paths of the application are targets, with their query and fragment", () => {
    for (
      const target of [
        "/",
        "/a",
        "/a/b?c=d&e=%2F%2Fx",
        "/a?next=https://evil.example",
        "/caf%C3%A9",
        "/a#b",
        "/@a",
        "/a:b"
      ]
    ) assert.strictEqual(RedirectTarget.fromInput(target), target)
    assert.strictEqual(RedirectTarget.fromInput("/a/../b"), "/b")
  })

  it("whatever comes in, a browser on any page stays on its origin", () =>
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom(
            ..."/ // \\ . .. ? # @ : ; % %2f %5c %2e %0d %09 a evil.example https: javascript: \t \n é".split(" ")
          ),
          { maxLength: 8 }
        ),
        fc.string(),
        (pieces, noise) => {
          for (const value of [pieces.join(""), `/${pieces.join("")}`, noise, `/${noise}`]) {
            const target = RedirectTarget.fromInput(value)
            for (const page of ["https://app.test/", "http://app.test:8080/a/b?c"]) {
              assert.strictEqual(new URL(target, page).origin, new URL(page).origin)
            }
            assert.match(target, /^\/(?![/\\])[!-~]*$/)
            assert.strictEqual(RedirectTarget.fromInput(target), target)
          }
        }
      ),
      { numRuns: 2000 }
    ))
})
