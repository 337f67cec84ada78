import { SealedFormat } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as DemoApp from "./DemoApp.ts"
import { afterDelay, assertAnswer, assertRefused, until } from "./DemoApp.ts"
import { strangeCookies } from "./strangeCookies.ts"

const setup = Effect.map(DemoApp.makeCookie, (app) => ({ app, ...DemoApp.client(app) }))

const tokenOf = (cookie: string | undefined) => cookie?.slice("session=".length) ?? ""

describe("signing in and out, in cookie mode", () => {
  it.effect("who has no session is a guest, and looking starts none", () =>
    Effect.gen(function*() {
      const { jar, me } = yield* setup
      const { authenticated, status } = yield* me
      assert.deepStrictEqual([authenticated, status], [false, "anonymous"])
      assert.isUndefined(jar.cookie)
    }))

  it.effect("signing in keeps counter and list, and ends the session of before", () =>
    Effect.gen(function*() {
      const { jar, login, me, send } = yield* setup
      yield* send("POST", "/api/counter")
      yield* send("POST", "/api/items", { json: { text: "tea" } })
      yield* send("PUT", "/api/data/draft", { json: { value: 1 } })
      const guest = jar.cookie
      assertAnswer(yield* login("ada"), 200, { authenticated: true, username: "ada", role: "user" })
      const { counter, expiresAt, loginAt, username } = yield* me
      assert.deepStrictEqual([username, counter], ["ada", 1])
      assert.deepStrictEqual([loginAt, expiresAt], ["1970-01-01T00:00:00.000Z", "1970-01-01T00:30:00.000Z"])
      assertAnswer(yield* send("GET", "/api/items"), 200, { items: ["tea"] })
      assertAnswer(yield* send("GET", "/api/data"), 200, { data: {} })
      jar.cookie = guest
      assert.strictEqual((yield* me).counter, 0)
    }))

  it.effect("the cookie is out of reach of scripts and other sites, and shows nothing of what is in it", () =>
    Effect.gen(function*() {
      const { login } = yield* setup
      const { headers } = yield* login("ada-lovelace")
      const [, token = ""] =
        /^session=([\w-]+); Path=\/; HttpOnly; SameSite=Lax$/.exec(headers.get("set-cookie") ?? "") ?? []
      assert.isAbove(token.length, 200)
      const text = Buffer.from(token, "base64url").toString("latin1")
      assert.notMatch(text, /ada-lovelace|role|counter/)
    }))

  it.effect("signing out is final: a copy of any cookie of the session is worth nothing", () =>
    Effect.gen(function*() {
      const { jar, login, me, send } = yield* setup
      yield* login("ada")
      const copies = [jar.cookie]
      yield* send("POST", "/api/counter")
      copies.push(jar.cookie)
      assert.notStrictEqual(copies[0], copies[1])
      assertAnswer(yield* send("POST", "/api/logout"), 204)
      assert.isUndefined(jar.cookie)
      for (const copy of copies) {
        jar.cookie = copy
        const { authenticated, counter } = yield* me
        assert.deepStrictEqual([authenticated, counter], [false, 0])
      }
    }))

  it.effect("signing out everywhere ends every session of the user, and nobody else's", () =>
    Effect.gen(function*() {
      const { app, jar, login, me, send } = yield* setup
      const [phone, other] = [DemoApp.client(app), DemoApp.client(app)]
      yield* login("ada")
      yield* phone.login("ada")
      yield* other.login("grace")
      const copy = jar.cookie
      assertAnswer(yield* send("POST", "/api/logout-everywhere"), 204)
      assert.isUndefined(jar.cookie)
      jar.cookie = copy
      assert.strictEqual((yield* me).authenticated, false)
      assert.strictEqual((yield* phone.me).authenticated, false)
      assert.strictEqual((yield* other.me).username, "grace")
      // In the very millisecond of it, a new sign-in counts.
      yield* phone.login("ada")
      assert.strictEqual((yield* phone.me).username, "ada")
    }))

  it.effect("signing out everywhere also ends the session of a guest", () =>
    Effect.gen(function*() {
      const { jar, me, send } = yield* setup
      yield* send("POST", "/api/counter")
      const copy = jar.cookie
      assertAnswer(yield* send("POST", "/api/logout-everywhere"), 204)
      assert.isUndefined(jar.cookie)
      jar.cookie = copy
      assert.strictEqual((yield* me).counter, 0)
    }))

  it.effect("ending and renewing what is not there succeeds and creates nothing", () =>
    Effect.gen(function*() {
      const { jar, send } = yield* setup
      for (const path of ["/api/logout", "/api/logout-everywhere", "/api/renew"]) {
        assertAnswer(yield* send("POST", path), 204)
      }
      assert.isUndefined(jar.cookie)
    }))

  it.effect("renewing gives another id to the same session, and the old one is over", () =>
    Effect.gen(function*() {
      const { jar, login, me, send } = yield* setup
      yield* login("ada")
      const old = jar.cookie
      assertAnswer(yield* send("POST", "/api/renew"), 204)
      assert.strictEqual((yield* me).username, "ada")
      jar.cookie = old
      assert.strictEqual((yield* me).username, null)
    }))

  it.effect("a session that nobody uses is over after half an hour, whatever the browser kept", () =>
    Effect.gen(function*() {
      const { login, me } = yield* setup
      yield* login("ada")
      yield* TestClock.adjust("29 minutes")
      assert.strictEqual((yield* me).username, "ada")
      yield* TestClock.adjust("30 minutes")
      assert.strictEqual((yield* me).username, null)
    }))
})

