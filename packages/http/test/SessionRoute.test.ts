import { type SessionConfig, type SessionError, type SessionManager, SessionStore } from "@effect-session/core"
import { RequestSession, SessionApi, SessionMiddleware, SessionRoute } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Schema, Stream } from "effect"
import { HttpRouter, HttpServer, HttpServerError, HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { TestClock } from "effect/testing"
import * as CookieMode from "./CookieModeApp.ts"
import * as Legacy from "./LegacyApp.ts"
import * as App from "./SessionApp.ts"

const { UserSession } = App

class Failed extends Schema.TaggedError<Failed>()("Failed", {}) {}

const writes = {
  set: UserSession.set({ n: 9, note: "" }),
  update: App.increment,
  modify: UserSession.modify((data) => [data.n, data]),
  reset: UserSession.reset,
  destroy: UserSession.destroy,
  renew: UserSession.renew,
  login: UserSession.login("eve"),
  elevate: UserSession.elevate("5 minutes"),
  reauthenticate: UserSession.reauthenticate,
  touch: UserSession.touch,
  setLifetime: UserSession.setLifetime({ idleTimeout: "1 minute" }),
  "flash.add": UserSession.flash.notice("hello"),
  "flash.discard": UserSession.flash.discard("notice")
}

/** The reason for which an effect fails. */
const reason = <A, R>(effect: Effect.Effect<A, SessionError.SessionError, R>) =>
  Effect.match(effect, { onFailure: (error) => error.reason._tag, onSuccess: () => "done" })

const text = <R>(effect: Effect.Effect<string, SessionError.SessionError, R>) =>
  Effect.map(effect, (body) => HttpServerResponse.text(body))

// Each write says how it ends, and the session is read as well.
const attempts = Effect.gen(function*() {
  const reasons: Array<string> = []
  for (const write of Object.values(writes)) reasons.push(yield* reason(write))
  const { n } = yield* UserSession.get
  return `${yield* UserSession.status} ${yield* UserSession.subject} ${n} ${[...new Set(reasons)].join()}`
})

class Visitor extends SessionApi.Session<Visitor>()("test/Visitor", { session: UserSession }) {}

const api = HttpApi.make("app").add(
  HttpApiGroup.make("endpoints").add(
    HttpApiEndpoint.get("read", "/endpoint/read", { success: Schema.String }).middleware(Visitor)
      .annotate(SessionRoute.Route, { access: "read" }),
    HttpApiEndpoint.get("none", "/endpoint/none", { success: Schema.String }).middleware(Visitor)
      .annotate(SessionRoute.Route, { access: "none" })
  ),
  HttpApiGroup.make("group").add(
    HttpApiEndpoint.get("read", "/group/read", { success: Schema.String }).middleware(Visitor),
    HttpApiEndpoint.get("none", "/group/none", { success: Schema.String }).middleware(Visitor)
      .annotate(SessionRoute.Route, { access: "none" }),
    HttpApiEndpoint.get("commit", "/group/commit", { success: Schema.String }).middleware(Visitor)
      .annotate(SessionRoute.Route, { commit: "keepOnFailure" })
  ).annotate(SessionRoute.Route, { access: "read" })
)
const Api = HttpApiBuilder.layer(api).pipe(
  Layer.provide([
    HttpApiBuilder.group(
      api,
      "endpoints",
      (handlers) => handlers.handle("read", () => attempts).handle("none", () => attempts)
    ),
    HttpApiBuilder.group(
      api,
      "group",
      (handlers) =>
        handlers.handle("read", () => attempts).handle("none", () => attempts).handle("commit", () => attempts)
    )
  ]),
  Layer.provide(SessionApi.layerSession(Visitor)),
  Layer.provide(HttpServer.layerServices)
)

type Place = (options: SessionRoute.Options) => App.App

/** The places where options may stand, each as an application of its own. */
const places = (store: App.TestStore, config: SessionConfig.Options) => {
  const page = HttpRouter.add("GET", "/page", text(attempts))
  const backend = App.backend(store, config)
  const withLogin = (routes: App.App) =>
    Layer.mergeAll(
      routes,
      App.routes.pipe(Layer.provide(SessionMiddleware.layer(UserSession)), Layer.provide(backend))
    )
  const built: { readonly [place: string]: Place } = {
    handler: (options) =>
      withLogin(
        HttpRouter.add("GET", "/page", SessionRoute.using(text(attempts), options)).pipe(
          Layer.provide(SessionMiddleware.layer(UserSession)),
          Layer.provide(backend)
        )
      ),
    inside: (options) =>
      withLogin(page.pipe(
        Layer.provide(SessionRoute.layer(options)),
        Layer.provide(SessionMiddleware.layer(UserSession)),
        Layer.provide(backend)
      )),
    outside: (options) =>
      withLogin(page.pipe(
        Layer.provide(SessionMiddleware.layer(UserSession)),
        Layer.provide(SessionRoute.layer(options)),
        Layer.provide(backend)
      )),
    "below a global middleware": (options) =>
      Layer.mergeAll(App.routes, page.pipe(Layer.provide(SessionRoute.layer(options)))).pipe(
        Layer.provide(SessionMiddleware.layerGlobal(UserSession)),
        Layer.provide(backend)
      ),
    "below a prefix": (options) =>
      Layer.mergeAll(
        App.routes,
        HttpRouter.use((router) =>
          router.prefixed("/area").add("GET", "/page", SessionRoute.using(text(attempts), options))
        )
      ).pipe(Layer.provide(SessionMiddleware.layerGlobal(UserSession)), Layer.provide(backend))
  }
  return built
}

const aging = {
  preset: "testing",
  touchInterval: "1 minute",
  renewalInterval: "5 minutes",
  renewalGrace: "1 minute",
  idleTimeout: "1 hour",
  lifetime: "10 hours",
  sliding: true
} as const

/** A store that tells whether a load was allowed to record activity. */
const watched = Effect.fnUntraced(function*() {
  const store = yield* App.makeStore()
  const context = yield* Layer.build(store.layer)
  const inner = Context.get(context, SessionStore.SessionStore)
  const allowed: Array<boolean> = []
  const layer = Layer.succeedContext(Context.add(context, SessionStore.SessionStore, {
    ...inner,
    load: (key, options) => {
      allowed.push(options?.touchAfter !== undefined)
      return inner.load(key, options)
    }
  }))
  return { store: { ...store, layer }, allowed }
})

const signedIn = Effect.fnUntraced(function*(app: App.App) {
  const browser = App.browser(yield* App.inProcess(app))
  assert.strictEqual((yield* browser.send("POST", "/login")).status, 200)
  return browser
})

const names = ["handler", "inside", "outside", "below a global middleware", "below a prefix"]
const pathOf = (name: string) => name === "below a prefix" ? "/area/page" : "/page"

describe.each(names)("SessionRoute, %s", (name) => {
  it.effect("read: shows the session, refuses every write, and leaves no trace in store and browser", () =>
    Effect.gen(function*() {
      const { allowed, store } = yield* watched()
      const browser = yield* signedIn(places(store, aging)[name]!({ access: "read" }))
      const before = yield* store.entries
      // Activity and a new id are due.
      yield* TestClock.adjust("6 minutes")
      store.calls.length = allowed.length = 0
      const answer = yield* browser.send("GET", pathOf(name))
      assert.strictEqual(answer.body, "active ada 0 ReadOnly")
      assert.deepStrictEqual(store.calls, ["load"])
      assert.deepStrictEqual(allowed, [false])
      assert.deepStrictEqual(yield* store.entries, before)
      assert.deepStrictEqual(answer.setCookies, [])
      assert.strictEqual(answer.header("vary"), "Cookie")
      // On another route both happen.
      assert.strictEqual((yield* browser.send("GET", "/me")).setCookies.length, 1)
    }))

  it.effect("none: nobody looks at the cookie or asks the store", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const browser = yield* signedIn(places(store, aging)[name]!({ access: "none" }))
      yield* TestClock.adjust("6 minutes")
      store.calls.length = 0
      const answer = yield* browser.send("GET", pathOf(name))
      assert.strictEqual(answer.body, "anonymous undefined 0 ReadOnly")
      // Two cookies of one name are an invalid session wherever they are looked at.
      const twice = yield* browser.send("GET", pathOf(name), { headers: { cookie: "session=a; session=b" } })
      assert.strictEqual(twice.body, "anonymous undefined 0 ReadOnly")
      assert.deepStrictEqual(store.calls, [])
      assert.deepStrictEqual([answer.setCookies, answer.header("vary")], [[], undefined])
    }))
})

