import { type ClusterStore, SessionEnd } from "@effect-session/cluster"
import { Session, type SessionError } from "@effect-session/core"
import { RequestSession } from "@effect-session/http"
import { Context, Effect, Schema, Stream } from "effect"
import type { HttpServerError, HttpServerRequest } from "effect/http"
import { describe, expect, test } from "tstyche"

class UserSession extends Session.Service<UserSession>()("app/UserSession", {
  data: Schema.Struct({ visits: Schema.Int }),
  initial: { visits: 0 }
}) {}
class Other extends Context.Service<Other, { readonly n: number }>()("app/Other") {}
class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

interface Data {
  readonly visits: number
}
declare const session: RequestSession.RequestSession<UserSession, Data>

describe("RequestSession", () => {
  test("is made from the session of the request", () => {
    expect(RequestSession.make(UserSession)).type.toBe<
      Effect.Effect<RequestSession.RequestSession<UserSession, Data>, SessionError.SessionError, UserSession>
    >()
    expect(RequestSession.upgrade(UserSession)).type.toBe<
      Effect.Effect<
        RequestSession.Upgraded<UserSession, Data>,
        SessionError.SessionError | HttpServerError.HttpServerError,
        UserSession | HttpServerRequest.HttpServerRequest
      >
    >()
  })

  test("what tells of ends may need services; the cluster's does", () => {
    expect(RequestSession.make(UserSession, { wait: SessionEnd.wait })).type.toBe<
      Effect.Effect<
        RequestSession.RequestSession<UserSession, Data>,
        SessionError.SessionError,
        UserSession | ClusterStore.ClusterStore
      >
    >()
  })

  test("reads without any service, and has no operation that writes by itself", () => {
    expect(session.get).type.toBe<Effect.Effect<Data, SessionError.SessionError>>()
    expect(session).type.not.toHaveProperty("update")
    expect(session).type.not.toHaveProperty("login")
  })

  test("a unit of work has the session, and nothing else", () => {
    const work = Effect.gen(function*() {
      const { n } = yield* Other
      if (n > 1) return yield* new Refused()
      return (yield* UserSession.update((data) => data)).visits
    })
    expect(session.run(work)).type.toBe<Effect.Effect<number, Refused | SessionError.SessionError, Other>>()
  })

  test("work that ends with the session may find it gone; a stream ends without an error", () => {
    const work = Effect.as(Other, 1)
    expect(session.whileLive(work)).type.toBe<Effect.Effect<number, SessionError.SessionError, Other>>()
    expect(session.streamWhileLive(Stream.make("a" as string))).type.toBe<Stream.Stream<string>>()
  })
})
