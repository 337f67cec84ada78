import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import * as DemoApp from "./DemoApp.ts"
import { assertAnswer, assertRefused } from "./DemoApp.ts"

const setup = Effect.map(DemoApp.make, (app) => ({ app, ...DemoApp.client(app) }))

describe("operations", () => {
  it.effect("it is alive, and ready as long as the store takes writes", () =>
    Effect.gen(function*() {
      const { app, send } = yield* setup
      assertAnswer(yield* send("GET", "/healthz"), 200, { status: "ok" })
      assertAnswer(yield* send("GET", "/readyz"), 200, { status: "ready" })
      assert.deepStrictEqual([app.calls.create, app.calls.destroy], [1, 1])
      assert.strictEqual(yield* app.sessions, 0)
      app.up = false
      assertAnswer(yield* send("GET", "/healthz"), 200, { status: "ok" })
      assertRefused(yield* send("GET", "/readyz"), 503)
    }))

  it.effect("while the store is down nobody is signed out, and every answer says when to come back", () =>
    Effect.gen(function*() {
      const { app, jar, login, me, send } = yield* setup
      yield* login("ada")
      const { cookie } = jar
      app.up = false
      const requests = [["GET", "/api/me"], ["POST", "/api/counter"], ["GET", "/api/devices"], ["POST", "/api/logout"]]
      for (const [method, path] of requests) {
        const answer = yield* send(method, path)
        assertRefused(answer, 503)
        assert.strictEqual(answer.headers.get("retry-after"), "2")
        assert.isNull(answer.headers.get("set-cookie"))
      }
      app.up = true
      assert.strictEqual(jar.cookie, cookie)
      assert.strictEqual((yield* me).username, "ada")
    }))

  it.effect("what sessions do is counted", () =>
    Effect.gen(function*() {
      const { login, me, send } = yield* setup
      const numbers = Effect.map(send("GET", "/api/metrics"), (answer) => answer.json() as Record<string, number>)
      const before = yield* numbers
      yield* login("ada")
      yield* me
      yield* send("POST", "/api/counter")
      yield* send("POST", "/api/logout")
      const after = yield* numbers
      const more = (name: string) => after[name] - before[name]
      assert.deepStrictEqual(
        [more("created"), more("loaded"), more("saved"), more("ended"), more("errors")],
        [1, 3, 1, 1, 0]
      )
      assert.isTrue(Object.values(after).every(Number.isFinite))
    }))

  it.effect("the same numbers are there for Prometheus, without names of users or keys", () =>
    Effect.gen(function*() {
      const { jar, login, send } = yield* setup
      yield* login("ada-lovelace")
      const token = jar.cookie?.slice("session=".length) ?? ""
      const { headers, text } = yield* send("GET", "/metrics")
      assert.match(headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/)
      assert.match(text, /^session_created\S* \d+$/m)
      assert.notInclude(text, "ada-lovelace")
      assert.notInclude(text, token)
    }))
})

describe("the page", () => {
  it.effect("needs no script or style but its own", () =>
    Effect.gen(function*() {
      const { jar, send } = yield* setup
      const { headers, status, text } = yield* send("GET", "/")
      assert.strictEqual(status, 200)
      assert.strictEqual(headers.get("content-type"), "text/html; charset=utf-8")
      const policy = headers.get("content-security-policy") ?? ""
      for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]) {
        assert.include(policy, part)
      }
      assert.notInclude(policy, "unsafe")
      assert.notMatch(text, /<script(?![^>]*\ssrc="\/)|<style|\sstyle=|\son[a-z]+=/i)
      const resources = [...text.matchAll(/\s(?:src|href)="([^"]+)"/g)].map(([, url]) => url)
      assert.isTrue(resources.every((url) => /^(\/|#|data:image\/svg)/.test(url)), resources.join())
      assert.isUndefined(jar.cookie)
    }))

  it.effect("brings its style and script, and every answer the same protection", () =>
    Effect.gen(function*() {
      const { send } = yield* setup
      const css = yield* send("GET", "/page.css")
      const js = yield* send("GET", "/page.js")
      assert.deepStrictEqual(
        [css, js].map(({ headers }) => headers.get("content-type")),
        ["text/css; charset=utf-8", "text/javascript; charset=utf-8"]
      )
      for (const path of ["/", "/page.css", "/page.js", "/api/me", "/nope"]) {
        const { headers } = yield* send("GET", path)
        assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
        assert.isNotNull(headers.get("content-security-policy"))
        assert.isNotNull(headers.get("cache-control"))
      }
    }))

  it("does not try to read the cookie", () => {
    assert.notInclude(readFileSync(new URL("../demo/page.js", import.meta.url), "utf8"), "document.cookie")
  })
})

describe("the quick start", () => {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")

  it("is the one in the README", () => {
    assert.include(read("../../README.md"), read("../quickstart.ts"))
  })
})
