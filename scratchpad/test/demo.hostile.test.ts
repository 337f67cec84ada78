import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as DemoApp from "./DemoApp.ts"
import { assertAnswer, assertRefused } from "./DemoApp.ts"
import { strangeCookies } from "./strangeCookies.ts"

const setup = Effect.map(DemoApp.make, (app) => ({ app, ...DemoApp.client(app) }))

describe("cookies", () => {
  it.effect("that are not ours start nothing, whatever they look like", () =>
    Effect.gen(function*() {
      const { app, jar, send } = yield* setup
      yield* DemoApp.client(app).login("somebody")
      const other = DemoApp.client(app)
      yield* other.login("ada")
      const token = other.jar.cookie?.slice("session=".length) ?? ""
      assert.isAbove(token.length, 40)
      yield* other.send("POST", "/api/logout")
      const sessions = yield* app.sessions
      const { create } = app.calls
      const reads = ["/api/me", "/api/data", "/api/items", "/api/slow", "/api/flash"]
      for (const [i, cookie] of strangeCookies(token, 10_000).entries()) {
        const headers = { cookie }
        if (i % 6 === 5) {
          const answer = yield* send("POST", "/api/logout", { headers })
          assertAnswer(answer, 204)
          // Taking a worthless cookie away is all that signing out does about it.
          for (const line of answer.headers.getSetCookie()) assert.match(line, /^session=; .*Max-Age=0/)
        } else {
          const answer = yield* send("GET", reads[i % 6], { headers })
          assert.strictEqual(answer.status, 200, `${cookie}: ${answer.text}`)
          assert.isNull(answer.headers.get("set-cookie"), cookie)
        }
      }
      assert.isUndefined(jar.cookie)
      assert.strictEqual(yield* app.sessions, sessions)
      assert.deepStrictEqual([app.calls.create, app.calls.save, app.calls.renew], [create, 0, 0])
    }), 120_000)
})

const big = "x".repeat(64 * 1024)
const json = "application/json"

// Every field is right but for one byte.
const encoded = new TextEncoder().encode(
  `{"username":"ada~","password":"demo","text":"tea~","kind":"info~","message":"~","value":"~"}`
).map((byte) => byte === 0x7e ? 0xff : byte)

const bodies: ReadonlyArray<readonly [name: string, type: string | undefined, body: BodyInit, status: number]> = [
  ["nothing at all", json, "", 400],
  ["no JSON", json, "{", 400],
  ["two values", json, "{}{}", 400],
  ["null", json, "null", 400],
  ["a number", json, "1", 400],
  ["an array", json, "[]", 400],
  ["an empty object", json, "{}", 400],
  ["fields that are null", json, `{"username":null,"password":null,"text":null,"kind":null,"message":null}`, 400],
  ["fields that are objects", json, `{"username":{},"password":[],"text":{"length":3},"kind":{},"message":1}`, 400],
  ["empty fields", json, `{"username":"","password":"demo","text":"","kind":"","message":""}`, 400],
  ["fields only in the prototype", json, `{"__proto__":{"username":"a","password":"demo","text":"a","value":1}}`, 400],
  [
    "fields that are too long",
    json,
    JSON.stringify(
      Object.fromEntries(["username", "password", "text", "kind", "message", "value"].map((k) => [k, "x".repeat(9000)]))
    ),
    400
  ],
  [
    "half of a character",
    json,
    `{"username":"\\ud800","password":"demo","text":"\\udc00","kind":"a\\ud800","message":"b"}`,
    400
  ],
  ["brackets without end", json, `{"value":${"[".repeat(30_000)}${"]".repeat(30_000)}}`, 400],
  ["brackets only", json, "[".repeat(60_000), 400],
  ["numbers beyond all numbers", json, `{"value":1e999}`, 400],
  ["bytes that are no text", json, new Uint8Array([0x22, 0xff, 0xfe, 0x22]), 400],
  ["text that is partly none", json, new Uint8Array(encoded), 400],
  ["a byte order mark alone", json, new Uint8Array([0xef, 0xbb, 0xbf]), 400],
  ["UTF-16", json, new Uint8Array([0xff, 0xfe, 0x7b, 0, 0x7d, 0]), 400],
  ["a form", "application/x-www-form-urlencoded", "username=ada&password=demo&text=tea", 400],
  ["JSON said to be text", "text/plain", `{"username":"ada","password":"demo","text":"tea","value":1}`, 400],
  ["JSON of no type", undefined, new TextEncoder().encode(`{"username":"ada","password":"demo","value":1}`), 400],
  ["a type that only begins right", "application/jsonp", `{"value":1,"text":"tea"}`, 400],
  ["a body over 64 KiB", json, JSON.stringify({ username: big, text: big, value: big }), 413],
  ["64 KiB and one byte of nothing", json, " ".repeat(64 * 1024 + 1), 413]
]

