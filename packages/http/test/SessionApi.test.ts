import { type Session, SessionError, SessionManager } from "@effect-session/core"
import { SessionTest } from "@effect-session/core/testing"
import { RequestClass, SessionApi, SessionApiError, SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Ref, Result, Schema } from "effect"
import {
  type Cookies,
  FetchHttpClient,
  HttpClient,
  HttpClientRequest,
  HttpRouter,
  HttpServer,
  HttpServerRequest
} from "effect/http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiClient,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiTest,
  OpenApi
} from "effect/http-api"
import { TestClock } from "effect/testing"
import * as App from "./SessionApp.ts"

const { UserSession } = App

interface User {
  readonly name: string
  readonly isAdmin: boolean
}

class Users extends Context.Service<Users, { readonly find: (id: string) => User | undefined }>()("test/Users") {}

class Visitor extends SessionApi.Session<Visitor>()("test/Visitor", { session: UserSession }) {}
class SignedIn extends SessionApi.Authenticated<SignedIn>()("test/SignedIn", { session: UserSession }) {}
class Recent extends SessionApi.Fresh<Recent>()("test/Recent", { session: UserSession, within: "10 minutes" }) {}
class Strong extends SessionApi.SecondFactor<Strong>()("test/Strong", { session: UserSession }) {}
class Account extends SessionApi.Authenticated<Account, User>()("test/Account", { session: UserSession }) {}
class Admin extends SessionApi.Authenticated<Admin, User>()("test/Admin", { session: UserSession }) {}

class Taken extends Schema.TaggedError<Taken>()("Taken", {}, { httpApiStatus: 422 }) {}

const api = HttpApi.make("app").add(
  HttpApiGroup.make("users", { topLevel: true }).add(
    HttpApiEndpoint.get("open", "/open", { success: Schema.String }),
    HttpApiEndpoint.get("status", "/status", { success: Schema.String }).middleware(Visitor),
    HttpApiEndpoint.post("login", "/login").middleware(Visitor),
    HttpApiEndpoint.post("elevate", "/elevate").middleware(SignedIn),
    HttpApiEndpoint.post("reauthenticate", "/reauthenticate").middleware(SignedIn),
    HttpApiEndpoint.post("logout", "/logout").middleware(Visitor),
    HttpApiEndpoint.get("me", "/me", { success: Schema.Struct({ subject: Schema.String, n: Schema.Number }) })
      .middleware(SignedIn),
    HttpApiEndpoint.post("rename", "/rename", { error: Taken }).middleware(SignedIn),
    HttpApiEndpoint.post("password", "/password", { success: Schema.String }).middleware(Recent),
    HttpApiEndpoint.post("pay", "/pay", { success: Schema.String }).middleware(Strong),
    HttpApiEndpoint.post("close", "/close", { success: Schema.String }).middleware(Strong).middleware(Recent)
      .middleware(SignedIn),
    HttpApiEndpoint.get("account", "/account", { success: Schema.String }).middleware(Account),
    HttpApiEndpoint.get("admin", "/admin", { success: Schema.String }).middleware(Admin),
    HttpApiEndpoint.get("poll", "/poll", { success: Schema.String }).middleware(SignedIn)
      .annotate(RequestClass.Passive, true)
  )
)

const Handlers = HttpApiBuilder.group(api, "users", (handlers) =>
  handlers.handleAll({
    open: () => Effect.succeed("open"),
    status: () => UserSession.status,
    login: () => Effect.asVoid(UserSession.login("ada")),
    elevate: () => UserSession.elevate("5 minutes"),
    reauthenticate: () => UserSession.reauthenticate,
    logout: () => UserSession.destroy,
    me: () =>
      Effect.gen(function*() {
        const { subject } = yield* SignedIn.principal
        return { subject, n: (yield* App.increment).n }
      }),
    rename: () => Effect.andThen(App.increment, Effect.fail(new Taken())),
    password: () => Effect.map(Recent.principal, ({ subject }) => subject),
    pay: () => Effect.map(Strong.principal, ({ subject }) => subject),
    close: () =>
      Effect.gen(function*() {
        return [yield* SignedIn.principal, yield* Recent.principal, yield* Strong.principal]
          .map(({ subject }) => subject).join()
      }),
    account: () => Effect.map(Account.principal, ({ name }) => name),
    admin: () => Effect.map(Admin.principal, ({ name }) => name),
    poll: () => Effect.map(SignedIn.principal, ({ subject }) => subject)
  }))

