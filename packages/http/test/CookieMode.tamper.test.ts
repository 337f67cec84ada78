import { Metrics } from "@effect-session/core"
import { CookieChunks, SessionCookie } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as CookieMode from "./CookieModeApp.ts"
import * as App from "./SessionApp.ts"

const secrets = Redacted.make("Wq8-Zr5_Kt2.Hn7+Lm3*Pd6!Xc9?Vb4@")
const suites = ["aes256Gcm", "aes256CbcHmacSha256", "xchacha20Poly1305"] as const

/** A page that is the same for all whom it does not know. */
const page = HttpRouter.add(
  "GET",
  "/page",
  Effect.gen(function*() {
    const subject = yield* App.UserSession.subject
    const { n } = yield* App.UserSession.get
    return HttpServerResponse.html(`<p>${subject ?? "guest"} ${n}</p>`)
  })
)

const base64Url = (octets: Uint8Array | string) => Buffer.from(octets).toString("base64url")

const setUp = Effect.fnUntraced(function*(
  serve: CookieMode.Serve,
  options: CookieMode.Options
) {
  let rejected = 0
  const metrics = Layer.succeed(Metrics.Metrics, {
    counter: (name) => () => {
      if (name === "session.rejected") rejected++
    },
    timer: () => () => {},
    gauge: () => () => {}
  })
  const client = yield* serve(CookieMode.application(options, page).pipe(Layer.provide(metrics)))
  const dull = yield* client.send("GET", "/page")
  assert.deepStrictEqual([dull.status, dull.body, dull.setCookies], [200, "<p>guest 0</p>", []])
  const visible = (
    answer: App.Reply
  ) => [answer.status, answer.body, answer.headers.filter(([name]) => name !== "date")]
  const expected = JSON.stringify(visible(dull))
  /** Sends a cookie and compares all that comes back with the answer to a request without one. */
  const isDull = Effect.fnUntraced(function*(cookie: string, name: string) {
    const before = rejected
    const answer = yield* client.send("GET", "/page", { headers: { cookie } })
    assert.strictEqual(JSON.stringify(visible(answer)), expected, name)
    assert.strictEqual(rejected, before + 1, `${name}: counted`)
  })
  return { client, isDull }
})