describe("data, in cookie mode", () => {
  it.effect("one increment after another counts", () =>
    Effect.gen(function*() {
      const { login, me, send } = yield* setup
      yield* login("ada")
      for (let i = 1; i <= 100; i++) assertAnswer(yield* send("POST", "/api/counter"), 200, { counter: i })
      assert.strictEqual((yield* me).counter, 100)
    }))

  it.effect("of increments at once the last answer stands, as the page says", () =>
    Effect.gen(function*() {
      const { login, me, send } = yield* setup
      yield* login("ada")
      const answers = yield* Effect.all(
        Array.from({ length: 20 }, () => send("POST", "/api/counter")),
        { concurrency: "unbounded" }
      )
      for (const answer of answers) assertAnswer(answer, 200, { counter: 1 })
      assert.strictEqual((yield* me).counter, 1)
    }))

  it.effect("a write that waits while its session is signed out fails, and brings nothing back", () =>
    Effect.gen(function*() {
      const { app, jar, login, me, send } = yield* setup
      yield* login("ada")
      const { cookie } = jar
      app.asked = 0
      const write = yield* Effect.forkChild(send("PUT", "/api/data/late?delay=500", { json: { value: true } }), {
        startImmediately: true
      })
      yield* until(() => app.asked === 1)
      assertAnswer(yield* send("POST", "/api/logout"), 204)
      assertRefused(yield* afterDelay(write), 409)
      jar.cookie = cookie
      assert.strictEqual((yield* me).authenticated, false)
    }))

  it.effect("values and the shopping list stay, one request after another", () =>
    Effect.gen(function*() {
      const { send } = yield* setup
      assertAnswer(yield* send("POST", "/api/items", { json: { text: "tea" } }), 201, { items: ["tea"] })
      yield* send("POST", "/api/items", { json: { text: "milk" } })
      assertAnswer(yield* send("DELETE", "/api/items/0"), 200, { items: ["milk"] })
      for (const key of ["__proto__", "b"]) yield* send("PUT", `/api/data/${key}`, { json: { value: [key] } })
      assert.strictEqual((yield* send("GET", "/api/data")).text, `{"data":{"__proto__":["__proto__"],"b":["b"]}}`)
      assertAnswer(yield* send("GET", "/api/items"), 200, { items: ["milk"] })
    }))

  it.effect("a message is delivered with the cookie it came in", () =>
    Effect.gen(function*() {
      const { send } = yield* setup
      const message = { kind: "success", message: "Saved." }
      assertAnswer(yield* send("POST", "/api/flash", { json: message }), 204)
      assertAnswer(yield* send("GET", "/api/flash"), 200, { messages: [message] })
      assertAnswer(yield* send("GET", "/api/flash"), 200, { messages: [] })
    }))

  it.effect("what does not fit a cookie is refused, and the session stays as it was", () =>
    Effect.gen(function*() {
      const { jar, login, me, send } = yield* setup
      yield* login("ada")
      yield* send("PUT", "/api/data/a", { json: { value: "x".repeat(1000) } })
      const { cookie } = jar
      assertRefused(yield* send("PUT", "/api/data/b", { json: { value: "x".repeat(3000) } }), 413)
      assert.strictEqual(jar.cookie, cookie)
      assert.strictEqual((yield* me).username, "ada")
    }))
})