const find = (subject: string) => Users.use((users) => Effect.succeed(users.find(subject)))

const Middlewares = Layer.mergeAll(
  SessionApi.layerSession(Visitor),
  SessionApi.layer(SignedIn),
  SessionApi.layer(Recent),
  SessionApi.layer(Strong),
  SessionApi.layerPrincipal(Account, ({ subject }) => find(subject)),
  SessionApi.layerPrincipal(
    Admin,
    ({ subject }) =>
      Effect.flatMap(find(subject), (user) =>
        user?.isAdmin === false
          ? Effect.fail(new SessionApiError.Forbidden({ needs: "permission" }))
          : Effect.succeed(user))
  )
).pipe(Layer.provide(Layer.succeed(Users, {
  find: (id) =>
    id === "ada" ? { name: "Ada", isAdmin: false } : id === "root" ? { name: "Root", isAdmin: true } : undefined
})))

const Implementation = HttpApiBuilder.layer(api).pipe(
  Layer.provide(Layer.provide(Handlers, Middlewares)),
  Layer.provide(HttpServer.layerServices)
)

/** The API as a web handler, and its generated client with a cookie jar. */
const start = Effect.fnUntraced(function*(store: App.TestStore) {
  const context = yield* Layer.build(App.backend(store, { preset: "testing", idleTimeout: "1 hour" }))
  const client = yield* App.inProcess(Implementation.pipe(Layer.provide(Layer.succeedContext(context))))
  const jar = yield* Ref.make<ReadonlyArray<Cookies.Cookie>>([])
  const fetch = (input: RequestInfo | URL, init?: RequestInit) => {
    const request = new Request(input, init)
    return Effect.runPromise(Effect.map(
      Effect.promise(() => request.text()).pipe(
        Effect.flatMap((body) =>
          client.send(request.method, new URL(request.url).pathname, {
            headers: Object.fromEntries(request.headers),
            body: body === "" ? undefined : body
          })
        )
      ),
      (reply) => {
        const headers = new Headers(reply.headers.map(([name, value]): [string, string] => [name, value]))
        return new Response(reply.status === 204 ? null : reply.body, { status: reply.status, headers })
      }
    ))
  }
  const typed = yield* HttpApiClient.make(api, {
    transformClient: (client) =>
      client.pipe(
        HttpClient.mapRequest(HttpClientRequest.prependUrl("http://app.test")),
        HttpClient.withCookiesRef(jar)
      )
  }).pipe(Effect.provide(FetchHttpClient.layer), Effect.provideService(FetchHttpClient.Fetch, fetch))
  const tokenOf = (subject: string) =>
    Effect.provideContext(SessionTest.start(UserSession, { subject, data: { n: 0, note: "" } }), context)
  return { typed, raw: client, jar, tokenOf }
})

const fails = (effect: Effect.Effect<unknown, unknown>): Effect.Effect<unknown, unknown> => Effect.flip(effect)

const unauthorized = new SessionApiError.Unauthorized()
const needs = (needs: SessionApiError.Forbidden["needs"]) => new SessionApiError.Forbidden({ needs })

const assertError = (actual: unknown, expected: Error) => {
  assert.strictEqual(actual?.constructor, expected.constructor)
  assert.deepStrictEqual(JSON.stringify(actual), JSON.stringify(expected))
}

