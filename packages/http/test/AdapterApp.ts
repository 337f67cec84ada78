/** One small application behind every adapter, and clients for it. */
/* oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 and Fastify wait for promises. */
import type { SessionConfig, SessionDevices } from "@effect-session/core"
import { MovedSessions, type PromiseSession, SessionFastify, SessionFetch } from "@effect-session/http"
import * as SessionNode from "@effect-session/http/SessionNode"
import { Clock, Effect, Layer, Logger, type Scope } from "effect"
import fastify from "fastify"
import * as Http from "node:http"
import * as Http2 from "node:http2"
import { Readable } from "node:stream"
import * as Express from "./ExpressApp.ts"
import * as App from "./SessionApp.ts"

export type Data = { readonly n: number; readonly note: string }
export type Session = PromiseSession.PromiseSession<Data>

/** What a handler answers. */
export interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** The parts of a body that is streamed. */
  readonly stream?: AsyncIterable<string>
}

/** What a route says about its session. */
export interface Route {
  readonly of: (options: PromiseSession.WritableRouteOptions) => Session
  readonly reader: (options: PromiseSession.ReadonlyRouteOptions) => PromiseSession.ReadonlyPromiseSession<Data>
  readonly runEffect: <B, E>(
    effect: Effect.Effect<B, E, App.UserSession | SessionDevices.Requirements>
  ) => Promise<B>
}

export type Handler = (session: Session, query: URLSearchParams, route: Route) => Promise<Answer>

const routeOf = <Request>(
  sessions: {
    readonly of: PromiseSession.SessionOf<Request, Data>
    readonly runEffect: <B, E>(
      request: Request,
      effect: Effect.Effect<B, E, App.UserSession | SessionDevices.Requirements>
    ) => Promise<B>
  },
  request: Request
): Route => ({
  runEffect: (effect) => sessions.runEffect(request, effect),
  of: (options) => sessions.of(request, options),
  reader: (options) => sessions.of(request, options)
})

export type Routes = Readonly<Record<string, Handler>>

export type Options = Omit<PromiseSession.Options<unknown>, "address"> & {
  readonly config?: SessionConfig.Options | undefined
  /** Sessions of another library that move in. */
  readonly moving?: Moving | undefined
  /** Who is told of what happens to sessions. */
  readonly events?: Layer.Layer<never> | undefined
}

export type Moving = Layer.Layer<never, never, MovedSessions.MovedSessions>

export const show = async (session: Session): Promise<Answer> => {
  const status = await session.status()
  const { n, note } = await session.get()
  return { body: JSON.stringify({ status, subject: await session.subject() ?? null, n, note }) }
}

export const increment = (session: Session) => session.update((data) => ({ ...data, n: data.n + 1 }))

export const routes: Routes = {
  "/plain": async () => ({ body: "plain" }),
  "/me": show,
  "/inc": async (session) => {
    await increment(session)
    return show(session)
  },
  "/note": async (session, query) => {
    await session.update((data) => ({ ...data, note: query.get("text") ?? "" }))
    return show(session)
  },
  "/login": async (session, query) => {
    await session.login(query.get("as") ?? "ada")
    return show(session)
  },
  "/renew": async (session) => {
    await session.renew()
    return show(session)
  },
  "/logout": async (session) => {
    await session.destroy()
    return { status: 204 }
  }
}

const place = (url: string | undefined) => new URL(url ?? "/", "http://app.test")

/** Everything an adapter needs, with the clock of the test. */
export const layerOf = (
  store: App.TestStore,
  config: SessionConfig.Options | undefined,
  moving: Moving = Layer.empty,
  events: Layer.Layer<never> = Layer.empty
) =>
  Effect.map(Clock.Clock, (clock) =>
    moving.pipe(
      Layer.provide(MovedSessions.layerStore),
      Layer.provideMerge(App.backend(store, config ?? { preset: "testing" })),
      Layer.provideMerge(Layer.mergeAll(Layer.succeed(Clock.Clock, clock), Logger.layer([]), events))
    ))