describe("SessionRoute, access", () => {
  it.effect("endpoints and groups of an HttpApi have it as an annotation, the endpoint before its group", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const routes = App.routes.pipe(Layer.provide(SessionMiddleware.layer(UserSession)))
      const browser = yield* signedIn(Layer.mergeAll(routes, Api).pipe(Layer.provide(App.backend(store))))
      for (const path of ["/endpoint/read", "/group/read", "/group/commit"]) {
        assert.include((yield* browser.send("GET", path)).body, "active ada 0 ReadOnly", path)
      }
      store.calls.length = 0
      for (const path of ["/endpoint/none", "/group/none"]) {
        assert.include((yield* browser.send("GET", path)).body, "anonymous undefined 0 ReadOnly", path)
      }
      assert.deepStrictEqual(store.calls, [])
    }))

  it.effect("a write that nobody handles is answered with 500, and nothing is stored", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const app = HttpRouter.add(
        "POST",
        "/write",
        SessionRoute.using(Effect.as(App.increment, HttpServerResponse.empty()), { access: "read" })
      )
      const browser = yield* signedIn(App.withSession(Layer.mergeAll(App.routes, app), store))
      store.calls.length = 0
      const answer = yield* browser.send("POST", "/write")
      assert.deepStrictEqual([answer.status, answer.setCookies, store.calls], [500, [], []])
    }))

  it.effect("read: messages can be looked at and not taken", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const page = text(Effect.gen(function*() {
        const waiting = yield* UserSession.flash.peek
        return `${waiting.length} ${yield* reason(UserSession.flash.all)} ${yield* reason(
          UserSession.flash.get("notice")
        )}`
      }))
      const app = Layer.mergeAll(
        App.routes,
        HttpRouter.add("POST", "/tell", Effect.as(UserSession.flash.notice("hello"), HttpServerResponse.empty())),
        HttpRouter.add("GET", "/page", SessionRoute.using(page, { access: "read" })),
        HttpRouter.add("GET", "/take", text(Effect.map(UserSession.flash.get("notice"), (taken) => taken.join())))
      )
      const browser = yield* signedIn(App.withSession(app, store))
      assert.strictEqual((yield* browser.send("GET", "/page")).body, "0 ReadOnly ReadOnly")
      yield* browser.send("POST", "/tell")
      assert.strictEqual((yield* browser.send("GET", "/page")).body, "1 ReadOnly ReadOnly")
      assert.strictEqual((yield* browser.send("GET", "/take")).body, "hello")
    }))

  it.effect("data: stores what needs no new cookie, and refuses the rest", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const each = Effect.gen(function*() {
        const refused: Array<string> = []
        for (const [name, write] of Object.entries(writes)) {
          if (name !== "destroy" && (yield* reason(write)) === "Undeliverable") refused.push(name)
        }
        yield* Effect.ignore(App.increment)
        return refused.join()
      })
      const app = Layer.mergeAll(
        App.routes,
        HttpRouter.add("GET", "/page", SessionRoute.using(text(each), { access: "data" })),
        HttpRouter.add("GET", "/end", SessionRoute.using(text(Effect.as(UserSession.destroy, "")), { access: "data" }))
      )
      const browser = yield* signedIn(App.withSession(app, store, { config: aging }))
      yield* TestClock.adjust("6 minutes")
      const answer = yield* browser.send("GET", "/page")
      assert.deepStrictEqual([answer.body, answer.setCookies], ["renew,login,elevate,reauthenticate,setLifetime", []])
      assert.strictEqual(App.shown(yield* browser.send("GET", "/me")).n, 1)
      assert.match((yield* browser.send("GET", "/end")).setCookies.join(), /^session=;/)
      // Without a session every write would begin one.
      assert.strictEqual(
        (yield* browser.send("GET", "/page")).body,
        Object.keys(writes).filter((name) => !["destroy", "flash.discard", "touch"].includes(name)).join()
      )
      assert.deepStrictEqual(yield* store.entries, [])
    }))

  it.effect("cookie mode: read and data set no cookie, also where activity is due", () =>
    Effect.gen(function*() {
      const page = (access: SessionManager.Access) =>
        HttpRouter.add("GET", `/${access}`, SessionRoute.using(text(attempts), { access }))
      const browser = App.browser(
        yield* App.inProcess(CookieMode.application({ config: aging }, Layer.mergeAll(page("read"), page("none"))))
      )
      yield* browser.send("POST", "/login")
      yield* TestClock.adjust("6 minutes")
      const answer = yield* browser.send("GET", "/read")
      assert.deepStrictEqual([answer.body, answer.setCookies], ["active ada 0 ReadOnly", []])
      const none = yield* browser.send("GET", "/none")
      assert.deepStrictEqual([none.body, none.setCookies], ["anonymous undefined 0 ReadOnly", []])
      assert.strictEqual((yield* browser.send("GET", "/me")).setCookies.length, 1)
    }))

  it.effect("cookie mode: data refuses every write", () =>
    Effect.gen(function*() {
      const { destroy: _, ...others } = writes
      const each = Effect.gen(function*() {
        const reasons: Array<string> = []
        yield* UserSession.get
        for (const write of Object.values(others)) reasons.push(yield* reason(write))
        return [...new Set(reasons)].join()
      })
      const page = HttpRouter.add("GET", "/data", SessionRoute.using(text(each), { access: "data" }))
      const browser = App.browser(yield* App.inProcess(CookieMode.application({ config: aging }, page)))
      yield* browser.send("POST", "/login")
      yield* TestClock.adjust("6 minutes")
      const answer = yield* browser.send("GET", "/data")
      assert.deepStrictEqual([answer.body, answer.setCookies], ["Undeliverable", []])
    }))

  it.effect("the option nearest to the handler decides, each by itself", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const show = Effect.map(
        HttpServerRequest.HttpServerRequest,
        (request) => HttpServerResponse.jsonUnsafe(SessionRoute.of(request))
      )
      const app = HttpRouter.add("GET", "/page", SessionRoute.using(show, { access: "full" })).pipe(
        Layer.provide(SessionRoute.layer({ commit: "keepOnFailure" })),
        Layer.provide(SessionMiddleware.layer(UserSession)),
        Layer.provide(SessionRoute.layer({ access: "none", commit: "discardOnErrorStatus" })),
        Layer.provide(App.backend(store))
      )
      const client = yield* App.inProcess(app)
      assert.deepStrictEqual(JSON.parse((yield* client.send("GET", "/page")).body), {
        access: "full",
        commit: "keepOnFailure"
      })
    }))

  it.effect("what a middleware has written before the route is known stands", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const reading = SessionRoute.using(text(attempts), { access: "read" })
      const app = App.withSession(HttpRouter.add("GET", "/page", Effect.andThen(App.increment, reading)), store)
      const browser = App.browser(yield* App.inProcess(app))
      assert.strictEqual((yield* browser.send("GET", "/page")).body, "anonymous undefined 1 ReadOnly")
      assert.strictEqual((yield* browser.send("GET", "/page")).body, "active undefined 2 ReadOnly")
    }))

  it.effect("old sessions are not moved in by a route that may not write", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const old = Legacy.oldStore()
      old.entries.set("sess:ada-1", Legacy.expressRecord({ user: "ada", n: 7 }))
      const page = HttpRouter.add("GET", "/page", SessionRoute.using(App.show, { access: "read" }))
      const client = yield* App.inProcess(
        Legacy.application(store, yield* Legacy.expressReader(old), {}, Layer.mergeAll(App.routes, page))
      )
      const headers = { cookie: Legacy.expressCookie("ada-1") }
      const answer = yield* client.send("GET", "/page", { headers })
      assert.deepStrictEqual([App.shown(answer).status, answer.setCookies, old.reads], ["anonymous", [], 0])
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", { headers })).subject, "ada")
    }))
})