describe("SessionApi", () => {
  it.effect("lets nobody through who is not signed in, and everybody where only the session is asked for", () =>
    Effect.gen(function*() {
      const { typed } = yield* start(yield* App.makeStore())
      assert.strictEqual(yield* typed.open(), "open")
      assert.strictEqual(yield* typed.status(), "anonymous")
      const { account, admin, close, me, password, pay, poll, rename } = typed
      for (const call of [me(), rename(), password(), pay(), close(), account(), admin(), poll()].map(fails)) {
        assertError(yield* call, unauthorized)
      }
    }))

  it.effect("provides the principal and the session after a sign-in, and writes it back", () =>
    Effect.gen(function*() {
      const { typed } = yield* start(yield* App.makeStore())
      yield* typed.login()
      assert.deepStrictEqual(yield* typed.me(), { subject: "ada", n: 1 })
      assert.deepStrictEqual(yield* typed.me(), { subject: "ada", n: 2 })
      yield* typed.logout()
      assertError(yield* fails(typed.me()), unauthorized)
    }))

  it.effect("Fresh asks for a new proof after its time, and takes a reauthentication", () =>
    Effect.gen(function*() {
      const { typed } = yield* start(yield* App.makeStore())
      yield* typed.login()
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* typed.password(), "ada")
      yield* TestClock.adjust(1)
      assertError(yield* fails(typed.password()), needs("reauthentication"))
      assert.deepStrictEqual((yield* typed.me()).subject, "ada")
      yield* typed.reauthenticate()
      assert.strictEqual(yield* typed.password(), "ada")
    }))

  it.effect("SecondFactor lets elevated sessions through, as long as they are", () =>
    Effect.gen(function*() {
      const { typed } = yield* start(yield* App.makeStore())
      yield* typed.login()
      assertError(yield* fails(typed.pay()), needs("secondFactor"))
      yield* typed.elevate()
      assert.strictEqual(yield* typed.pay(), "ada")
      yield* TestClock.adjust("5 minutes")
      assertError(yield* fails(typed.pay()), needs("secondFactor"))
    }))

  it.effect("several middlewares share one session, and each has to let the request through", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const { typed } = yield* start(store)
      yield* typed.login()
      assertError(yield* fails(typed.close()), needs("secondFactor"))
      yield* typed.elevate()
      store.calls.length = 0
      assert.strictEqual(yield* typed.close(), "ada,ada,ada")
      assert.deepStrictEqual(store.calls, ["load"])
      yield* TestClock.adjust("4 minutes")
      yield* typed.elevate()
      yield* TestClock.adjust("4 minutes")
      yield* typed.elevate()
      yield* TestClock.adjust("4 minutes")
      assertError(yield* fails(typed.close()), needs("reauthentication"))
    }))

  it.effect("a principal of one's own is made for each request; without one nobody is signed in", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const { raw, tokenOf, typed } = yield* start(store)
      yield* typed.login()
      assert.strictEqual(yield* typed.account(), "Ada")
      assertError(yield* fails(typed.admin()), needs("permission"))
      const as = (subject: string) =>
        Effect.flatMap(
          tokenOf(subject),
          (token) => raw.send("GET", "/admin", { headers: { cookie: `session=${token}` } })
        )
      assert.strictEqual((yield* as("root")).body, "\"Root\"")
      assert.strictEqual((yield* as("closed")).status, 401)
    }))

  it.effect("a handler that fails discards its changes, and its error reaches the client", () =>
    Effect.gen(function*() {
      const { typed } = yield* start(yield* App.makeStore())
      yield* typed.login()
      assert.instanceOf(yield* fails(typed.rename()), Taken)
      assert.strictEqual((yield* typed.me()).n, 1)
    }))

  it.effect("an outage is a 503 that the client can tell from a sign-out, without its cause", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const { raw, typed } = yield* start(store)
      yield* typed.login()
      store.before = (method) => method === "load" ? App.down : Effect.void
      for (const call of [typed.me(), typed.password(), typed.pay()].map(fails)) {
        const error = yield* call
        assert.instanceOf(error, SessionError.SessionError)
        assert.strictEqual(error.reason._tag, "Unavailable")
      }
      const token = "a".repeat(10)
      const answer = yield* raw.send("GET", "/me", { headers: { cookie: `session=${token}` } })
      assert.strictEqual(answer.status, 401)
      store.before = (method) => method === "save" ? App.down : Effect.void
      // The commit comes after the handler has answered.
      const error = yield* fails(typed.me())
      assert.instanceOf(error, SessionError.SessionError)
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.isUndefined(error.cause)
    }))

  it.effect("the body of an error shows nothing but its tags", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const { raw, tokenOf } = yield* start(store)
      const token = yield* tokenOf("ada")
      store.before = () => App.down
      const answer = yield* raw.send("GET", "/me", { headers: { cookie: `session=${token}` } })
      assert.strictEqual(answer.status, 503)
      assert.deepStrictEqual(JSON.parse(answer.body), { _tag: "SessionError", reason: { _tag: "Unavailable" } })
      assert.isDefined(answer.header("retry-after"))
      assert.strictEqual(answer.header("cache-control"), "no-store")
    }))

  it.effect("an error that a handler leaves unhandled has the headers of one that it never saw", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const { raw, tokenOf } = yield* start(store)
      const token = yield* tokenOf("ada")
      store.before = () => App.down
      const answer = yield* raw.send("POST", "/login", { headers: { cookie: `session=${token}` } })
      assert.strictEqual(answer.status, 503)
      assert.strictEqual(answer.header("retry-after"), "1")
      assert.strictEqual(answer.header("cache-control"), "no-store")
      assert.deepStrictEqual(answer.setCookies, [])
    }))

  it.effect("sets the cookie that the API documents, where the transport is secure", () =>
    Effect.gen(function*() {
      const secrets = Redacted.make("a secret of the tests, of 32 octets or more: 7Kq-Zr5_Wt2.Hn8+")
      const store = yield* App.makeStore()
      const client = yield* App.inProcess(
        Implementation.pipe(Layer.provide(App.backend(store, { preset: "production", secrets })))
      )
      const { setCookies } = yield* client.send("POST", "/login")
      assert.match(setCookies.join(), /^__Host-session=[^;]+; .*Path=\/; Secure; HttpOnly; SameSite=Lax/)
    }))

  it.effect("reads the cookie as the middleware does, not as the router parses it", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const { raw, tokenOf } = yield* start(store)
      const token = yield* tokenOf("ada")
      const status = (cookie: string) => Effect.map(raw.send("GET", "/poll", { headers: { cookie } }), (r) => r.status)
      assert.strictEqual(yield* status(`session=${token}`), 200)
      for (
        const cookie of [
          `\u00a0session=${token}`,
          `session="${token}"`,
          `Session=${token}`,
          `session=${token}; session=${token}`,
          `session=x; session=${token}`,
          `s%65ssion=${token}`
        ]
      ) assert.strictEqual(yield* status(cookie), 401, cookie)
    }))

  it.effect("a session that a middleware of the router has opened is used, not opened twice", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* App.inProcess(
        Implementation.pipe(
          Layer.provide(SessionMiddleware.layerGlobal(UserSession, { onError: SessionApiError.toResponse })),
          Layer.provide(App.backend(store))
        )
      )
      const browser = App.browser(client)
      assert.strictEqual((yield* browser.send("POST", "/login")).setCookies.length, 1)
      store.calls.length = 0
      assert.strictEqual((yield* browser.send("GET", "/me")).status, 200)
      assert.deepStrictEqual(store.calls, ["load", "save"])
    }))

  it.effect("an endpoint that is annotated as passive marks its requests", () =>
    Effect.gen(function*() {
      const seen: Array<boolean> = []
      const store = yield* App.makeStore()
      const Watch = HttpRouter.middleware((app) =>
        Effect.tap(app, () =>
          Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
            seen.push(RequestClass.isActive(request))
          })), { global: true })
      const client = yield* App.inProcess(
        Layer.merge(Implementation, Watch).pipe(Layer.provide(App.backend(store)))
      )
      const browser = App.browser(client)
      yield* browser.send("POST", "/login")
      yield* browser.send("GET", "/poll")
      yield* browser.send("GET", "/me")
      assert.deepStrictEqual(seen, [true, false, true])
    }))

  it.effect("a group that is annotated as passive is, but for the endpoints that say otherwise", () =>
    Effect.gen(function*() {
      const kind = HttpApiEndpoint.get("kind", "/kind", { success: Schema.String }).middleware(Visitor)
      const kinds = HttpApi.make("kinds").add(
        HttpApiGroup.make("polls").add(
          kind,
          HttpApiEndpoint.get("active", "/active", { success: Schema.String }).middleware(Visitor)
            .annotate(RequestClass.Passive, false)
        ).annotate(RequestClass.Passive, true)
      )
      const show = () => Effect.map(HttpServerRequest.HttpServerRequest, RequestClass.of)
      const Polls = HttpApiBuilder.group(kinds, "polls", (handlers) => handlers.handleAll({ kind: show, active: show }))
      const client = yield* Effect.provide(HttpApiTest.groups(kinds, ["polls"]), [
        Layer.provideMerge(Polls, SessionApi.layerSession(Visitor)),
        HttpServer.layerServices
      ])
      assert.strictEqual(yield* client.polls.kind(), "passive")
      assert.strictEqual(yield* client.polls.active(), "active")
    }).pipe(Effect.provide(SessionTest.layer())))

  it.effect("works with HttpApiTest: a session around a call is the session of its handler", () =>
    Effect.gen(function*() {
      const client = yield* HttpApiTest.groups(api, ["users"])
      assertError(yield* fails(client.me()), unauthorized)
      const manager = yield* SessionManager.make(UserSession)
      const signedIn = yield* manager.run(undefined, client.login())
      const first = yield* manager.run(signedIn.token, client.me())
      assert.deepStrictEqual(first.value, { subject: "ada", n: 1 })
      const { value } = yield* manager.run(first.token, Effect.result(client.pay()))
      assertError(Result.isFailure(value) ? value.failure : undefined, needs("secondFactor"))
    }).pipe(
      Effect.provide([Layer.provideMerge(Handlers, Middlewares), HttpServer.layerServices]),
      Effect.provide(SessionTest.layer())
    ))

  it("the cookie is a security scheme of the API, required where a middleware is", () => {
    const spec = OpenApi.fromApi(api)
    assert.deepStrictEqual(spec.components.securitySchemes, {
      session: {
        type: "apiKey",
        name: "__Host-session",
        in: "cookie",
        description: "The session cookie, set by the server. Browsers send it by themselves."
      }
    })
    assert.deepStrictEqual(spec.paths["/open"]?.get?.security, [])
    assert.deepStrictEqual(spec.paths["/me"]?.get?.security, [{ session: [] }])
    assert.deepStrictEqual(spec.paths["/close"]?.post?.security, [{ session: [] }])
    assert.deepStrictEqual(
      Object.keys(spec.paths["/me"]?.get?.responses ?? {}),
      ["200", "400", "401", "403", "409", "413", "500", "503"].filter((status) =>
        status in (spec.paths["/me"]?.get?.responses ?? {})
      )
    )
    for (const status of [401, 403, 409, 413, 500, 503]) {
      assert.property(spec.paths["/me"]?.get?.responses ?? {}, String(status))
    }
  })

  it("refuses a time that is none", () => {
    for (const within of [0, -1, Infinity, "0 seconds"] as const) {
      assert.throws(() => SessionApi.Fresh()("test/Bad", { session: UserSession, within }), RangeError)
    }
  })
})

