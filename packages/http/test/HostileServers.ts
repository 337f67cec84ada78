/** Everything that reads what a client sends, on a socket that takes headers of a megabyte. */
/* oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 and Fastify wait for promises. */
import {
  AuthGuard,
  AzuSession,
  Csrf,
  IronSession,
  LegacySession,
  MovedSessions,
  SessionApi,
  SessionFastify,
  SessionMiddleware
} from "@effect-session/http"
import { NodeHttpServer } from "@effect/platform-node"
import { createAdaptorServer } from "@hono/node-server"
import { Clock, Effect, Layer, Logger, Redacted, Schema, type Scope } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import fastify from "fastify"
import { Hono } from "hono"
import * as Http from "node:http"
import * as Adapters from "./AdapterApp.ts"
import * as Express from "./ExpressApp.ts"
import * as Legacy from "./LegacyApp.ts"
import * as App from "./SessionApp.ts"

const { UserSession } = App

const serverOptions = { maxHeaderSize: 1_048_576 }

/** A server, and what its tests need to know of it. */
export interface Served {
  readonly port: number
  /** The statuses it has answered with, whether or not they have reached anybody. */
  readonly statuses: Array<number>
}

export type Serve = (store: App.TestStore) => Effect.Effect<Served, never, Scope.Scope>

/** The clock stands still: whatever is old stays so, and nothing times out. */
const config = {
  preset: "testing",
  binding: { address: true, userAgent: true }
} as const

const moving = Layer.unwrap(Effect.gen(function*() {
  const { remove } = Legacy.oldStore()
  // A record that no reader expects: what a client sends must not get this far.
  const records = { get: () => Effect.succeed("{\"cookie\":"), remove }
  const sources = [
    yield* Legacy.expressReader(records),
    yield* IronSession.make({
      password: Redacted.make("a password of at least 32 characters"),
      cookie: { name: "app" }
    }),
    yield* AzuSession.fromCookie({ secret: Redacted.make(Legacy.azuSecret) })
  ]
  return LegacySession.layer(UserSession, {
    sources: sources.map((reader) => ({ reader, map: Legacy.arrive })),
    deadline: new Date(86_400_000)
  })
}))

const watch = (server: Http.Server): Array<number> => {
  const statuses: Array<number> = []
  server.on("request", (_request, response) => {
    response.on("close", () => {
      if (response.headersSent) statuses.push(response.statusCode)
    })
  })
  return statuses
}

const listen = (make: () => Promise<Http.Server>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = await make()
      const statuses = watch(server)
      if (!server.listening) await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const address = server.address()
      if (address === null || typeof address === "string") throw new Error("the server has no port")
      return { port: address.port, statuses, server }
    }),
    ({ server }) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )

const pathOf = (url: string | undefined): string => (url ?? "/").split("?")[0]

const routes: Record<string, (session: Adapters.Session) => Promise<Adapters.Answer>> = {
  "/me": Adapters.show,
  "/inc": async (session) => {
    await Adapters.increment(session)
    return Adapters.show(session)
  },
  "/note": Adapters.show
}

const answer = async (session: Adapters.Session, url: string | undefined): Promise<Adapters.Answer> => {
  const path = pathOf(url)
  return Object.hasOwn(routes, path) ? await routes[path](session) : { status: 404, body: "" }
}

const options = { config, moving, client: true } as const

const onNode: Serve = Effect.fnUntraced(function*(store) {
  const sessions = yield* Adapters.nodeSessions(store, options)
  return yield* listen(async () =>
    Http.createServer(
      serverOptions,
      sessions.listener(async (request, response) => {
        const { body, status = 200 } = await answer(sessions.of(request), request.url)
        response.writeHead(status).end(body)
      })
    )
  )
})

const onExpress: Serve = Effect.fnUntraced(function*(store) {
  const sessions = yield* Adapters.nodeSessions(store, options)
  const app = Express.make()
  app.use(sessions.middleware)
  for (const path of Object.keys(routes)) {
    app.all(path, async (request, response) => {
      const { body = "", status = 200 } = await answer(sessions.of(request), request.url)
      response.status(status).send(body)
    })
  }
  app.use(sessions.errors)
  return yield* listen(async () => Http.createServer(serverOptions, app))
})

const onFastify: Serve = Effect.fnUntraced(function*(store) {
  const sessions = yield* Adapters.nodeSessions(store, options)
  return yield* listen(async () => {
    const app = fastify({ http: serverOptions })
    await app.register(SessionFastify.plugin(sessions))
    for (const url of Object.keys(routes)) {
      app.route({
        method: ["GET", "POST"],
        url,
        handler: async (request, reply) => {
          const { body, status = 200 } = await answer(sessions.of(request), request.url)
          return reply.code(status).send(body)
        }
      })
    }
    await app.ready()
    return app.server
  })
})

const onFetch: Serve = Effect.fnUntraced(function*(store) {
  const sessions = yield* Adapters.fetchSessions(store, options)
  const fetch = sessions.handler(async (request) => {
    const { body, status = 200 } = await answer(sessions.of(request), new URL(request.url).pathname)
    return new Response(body ?? null, { status })
  })
  return yield* listen(async () => createAdaptorServer({ fetch, serverOptions }) as Http.Server)
})

