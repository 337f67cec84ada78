import {
  Crypto,
  Metrics,
  Revocations,
  SessionBackend,
  SessionConfig,
  SessionEvents,
  SessionStore
} from "@effect-session/core"
import type { SessionError } from "@effect-session/core"
import { CookieChunks, SessionCookie, SessionMiddleware } from "@effect-session/http"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Layer, Logger, Metric, Redacted, References, Tracer } from "effect"
import { HttpMiddleware, HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import * as Http from "node:http"
import { inspect } from "node:util"
import * as CookieMode from "./CookieModeApp.ts"
import * as App from "./SessionApp.ts"

const { UserSession } = App

const secret = "cAnArY-9fK2.Lw7+Qd4/Zr8=Tb5~Xm1^Ps6?"
const payload = "pAyLoAd-that-nobody-may-see-7Hq3"
const config: SessionConfig.Options = { preset: "testing", secrets: Redacted.make(secret), sliding: true }
const cookie = SessionCookie.make({ name: "session", secure: false, chunks: 3 })

/** All that a reader of a value might print. */
const print = (value: unknown): string => {
  const texts = [inspect(value, { depth: 10, showHidden: true, getters: true }), String(value)]
  try {
    texts.push(JSON.stringify(value) ?? "")
  } catch {
    // A circle: `inspect` has shown it.
  }
  return texts.join("\n")
}

/** What leaves the application beside its responses. */
const observatory = () => {
  const seen: Array<readonly [where: string, text: string]> = []
  const spans: Array<Tracer.NativeSpan> = []
  const see = (where: string, value: unknown) => {
    seen.push([where, print(value)])
  }
  const logger = Logger.make((options) => {
    see("log", [options.message, options.logLevel])
    see("log cause", options.cause)
    seen.push(["log cause", Cause.pretty(options.cause)])
    see("log annotations", options.fiber.getRef(References.CurrentLogAnnotations))
  })
  const tracer = Tracer.make({
    span(options) {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const layer = Layer.mergeAll(
    Logger.layer([logger, Logger.map(Logger.formatStructured, (line) => see("structured log", line))]),
    Layer.succeed(References.MinimumLogLevel, "All"),
    Layer.succeed(References.MinimumTraceLevel, "All"),
    Layer.succeed(Tracer.Tracer, tracer),
    Layer.succeed(HttpMiddleware.TracerHeaderFilter, () => true),
    Metrics.layer
  )
  return { seen, see, spans, layer }
}

const web = (app: App.App, services: Layer.Layer<never>) =>
  Effect.gen(function*() {
    const { dispose, handler } = HttpRouter.toWebHandler(app.pipe(Layer.provideMerge(services)))
    yield* Effect.addFinalizer(() => Effect.promise(dispose))
    return (path: string, header: string | undefined) =>
      Effect.promise(async () => {
        const headers: Record<string, string> = header === undefined ? {} : { cookie: header }
        const response = await handler(new Request(`http://app.test${path}`, { method: "POST", headers }))
        await response.text()
        return { status: response.status, setCookies: response.headers.getSetCookie() }
      })
  })

const node = (app: App.App, services: Layer.Layer<never>) =>
  Effect.gen(function*() {
    const Server = HttpRouter.serve(app).pipe(
      Layer.provideMerge(NodeHttpServer.layer(() => Http.createServer(), { port: 0, host: "127.0.0.1" })),
      Layer.provide(services)
    )
    const { address } = Context.get(yield* Layer.build(Server), HttpServer.HttpServer)
    if (address._tag === "UnixPathAddress") return yield* Effect.die(new Error("the server has no port"))
    const { port } = address
    return (path: string, header: string | undefined) =>
      Effect.promise(async () => {
        const headers: Record<string, string> = header === undefined ? {} : { cookie: header }
        const response = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", headers })
        await response.text()
        return { status: response.status, setCookies: response.headers.getSetCookie() }
      })
  })

const down = new SessionStore.SessionStoreError({
  reason: new SessionStore.StoreUnavailable({ description: "connection refused" })
})

const cases = Object.entries({ web, node }).flatMap(([transport, serve]) =>
  (["cookie", "memory"] as const).map((mode) => ({ transport, serve, mode }))
)

describe.each(cases)("a canary, $mode mode, $transport", ({ mode, serve }) => {
  it.effect("as secret, id and payload is in no log, error, span, metric or printed value", () =>
    Effect.gen(function*() {
      const { layer, see, seen, spans } = observatory()
      let broken = false
      const list = yield* Revocations.makeMemory()
      const failing = <A>(call: Effect.Effect<A, SessionStore.SessionStoreError>) =>
        Effect.suspend(() => broken ? Effect.fail(down) : call)
      const store = yield* App.makeStore()
      store.before = () => broken ? Effect.fail(down) : Effect.void
      const backend: Layer.Layer<
        SessionBackend.SessionBackend | SessionConfig.SessionConfig | Crypto.Crypto,
        SessionConfig.SessionConfigError
      > = mode === "memory" ? App.backend(store, config) : CookieMode.backend({
        config,
        cookie: { maxToken: CookieChunks.capacity(cookie) },
        list: {
          ...list,
          revoke: (...given) => failing(list.revoke(...given)),
          isRevoked: (...given) => failing(list.isRevoked(...given))
        }
      })
      const keep = (size: number) =>
        UserSession.update(({ n }) => ({ n: n + 1, note: payload.repeat(Math.ceil(size / payload.length)) }))
      const printed = Effect.gen(function*() {
        see("session", yield* UserSession)
        see("status", yield* UserSession.status)
        see("handle", yield* UserSession.handle)
      })
      const done = HttpServerResponse.empty()
      const route = <E, R>(path: `/${string}`, effect: Effect.Effect<unknown, E, R>) =>
        HttpRouter.add("POST", path, Effect.as(Effect.asVoid(effect).pipe(Effect.withSpan(`handler ${path}`)), done))
      const routes = Layer.mergeAll(
        route("/keep", Effect.andThen(keep(40), printed)),
        route("/grow", Effect.andThen(keep(6000), printed)),
        route("/overflow", keep(100_000)),
        route("/read", Effect.andThen(UserSession.get, printed)),
        route("/login", Effect.andThen(UserSession.login("ada"), printed)),
        route("/renew", UserSession.renew),
        route("/flash", UserSession.flash.add("info", payload)),
        route("/elevate", UserSession.elevate("1 minute")),
        route("/die", Effect.andThen(keep(40), Effect.die(new Error("boom")))),
        route("/invalid", UserSession.update((data) => ({ ...data, note: 1 as never }))),
        route("/logout", UserSession.destroy)
      )
      const onError = (error: SessionError.SessionError) => {
        see("error", error)
        return SessionMiddleware.toResponse(error)
      }
      const hook = (event: SessionEvents.SessionEvent) => Effect.sync(() => see("event", event))
      const hooks = {
        created: hook,
        loaded: hook,
        saved: hook,
        renewed: hook,
        destroyed: hook,
        rejected: hook,
        error: hook
      }
      const services = yield* Layer.build(
        backend.pipe(Layer.provideMerge(layer), Layer.provideMerge(SessionEvents.layer({ hooks })))
      )
      for (const service of [SessionBackend.SessionBackend, SessionConfig.SessionConfig, Crypto.Crypto]) {
        see("service", Context.get(services, service as typeof Crypto.Crypto))
      }
      see("services", services)
      const app = routes.pipe(
        Layer.provide(SessionMiddleware.layer(UserSession, { cookie: { chunks: 3 }, client: true, onError })),
        Layer.provide(Layer.succeedContext(services))
      )
      const post = yield* serve(app, layer)
      const canaries = new Set([
        secret,
        payload,
        Buffer.from(secret).toString("base64url"),
        Buffer.from(secret).toString("hex")
      ])
      const jar = new Map<string, string>()
      const statuses = new Set<number>()
      const header = () => jar.size === 0 ? undefined : Array.from(jar, (pair) => pair.join("=")).join("; ")
      const send = Effect.fnUntraced(function*(path: string, sent: string | undefined = header()) {
        const answer = yield* post(path, sent)
        statuses.add(answer.status)
        for (const line of answer.setCookies) {
          const [name, value] = line.slice(0, line.indexOf(";")).split("=")
          if (value === "") jar.delete(name)
          else {
            jar.set(name, value)
            canaries.add(value.replace(/^\d\./, "").slice(0, 47))
            // Of a sealed token not only the beginning, where key id and salt are.
            canaries.add(value.slice(-40))
          }
        }
      })
      const tour = [
        "/read",
        "/keep",
        "/elevate",
        "/login",
        "/flash",
        "/grow",
        "/read",
        "/renew",
        "/elevate",
        "/overflow",
        "/die",
        "/invalid"
      ]
      for (const path of tour) yield* send(path)
      const token = header()!
      for (const forged of [token.slice(0, -1), `${token}; ${token}`, token.replace("=", "=x"), `session=${payload}`]) {
        for (const path of ["/read", "/keep", "/elevate"]) yield* post(path, forged)
      }
      broken = true
      for (const path of ["/read", "/keep", "/elevate", "/login", "/renew", "/logout"]) yield* send(path)
      broken = false
      yield* send("/logout")
      yield* send("/read", token)
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

      for (const span of spans) see(`span ${span.name}`, [span.attributes, span.events, span.status, span.links])
      see("metrics", yield* Effect.provide(Metric.snapshot, layer))
      // The watch itself has seen something of every kind, and the requests went every way.
      const kinds = new Set(seen.map(([where]) => where.split(" ")[0]))
      for (const kind of ["log", "structured", "error", "span", "metrics", "event", "session", "services"]) {
        assert.isTrue(kinds.has(kind), kind)
      }
      assert.isTrue(
        spans.some(({ kind, attributes }) => kind === "server" && attributes.has("http.request.header.cookie"))
      )
      for (const status of [204, 401, 413, 500, 503]) assert.isTrue(statuses.has(status), String(status))
      assert.isAbove(canaries.size, 10)
      const leaks = new Set<string>()
      for (const [where, text] of seen) {
        for (const canary of canaries) {
          const at = text.indexOf(canary)
          if (at !== -1) leaks.add(`${where}: ...${text.slice(Math.max(0, at - 60), at + 20)}`)
        }
      }
      assert.deepStrictEqual([...leaks].slice(0, 5), [])
    }))
})
