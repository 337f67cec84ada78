/**
 * Sessions by hand: the least that a handler of Effect's server can do to have some. No expiry, no limits, no versions, no
 * renewal, no schema, and whoever is faster wins. What a library costs more than this is for what it does more.
 */
import { NodeHttpServerRequest } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { answers, counted, type Data, dataOf, guest } from "./data.ts"
import { listenEffect } from "./listen.ts"

/** Keeps sessions by the value of their cookie. */
export interface Keeper {
  readonly load: (value: string) => Effect.Effect<Data>
  /** Keeps a session, and returns the value of its cookie where that changes. */
  readonly save: (value: string | undefined, data: Data) => Effect.Effect<string | undefined>
}

const name = "session="

const cookieOf = (request: HttpServerRequest.HttpServerRequest): string | undefined => {
  const header = NodeHttpServerRequest.toIncomingMessage(request).headers.cookie
  if (header === undefined) return undefined
  const start = header.indexOf(name)
  if (start === -1) return undefined
  const end = header.indexOf(";", start)
  return header.slice(start + name.length, end === -1 ? undefined : end)
}

const respond = (text: string, cookie: string | undefined) => {
  const response = HttpServerResponse.text(text)
  return cookie === undefined
    ? response
    : HttpServerResponse.setHeader(response, "set-cookie", `${name}${cookie}; Path=/; HttpOnly; SameSite=Lax`)
}

/** Starts the server and returns its port. */
export const listenWith = ({ load, save }: Keeper): Promise<number> =>
  listenEffect(Layer.mergeAll(
    HttpRouter.add(
      "GET",
      "/anonymous",
      Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
        HttpServerResponse.text(answers.anonymous(cookieOf(request) ?? guest)))
    ),
    HttpRouter.add(
      "GET",
      "/read",
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
        Effect.map(load(cookieOf(request) ?? ""), ({ userId }) =>
          HttpServerResponse.text(answers.read(userId))))
    ),
    HttpRouter.add(
      "GET",
      "/write",
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        const value = cookieOf(request) ?? ""
        return Effect.flatMap(load(value), (before) => {
          const data = counted(before)
          return Effect.map(save(value, data), (cookie) =>
            respond(answers.write(data.count), cookie))
        })
      })
    ),
    HttpRouter.add(
      "GET",
      "/login",
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) =>
        Effect.map(save(undefined, dataOf(Number(url.split("=")[1]))), (cookie) =>
          respond("ok", cookie)))
    )
  ))