describe("SessionApi.check", () => {
  const info: Session.Info = {
    createdAt: 0,
    authenticatedAt: 1000,
    lastSeenAt: 1000,
    idleExpiresAt: 1e6,
    absoluteExpiresAt: 1e6,
    subject: "ada",
    now: 2000
  }
  const session = (parts: Partial<Session.ReadonlySession<string>>): Session.ReadonlySession<string> => ({
    get: Effect.succeed("data"),
    status: Effect.succeed("active"),
    isNew: Effect.succeed(false),
    subject: Effect.succeed("ada"),
    info: Effect.succeed(info),
    expiresAt: Effect.undefined,
    timeUntilExpiry: Effect.die("not used"),
    isElevated: Effect.succeed(true),
    served: Effect.undefined,
    handle: Effect.undefined,
    ...parts
  })
  const fresh = { _tag: "Fresh", within: 1000 } as const
  const stale = session({ served: Effect.succeed({ _tag: "Stale", age: 1 }) })

  it.effect("takes an old copy of the session for who is signed in, and for no more than that", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* SessionApi.check(stale, { _tag: "Authenticated" })).subject, "ada")
      for (const requirement of [fresh, { _tag: "SecondFactor" } as const]) {
        assert.strictEqual((yield* SessionApi.check(session({}), requirement)).subject, "ada")
        const error = yield* Effect.flip(SessionApi.check(stale, requirement))
        assert.strictEqual(error._tag === "SessionError" && error.reason._tag, "Unavailable")
      }
    }))

  it.effect("a request that goes on without its session in an outage is not signed out", () =>
    Effect.gen(function*() {
      const lost = session({
        info: Effect.undefined,
        subject: Effect.undefined,
        status: Effect.succeed("unavailable")
      })
      const error = yield* Effect.flip(SessionApi.check(lost, { _tag: "Authenticated" }))
      assert.strictEqual(error._tag, "SessionError")
      assert.strictEqual((yield* Effect.flip(SessionApi.isAuthenticated(lost)))._tag, "SessionError")
    }))
})

