import {
  CookieStore,
  MemoryStore,
  OutagePolicy,
  Revocations,
  Session,
  SessionConfig,
  SessionDevices
} from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { type PromiseSession, SessionFastify, SessionFetch } from "@effect-session/http"
import * as SessionNode from "@effect-session/http/SessionNode"
import { Effect, Layer, Schema } from "effect"
import fastify from "fastify"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createServer as createHttp2Server, type Http2ServerRequest } from "node:http2"
import { describe, expect, test } from "tstyche"

interface Data {
  readonly visits: number
}

class UserSession extends Session.Service<UserSession>()("app/UserSession", {
  data: Schema.Struct({ visits: Schema.Int }),
  initial: { visits: 0 }
}) {}

const Live = MemoryStore.layer().pipe(
  Layer.provideMerge(CryptoNode.layer),
  Layer.provideMerge(SessionConfig.layer({ preset: "testing" }))
)

class OtherSession extends Session.Service<OtherSession>()("app/OtherSession", {
  data: Schema.Struct({}),
  initial: {}
}) {}

const Sealed = CookieStore.layer().pipe(
  Layer.provideMerge(Revocations.layerMemory()),
  Layer.provideMerge(CryptoNode.layer),
  Layer.provideMerge(SessionConfig.layer({ preset: "testing" }))
)

declare const node: SessionNode.SessionNode<Data>
declare const fetched: SessionFetch.SessionFetch<Data>
declare const request: IncomingMessage

describe("SessionNode", () => {
  test("has the data of its session class", () => {
    expect(SessionNode.make(UserSession, Live)).type.toBeAssignableTo<Promise<SessionNode.SessionNode<Data>>>()
    expect(node.of(request)).type.toBe<PromiseSession.PromiseSession<Data>>()
    expect(node.of(request).get()).type.toBe<Promise<Data>>()
    expect(node.of(request).modify((data) => [data.visits > 0, data])).type.toBe<Promise<boolean>>()
    expect(node.of(request).update).type.not.toBeCallableWith(() => ({ visits: "1" }))
    expect(node.of(request).set).type.not.toBeCallableWith({})
  })

  test("needs a layer with all that sessions need", () => {
    expect(SessionNode.make).type.toBeCallableWith(UserSession, Live)
    expect(SessionNode.make).type.not.toBeCallableWith(UserSession, CryptoNode.layer)
    expect(SessionNode.make).type.not.toBeCallableWith(UserSession, MemoryStore.layer())
    expect(SessionNode.make).type.not.toBeCallableWith(UserSession, CookieStore.layer())
  })

  test("runs effects that need the session and what its layer has, and no others", async () => {
    const sessions = await SessionNode.make(UserSession, Live)
    expect(sessions.runEffect(request, SessionDevices.list(UserSession))).type.toBe<
      Promise<ReadonlyArray<SessionDevices.Device>>
    >()
    expect(sessions.runEffect(request, UserSession.get)).type.toBe<Promise<Data>>()
    expect(sessions.runEffect).type.not.toBeCallableWith(request, OtherSession.get)
    expect(sessions.runEffect).type.not.toBeCallableWith(request, Effect.scope)
    expect(node.runEffect).type.not.toBeCallableWith(request, UserSession.get)
    expect(node.runEffect).type.toBeCallableWith(request, Effect.succeed(1))

    // In cookie mode nobody has a list.
    const sealed = await SessionFetch.make(UserSession, Sealed)
    expect(sealed.runEffect).type.not.toBeCallableWith(new Request("http://a"), SessionDevices.list(UserSession))
    expect(sealed.runEffect).type.toBeCallableWith(new Request("http://a"), UserSession.get)
  })

  test("fits node:http and Connect", () => {
    expect(createServer).type.toBeCallableWith(node.listener((_request, response) => response.end()))
    expect(node.middleware).type.toBeAssignableTo<
      (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void
    >()
    expect<Parameters<typeof node.errors>["length"]>().type.toBe<4>()
  })

  test("fits node:http2, and takes requests for those of node:http where nothing says otherwise", () => {
    expect(createHttp2Server).type.toBeCallableWith(node.listener((_request, response) => response.end()))
    createHttp2Server(node.listener((request, response) => {
      expect(request).type.toBe<Http2ServerRequest>()
      expect(response.stream.id).type.toBe<number | undefined>()
      expect(node.of(request)).type.toBe<PromiseSession.PromiseSession<Data>>()
    }))
    expect(node.listener((request, response) => {
      expect(request).type.toBe<IncomingMessage>()
      expect(response).type.toBe<ServerResponse>()
    })).type.toBe<(request: IncomingMessage, response: ServerResponse) => void>()
  })

  test("a route that only reads has nothing to write with", () => {
    const reader = node.of(request, { access: "read", outage: OutagePolicy.anonymous })
    expect(reader).type.toBe<PromiseSession.ReadonlyPromiseSession<Data>>()
    expect(reader.get()).type.toBe<Promise<Data>>()
    expect(reader).type.not.toHaveProperty("update")
    expect(reader).type.not.toHaveProperty("destroy")
    expect(reader).type.not.toHaveProperty("flash")
    expect(node.of(request, { passive: true })).type.toBe<PromiseSession.PromiseSession<Data>>()
    expect(node.of(request, { access: "data" })).type.toBe<PromiseSession.PromiseSession<Data>>()
    expect(node.of).type.not.toBeCallableWith(request, { access: "read" as "read" | "full" })
    expect(fetched.of(new Request("http://a.test"), { access: "none" })).type.toBe<
      PromiseSession.ReadonlyPromiseSession<Data>
    >()
  })

  test("options are given a Node request", () => {
    expect<NonNullable<SessionNode.Options["address"]>>().type.toBe<
      (request: IncomingMessage | Http2ServerRequest) => string | undefined
    >()
  })
})

describe("SessionFastify", () => {
  test("fits Fastify", () => {
    const app = fastify()
    expect(app.register).type.toBeCallableWith(SessionFastify.plugin(node))
    app.get("/", (request) => {
      expect(node.of(request)).type.toBe<PromiseSession.PromiseSession<Data>>()
      return node.of(request).get()
    })
  })
})

describe("SessionFetch", () => {
  test("keeps what a handler gets besides the request", () => {
    expect(fetched.handler((_request, _env: string, _n: number) => new Response())).type.toBe<
      (request: Request, _env: string, _n: number) => Promise<Response>
    >()
    expect(fetched.handler).type.not.toBeCallableWith(() => "text")
    expect(fetched.of(new Request("http://a.test")).login("ada")).type.toBe<Promise<Data>>()
  })
})
