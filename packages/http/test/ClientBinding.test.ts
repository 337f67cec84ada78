import type { SessionConfig } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { HttpMiddleware, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { IpNetwork } from "effect/net"
import * as Adapters from "./AdapterApp.ts"
import {
  type Client,
  inProcess,
  makeStore,
  type RequestOptions,
  routes,
  shown,
  tokenOf,
  transports,
  UserSession
} from "./SessionApp.ts"
import { withSession } from "./SessionApp.ts"

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0"

const config = (options?: SessionConfig.Options): SessionConfig.Options => ({
  preset: "testing",
  binding: { address: true, userAgent: true },
  ...options
})

/** A request with a client of its own: the transport of the test says the address in a header of its own. */
interface From {
  readonly address?: string
  readonly agent?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
}

const home: From = { address: "192.0.2.7", agent: firefox }

const headersOf = ({ address, agent, headers }: From, token?: string): RequestOptions => ({
  headers: {
    ...(address === undefined ? {} : { "test-peer": address }),
    ...(agent === undefined ? {} : { "user-agent": agent }),
    ...(token === undefined ? {} : { cookie: `session=${token}` }),
    ...headers
  }
})

// What a socket would say.
const peer = HttpRouter.middleware(
  (app) =>
    Effect.updateService(
      app,
      HttpServerRequest.HttpServerRequest,
      (request) => request.modify({ remoteAddress: Option.fromNullishOr(request.headers["test-peer"]) })
    ),
  { global: true }
)

const proxies = HttpRouter.middleware(
  HttpMiddleware.xForwardedHeaders({ trustedProxies: [IpNetwork.fromStringUnsafe("10.0.0.0/8")] }),
  { global: true }
)

const users = (client: Client) => ({
  signIn: Effect.fnUntraced(function*(from: From) {
    const answer = yield* client.send("POST", "/login?as=ada", headersOf(from))
    return tokenOf(answer) ?? assert.fail("no cookie")
  }),
  send: (from: From, token: string, method = "GET", path = "/me") => client.send(method, path, headersOf(from, token)),
  statusOf: (from: From, token: string) =>
    Effect.map(client.send("GET", "/me", headersOf(from, token)), (answer) => shown(answer).status)
})

const application = Effect.fnUntraced(function*(
  options: SessionConfig.Options = config(),
  middleware: Layer.Layer<never, never, HttpRouter.HttpRouter> = peer
) {
  const store = yield* makeStore()
  const client = yield* inProcess(Layer.mergeAll(withSession(routes, store, { config: options }), middleware))
  return { ...users(client), store }
})

describe("a session bound to its client", () => {
  it.effect("is one for the client that began it, and none for another", () =>
    Effect.gen(function*() {
      const { send, signIn, statusOf } = yield* application()
      const token = yield* signIn(home)
      assert.strictEqual(yield* statusOf(home, token), "active")
      const others: ReadonlyArray<From> = [
        { ...home, address: "198.51.100.9" },
        { ...home, agent: chrome },
        { ...home, agent: undefined },
        { ...home, agent: "" },
        { ...home, agent: `${firefox} ` + "x".repeat(4000) },
        { agent: firefox },
        { address: "198.51.100.9", agent: chrome },
        {}
      ]
      for (const from of others) {
        const answer = yield* send(from, token)
        assert.deepStrictEqual(shown(answer), { status: "invalid", subject: null, n: 0, note: "" })
        assert.deepStrictEqual(answer.setCookies, [])
        assert.strictEqual(yield* statusOf(home, token), "active")
      }
    }))

  it.effect("compares over-long headers by what counts of them", () =>
    Effect.gen(function*() {
      const { signIn, statusOf } = yield* application()
      const long = "x".repeat(1024)
      const token = yield* signIn({ ...home, agent: `${long}one` })
      assert.strictEqual(yield* statusOf({ ...home, agent: `${long}${"y".repeat(5000)}` }, token), "active")
      assert.strictEqual(yield* statusOf({ ...home, agent: `y${long}` }, token), "invalid")
    }))

  it.effect("is the same in every form of an address and inside one network", () =>
    Effect.gen(function*() {
      const { signIn, statusOf } = yield* application()
      const token = yield* signIn(home)
      assert.strictEqual(yield* statusOf({ ...home, address: "::ffff:192.0.2.7" }, token), "active")
      const six = yield* signIn({ ...home, address: "2001:db8:0:1::1" })
      assert.strictEqual(yield* statusOf({ ...home, address: "2001:DB8::1:ffff:0:0:9" }, six), "active")
      assert.strictEqual(yield* statusOf({ ...home, address: "2001:db8:0:2::1" }, six), "invalid")
    }))

  it.effect("survives the sign-out and the writes of another client", () =>
    Effect.gen(function*() {
      const { send, signIn, statusOf, store } = yield* application()
      const token = yield* signIn(home)
      const thief = { ...home, address: "198.51.100.9" }
      assert.strictEqual((yield* send(thief, token, "POST", "/logout")).status, 204)
      assert.strictEqual(yield* statusOf(home, token), "active")
      const answer = yield* send(thief, token, "POST", "/inc")
      assert.deepStrictEqual([shown(answer).n, shown(answer).subject], [1, null])
      assert.notStrictEqual(tokenOf(answer), token)
      assert.strictEqual(yield* statusOf(home, token), "active")
      assert.notInclude(store.calls, "destroy")
    }))

  it.effect("ignores forwarded addresses that no trusted proxy has sent", () =>
    Effect.gen(function*() {
      for (const middleware of [peer, Layer.mergeAll(peer, proxies)]) {
        const { signIn, statusOf } = yield* application(config(), middleware)
        const token = yield* signIn(home)
        for (const name of ["x-forwarded-for", "x-real-ip", "forwarded", "true-client-ip", "cf-connecting-ip"]) {
          const spoofed = { ...home, address: "198.51.100.9", headers: { [name]: "192.0.2.7" } }
          assert.strictEqual(yield* statusOf(spoofed, token), "invalid", name)
          const harmless = { ...home, headers: { [name]: "198.51.100.9" } }
          assert.strictEqual(yield* statusOf(harmless, token), "active", name)
        }
      }
    }))

  it.effect("takes the address that a trusted proxy has seen", () =>
    Effect.gen(function*() {
      const { signIn, statusOf } = yield* application(config(), Layer.mergeAll(peer, proxies))
      const through = (list: string): From => ({ ...home, address: "10.0.0.1", headers: { "x-forwarded-for": list } })
      const token = yield* signIn(through("192.0.2.7"))
      const table: ReadonlyArray<readonly [From, string]> = [
        [through("192.0.2.7"), "active"],
        [through("6.6.6.6, 192.0.2.7"), "active"],
        [through("6.6.6.6, 192.0.2.7, 10.9.9.9"), "active"],
        [through("::ffff:192.0.2.7"), "active"],
        [through("192.0.2.7:55123"), "active"],
        [home, "active"],
        [through("198.51.100.9"), "invalid"],
        [through("192.0.2.7, 198.51.100.9"), "invalid"],
        [through("192.0.2.7, unknown"), "invalid"],
        [{ ...through("192.0.2.7"), address: "198.51.100.9" }, "invalid"]
      ]
      for (const [from, status] of table) {
        assert.strictEqual(yield* statusOf(from, token), status, JSON.stringify(from))
      }
    }))

  it.effect("takes nothing from lists of any form that come straight from its peer, and the last foreign address else", () =>
    Effect.gen(function*() {
      const spoofed = Array(5000).fill("192.0.2.7").join(", ")
      // What is said after the session has begun at 192.0.2.7, and whether a trusted proxy that says so speaks of it.
      const table: ReadonlyArray<readonly [list: string | undefined, same: boolean]> = [
        [undefined, false],
        ["", false],
        ["192.0.2.7", true],
        ["192.0.2.7, 10.0.0.2", true],
        ["10.1.1.1, 192.0.2.7, 10.0.0.3, 10.0.0.2", true],
        ["6.6.6.6, 192.0.2.7", true],
        ["192.0.2.7, 6.6.6.6", false],
        ["192.0.2.7,6.6.6.6,10.0.0.2", false],
        ["::ffff:192.0.2.7", true],
        ["[::ffff:192.0.2.7]", true],
        ["[::ffff:192.0.2.7]:443", true],
        ["192.0.2.7:443", true],
        ["fe80::1%eth0", false],
        ["192.0.2.7, fe80::1%eth0", false],
        ["unknown", false],
        ["192.0.2.7, unknown", false],
        ["unknown, 192.0.2.7", true],
        ["192.0.2.7, ", false],
        [", 192.0.2.7", true],
        ["192.0.2.7 6.6.6.6", false],
        ["192.0.2.07", false],
        ["0xC0000207", false],
        [spoofed, true],
        [`${spoofed}, 6.6.6.6`, false],
        ["\"192.0.2.7\"", false]
      ]
      for (const trusts of [true, false]) {
        const { send, signIn } = yield* application(config(), trusts ? Layer.mergeAll(peer, proxies) : peer)
        const token = yield* signIn(home)
        const fromProxy = yield* signIn({ ...home, address: "10.0.0.1" })
        for (const [list, same] of table) {
          const headers = list === undefined ? {} : { "x-forwarded-for": list }
          const statusOf = (address: string, token: string) =>
            Effect.map(send({ ...home, address, headers }, token), (answer) => {
              assert.strictEqual(answer.status, 200)
              return shown(answer).status
            })
          const message = `${trusts}: ${list?.slice(-60)}`
          assert.strictEqual(yield* statusOf("10.0.0.1", token), trusts && same ? "active" : "invalid", message)
          // To a peer that nobody trusts, the list is nothing.
          assert.strictEqual(yield* statusOf("192.0.2.7", token), "active", message)
          assert.strictEqual(yield* statusOf("198.51.100.9", token), "invalid", message)
          if (!trusts) assert.strictEqual(yield* statusOf("10.0.0.1", fromProxy), "active", message)
        }
      }
    }))

  it.effect("goes on under a new cookie, or is only reported, where the policy says so", () =>
    Effect.gen(function*() {
      const away = { ...home, address: "198.51.100.9" }
      const renewing = yield* application(config({ binding: { address: true, policy: "renew" } }))
      const token = yield* renewing.signIn(home)
      const answer = yield* renewing.send(away, token)
      assert.deepStrictEqual([shown(answer).status, shown(answer).subject], ["active", "ada"])
      const next = tokenOf(answer)
      assert.isDefined(next)
      assert.notStrictEqual(next, token)
      assert.deepStrictEqual((yield* renewing.send(away, next!)).setCookies, [])

      const reporting = yield* application(config({ binding: { address: true, policy: "report" } }))
      const reported = yield* reporting.send(away, yield* reporting.signIn(home))
      assert.deepStrictEqual([shown(reported).subject, reported.setCookies.length], ["ada", 0])
    }))

  it.effect.each(Object.entries(transports))(
    "goes on under a new cookie also for who asks for an upgrade that the route does not know, %s",
    ([, serve]) =>
      Effect.gen(function*() {
        const store = yield* makeStore()
        const options = config({ binding: { userAgent: true, policy: "renew" } })
        const { send, signIn } = users(yield* serve(withSession(routes, store, { config: options })))
        const handshake = {
          connection: "Upgrade",
          upgrade: "websocket",
          "sec-websocket-version": "13",
          "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="
        }
        for (const headers of [{ upgrade: "x" }, { connection: "Upgrade", upgrade: "x" }, handshake]) {
          const token = yield* signIn({ agent: firefox })
          const answer = yield* send({ agent: chrome, headers }, token)
          assert.strictEqual(shown(answer).subject, "ada")
          assert.match(tokenOf(answer) ?? "", /^[^;]{47}$/, headers.upgrade)
          assert.notStrictEqual(tokenOf(answer), token)
        }
      })
  )

  it.effect("answers 401 without a cookie where invalid sessions shall fail", () =>
    Effect.gen(function*() {
      const { send, signIn, statusOf } = yield* application(config({ onInvalid: "fail" }))
      const token = yield* signIn(home)
      const answer = yield* send({ ...home, agent: chrome }, token, "POST", "/inc")
      assert.deepStrictEqual([answer.status, answer.setCookies.length, answer.body], [401, 0, ""])
      assert.strictEqual(yield* statusOf(home, token), "active")
    }))

  it.effect("keeps no property of its client, and asks for none where nothing is bound", () =>
    Effect.gen(function*() {
      const { signIn, store } = yield* application()
      yield* signIn(home)
      const [{ record }] = yield* store.entries
      assert.include(String(record.payload), "\"b\":{")
      for (const word of ["192.0.2", "Mozilla", "\"c\":"]) assert.notInclude(String(record.payload), word)
      const plain = yield* application({ preset: "testing" })
      yield* plain.signIn(home)
      assert.notInclude(String((yield* plain.store.entries)[0].record.payload), "\"b\":")
    }))

  it.effect("is bound to the address of the socket on a Node server", () =>
    Effect.gen(function*() {
      const store = yield* makeStore()
      const client = yield* transports["Node server"](withSession(routes, store, { config: config() }))
      const { signIn, statusOf } = users(client)
      const token = yield* signIn({ agent: firefox })
      assert.strictEqual(yield* statusOf({ agent: firefox }, token), "active")
      assert.strictEqual(yield* statusOf({ agent: chrome }, token), "invalid")
      assert.strictEqual(
        yield* statusOf({ agent: firefox, headers: { "x-forwarded-for": "1.2.3.4" } }, token),
        "active"
      )
    }))

  it.effect("hides the session from a route that only asks for its status", () =>
    Effect.gen(function*() {
      const store = yield* makeStore()
      const route = HttpRouter.add(
        "GET",
        "/status",
        Effect.map(UserSession.status, (status) => HttpServerResponse.text(status))
      )
      const client = yield* inProcess(
        Layer.mergeAll(withSession(Layer.merge(routes, route), store, { config: config({ onInvalid: "fail" }) }), peer)
      )
      const { send, signIn } = users(client)
      const token = yield* signIn(home)
      assert.strictEqual((yield* send({ ...home, agent: chrome }, token, "GET", "/status")).body, "invalid")
    }))
})

it.effect.each(Object.entries(Adapters.servers))(
  "a session behind %s is bound to its client as well",
  ([, serve]) =>
    Effect.gen(function*() {
      const client = yield* serve(Adapters.routes, yield* makeStore(), { config: config() })
      const login = yield* client.send("POST", "/login", headersOf({ agent: firefox }))
      const me = (from: From) => Effect.map(client.send("GET", "/me", headersOf(from, tokenOf(login))), shown)
      assert.deepStrictEqual((yield* me({ agent: firefox })).subject, "ada")
      assert.deepStrictEqual((yield* me({ agent: chrome })).status, "invalid")
      assert.deepStrictEqual((yield* me({})).status, "invalid")
      assert.deepStrictEqual((yield* me({ agent: firefox })).subject, "ada")
    })
)