describe("SessionRoute, how long options hold", () => {
  const route = (options: SessionRoute.Options) =>
    HttpRouter.add("GET", "/page", SessionRoute.using(Effect.andThen(UserSession.get, App.show), options))

  it.effect("for one run: not for the next application that gets the same request", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const handlerOf = (app: App.App) =>
        Effect.acquireRelease(
          Effect.sync(() => HttpRouter.toWebHandler(app, { disableLogger: true })),
          ({ dispose }) => Effect.promise(dispose)
        )
      const first = yield* handlerOf(App.withSession(route({ access: "none", commit: "discardOnErrorStatus" }), store))
      const second = yield* handlerOf(App.withSession(App.routes, store))
      const login = yield* Effect.promise(() =>
        second.handler(new Request("http://app.test/login", { method: "POST" }))
      )
      const cookie = login.headers.getSetCookie().map((line) => line.slice(0, line.indexOf(";"))).join()
      const request = new Request("http://app.test/page", { headers: { cookie } })
      const text = (answer: Response) => Effect.map(Effect.promise(() => answer.json()), ({ status }) => status)
      assert.strictEqual(yield* text(yield* Effect.promise(() => first.handler(request))), "anonymous")
      assert.deepStrictEqual(
        SessionRoute.of(HttpServerRequest.fromWeb(request)),
        SessionRoute.of(HttpServerRequest.fromWeb(new Request("http://app.test/")))
      )
    }))

  it.effect("until the last session of the request is committed", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const both = Effect.andThen(UserSession.get, Effect.andThen(App.AdminSession.get, App.show))
      const begin = Effect.andThen(App.increment, Effect.andThen(App.AdminSession.login("root"), App.show))
      const app = Layer.mergeAll(
        HttpRouter.add("POST", "/begin", begin),
        HttpRouter.add("GET", "/read", SessionRoute.using(both, { access: "read" })),
        HttpRouter.add("GET", "/full", both)
      ).pipe(
        Layer.provide(SessionMiddleware.layer(UserSession)),
        Layer.provide(SessionMiddleware.layer(App.AdminSession, { cookie: { name: "admin" } })),
        Layer.provide(App.backend(store, { preset: "testing", sliding: true, touchInterval: "1 minute" }))
      )
      const browser = App.browser(yield* App.inProcess(app))
      yield* browser.send("POST", "/begin")
      yield* TestClock.adjust("2 minutes")
      store.calls.length = 0
      yield* browser.send("GET", "/read")
      assert.deepStrictEqual(store.calls, ["load", "load"])
      yield* browser.send("GET", "/full")
      assert.deepStrictEqual(store.calls.slice(2).toSorted(), ["load", "load", "touch", "touch"])
    }))

  it.effect("and for what goes on after the request", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const stream = Effect.gen(function*() {
        const live = yield* RequestSession.make(UserSession)
        const late = Effect.all([live.status, reason(live.run(App.increment)), reason(live.touch)])
        return HttpServerResponse.stream(
          Stream.encodeText(Stream.fromEffect(Effect.map(late, (answers) => answers.join(" "))))
        )
      })
      const app = (["read", "none", "full"] as const).map((access) =>
        HttpRouter.add("GET", `/${access}`, SessionRoute.using(stream, { access }))
      )
      const browser = yield* signedIn(App.withSession(Layer.mergeAll(App.routes, ...app), store))
      const said = (path: string) => Effect.map(browser.send("GET", path), ({ body, status }) => `${status} ${body}`)
      assert.strictEqual(yield* said("/read"), "200 active ReadOnly ReadOnly")
      assert.strictEqual(yield* said("/none"), "200 anonymous ReadOnly ReadOnly")
      assert.strictEqual(yield* said("/full"), "200 active done done")
    }))
})