describe.each(suites)("a cookie that was tampered with, %s", (suite) => {
  it.effect("is answered like none: every bit, every truncation, every tag, everything that was never sealed", () =>
    Effect.gen(function*() {
      const { client, isDull } = yield* setUp(App.inProcess, { config: { preset: "testing", secrets, suite } })
      const token = App.tokenOf(yield* client.send("POST", "/login?as=ada"))!
      const genuine = yield* client.send("GET", "/page", { headers: { cookie: `session=${token}` } })
      assert.strictEqual(genuine.body, "<p>ada 0</p>")
      const sealed = Buffer.from(token, "base64url")
      const attempts: Array<readonly [name: string, value: string]> = []
      for (let bit = 0; bit < sealed.length * 8; bit++) {
        const copy = Buffer.from(sealed)
        copy[bit >> 3] ^= 1 << (bit & 7)
        attempts.push([`bit ${bit}`, base64Url(copy)])
      }
      for (let length = 0; length < token.length; length++) attempts.push([`cut to ${length}`, token.slice(0, length)])
      for (let length = 1; length < sealed.length; length++) {
        attempts.push([`cut to ${length} octets`, base64Url(sealed.subarray(0, length))])
      }
      for (const tag of [0, 4, 8, 12, 13, 14, 15]) {
        attempts.push([`a tag of ${tag} octets`, base64Url(sealed.subarray(0, sealed.length - 16 + tag))])
      }
      for (let at = 0; at < 8; at++) {
        for (let octet = 0; octet < 256; octet++) {
          if (octet === sealed[at]) continue
          const copy = Buffer.from(sealed)
          copy[at] = octet
          attempts.push([`header octet ${at} is ${octet}`, base64Url(copy)])
        }
      }
      const json = JSON.stringify({ t: "test/UserSession", v: 1, d: { n: 9, note: "" }, s: "ada" })
      attempts.push(
        ["longer", `${token}AAAA`],
        ["padded", `${token}=`],
        ["twice", token + token],
        ["plain JSON", json.replaceAll(/[",]/g, "'")],
        ["base64 JSON", base64Url(json)],
        ["signed only", `${base64Url(json)}.${base64Url("x".repeat(32))}`],
        ["alg none", `${base64Url("{\"alg\":\"none\"}")}.${base64Url(json)}.`],
        ["a token of a store", "A".repeat(47)],
        ["zeros", base64Url(new Uint8Array(sealed.length))],
        ["only a first part", `2.${token}`],
        ["4,001 characters", "A".repeat(4001)]
      )
      assert.isAbove(attempts.length, 4000)
      for (const [name, value] of attempts) yield* isDull(`session=${value}`, name)
      yield* isDull(`session=${token}; session=${token}`, "the same cookie twice")
      // The owner has noticed nothing.
      const after = yield* client.send("GET", "/page", { headers: { cookie: `session=${token}` } })
      assert.deepStrictEqual([after.body, after.setCookies], ["<p>ada 0</p>", []])
    }))

  it.effect("from another user, name, application, place or secret is answered like none", () =>
    Effect.gen(function*() {
      const config = { preset: "testing", secrets, suite } as const
      const { isDull } = yield* setUp(App.inProcess, { config })
      const others: ReadonlyArray<CookieMode.Options> = [
        { config: { ...config, name: "other" } },
        { config, cookie: { place: "other" } },
        { config: { ...config, secrets: Redacted.make("Another-8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^") } }
      ]
      for (const [i, options] of others.entries()) {
        const other = yield* App.inProcess(CookieMode.application(options))
        const token = App.tokenOf(yield* other.send("POST", "/login?as=ada"))
        yield* isDull(`session=${token}`, `other application ${i}`)
      }
      const user = App.tokenOf(
        yield* (yield* App.inProcess(CookieMode.twoSessions({ config, draft: { cookie: { name: "draft" } } })))
          .send("POST", "/both?user=1&draft=1"),
        "draft"
      )
      assert.isDefined(user)
      yield* isDull(`session=${user}`, "a session of another kind")
    }))
})

describe.each(Object.entries(App.transports))("a cookie in parts that was tampered with, %s", (_name, serve) => {
  it.effect("is answered like none, whichever octet of whichever part it is", () =>
    Effect.gen(function*() {
      const cookie = SessionCookie.make({ name: "session", secure: false, chunks: 3 })
      const { client, isDull } = yield* setUp(serve, {
        config: { preset: "testing", secrets },
        cookie: { maxToken: CookieChunks.capacity(cookie) },
        transport: { cookie: { chunks: 3 } }
      })
      const user = App.browser(client)
      yield* user.send("POST", "/fill?size=7000")
      const header = user.cookie()!
      assert.strictEqual(user.jar.size, 3)
      const token = CookieChunks.read(cookie, header)
      assert.isString(token)
      const sealed = Buffer.from(String(token), "base64url")
      const sent = (octets: Uint8Array) =>
        CookieChunks.set(cookie, base64Url(octets)).map((line) => line.split(";")[0]).join("; ")
      for (let at = 0; at < sealed.length; at += at < 80 || at > sealed.length - 40 ? 1 : 61) {
        const copy = Buffer.from(sealed)
        copy[at] ^= 1 << (at & 7)
        yield* isDull(sent(copy), `octet ${at}`)
      }
      for (let length = sealed.length - 1; length > 3100; length -= 97) {
        yield* isDull(sent(sealed.subarray(0, length)), `cut to ${length}`)
      }
      const pairs = header.split("; ")
      for (const [i, pair] of pairs.entries()) {
        yield* isDull(`${header}; ${pair}`, `part ${i} twice`)
        const rest = pairs.filter((other) => other !== pair)
        if (rest.some((other) => other.startsWith("session="))) yield* isDull(rest.join("; "), `without part ${i}`)
      }
      const after = yield* client.send("GET", "/page", { headers: { cookie: header } })
      assert.strictEqual(after.setCookies.length, 0)
      assert.strictEqual(App.shown(yield* user.send("GET", "/me")).note.length, 7000)
    }))
})