describe("SessionApiError", () => {
  const reasons = [
    new SessionError.Unavailable({ retryAfter: 2500 }),
    new SessionError.Conflict(),
    new SessionError.Gone(),
    new SessionError.TooLarge({ actual: 5, maximum: 4 }),
    new SessionError.LimitReached({ maximum: 3 }),
    new SessionError.NotAuthenticated(),
    new SessionError.BindingMismatch(),
    new SessionError.Finished(),
    new SessionError.ReadOnly(),
    new SessionError.Undeliverable(),
    new SessionError.Invalid({ problem: "shape" })
  ]

  it("every session error has one schema, which brings it to the client", () => {
    for (const reason of reasons) {
      const error = new SessionError.SessionError({ reason })
      const schemas = SessionApiError.failures.filter((schema) => Schema.is(schema)(error))
      assert.strictEqual(schemas.length, 1, reason._tag)
      const wire = JSON.parse(JSON.stringify(Schema.encodeSync(schemas[0])(error)))
      assert.deepStrictEqual(Schema.decodeSync(schemas[0])(wire).reason, reason)
    }
  })

  it("to a client, a session that only another node can read is not available", () => {
    for (const problem of ["newer", "sealed"] as const) {
      const error = new SessionError.SessionError({ reason: new SessionError.Invalid({ problem }) })
      const schemas = SessionApiError.failures.filter((schema) => Schema.is(schema)(error))
      assert.strictEqual(schemas.length, 1)
      const wire = JSON.parse(JSON.stringify(Schema.encodeSync(schemas[0])(error)))
      assert.strictEqual(wire.headers["retry-after"], "1")
      assert.deepStrictEqual(Schema.decodeSync(schemas[0])(wire).reason, new SessionError.Unavailable({}))
    }
  })

  it("a cause stays on the server", () => {
    const reason = new SessionError.Unavailable({ cause: new Error("connect ECONNREFUSED 10.0.0.1") })
    const schema = Schema.Union(SessionApiError.failures)
    const { body } = Schema.encodeSync(schema)(new SessionError.SessionError({ reason }))
    assert.deepStrictEqual(body, { _tag: "SessionError", reason: { _tag: "Unavailable" } })
  })
})
