/** Applications with the session libraries that users move in from: the real packages, on real servers. */
import { Effect } from "effect"
import { getIronSession } from "iron-session"
import { once } from "node:events"
import * as Http from "node:http"
import { createRequire } from "node:module"
import type * as Net from "node:net"
import * as Legacy from "./LegacyApp.ts"

type Callback = (error: unknown, session?: unknown) => void
interface OldRequest {
  readonly path: string
  readonly session: Record<string, unknown> & { readonly destroy: (done: (error: unknown) => void) => void }
}
interface OldResponse {
  readonly send: (body: unknown) => void
}
type Handler = (request: OldRequest, response: OldResponse, next: () => void) => void
interface ExpressSessionPackage {
  (options: object): Handler
  readonly Store: new() => object
}

const packages = createRequire(import.meta.url)
const express: () => Http.RequestListener & { readonly use: (handler: Handler) => void } = packages("express")
const session: ExpressSessionPackage = packages("express-session")

const serve = (listener: Http.RequestListener) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = Http.createServer(listener).listen(0, "127.0.0.1")
      await once(server, "listening")
      return server
    }),
    (server) =>
      Effect.promise(async () => {
        server.closeAllConnections()
        server.close()
        await once(server, "close")
      })
  ).pipe(Effect.map((server) => (server.address() as Net.AddressInfo).port))

/** Express with `express-session`, over a store that writes what `connect-redis` writes. */
export const expressApplication = (old: Legacy.OldStore) => {
  class Store extends session.Store {
    get(id: string, done: Callback) {
      const record = old.entries.get(`sess:${id}`)
      done(null, typeof record === "string" ? JSON.parse(record) : null)
    }
    set(id: string, data: unknown, done: Callback) {
      old.entries.set(`sess:${id}`, JSON.stringify(data))
      done(null)
    }
    touch(id: string, data: unknown, done: Callback) {
      if (old.entries.has(`sess:${id}`)) this.set(id, data, done)
      else done(null)
    }
    destroy(id: string, done: Callback) {
      old.entries.delete(`sess:${id}`)
      done(null)
    }
  }
  const app = express()
  app.use(session({
    secret: Legacy.expressSecret,
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 86_400_000 },
    store: new Store()
  }))
  app.use(({ path, session }, response) => {
    if (path === "/login") Object.assign(session, { user: "ada", n: 41 })
    response.send({ user: session["user"] ?? null })
  })
  return serve(app)
}

/** The options of `iron-session`. */
export const ironOptions = { password: "complex_password_at_least_32_characters_long", cookieName: "app" }

/** `node:http` with `iron-session`. */
export const ironApplication = serve(async (request, response) => {
  const session = await getIronSession<{ user?: string; n?: number }>(request, response, {
    ...ironOptions,
    cookieOptions: { secure: false }
  })
  if (request.url === "/login") {
    Object.assign(session, { user: "ada", n: 41 })
    await session.save()
  }
  response.end(JSON.stringify({ user: session.user ?? null }))
})