describe("bodies", () => {
  const routes = [["POST", "/api/login"], ["POST", "/api/items"], ["POST", "/api/flash"], ["PUT", "/api/data/key"]]

  it.effect.each(bodies)("%s", ([, type, body, status]) =>
    Effect.gen(function*() {
      const { app, jar, send } = yield* setup
      for (const [method, path] of routes) {
        const headers: Record<string, string> = type === undefined ? {} : { "content-type": type }
        assertRefused(yield* send(method, path, { headers, body }), status)
      }
      assert.isUndefined(jar.cookie)
      assert.strictEqual(yield* app.sessions, 0)
    }))

  it.effect("that stream on and on are cut off", () =>
    Effect.gen(function*() {
      const { app } = yield* setup
      let pulled = 0
      const body = new ReadableStream({
        pull: (controller) => {
          pulled++
          controller.enqueue(new Uint8Array(8192).fill(32))
        }
      })
      // A streamed request has to say so, which TypeScript does not know yet.
      const init: RequestInit & { readonly duplex: "half" } = {
        method: "POST",
        headers: { "content-type": json },
        body,
        duplex: "half"
      }
      const request = new Request("http://localhost:3000/api/login", init)
      const response = yield* Effect.promise(() => app.handler(request))
      assert.strictEqual(response.status, 413)
      assert.isBelow(pulled, 20)
    }))

  it.effect("of a type with parameters and in any case are welcome", () =>
    Effect.gen(function*() {
      const { send } = yield* setup
      const headers = { "content-type": "Application/JSON; charset=utf-8" }
      assertAnswer(yield* send("POST", "/api/items", { headers, body: `{"text":"tea"}` }), 201, { items: ["tea"] })
    }))

  it.effect("with hostile names of fields are only data", () =>
    Effect.gen(function*() {
      const { send } = yield* setup
      const body = `{"value":{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}}}`
      for (const key of ["__proto__", "constructor", "toString"]) {
        const answer = yield* send("PUT", `/api/data/${key}`, { headers: { "content-type": json }, body })
        assert.strictEqual(answer.status, 200)
      }
      const { text } = yield* send("GET", "/api/data")
      const value = body.slice(`{"value":`.length, -1)
      assert.strictEqual(text, `{"data":{"__proto__":${value},"constructor":${value},"toString":${value}}}`)
      assert.isFalse("admin" in {})
    }))

  it.effect("that fill the session beyond its limit are refused, and the session stays", () =>
    Effect.gen(function*() {
      const { send } = yield* setup
      const statuses = new Set<number>()
      for (let i = 0; i < 12; i++) {
        statuses.add((yield* send("PUT", `/api/data/${i}`, { json: { value: "x".repeat(8000) } })).status)
      }
      assert.deepStrictEqual([...statuses], [200, 413])
      assert.strictEqual((yield* send("GET", "/api/data")).status, 200)
    }))
})

describe("paths and methods", () => {
  const paths = [
    "/nope",
    "/api",
    "/api/",
    "/API/ME",
    "/api/me/x",
    "/api/data/%",
    "/api/data/%E0%A4%A",
    "/api/data/%ff",
    "/api/data/a/b",
    "/%00",
    "/page.js/..%2f..%2fpackage.json",
    "/demo/main.ts",
    `/${"x".repeat(9000)}`
  ]
  it.effect.each(paths)("there is nothing at %s", (path) =>
    Effect.gen(function*() {
      const { send } = yield* setup
      assertRefused(yield* send(path.startsWith("/api/data") ? "PUT" : "GET", path, { json: undefined }), 404)
    }))

  it.effect("a method that a path does not have is refused, with those it has", () =>
    Effect.gen(function*() {
      const { send } = yield* setup
      for (
        const [method, path] of [["PUT", "/api/me"], ["DELETE", "/"], ["PATCH", "/api/me"], ["OPTIONS", "/healthz"]]
      ) {
        const answer = yield* send(method, path)
        assertRefused(answer, 405)
        assert.strictEqual(answer.headers.get("allow"), "GET, HEAD")
      }
      assert.strictEqual((yield* send("GET", "/api/login")).headers.get("allow"), "POST")
      assertRefused(yield* send("PROPFIND", "/api/me"), 404)
    }))

  it.effect("a key is at most 64 characters long", () =>
    Effect.gen(function*() {
      const { send } = yield* setup
      assert.strictEqual((yield* send("PUT", `/api/data/${"k".repeat(64)}`, { json: { value: 1 } })).status, 200)
      assertRefused(yield* send("PUT", `/api/data/${"k".repeat(65)}`, { json: { value: 1 } }), 400)
      assertRefused(yield* send("PUT", `/api/data/${"k".repeat(4000)}`, { json: { value: 1 } }), 400)
    }))

  it.effect.each(["x", "-1", "1.5", "", "1e3", "Infinity", "1&delay=2", "%F0%9F%98%80"])(
    "a delay of %s is none",
    (delay) =>
      Effect.gen(function*() {
        const { send } = yield* setup
        assertRefused(yield* send("GET", `/api/slow?delay=${delay}`), 400)
        assertRefused(yield* send("POST", `/api/counter?delay=${delay}`), 400)
      })
  )
})

describe("other sites", () => {
  const writes = [["POST", "/api/login"], ["POST", "/api/counter"], ["POST", "/api/logout"], ["PUT", "/api/data/x"]]

  it.effect("a browser that another site sends is refused every write", () =>
    Effect.gen(function*() {
      const { app, send } = yield* setup
      for (
        const headers of [{ "sec-fetch-site": "cross-site" }, { origin: "https://evil.example" }, { origin: "null" }]
      ) {
        for (const [method, path] of writes) assertRefused(yield* send(method, path, { headers, json: {} }), 403)
      }
      assert.strictEqual(yield* app.sessions, 0)
    }))

  it.effect("the page itself, and programs that are no browsers, may write", () =>
    Effect.gen(function*() {
      const { send } = yield* setup
      for (const headers of [{ "sec-fetch-site": "same-origin" }, { origin: "http://localhost:3000" }, undefined]) {
        assert.strictEqual((yield* send("POST", "/api/counter", { headers })).status, 200)
      }
    }))
})
