/**
 * Fastify with `@fastify/secure-session`, which keeps sessions in cookies.
 */
import fastify from "fastify"
import { randomBytes } from "node:crypto"
import { secureSession, sessionOf } from "../../seal/peers.ts"
import { answers, type Data, dataOf, guest } from "../data.ts"

/** Starts the server and returns its port. */
export const listen = async (): Promise<number> => {
  const app = fastify()
  await app.register(await secureSession(), {
    key: randomBytes(32),
    cookie: { path: "/", httpOnly: true, sameSite: "lax" }
  })

  app.get("/anonymous", (request) => {
    const data = sessionOf(request).get("data") as Data | undefined
    return answers.anonymous(data?.role ?? guest)
  })
  app.get("/read", (request) => answers.read((sessionOf(request).get("data") as Data).userId))
  app.get("/write", (request) => {
    const data = sessionOf(request).get("data") as Data
    const count = data.count + 1
    sessionOf(request).set("data", { ...data, count })
    return answers.write(count)
  })
  app.get<{ Querystring: { readonly index: string } }>("/login", (request) => {
    sessionOf(request).set("data", dataOf(Number(request.query.index)))
    return "ok"
  })

  return Number(new URL(await app.listen({ port: 0, host: "127.0.0.1" })).port)
}
