import { Crypto, SessionStore, SessionToken } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, type Scope } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as App from "./SessionApp.ts"

const { UserSession } = App
const secrets = Redacted.make("Wq8-Zr5_Kt2.Hn7+Lm3*Pd6!Xc9?Vb4@")
const config = { preset: "testing", secrets } as const
const serve = App.inProcess

/** A repeatable source of numbers below a bound. */
const numbers = (seed: number) => {
  let state = seed
  return (bound: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor(state / 4_294_967_296 * bound)
  }
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

const randomToken = (random: (bound: number) => number, keyId: string) => {
  let text = keyId
  while (text.length < SessionToken.length - 1) text += alphabet[random(64)]
  return text + alphabet[random(16) * 4]
}

const cookie = (token: string | undefined) => ({ headers: { cookie: `session=${token}` } })

const setUp = Effect.gen(function*() {
  const store = yield* App.makeStore()
  const client = yield* serve(App.withSession(App.routes, store, { config }))
  const keyOf = (token: string) =>
    Effect.provide(Crypto.Crypto.use((crypto) => crypto.hashId(token)), App.backend(store, config)).pipe(Effect.orDie)
  const signIn = (as: string) => Effect.map(client.send("POST", `/login?as=${as}`), (answer) => App.tokenOf(answer)!)
  return { store, client, keyOf, signIn }
})

describe("SessionMiddleware, strict mode", () => {
  // Ways to come by a token that stands for no session here.
  const dead = {
    "never issued": ({ signIn }) => Effect.map(signIn("ada"), (token) => randomToken(numbers(1), token.slice(0, 2))),
    expired: ({ signIn }) => Effect.tap(signIn("ada"), () => TestClock.adjust("5 minutes")),
    destroyed: ({ client, signIn }) =>
      Effect.tap(signIn("ada"), (token) => client.send("POST", "/logout", cookie(token))),
    "renewed away": ({ client, signIn }) =>
      Effect.tap(signIn("ada"), (token) => client.send("POST", "/renew", cookie(token))),
    "signed in again": ({ client, signIn }) =>
      Effect.tap(signIn("ada"), (token) => client.send("POST", "/login", cookie(token))),
    "of another application": ({ store }) =>
      Effect.gen(function*() {
        const other = yield* serve(App.withSession(App.routes, store, { config: { ...config, name: "other" } }))
        return App.tokenOf(yield* other.send("POST", "/login"))!
      })
  } satisfies Record<string, (given: Effect.Success<typeof setUp>) => Effect.Effect<string, never, Scope.Scope>>

  it.effect.each(Object.keys(dead) as ReadonlyArray<keyof typeof dead>)(
    "a token is never adopted: %s",
    (name) =>
      Effect.gen(function*() {
        const given = yield* setUp
        const { client, keyOf, store } = given
        const presented = yield* dead[name](given)
        const key = yield* keyOf(presented)
        for (const [method, path] of [["GET", "/me"], ["POST", "/inc"], ["POST", "/login?as=eve"]] as const) {
          const before = yield* store.keys
          const answer = yield* client.send(method, path, cookie(presented))
          const after = yield* store.keys
          assert.strictEqual(answer.status, 200)
          const { n, status, subject } = App.shown(answer)
          assert.notStrictEqual(status, "active", name)
          assert.deepStrictEqual([subject, n], [path.startsWith("/login") ? "eve" : null, path === "/inc" ? 1 : 0])
          assert.notInclude(after, key)
          const issued = App.tokenOf(answer)
          assert.strictEqual(after.length - before.length, path === "/me" ? 0 : 1)
          if (path === "/me") assert.deepStrictEqual(answer.setCookies, [])
          else assert.strictEqual(issued?.length, 47)
          assert.notStrictEqual(issued, presented)
        }
      })
  )

  it.effect("a session that was emptied keeps nothing of what it was, and signing in replaces its id", () =>
    Effect.gen(function*() {
      const { client } = yield* setUp
      const token = App.tokenOf(yield* client.send("POST", "/note?text=old"))
      const emptied = yield* client.send("POST", "/reset", cookie(token))
      assert.strictEqual(App.shown(emptied).note, "")
      const login = yield* client.send("POST", "/login", cookie(token))
      assert.strictEqual(App.shown(login).note, "")
      assert.notStrictEqual(App.tokenOf(login), token)
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", cookie(token))).status, "anonymous")
    }))
})

describe("SessionMiddleware, hostile cookies", () => {
  it.effect("what cannot be a token never reaches the store", () =>
    Effect.gen(function*() {
      const { client, signIn, store } = yield* setUp
      const token = yield* signIn("ada")
      store.calls.length = 0
      const random = numbers(7)
      const bytes = "!#$%&'()*+-./:<=>?@[]^_`{|}~ \t\"\\,ABCxyz019\xa0\xe9\xff"
      const fuzz = Array.from({ length: 10_000 }, () => {
        if (random(3) > 0) return Array.from({ length: random(80) }, () => bytes[random(bytes.length)]).join("")
        // One character off: another length, another alphabet, bits that do not count, another key id.
        const at = random(SessionToken.length)
        return token.slice(0, at) + bytes[random(bytes.length - 7)] + token.slice(at + random(3))
      })
      const last = token.slice(-1)
      const hostile = [
        "",
        "\"\"",
        "../../etc/passwd",
        "*?[a-z]",
        "{tag}",
        "null",
        "__proto__",
        "%00",
        encodeURIComponent(token + "\0"),
        `"${token}"`,
        `${token}=`,
        `${token}==`,
        token.toLowerCase(),
        token + token,
        "A".repeat(10_000),
        // The same bits with others in the unused places of the last character.
        token.slice(0, -1) + alphabet[alphabet.indexOf(last) + 1]
      ]
      const isForeign = (value: string) => {
        const text = value.replace(/^[ \t]+|[ \t]+$/g, "")
        return !(SessionToken.isToken(text) && text.startsWith(token.slice(0, 2)))
      }
      const values = [...hostile, ...fuzz].filter(isForeign)
      assert.isAbove(values.length, 9000)
      for (const value of values) {
        const answer = yield* client.send("GET", "/me", cookie(value))
        assert.strictEqual(answer.status, 200, value)
        assert.strictEqual(App.shown(answer).subject, null, value)
        assert.notStrictEqual(App.shown(answer).status, "active", value)
        assert.deepStrictEqual(answer.setCookies, [], value)
      }
      assert.deepStrictEqual(store.calls, [])
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", cookie(token))).subject, "ada")
    }))

  it.effect("several cookies of the session's name are none to trust, in every order", () =>
    Effect.gen(function*() {
      const { client, signIn, store } = yield* setUp
      const ada = yield* signIn("ada")
      const eve = yield* signIn("eve")
      const values = [ada, eve, randomToken(numbers(3), ada.slice(0, 2)), "malformed", ada]
      const keys = yield* store.keys
      store.calls.length = 0
      const pairs = values.flatMap((a, i) => values.flatMap((b, j) => i === j ? [] : [[a, b]]))
      const triples = pairs.flatMap((pair) => values.map((c) => [...pair, c]))
      for (const tossed of [...pairs, ...triples]) {
        const headers = { cookie: ["theme=dark", ...tossed.map((value) => `session=${value}`), "a=b"].join("; ") }
        const read = yield* client.send("GET", "/me", { headers })
        assert.deepStrictEqual(App.shown(read), { status: "invalid", subject: null, n: 0, note: "" })
        assert.deepStrictEqual(read.setCookies, [])
        assert.deepStrictEqual(store.calls, [])
      }
      const headers = { cookie: `session=${ada}; session=${eve}` }
      const written = yield* client.send("POST", "/inc", { headers })
      const issued = App.tokenOf(written)!
      assert.notInclude([ada, eve], issued)
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", cookie(issued))).n, 1)
      assert.deepStrictEqual(store.calls, ["create", "load"])
      // Signing out drops the cookies and ends nobody's session.
      const logout = yield* client.send("POST", "/logout", { headers })
      assert.strictEqual(App.tokenOf(logout), "")
      assert.includeMembers([...yield* store.keys], [...keys])
    }))

  it.effect("10,000 visitors with cookies of their own making cost no storage", () =>
    Effect.gen(function*() {
      const { client, signIn, store } = yield* setUp
      const token = yield* signIn("ada")
      const random = numbers(11)
      for (let i = 0; i < 5000; i++) {
        const presented = cookie(randomToken(random, token.slice(0, 2)))
        const read = yield* client.send("GET", "/me", presented)
        assert.deepStrictEqual(read.setCookies, [])
        const logout = yield* client.send("POST", "/logout", presented)
        assert.strictEqual(logout.status, 204)
        assert.strictEqual(App.tokenOf(logout), "")
      }
      assert.deepStrictEqual((yield* client.send("POST", "/logout")).setCookies, [])
      assert.deepStrictEqual((yield* client.send("POST", "/renew")).setCookies, [])
      assert.strictEqual((yield* store.keys).length, 1)
      assert.deepStrictEqual(new Set(store.calls), new Set(["create", "load"]))
    }))

  it.effect("a token is taken from the cookie only", () =>
    Effect.gen(function*() {
      const { client, signIn, store } = yield* setUp
      const token = yield* signIn("ada")
      store.calls.length = 0
      const form = { "content-type": "application/x-www-form-urlencoded" }
      for (
        const [path, options] of [
          [`/me?session=${token}&sid=${token}`, {}],
          [`/me;session=${token}`, {}],
          ["/me", { headers: { authorization: `Bearer ${token}` } }],
          ["/me", { headers: { "x-session-id": token, "session": token, "cookie2": `session=${token}` } }],
          ["/me", { headers: { cookie: `sessions=${token}; SESSION=${token}; xsession=${token}; session` } }],
          ["/me", { headers: { cookie: `theme="session=${token}"` } }]
        ] as const
      ) {
        const answer = yield* client.send("GET", path, options)
        assert.include([200, 404], answer.status)
        if (answer.status === 200) assert.strictEqual(App.shown(answer).status, "anonymous")
      }
      const posted = yield* client.send("POST", "/inc", { headers: form, body: `session=${token}` })
      assert.strictEqual(App.shown(posted).subject, null)
      assert.deepStrictEqual(store.calls, ["create"])
    }))
})

describe("SessionMiddleware, secrecy", () => {
  it.effect("token and key leave in Set-Cookie alone, whatever goes wrong", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const failing = Layer.mergeAll(
        HttpRouter.add("GET", "/die", Effect.andThen(UserSession.get, Effect.die(new Error("boom")))),
        HttpRouter.add("GET", "/fail", Effect.andThen(App.increment, Effect.fail("no"))),
        HttpRouter.add("GET", "/move", Effect.as(UserSession.renew, HttpServerResponse.redirect("/me"))),
        HttpRouter.add(
          "GET",
          "/echo",
          Effect.gen(function*() {
            const request = yield* HttpServerRequest.HttpServerRequest
            return HttpServerResponse.jsonUnsafe({ url: request.url, session: yield* UserSession.handle })
          })
        )
      )
      const client = yield* serve(App.withGlobalSession(Layer.mergeAll(App.routes, failing), store))
      const everything = [
        ...["/plain", "/me", "/die", "/fail", "/move", "/echo", "/nowhere"].map((path) => ["GET", path] as const),
        ...["/inc", "/note?text=x", "/login", "/renew", "/reset", "/logout"].map((path) => ["POST", path] as const)
      ]
      const faults = {
        none: () => Effect.void,
        load: (method: App.Method) => method === "load" ? App.down : Effect.void,
        writes: (method: App.Method) => method === "load" ? Effect.void : App.down,
        defects: (_method: App.Method, key: string) => Effect.die(new Error(`bug at ${key}`))
      }
      for (const fault of Object.values(faults)) {
        for (const [method, path] of everything) {
          store.before = () => Effect.void
          const token = App.tokenOf(yield* client.send("POST", "/login"))!
          const secrets = [token, ...yield* store.keys]
          store.before = fault
          const answer = yield* client.send(method, path, cookie(token))
          store.before = () => Effect.void
          const issued = App.tokenOf(answer)
          secrets.push(...yield* store.keys)
          if (issued !== undefined && issued !== "") secrets.push(issued)
          const visible = [answer.body, ...answer.headers.map((header) => header.join(": "))]
            .filter((line) => !line.startsWith("set-cookie: "))
          for (const secret of secrets) {
            for (const line of visible) assert.notInclude(line, secret, `${method} ${path}`)
          }
        }
      }
    }))

  it.effect("nothing in the cookie comes from the request", () =>
    Effect.gen(function*() {
      const { client } = yield* setUp
      const hostile = [
        "evil.test",
        "a.test, b.test",
        "[::1]:80",
        "x".repeat(300),
        "a.test; Domain=evil.test",
        "*",
        "xn--a"
      ]
      for (const host of hostile) {
        for (const name of ["host", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-original-url", "origin"]) {
          const answer = yield* client.send("POST", "/inc?session=1;Domain=evil", { headers: { [name]: host } })
          assert.deepStrictEqual(answer.setCookies, [`session=${App.tokenOf(answer)}; Path=/; HttpOnly; SameSite=Lax`])
        }
      }
    }))

  it.effect("an error of the store says nothing about the store", () =>
    Effect.gen(function*() {
      const { client, signIn, store } = yield* setUp
      const token = yield* signIn("ada")
      store.before = () =>
        Effect.fail(
          new SessionStore.SessionStoreError({
            reason: new SessionStore.StoreUnavailable({ description: `redis at 10.0.0.1 refused ${token}` })
          })
        )
      const answer = yield* client.send("GET", "/me", cookie(token))
      assert.deepStrictEqual([answer.status, answer.body], [503, ""])
      assert.notInclude(JSON.stringify(answer.headers), "10.0.0.1")
    }))
})
