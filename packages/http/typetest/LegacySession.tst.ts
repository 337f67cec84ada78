import { Session } from "@effect-session/core"
import { LegacySession, type MovedSessions, SessionMiddleware } from "@effect-session/http"
import { type Layer, Schema } from "effect"
import { describe, expect, test } from "tstyche"

class UserSession extends Session.Service<UserSession>()("app/UserSession", {
  data: Schema.Struct({ theme: Schema.String }),
  initial: { theme: "light" }
}) {}

declare const reader: LegacySession.Reader

describe("LegacySession.layer", () => {
  test("needs to know what was moved, and provides nothing that handlers see", () => {
    const layer = LegacySession.layer(UserSession, {
      sources: [{ reader, map: () => ({ data: { theme: "dark" }, subject: "ada" }) }],
      deadline: "2027-01-31"
    })
    expect(layer).type.toBe<Layer.Layer<never, never, MovedSessions.MovedSessions>>()
  })

  test("takes data of the session only", () => {
    expect(LegacySession.layer).type.toBeCallableWith(UserSession, {
      sources: [{ reader, map: () => undefined }],
      deadline: "2027-01-31"
    })
    expect(LegacySession.layer).type.not.toBeCallableWith(UserSession, {
      sources: [{ reader, map: () => ({ data: { theme: 1 } }) }],
      deadline: "2027-01-31"
    })
    expect(LegacySession.layer).type.not.toBeCallableWith(UserSession, {
      sources: [{ reader, map: () => ({ data: {} }) }],
      deadline: "2027-01-31"
    })
  })

  test("has a deadline", () => {
    expect(LegacySession.layer).type.not.toBeCallableWith(UserSession, {
      sources: [{ reader, map: () => undefined }]
    })
  })

  test("gives the function data that nothing has checked", () => {
    expect<Parameters<LegacySession.Source<{ readonly theme: string }>["map"]>[0]>().type.toBe<unknown>()
  })
})

describe("SessionMiddleware.layer", () => {
  test("asks for nothing more because sessions can be moved in", () => {
    const layer = SessionMiddleware.layer(UserSession)
    expect<MovedSessions.MovedSessions extends Layer.Services<typeof layer> ? true : false>().type.toBe<false>()
  })
})
