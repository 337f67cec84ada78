/**
 * Fastify with `@fastify/session` and its memory store.
 */
import fastifyCookie from "@fastify/cookie"
import fastifySession, { type SessionStore } from "@fastify/session"
import fastify from "fastify"
import { randomBytes } from "node:crypto"
import { answers, type Data, dataOf, guest } from "../data.ts"

declare module "fastify" {
  interface Session {
    user?: Data
  }
}

/** Starts the server, on its memory store or another one, and returns its port. */
export const listenWith = async (store?: SessionStore): Promise<number> => {
  const app = fastify()
  await app.register(fastifyCookie)
  await app.register(fastifySession, {
    secret: randomBytes(32).toString("base64url"),
    cookieName: "session",
    saveUninitialized: false,
    ...store === undefined ? {} : { store },
    // Its favourable setting: by default every request stores the session and sends its cookie.
    rolling: false,
    cookie: { secure: false, sameSite: "lax", maxAge: 86_400_000 }
  })

  app.get(
    "/anonymous",
    (request, reply) => reply.type("text/plain").send(answers.anonymous(request.session.get("user")?.role ?? guest))
  )
  app.get("/read", (request, reply) => reply.type("text/plain").send(answers.read(request.session.get("user")!.userId)))
  app.get("/write", (request, reply) => {
    const user = request.session.get("user")!
    const count = user.count + 1
    request.session.set("user", { ...user, count })
    return reply.type("text/plain").send(answers.write(count))
  })
  app.get<{ Querystring: { readonly index: string } }>("/login", (request, reply) => {
    request.session.set("user", dataOf(Number(request.query.index)))
    return reply.type("text/plain").send("ok")
  })

  return Number(new URL(await app.listen({ port: 0, host: "127.0.0.1" })).port)
}

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => listenWith()
