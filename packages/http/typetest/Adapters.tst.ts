import { CookieStore, MemoryStore, Session, SessionConfig } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { type PromiseSession, SessionFastify, type SessionFetch } from "@effect-session/http"
import * as SessionNode from "@effect-session/http/SessionNode"
import { Layer, Schema } from "effect"
import fastify from "fastify"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
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

declare const node: SessionNode.SessionNode<Data>
declare const fetched: SessionFetch.SessionFetch<Data>
declare const request: IncomingMessage

describe("SessionNode", () => {
  test("has the data of its session class", () => {
    expect(SessionNode.make(UserSession, Live)).type.toBe<Promise<SessionNode.SessionNode<Data>>>()
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

  test("fits node:http and Connect", () => {
    expect(createServer).type.toBeCallableWith(node.listener((_request, response) => response.end()))
    expect(node.middleware).type.toBeAssignableTo<
      (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void
    >()
    expect<Parameters<typeof node.errors>["length"]>().type.toBe<4>()
  })

  test("options are given a Node request", () => {
    expect<NonNullable<SessionNode.Options["address"]>>().type.toBe<(request: IncomingMessage) => string | undefined>()
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