class Reader extends SessionRoute.Readonly<Reader>()("test/Reader", UserSession) {}

describe("SessionRoute.Readonly", () => {
  it.effect("gives the handler what reads, and refuses what gets at the session nevertheless", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const page = Effect.gen(function*() {
        const keys = Object.keys(yield* Reader).toSorted()
        return `${keys.join()} ${yield* Reader.status} ${yield* Reader.subject} ${
          (yield* Reader.get).n
        } ${yield* reason(App.increment)}`
      })
      const app = HttpRouter.add("GET", "/page", text(page)).pipe(Layer.provide(SessionRoute.layerReadonly(Reader)))
      const browser = yield* signedIn(App.withSession(Layer.mergeAll(App.routes, app), store))
      assert.strictEqual(
        (yield* browser.send("GET", "/page")).body,
        "expiresAt,get,handle,info,isElevated,isNew,served,status,subject,timeUntilExpiry active ada 0 ReadOnly"
      )
    }))
})

const policies = ["keepOnFailure", "discardOnFailure", "discardOnServerError", "discardOnErrorStatus"] as const

/** The ways a handler ends, and from which policy on its changes are discarded. */
const endings: ReadonlyArray<
  readonly [name: string, handler: Effect.Effect<HttpServerResponse.HttpServerResponse, Failed>, discards: number]