const onHono: Serve = Effect.fnUntraced(function*(store) {
  const sessions = yield* Adapters.fetchSessions(store, options)
  const app = new Hono()
  for (const path of Object.keys(routes)) {
    app.all(path, async (c) => {
      const { body = "", status } = await answer(sessions.of(c.req.raw), c.req.path)
      return new Response(body, { status: status ?? 200 })
    })
  }
  app.onError((error, c) => {
    sessions.fail(c.req.raw)
    return sessions.answer(error) ?? c.text("", 500)
  })
  return yield* listen(async () =>
    createAdaptorServer({ fetch: sessions.handler(app.fetch), serverOptions }) as Http.Server
  )
})

const onEffect = (app: (store: App.TestStore) => App.App): Serve =>
  Effect.fnUntraced(function*(store) {
    const clock = yield* Clock.Clock
    const server = Http.createServer(serverOptions)
    const statuses = watch(server)
    yield* Layer.build(
      HttpRouter.serve(
        Layer.provideMerge(app(store), Layer.merge(Layer.succeed(Clock.Clock, clock), Logger.layer([]))),
        { disableLogger: true, disableListenLog: true }
      ).pipe(Layer.provideMerge(NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1" })))
    ).pipe(Effect.orDie)
    const address = server.address()
    if (address === null || typeof address === "string") return yield* Effect.die(new Error("the server has no port"))
    return { port: address.port, statuses }
  })

const backend = (store: App.TestStore) =>
  Layer.provideMerge(moving, Layer.provideMerge(MovedSessions.layerStore, App.backend(store, config)))

const plain = onEffect((store) =>
  App.routes.pipe(
    Layer.provide(SessionMiddleware.layer(UserSession, { client: true })),
    Layer.provide(backend(store))
  )
)

const guarded = onEffect((store) =>
  App.routes.pipe(
    Layer.provide(AuthGuard.layerGlobal(UserSession, {
      signIn: "/sign-in",
      allow: ["/inc", "/assets/*"],
      api: ["/api/*"]
    })),
    Layer.provide(SessionMiddleware.layerGlobal(UserSession, { client: true })),
    Layer.provide(backend(store))
  )
)

const forms = onEffect((store) =>
  Layer.mergeAll(
    App.routes,
    HttpRouter.add("GET", "/sign-in", Effect.map(Csrf.input, HttpServerResponse.text))
  ).pipe(
    Layer.provide(Csrf.layerGlobal(UserSession)),
    Layer.provide(SessionMiddleware.layerGlobal(UserSession, { client: true })),
    Layer.provide(backend(store))
  )
)

class Visitor extends SessionApi.Session<Visitor>()("test/Visitor", { session: UserSession }) {}
class SignedIn extends SessionApi.Authenticated<SignedIn>()("test/SignedIn", { session: UserSession }) {}

const Shown = Schema.Struct({
  status: Schema.String,
  subject: Schema.NullOr(Schema.String),
  n: Schema.Number,
  note: Schema.String
})

const api = HttpApi.make("app").add(
  HttpApiGroup.make("g", { topLevel: true }).add(
    HttpApiEndpoint.get("me", "/me", { success: Shown }).middleware(Visitor),
    HttpApiEndpoint.post("inc", "/inc", { success: Schema.Number }).middleware(Visitor),
    HttpApiEndpoint.post("note", "/note", { payload: Schema.Struct({ text: Schema.String }) }).middleware(Visitor),
    HttpApiEndpoint.get("mine", "/mine", { success: Schema.String }).middleware(SignedIn)
  )
)

const Handlers = HttpApiBuilder.group(api, "g", (handlers) =>
  handlers.handleAll({
    me: () =>
      Effect.gen(function*() {
        const status = yield* UserSession.status
        const { n, note } = yield* UserSession.get
        return { status, subject: (yield* UserSession.subject) ?? null, n, note }
      }),
    inc: () => Effect.map(App.increment, ({ n }) => n),
    note: ({ payload }) => Effect.asVoid(UserSession.update((data) => ({ ...data, note: payload.text }))),
    mine: () => Effect.map(SignedIn.principal, ({ subject }) => subject)
  }))

const typed = onEffect((store) =>
  HttpApiBuilder.layer(api).pipe(
    Layer.provide(Handlers),
    Layer.provide(Layer.mergeAll(SessionApi.layerSession(Visitor), SessionApi.layer(SignedIn))),
    Layer.provide(HttpServer.layerServices),
    Layer.provide(backend(store))
  )
)

export const servers: Readonly<Record<string, Serve>> = {
  SessionMiddleware: plain,
  AuthGuard: guarded,
  Csrf: forms,
  SessionApi: typed,
  "node:http": onNode,
  "Express 5": onExpress,
  "Fastify 5": onFastify,
  "fetch handler": onFetch,
  Hono: onHono
}
