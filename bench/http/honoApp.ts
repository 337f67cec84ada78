/**
 * The application on Hono: what differs is how it gets at its session. Also as a handler of fetch requests, without a
 * server.
 */
import { SessionFetch } from "@effect-session/http"
import { serve } from "@hono/node-server"
import { Hono, type MiddlewareHandler } from "hono"
import { type Session, sessionMiddleware, type SessionOptions } from "hono-sessions"
import { randomBytes } from "node:crypto"
import { answers, counted, type Data, dataOf, guest } from "./data.ts"
import { cookie, type Live, UserSession } from "./userSession.ts"

/** Handles a fetch request. */
export type Handler = (request: Request) => Response | Promise<Response>

/** The session of a request, as the application uses it. */
interface Access {
  readonly role: (context: Context) => Promise<string> | string
  readonly userId: (context: Context) => Promise<string> | string
  readonly count: (context: Context) => Promise<number> | number
  readonly login: (context: Context, data: Data) => Promise<unknown> | void
}
type Variables = { readonly session: Session<{ readonly user: Data }>; readonly session_key_rotation: boolean }
interface Context {
  readonly req: { readonly raw: Request }
  readonly get: (key: "session") => Variables["session"]
}

const app = ({ count, login, role, userId }: Access, middleware?: MiddlewareHandler): Handler => {
  const app = new Hono<{ Variables: Variables }>()
  if (middleware !== undefined) app.use("*", middleware)
  app.get("/anonymous", async (c) => c.text(answers.anonymous(await role(c))))
  app.get("/read", async (c) => c.text(answers.read(await userId(c))))
  app.get("/write", async (c) => c.text(answers.write(await count(c))))
  app.get("/login", async (c) => {
    await login(c, dataOf(Number(c.req.query("index"))))
    return c.text("ok")
  })
  return (request) => app.fetch(request)
}

/** Without sessions. */
export const bare = (): Handler => {
  const data = counted(dataOf(0))
  return app({ role: () => guest, userId: () => data.userId, count: () => data.count, login: () => {} })
}

/** With this library. */
export const own = async <E>(live: Live<E>): Promise<Handler> => {
  const sessions = await SessionFetch.make(UserSession, live, { cookie })
  return sessions.handler(app({
    role: async ({ req }) => (await sessions.of(req.raw).get()).role,
    userId: async ({ req }) => (await sessions.of(req.raw).get()).userId,
    count: async ({ req }) => (await sessions.of(req.raw).update(counted)).count,
    login: ({ req }, data) => sessions.of(req.raw).login(data.userId, () => data)
  }))
}

/** With `hono-sessions` and one of its stores, with an encrypted id, as its documentation recommends. */
export const honoSessions = (store: SessionOptions["store"]): Handler =>
  app(
    {
      role: (c) => c.get("session").get("user")?.role ?? guest,
      userId: (c) => c.get("session").get("user")!.userId,
      count: (c) => {
        const user = counted(c.get("session").get("user")!)
        c.get("session").set("user", user)
        return user.count
      },
      login: (c, data) => c.get("session").set("user", data)
    },
    sessionMiddleware({
      store,
      encryptionKey: randomBytes(32).toString("base64url"),
      expireAfterSeconds: 86_400,
      // Its favourable setting: otherwise every request stores the session.
      autoExtendExpiration: false,
      cookieOptions: { path: "/", httpOnly: true, sameSite: "Lax" }
    })
  )

/** Starts Hono's server for Node on a free port, and returns the port. */
export const listen = (handler: Handler): Promise<number> =>
  new Promise((resolve) => {
    serve({ fetch: handler, port: 0, hostname: "127.0.0.1" }, ({ port }) => resolve(port))
  })