const make = <B extends { readonly close: () => Promise<void> }>(begin: () => Promise<B>) =>
  Effect.acquireRelease(Effect.promise(begin), ({ close }) => Effect.promise(close))

export const nodeSessions = Effect.fnUntraced(
  function*(store: App.TestStore, { config, events, moving, ...options }: Options = {}) {
    const layer = yield* layerOf(store, config, moving, events)
    return yield* make(() => SessionNode.make(App.UserSession, layer, options))
  }
)

export const fetchSessions = Effect.fnUntraced(
  function*(store: App.TestStore, { config, events, moving, ...options }: Options = {}) {
    const layer = yield* layerOf(store, config, moving, events)
    return yield* make(() => SessionFetch.make(App.UserSession, layer, options))
  }
)

/** Listens on a free port for as long as the test runs. */
export const listen = Effect.fnUntraced(function*(server: Http.Server) {
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const address = server.address()
  if (address === null || typeof address === "string") return yield* Effect.die(new Error("the server has no port"))
  return yield* App.connect(address.port)
})

/** A client with one HTTP/2 connection. */
export const http2Client = Effect.fnUntraced(function*(server: Http2.Http2Server) {
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () => Effect.sync(() => server.close())
  )
  const address = server.address()
  if (address === null || typeof address === "string") return yield* Effect.die(new Error("the server has no port"))
  const { port } = address
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() => Http2.connect(`http://127.0.0.1:${port}`)),
    (connection) => Effect.sync(() => connection.destroy())
  )
  const send = (
    method: string,
    path: string,
    options: { readonly headers?: Http2.OutgoingHttpHeaders | undefined; readonly body?: string | undefined } = {}
  ) =>
    Effect.callback<App.Reply>((resume) => {
      const stream = connection.request({ ...options.headers, ":method": method, ":path": path })
      let body = ""
      let received: Http2.IncomingHttpHeaders & Http2.IncomingHttpStatusHeader = {}
      stream.on("response", (headers) => (received = headers))
      stream.setEncoding("utf8")
      stream.on("data", (text) => body += text)
      stream.on("error", (error) => resume(Effect.die(error)))
      stream.on("end", () => {
        const headers = Object.entries(received).flatMap(([name, value]) =>
          [value ?? []].flat().map((value) => [name, String(value)] as const)
        )
        resume(Effect.succeed(App.reply(received[":status"] ?? 0, headers, body)))
      })
      stream.end(options.body)
      return Effect.sync(() => stream.close())
    })
  return { send, port, connection }
})

interface Writable {
  writeHead(status: number, headers: Readonly<Record<string, string>>): unknown
  write(text: string): unknown
  end(text: string): unknown
}

const writeTo = async (response: Writable, answer: Answer) => {
  response.writeHead(answer.status ?? 200, answer.headers ?? {})
  for await (const part of answer.stream ?? []) response.write(part)
  return response.end(answer.body ?? "")
}

type Serve = (
  routes: Routes,
  store: App.TestStore,
  options?: Options
) => Effect.Effect<App.Client, never, Scope.Scope>

const onNode: Serve = Effect.fnUntraced(function*(routes, store, options) {
  const sessions = yield* nodeSessions(store, options)
  const server = Http.createServer(sessions.listener(async (request, response) => {
    const { pathname, searchParams } = place(request.url)
    if (!Object.hasOwn(routes, pathname)) return writeTo(response, { status: 404 })
    return writeTo(response, await routes[pathname](sessions.of(request), searchParams, routeOf(sessions, request)))
  }))
  return yield* listen(server)
})

