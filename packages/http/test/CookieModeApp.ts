/** The application of `SessionApp` with its sessions in the cookie. */
import { CookieStore, Revocations, Session, SessionConfig } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { SessionMiddleware } from "@effect-session/http"
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as App from "./SessionApp.ts"

const { UserSession } = App

export class DraftSession extends Session.Service<DraftSession>()("test/DraftSession", {
  data: Schema.Struct({ note: Schema.String }),
  initial: { note: "" }
}) {}

/** One of the ways in which an application is reached. */
export type Serve = (typeof App.transports)[keyof typeof App.transports]

export type List = Revocations.Revocations["Service"]

export interface Options {
  readonly cookie?: CookieStore.Options | undefined
  readonly transport?: SessionMiddleware.Options | undefined
  readonly config?: SessionConfig.Options | undefined
  /** A list that several applications share. */
  readonly list?: List | undefined
}

export const backend = ({ config, cookie, list }: Options) =>
  CookieStore.layer(cookie).pipe(
    Layer.provideMerge(list === undefined ? Revocations.layerMemory() : Layer.succeed(Revocations.Revocations, list)),
    Layer.provideMerge(CryptoNode.layer),
    Layer.provideMerge(SessionConfig.layer(config ?? { preset: "testing" }))
  )

/** Fills the session to a size. */
const fill = HttpRouter.add(
  "POST",
  "/fill",
  Effect.gen(function*() {
    const size = Number((yield* App.query).get("size"))
    yield* UserSession.update((data) => ({ ...data, note: "x".repeat(size) }))
    return yield* App.show
  })
)

/** A change of the password: every session of the user ends, and this one begins anew. */
const password = (list: List | undefined) =>
  HttpRouter.add(
    "POST",
    "/password",
    Effect.gen(function*() {
      if (list !== undefined) yield* Effect.orDie(list.revokeSubject("ada"))
      yield* UserSession.login("ada")
      return yield* App.show
    })
  )

export const application = (options: Options = {}, more: typeof App.routes = Layer.empty) =>
  Layer.mergeAll(App.routes, fill, password(options.list), more).pipe(
    Layer.provide(SessionMiddleware.layer(UserSession, options.transport)),
    Layer.provide(backend(options))
  )

/** Two sessions of one application, both in their cookies. */
export const twoSessions = (options: Options & { readonly draft: SessionMiddleware.Options }) => {
  const both = HttpRouter.add(
    "POST",
    "/both",
    Effect.gen(function*() {
      const query = yield* App.query
      yield* UserSession.update((data) => ({ ...data, n: data.n + 1, note: "u".repeat(Number(query.get("user"))) }))
      yield* DraftSession.set({ note: "d".repeat(Number(query.get("draft"))) })
      return HttpServerResponse.text("done")
    })
  )
  const look = HttpRouter.add(
    "GET",
    "/both",
    Effect.gen(function*() {
      const user = yield* UserSession.get
      const draft = yield* DraftSession.get
      return HttpServerResponse.jsonUnsafe([user.note.length, draft.note.length])
    })
  )
  const leave = HttpRouter.add("POST", "/leave", Effect.as(UserSession.destroy, HttpServerResponse.empty()))
  return Layer.mergeAll(both, look, leave).pipe(
    Layer.provide([
      SessionMiddleware.layer(UserSession, options.transport),
      SessionMiddleware.layer(DraftSession, options.draft)
    ]),
    Layer.provide(backend(options))
  )
}
