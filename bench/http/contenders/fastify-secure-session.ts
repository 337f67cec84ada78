/**
 * Fastify with `@fastify/secure-session`, which keeps sessions in cookies.
 */
import secureSession from "@fastify/secure-session"
import fastify from "fastify"
import { randomBytes } from "node:crypto"
import { answers, type Data, dataOf, guest } from "../data.ts"

declare module "@fastify/secure-session" {
  interface SessionData {
    user: Data
  }
}

/** Starts the server and returns its port. */
export const listen = async (): Promise<number> => {
  const app = fastify()
  await app.register(secureSession, {
    key: randomBytes(32),
    cookie: { path: "/", httpOnly: true, sameSite: "lax" }
  })

  app.get("/anonymous", (request) => answers.anonymous(request.session.get("user")?.role ?? guest))
  app.get("/read", (request) => answers.read(request.session.get("user")!.userId))
  app.get("/write", (request) => {
    const user = request.session.get("user")!
    const count = user.count + 1
    request.session.set("user", { ...user, count })
    return answers.write(count)
  })
  app.get<{ Querystring: { readonly index: string } }>("/login", (request) => {
    request.session.set("user", dataOf(Number(request.query.index)))
    return "ok"
  })

  return Number(new URL(await app.listen({ port: 0, host: "127.0.0.1" })).port)
}