describe("what cookie mode does not have", () => {
  it.effect("there is no list of devices, for guests and for users", () =>
    Effect.gen(function*() {
      const { login, me, send } = yield* setup
      assertAnswer(yield* send("GET", "/api/store"), 200, { keeper: "client" })
      for (const signIn of [Effect.void, login("ada")]) {
        yield* signIn
        for (const [method, path] of [["GET", "/api/devices"], ["DELETE", "/api/devices/x"]]) {
          const answer = yield* send(method, path)
          assertRefused(answer, 404)
          assert.include(answer.text, "no list of sessions")
        }
      }
      assert.strictEqual((yield* me).username, "ada")
    }))

  it.effect("and where the server keeps the sessions, there is nothing in the cookie to show", () =>
    Effect.gen(function*() {
      const app = yield* DemoApp.make
      const { login, send } = DemoApp.client(app)
      yield* login("ada")
      assertAnswer(yield* send("GET", "/api/store"), 200, { keeper: "server" })
      assertRefused(yield* send("GET", "/api/seal"), 404)
    }))
})

describe("the seal", () => {
  it.effect("shows sizes, key and age, and nothing that is sealed", () =>
    Effect.gen(function*() {
      const { jar, login, send } = yield* setup
      yield* login("ada-lovelace")
      yield* send("PUT", "/api/data/diary", { json: { value: "dear diary" } })
      const token = tokenOf(jar.cookie)
      yield* TestClock.adjust("30 seconds")
      const answer = yield* send("GET", "/api/seal")
      const { payloadBytes, ...rest } = answer.json()
      const bytes = Buffer.from(token, "base64url")
      assert.deepStrictEqual(rest, {
        cookieBytes: (jar.cookie?.length ?? 0) - 1,
        limitBytes: 4096,
        suite: "aes256Gcm",
        keyId: Buffer.of(bytes[2] << 4 | bytes[3] >>> 4, bytes[3] << 4).toString("base64url").slice(0, 2),
        sealedBytes: bytes.length,
        ageMs: 30_000
      })
      const most = bytes.length - SealedFormat.sealedLength("aes256Gcm", 0)
      assert.isTrue(Number(payloadBytes) > 0 && Number(payloadBytes) < most, `${payloadBytes} of ${most}`)
      const secrets = [token, token.slice(2, 20), "ada-lovelace", "diary", bytes.subarray(4, 20).toString("base64url")]
      for (const secret of secrets) assert.notInclude(answer.text, secret)
    }))

  it.effect("grows with the data, by as many octets as the data", () =>
    Effect.gen(function*() {
      const { send } = yield* setup
      const look = Effect.map(send("GET", "/api/seal"), (answer) => answer.json() as Record<string, number>)
      yield* send("PUT", "/api/data/a", { json: { value: "" } })
      const before = yield* look
      yield* send("PUT", "/api/data/a", { json: { value: "é".repeat(100) } })
      const after = yield* look
      assert.strictEqual(after.payloadBytes - before.payloadBytes, 200)
      assert.strictEqual(after.sealedBytes - before.sealedBytes, 200)
    }))

  it.effect("is young again under a new id, and stays as it is when it is only written", () =>
    Effect.gen(function*() {
      const { login, send } = yield* setup
      const age = Effect.map(send("GET", "/api/seal"), (answer) => answer.json().ageMs)
      yield* login("ada")
      yield* TestClock.adjust("1 minute")
      yield* send("POST", "/api/counter")
      assert.strictEqual(yield* age, 60_000)
      yield* send("POST", "/api/renew")
      assert.strictEqual(yield* age, 0)
    }))

  it.effect("is shown of nothing but a live session of its own", () =>
    Effect.gen(function*() {
      const { jar, login, send } = yield* setup
      assertRefused(yield* send("GET", "/api/seal"), 404)
      yield* login("ada")
      const token = tokenOf(jar.cookie)
      const { length } = token
      const changed = token.slice(0, length - 9) + (token[length - 9] === "A" ? "B" : "A") + token.slice(length - 8)
      for (const cookie of [`session=${changed}`, `session=${token}; session=${token}`, "session=", "session=AQEA"]) {
        assertRefused(yield* send("GET", "/api/seal", { headers: { cookie } }), 404)
      }
      assert.strictEqual((yield* send("GET", "/api/seal")).status, 200)
      yield* send("POST", "/api/logout")
      assertRefused(yield* send("GET", "/api/seal", { headers: { cookie: `session=${token}` } }), 404)
    }))
})