> = [
  ["204", Effect.succeed(HttpServerResponse.empty()), 4],
  ["302", Effect.succeed(HttpServerResponse.redirect("/me")), 4],
  ["404", Effect.succeed(HttpServerResponse.empty({ status: 404 })), 3],
  ["503", Effect.succeed(HttpServerResponse.empty({ status: 503 })), 2],
  ["a failure", Effect.fail(new Failed()), 1],
  ["a defect", Effect.die(new Error("boom")), 0]
]

describe.each(Object.entries(App.transports))("SessionRoute, commit, %s", (_name, serve) => {
  it.effect("discards data changes as the policy says; a sign-in stands", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const pages = policies.flatMap((commit) =>
        endings.map(([name, handler], index) => {
          const writing = Effect.andThen(
            Effect.orDie(Effect.andThen(UserSession.login(name), App.increment)),
            Effect.orDie(handler)
          )
          const failing = Effect.andThen(Effect.orDie(Effect.andThen(UserSession.login(name), App.increment)), handler)
          return HttpRouter.add(
            "POST",
            `/${commit}/${index}`,
            SessionRoute.using(name === "a failure" ? failing : writing, { commit })
          )
        })
      )
      const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, ...pages), store))
      for (const [strictness, commit] of policies.entries()) {
        for (const [index, [name, , discards]] of endings.entries()) {
          const browser = App.browser(client)
          yield* browser.send("POST", `/${commit}/${index}`)
          const { n, subject } = App.shown(yield* browser.send("GET", "/me"))
          assert.deepStrictEqual([n, subject], [strictness < discards ? 1 : 0, name], `${commit}, ${name}`)
        }
      }
    }))
})

