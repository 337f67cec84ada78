/** What the tests of the middleware share: a store with a window into it, clients over two transports, a browser. */
import { MemoryStore, Session, SessionBackend, SessionConfig, SessionQuery, SessionStore } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { SessionMiddleware } from "@effect-session/http"
import { NodeHttpServer } from "@effect/platform-node"
import { Clock, Context, Effect, Layer, Logger, Schema, Stream } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as Http from "node:http"
import { CookieJar } from "./CookieJar.ts"

export class UserSession extends Session.Service<UserSession>()("test/UserSession", {
  data: Schema.Struct({ n: Schema.Number, note: Schema.String }),
  initial: { n: 0, note: "" },
  keepOnLogin: ["note"]
}) {}

export class AdminSession extends Session.Service<AdminSession>()("test/AdminSession", {
  data: Schema.Struct({ n: Schema.Number }),
  initial: { n: 0 }
}) {}

export type Method = "load" | "create" | "save" | "touch" | "renew" | "destroy"

/** A memory store that tells which methods were called, and lets a test hold up or fail each call. */
export interface TestStore {
  readonly layer: Layer.Layer<SessionStore.SessionStore | SessionQuery.SessionQuery>
  readonly calls: Array<Method>
  before: (method: Method, key: string) => Effect.Effect<void, SessionStore.SessionStoreError>
  after: (method: Method, key: string) => Effect.Effect<void, SessionStore.SessionStoreError>
  readonly entries: Effect.Effect<ReadonlyArray<SessionQuery.SessionEntry>>
  readonly keys: Effect.Effect<ReadonlyArray<string>>
}

export const down = Effect.fail(
  new SessionStore.SessionStoreError({
    reason: new SessionStore.StoreUnavailable({ description: "connection refused" })
  })
)
const up = () => Effect.void

export const makeStore = Effect.fnUntraced(function*() {
  const { query, store } = yield* MemoryStore.make()
  const watch = <A>(method: Method, key: string, call: Effect.Effect<A, SessionStore.SessionStoreError>) =>
    Effect.suspend(() => {
      self.calls.push(method)
      return self.before(method, key)
    }).pipe(Effect.andThen(call), Effect.tap(() => self.after(method, key)))
  const watched = SessionStore.SessionStore.of({
    load: (key) => watch("load", key, store.load(key)),
    create: (record, limit) => watch("create", record.key, store.create(record, limit)),
    save: (key, version, change) => watch("save", key, store.save(key, version, change)),
    touch: (key) => watch("touch", key, store.touch(key)),
    renew: (key, version, replacement, options) => watch("renew", key, store.renew(key, version, replacement, options)),
    destroy: (key) => watch("destroy", key, store.destroy(key))
  })
  const entries = Effect.orDie(Stream.runCollect(query.scan))
  const self: TestStore = {
    layer: Layer.succeedContext(
      Context.make(SessionStore.SessionStore, watched).pipe(Context.add(SessionQuery.SessionQuery, query))
    ),
    calls: [],
    before: up,
    after: up,
    entries,
    keys: Effect.map(entries, (all) => all.map(({ key }) => key))
  }
  return self
})

/** Everything the middleware needs. */
export const backend = (store: TestStore, config: SessionConfig.Options = { preset: "testing" }) =>
  SessionBackend.layer("test").pipe(
    Layer.provideMerge(store.layer),
    Layer.provideMerge(CryptoNode.layer),
    Layer.provideMerge(SessionConfig.layer(config))
  )

type Unprovided =
  | HttpRouter.HttpRouter
  | HttpRouter.Request<"Error", unknown>
  | HttpRouter.Request<"GlobalError", unknown>
  | HttpRouter.Request<"Requires", HttpServerRequest.HttpServerRequest>

export type App = Layer.Layer<never, unknown, Unprovided>

/** Provides the session middleware and all it needs to routes. */
export const withSession = <E, R>(
  routes: Layer.Layer<never, E, R>,
  store: TestStore,
  options: SessionMiddleware.Options & { readonly config?: SessionConfig.Options | undefined } = {}
) =>
  routes.pipe(
    Layer.provide(SessionMiddleware.layer(UserSession, options)),
    Layer.provide(backend(store, options.config))
  )

export const withGlobalSession = <E, R>(
  routes: Layer.Layer<never, E, R>,
  store: TestStore,
  options: SessionMiddleware.Options = {}
) => routes.pipe(Layer.provide(SessionMiddleware.layerGlobal(UserSession, options)), Layer.provide(backend(store)))

export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | undefined
}

export interface Reply {
  readonly status: number
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** Values of one header, joined as a cache would. */
  readonly header: (name: string) => string | undefined
  readonly setCookies: ReadonlyArray<string>
  readonly body: string
}

export interface Client {
  readonly send: (method: string, path: string, options?: RequestOptions) => Effect.Effect<Reply>
  readonly port: number | undefined
}

export const reply = (status: number, headers: Reply["headers"], body: string): Reply => ({
  status,
  headers,
  header: (name) => {
    const values = headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value)
    return values.length === 0 ? undefined : values.join(", ")
  },
  setCookies: headers.filter(([key]) => key.toLowerCase() === "set-cookie").map(([, value]) => value),
  body
})

// Requests take the clock of the test, and log nothing.
const withTestServices = (app: App) =>
  Effect.map(
    Clock.Clock,
    (clock) => Layer.provideMerge(app, Layer.merge(Layer.succeed(Clock.Clock, clock), Logger.layer([])))
  )