const onHttp2: Serve = Effect.fnUntraced(function*(routes, store, options) {
  const sessions = yield* nodeSessions(store, options)
  const server = Http2.createServer(sessions.listener(async (request, response) => {
    const { pathname, searchParams } = place(request.url)
    if (!Object.hasOwn(routes, pathname)) return writeTo(response, { status: 404 })
    return writeTo(response, await routes[pathname](sessions.of(request), searchParams, routeOf(sessions, request)))
  }))
  const { port, send } = yield* http2Client(server)
  return { port, send }
})

const onExpress: Serve = Effect.fnUntraced(function*(routes, store, options) {
  const sessions = yield* nodeSessions(store, options)
  const app = Express.make()
  app.use(sessions.middleware)
  for (const [path, handler] of Object.entries(routes)) {
    app.all(path, async (request, response) => {
      const answer = await handler(sessions.of(request), place(request.url).searchParams, routeOf(sessions, request))
      response.status(answer.status ?? 200).set(answer.headers ?? {})
      if (answer.stream === undefined) return response.send(answer.body ?? "")
      for await (const part of answer.stream) response.write(part)
      return response.end()
    })
  }
  app.use(sessions.errors)
  app.use((_error: unknown, _request: Http.IncomingMessage, response: Express.Response, _next: Express.Next) => {
    response.status(500).end()
  })
  return yield* listen(Http.createServer(app))
})

const onFastify: Serve = Effect.fnUntraced(function*(routes, store, options) {
  const sessions = yield* nodeSessions(store, options)
  const app = fastify({ forceCloseConnections: true, exposeHeadRoutes: false })
  app.register(SessionFastify.plugin(sessions))
  app.register(async (app) => {
    for (const [url, handler] of Object.entries(routes)) {
      app.route({
        method: ["GET", "HEAD", "POST"],
        url,
        handler: async (request, reply) => {
          const answer = await handler(
            sessions.of(request),
            place(request.url).searchParams,
            routeOf(sessions, request)
          )
          reply.code(answer.status ?? 200).headers(answer.headers ?? {})
          const { stream } = answer
          if (stream === undefined) return reply.send(answer.body ?? "")
          return reply.send(Readable.from(stream))
        }
      })
    }
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => app.listen({ port: 0, host: "127.0.0.1" })),
    () => Effect.promise(() => app.close())
  )
  const address = app.server.address()
  if (address === null || typeof address === "string") return yield* Effect.die(new Error("the server has no port"))
  return yield* App.connect(address.port)
})

const bodyOf = (stream: AsyncIterable<string>) => {
  const parts = stream[Symbol.asyncIterator]()
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const { done, value } = await parts.next()
      if (done === true) controller.close()
      else controller.enqueue(new TextEncoder().encode(value))
    }
  })
}

const onFetch: Serve = Effect.fnUntraced(function*(routes, store, options) {
  const sessions = yield* fetchSessions(store, options)
  const handle = sessions.handler(async (request) => {
    const { pathname, searchParams } = place(request.url)
    if (!Object.hasOwn(routes, pathname)) return new Response(null, { status: 404 })
    const { body, headers = {}, status = 200, stream } = await routes[pathname](
      sessions.of(request),
      searchParams,
      routeOf(sessions, request)
    )
    return new Response(
      stream === undefined ? body ?? null : bodyOf(stream),
      { status, headers }
    )
  })
  const send: App.Client["send"] = (method, path, { body, headers = {} } = {}) =>
    Effect.promise(async (signal) => {
      const request = new Request(`http://app.test${path}`, { method, headers, body: body ?? null, signal })
      const response = await handle(request).catch(() => new Response(null, { status: 500 }))
      return App.reply(response.status, [...response.headers], method === "HEAD" ? "" : await response.text())
    })
  return { send, port: undefined }
})

export const servers: Readonly<Record<string, Serve>> = {
  "node:http": onNode,
  "node:http2": onHttp2,
  "Express 5": onExpress,
  "Fastify 5": onFastify,
  "fetch handler": onFetch
}