describe("SessionRoute.outcomeOf", () => {
  it("tells from the end of the handler and the status what becomes of the changes", () => {
    const ok = Exit.succeed(undefined)
    const interrupted = Exit.failCause(Cause.interrupt(1))
    const both = Exit.failCause(Cause.combine(Cause.fail(new Failed()), Cause.interrupt(1)))
    const left = Exit.failCause(
      Cause.combine(
        Cause.die("clean-up"),
        Cause.fromReasons([Cause.makeInterruptReason(1).annotate(HttpServerError.ClientAbort.annotation)])
      )
    )
    const statuses = [101, 204, 304, 399, 400, 404, 499, 500, 599]
    for (const policy of [undefined, ...policies]) {
      const of = (exit: Exit.Exit<unknown, unknown>, status = 200) =>
        SessionRoute.outcomeOf(exit, HttpServerResponse.empty({ status }), policy)
      assert.deepStrictEqual(
        statuses.filter((status) => of(ok, status) === "failure"),
        statuses.filter((status) =>
          status >= (policy === "discardOnErrorStatus" ? 400 : policy === "discardOnServerError" ? 500 : Infinity)
        )
      )
      for (const status of statuses) {
        assert.strictEqual(of(Exit.fail(new Failed()), status), policy === "keepOnFailure" ? "success" : "failure")
        assert.strictEqual(of(Exit.die("boom"), status), "failure")
        assert.strictEqual(of(interrupted, status), "aborted")
        assert.strictEqual(of(left, status), "aborted")
        assert.strictEqual(of(both, status), "failure")
      }
    }
  })
})