const fetchHandler = (middleware: boolean) =>
  Effect.fnUntraced(function*(app: App) {
    const { dispose, handler } = HttpRouter.toWebHandler(yield* withTestServices(app), {
      disableLogger: true,
      ...(middleware ? { middleware: (effect) => effect } : {})
    })
    yield* Effect.addFinalizer(() => Effect.promise(dispose))
    const send: Client["send"] = (method, path, options = {}) =>
      Effect.promise(async (signal) => {
        const request = new Request(`http://app.test${path}`, {
          method,
          headers: options.headers ?? {},
          body: options.body ?? null,
          signal
        })
        const response = await handler(request)
        return reply(response.status, [...response.headers], await response.text())
      })
    return { send, port: undefined } satisfies Client
  })

const sendTo = Effect.fnUntraced(function*(server: Pick<Http.RequestOptions, "host" | "port" | "socketPath">) {
  const agent = yield* Effect.acquireRelease(
    Effect.sync(() => new Http.Agent({ keepAlive: true, maxSockets: 64 })),
    (agent) => Effect.sync(() => agent.destroy())
  )
  const send: Client["send"] = (method, path, options = {}) =>
    Effect.callback<Reply>((resume) => {
      const request = Http.request({ ...server, method, path, agent, headers: options.headers ?? {} })
      request.on("error", (error) => resume(Effect.die(error)))
      request.on("response", (response) => {
        let body = ""
        const raw = response.rawHeaders
        const headers = raw.flatMap((name, i) => i % 2 === 0 ? [[name.toLowerCase(), raw[i + 1]] as const] : [])
        response.setEncoding("utf8")
        response.on("data", (text) => body += text)
        response.on("error", (error) => resume(Effect.die(error)))
        response.on("end", () => resume(Effect.succeed(reply(response.statusCode ?? 0, headers, body))))
      })
      request.end(options.body)
      return Effect.sync(() => request.destroy())
    })
  return send
})

/** A client with connections to a port of this machine, for as long as the test runs. */
export const connect = (port: number) =>
  Effect.map(sendTo({ port, host: "127.0.0.1" }), (send) => ({ send, port } satisfies Client))

/** The same with connections to a socket. */
export const connectSocket = (socketPath: string) =>
  Effect.map(sendTo({ socketPath }), (send) => ({ send, port: undefined } satisfies Client))

const nodeServer = Effect.fnUntraced(function*(app: App) {
  const Server = HttpRouter.serve(yield* withTestServices(app), { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layer(() => Http.createServer(), { port: 0, host: "127.0.0.1" }))
  )
  const { address } = Context.get(yield* Layer.build(Server), HttpServer.HttpServer)
  if (address._tag === "UnixPathAddress") return yield* Effect.die(new Error("the server has no port"))
  const { port } = address
  return yield* connect(port)
})

/** The ways in which an application is reached. With a server middleware Effect takes another path inside. */
export const transports = {
  "fetch handler": fetchHandler(false),
  "fetch handler with a server middleware": fetchHandler(true),
  "Node server": nodeServer
}

export const inProcess = transports["fetch handler"]

/** A client that keeps cookies as browsers do. */
export const browser = (client: Client) => {
  const jar = new CookieJar()
  const place = { host: "app.test", path: "/", secure: true, topLevelSite: "https://app.test" }
  const cookie = (now = 0) => jar.header(place, now)
  const send: Client["send"] = Effect.fnUntraced(function*(method, path, options) {
    const now = yield* Clock.currentTimeMillis
    const header = jar.header(place, now)
    const answer = yield* client.send(method, path, {
      ...options,
      headers: { ...(header === undefined ? {} : { cookie: header }), ...options?.headers }
    })
    for (const line of answer.setCookies) jar.setCookie(line, place, now)
    return answer
  })
  return { send, cookie, jar }
}

export const query = Effect.map(
  HttpServerRequest.HttpServerRequest,
  (request) => new URL(request.url, "http://app.test").searchParams
)

/** What a page shows of a session. */
export interface Shown {
  readonly status: string
  readonly subject: string | null
  readonly n: number
  readonly note: string
}

export const show = Effect.gen(function*() {
  const status = yield* UserSession.status
  const { n, note } = yield* UserSession.get
  return HttpServerResponse.jsonUnsafe(
    { status, subject: (yield* UserSession.subject) ?? null, n, note } satisfies Shown
  )
})

export const shown = (answer: Reply): Shown => JSON.parse(answer.body)

export const increment = UserSession.update((data) => ({ ...data, n: data.n + 1 }))

/** A small application: read, write, sign in, renew, sign out. */
export const routes = Layer.mergeAll(
  HttpRouter.add("GET", "/plain", HttpServerResponse.text("plain")),
  HttpRouter.add("GET", "/me", show),
  HttpRouter.add("POST", "/inc", Effect.andThen(increment, show)),
  HttpRouter.add(
    "POST",
    "/note",
    Effect.gen(function*() {
      const text = (yield* query).get("text") ?? ""
      yield* UserSession.update((data) => ({ ...data, note: text }))
      return yield* show
    })
  ),
  HttpRouter.add(
    "POST",
    "/login",
    Effect.gen(function*() {
      yield* UserSession.login((yield* query).get("as") ?? "ada")
      return yield* show
    })
  ),
  HttpRouter.add("POST", "/renew", Effect.andThen(UserSession.renew, show)),
  HttpRouter.add("POST", "/reset", Effect.andThen(UserSession.reset, show)),
  HttpRouter.add("POST", "/logout", Effect.as(UserSession.destroy, HttpServerResponse.empty()))
)

/** Value of the cookie that a reply sets under a name. */
export const tokenOf = (answer: Reply, name = "session"): string | undefined =>
  answer.setCookies.map((line) => line.slice(0, line.indexOf(";"))).find((pair) => pair.startsWith(`${name}=`))
    ?.slice(name.length + 1)
