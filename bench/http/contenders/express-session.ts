/**
 * Express with `express-session` and its memory store.
 */
import express from "express"
import session from "express-session"
import { randomBytes } from "node:crypto"
import { answers, dataOf, guest } from "../data.ts"

/** Starts the server, on one of its stores, and returns its port. */
export const listenWith = (store: object): Promise<number> => {
  const app = express()
  app.disable("x-powered-by")
  app.disable("etag")
  app.use(session({
    secret: randomBytes(32).toString("base64url"),
    name: "session",
    resave: false,
    saveUninitialized: false,
    store,
    cookie: { sameSite: "lax", maxAge: 86_400_000 }
  }))

  app.get("/anonymous", (request, response) => {
    response.type("text/plain").send(answers.anonymous(request.session.user?.role ?? guest))
  })
  app.get("/read", (request, response) => {
    response.type("text/plain").send(answers.read(request.session.user!.userId))
  })
  app.get("/write", (request, response) => {
    const user = request.session.user!
    const count = user.count + 1
    request.session.user = { ...user, count }
    response.type("text/plain").send(answers.write(count))
  })
  app.get("/login", (request, response) => {
    request.session.user = dataOf(Number(request.query.index))
    response.type("text/plain").send("ok")
  })

  return new Promise((resolve) => {
    const server = app.listen(0, "127.0.0.1", () => resolve(server.address().port))
  })
}

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => listenWith(new session.MemoryStore())