describe("operations, in cookie mode", () => {
  it.effect("it is ready as long as the list of revocations answers", () =>
    Effect.gen(function*() {
      const { app, send } = yield* setup
      assertAnswer(yield* send("GET", "/readyz"), 200, { status: "ready" })
      app.up = false
      assertAnswer(yield* send("GET", "/healthz"), 200, { status: "ok" })
      assertRefused(yield* send("GET", "/readyz"), 503)
    }))

  it.effect("while the list is down nobody is signed out, and every answer says when to come back", () =>
    Effect.gen(function*() {
      const { app, jar, login, me, send } = yield* setup
      yield* login("ada")
      const { cookie } = jar
      app.up = false
      const requests = [
        ["GET", "/api/me"],
        ["POST", "/api/counter"],
        ["GET", "/api/seal"],
        ["POST", "/api/logout"],
        ["POST", "/api/logout-everywhere"]
      ]
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
})

describe("cookies, in cookie mode", () => {
  it.effect("that are not ours start nothing, whatever they look like", () =>
    Effect.gen(function*() {
      const { app, jar, send } = yield* setup
      const other = DemoApp.client(app)
      yield* other.login("ada")
      const token = tokenOf(other.jar.cookie)
      yield* other.send("POST", "/api/logout")
      const reads = ["/api/me", "/api/data", "/api/items", "/api/flash", "/api/seal"]
      for (const [i, cookie] of strangeCookies(token, 2_000).entries()) {
        const headers = { cookie }
        if (i % 6 === 5) {
          const answer = yield* send("POST", "/api/logout", { headers })
          assertAnswer(answer, 204)
          for (const line of answer.headers.getSetCookie()) assert.match(line, /^session=; .*Max-Age=0/)
        } else {
          const path = reads[i % 6]
          const answer = yield* send("GET", path, { headers })
          assert.strictEqual(answer.status, path === "/api/seal" ? 404 : 200, `${cookie}: ${answer.text}`)
          assert.isNull(answer.headers.get("set-cookie"), cookie)
        }
      }
      assert.isUndefined(jar.cookie)
    }), 60_000)

  it.effect("with one bit changed anywhere open nothing", () =>
    Effect.gen(function*() {
      const { app, login, send } = yield* setup
      yield* login("ada")
      const other = DemoApp.client(app)
      yield* other.login("grace")
      const bytes = Buffer.from(tokenOf(other.jar.cookie), "base64url")
      for (let i = 0; i < bytes.length; i++) {
        const changed = Buffer.from(bytes)
        changed[i] ^= 1
        const answer = yield* send("GET", "/api/me", {
          headers: { cookie: `session=${changed.toString("base64url")}` }
        })
        assert.strictEqual(answer.json().username, null, `octet ${i}`)
      }
    }))
})
