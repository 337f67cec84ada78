import * as CrossOrigin from "@effect-session/http/CrossOrigin"
import * as SessionMiddleware from "@effect-session/http/SessionMiddleware"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Metric, Option } from "effect"
import { HttpEffect, HttpMiddleware, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { IpNetwork } from "effect/net"
import * as fc from "fast-check"
import * as App from "./SessionApp.ts"

const { decide, evidence, make } = CrossOrigin

const own = make()
const listed = make({ origins: ["https://example.com", "https://app.example.net:8443"] })
const policies = { own, listed, strict: make({ strict: true }), sameSite: make({ allowSameSite: true }) }

const attacker = "https://attacker.example"
const safe = ["GET", "HEAD", "OPTIONS"]
const unsafe = ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY", "PROPFIND"]
const oddMethods = ["get", "Get", "GET ", " GET", "HEAD\n", "options", "GETPOST", "post", "BREW", ""]

const garbage = [
  "",
  " ",
  "Same-Origin",
  "SAME-ORIGIN",
  "None",
  " none",
  "none ",
  "same-origin;a=1",
  "same-origin, cross-site",
  "same-origin, same-origin",
  "same-origin,none",
  "\"none\"",
  "same",
  "same-origin\0",
  "Cross-Site",
  "null",
  "undefined",
  "true",
  "constructor"
]

// Spellings that no browser sends, each of them close to https://example.com.
const misspelled = [
  "",
  " ",
  "null",
  "example.com",
  "//example.com",
  "https:example.com",
  "https:/example.com",
  "https://",
  "HTTPS://example.com",
  "https://EXAMPLE.com",
  "https://example.com.",
  "https://example.com./",
  "https://example.com/",
  "https://example.com/path",
  "https://example.com?",
  "https://example.com#",
  "https://example.com\\",
  "https://example.com:443",
  "https://example.com:",
  "https://example.com:0443",
  "https://user@example.com",
  "https://user:pass@example.com",
  "https://@example.com",
  "https://example.com@attacker.example",
  "https://example.com, https://attacker.example",
  "https://example.com, https://example.com",
  "https://attacker.example, https://example.com",
  "https://example.com https://attacker.example",
  " https://example.com",
  "https://example.com ",
  "https://exam\tple.com",
  "https://ｅxample.com",
  "https://%65xample.com",
  "wss://example.com",
  "file://example.com",
  "blob:https://example.com/1",
  "https://*.example.com",
  "https://*"
]

const otherOrigins = [
  attacker,
  "https://example.org.attacker.com",
  "https://example.com.attacker.com",
  "https://attackerexample.com",
  "https://attacker.com.example",
  "https://sub.example.com",
  "https://com",
  "https://example.co",
  "https://example.comm",
  "https://example.com:8443",
  "https://example.com:80",
  "https://example.com:444",
  "https://app.example.net",
  "https://app.example.net:8444"
]

type Row = readonly [
  policy: keyof typeof policies,
  decision: CrossOrigin.Decision,
  evidence: Omit<CrossOrigin.Evidence, "method">
]

const rows: ReadonlyArray<Row> = [
  // What the browser says, alone.
  ["own", "allowed", { secFetchSite: "same-origin" }],
  ["own", "allowed", { secFetchSite: "none" }],
  ["own", "refused", { secFetchSite: "cross-site" }],
  ["own", "refused", { secFetchSite: "same-site" }],
  ["listed", "allowed", { secFetchSite: "same-origin" }],
  ["listed", "allowed", { secFetchSite: "none" }],
  ["listed", "refused", { secFetchSite: "cross-site" }],
  ["listed", "refused", { secFetchSite: "same-site" }],
  ["sameSite", "allowed", { secFetchSite: "same-site" }],
  ["sameSite", "refused", { secFetchSite: "cross-site" }],
  ["strict", "allowed", { secFetchSite: "same-origin" }],
  ["strict", "allowed", { secFetchSite: "none" }],
  ["strict", "refused", { secFetchSite: "same-site" }],
  ["strict", "refused", { secFetchSite: "cross-site" }],

  // What it says counts more than where the page is, except for the origins on the list.
  ["own", "allowed", { secFetchSite: "same-origin", origin: "null" }],
  ["own", "allowed", { secFetchSite: "none", origin: "null" }],
  ["own", "refused", { secFetchSite: "cross-site", origin: "https://example.com", host: "example.com" }],
  ["own", "refused", { secFetchSite: "same-site", origin: "https://example.com", host: "example.com" }],
  ["listed", "allowed", { secFetchSite: "cross-site", origin: "https://example.com" }],
  ["listed", "allowed", { secFetchSite: "cross-site", origin: "https://app.example.net:8443" }],
  ["listed", "allowed", { secFetchSite: "same-site", origin: "https://app.example.net:8443" }],
  ["listed", "refused", { secFetchSite: "cross-site", origin: "http://example.com" }],
  ["listed", "refused", { secFetchSite: "cross-site", origin: attacker }],
  ["listed", "refused", { secFetchSite: "cross-site", origin: "null" }],
  ["listed", "refused", { secFetchSite: "", origin: "https://example.com" }],
  ["sameSite", "allowed", { secFetchSite: "same-site", origin: "https://sub.example.com", host: "example.com" }],
  ["sameSite", "refused", { origin: "https://sub.example.com", host: "example.com" }],

  // Neither header.
  ["own", "allowed", {}],
  ["own", "allowed", { host: "example.com" }],
  ["listed", "allowed", { host: "example.com" }],
  ["sameSite", "allowed", { host: "example.com" }],
  ["strict", "refused", { host: "example.com" }],
  ["strict", "allowed", { origin: "https://example.com", host: "example.com" }],

  // The list, for browsers that say nothing.
  ["listed", "allowed", { origin: "https://example.com", host: "inner:8080" }],
  ["listed", "allowed", { origin: "https://app.example.net:8443" }],
  ["listed", "refused", { origin: "http://example.com", host: "example.com" }],
  ["listed", "refused", { origin: "https://inner:8080", host: "inner:8080", scheme: "https" }],

  // The request's own origin, under a certain scheme.
  ["own", "allowed", { origin: "https://example.com", host: "example.com", scheme: "https" }],
  ["own", "allowed", { origin: "https://example.com", host: "example.com:443", scheme: "https" }],
  ["own", "allowed", { origin: "https://example.com", host: "EXAMPLE.com", scheme: "https" }],
  ["own", "allowed", { origin: "http://example.com", host: "example.com", scheme: "http" }],
  ["own", "allowed", { origin: "http://example.com", host: "example.com:80", scheme: "http" }],
  ["own", "allowed", { origin: "https://example.com:8443", host: "example.com:8443", scheme: "https" }],
  ["own", "allowed", { origin: "http://[::1]:3000", host: "[::1]:3000", scheme: "http" }],
  ["own", "allowed", { origin: "http://127.0.0.1:3000", host: "127.0.0.1:3000", scheme: "http" }],
  ["own", "refused", { origin: "http://example.com", host: "example.com", scheme: "https" }],
  ["own", "refused", { origin: "https://example.com", host: "example.com", scheme: "http" }],
  ["own", "refused", { origin: "http://example.com", host: "example.com:443", scheme: "https" }],
  ["own", "refused", { origin: "https://example.com:80", host: "example.com", scheme: "https" }],
  ["own", "refused", { origin: "https://example.com:8443", host: "example.com", scheme: "https" }],
  ["own", "refused", { origin: "https://example.com", host: "example.com:8443", scheme: "https" }],
  ["own", "refused", { origin: "https://127.0.0.1:3000", host: "localhost:3000", scheme: "https" }],

  // The same with the scheme unknown: the port is that of the page's scheme.
  ["own", "allowed", { origin: "https://example.com", host: "example.com" }],
  ["own", "allowed", { origin: "http://example.com", host: "example.com" }],
  ["own", "allowed", { origin: "https://example.com", host: "example.com:443" }],
  ["own", "refused", { origin: "http://example.com", host: "example.com:443" }],
  ["own", "refused", { origin: "https://example.com", host: "example.com:80" }],
  ["own", "refused", { origin: "https://example.com:8443", host: "example.com" }],
  ["own", "refused", { origin: attacker, host: "example.com" }],

  // Hosts that are none.
  ["own", "refused", { origin: "https://example.com" }],
  ["own", "refused", { origin: "https://example.com", host: "" }],
  ["own", "refused", { origin: "https://example.com", host: "user@example.com" }],
  ["own", "refused", { origin: "https://example.com", host: "example.com/path" }],
  ["own", "refused", { origin: "https://example.com", host: "example.com, attacker.example" }],
  ["own", "refused", { origin: "https://example.com", host: "example.com." }],
  ["own", "refused", { origin: "https://example.com.", host: "example.com." }],
  ["own", "refused", { origin: "https://example.com", host: "example.com:99999" }],
  ["own", "refused", { origin: "https://example.com", host: "example.com\t" }],
  ["own", "refused", { origin: "undefined", host: "\0" }],
  ["own", "refused", { origin: "null", host: "null" }]
]

describe("decide", () => {
  it.each(rows)("policy %s: %s, %o", (policy, decision, evidence) => {
    for (const method of [...unsafe, ...oddMethods]) {
      assert.strictEqual(decide(policies[policy], { method, ...evidence }), decision, method)
    }
    for (const method of safe) assert.strictEqual(decide(policies[policy], { method, ...evidence }), "allowed", method)
  })

  it.each(garbage)("no policy allows the Sec-Fetch-Site %j", (secFetchSite) => {
    for (const policy of Object.values(policies)) {
      for (const origin of [undefined, "https://example.com", attacker]) {
        const request = { method: "POST", secFetchSite, origin, host: "example.com", scheme: "https" } as const
        assert.strictEqual(decide(policy, request), "refused", origin)
      }
    }
  })

  it.each([...misspelled, ...otherOrigins])("the origin %j is not https://example.com", (origin) => {
    for (const scheme of ["https", undefined] as const) {
      const fallback = { method: "POST", origin, host: "example.com", scheme }
      assert.strictEqual(decide(own, fallback), "refused")
      assert.strictEqual(decide(listed, fallback), "refused")
      assert.strictEqual(decide(listed, { ...fallback, secFetchSite: "cross-site" }), "refused")
      assert.strictEqual(decide(listed, { ...fallback, secFetchSite: "same-site" }), "refused")
    }
  })

  const anyMethod = fc.oneof(fc.constantFrom(...unsafe, ...oddMethods), fc.string()).filter((m) => !safe.includes(m))
  const anyOrigin = fc.oneof(
    fc.constant(undefined),
    fc.constantFrom(...misspelled, ...otherOrigins, "https://example.com", "http://example.com"),
    fc.webUrl(),
    fc.string()
  )
  const anyHost = fc.option(
    fc.oneof(fc.constantFrom("example.com", "example.com:443", "EXAMPLE.COM", "example.com:80"), fc.string()),
    { nil: undefined }
  )
  const anyScheme = fc.constantFrom("http" as const, "https" as const, undefined)
  const anyOptions = fc.record({
    origins: fc.subarray(["https://example.com", "HTTP://Example.com:80", "https://app.example.net:8443"]),
    allowSameSite: fc.boolean(),
    strict: fc.boolean()
  })

  it("no write with cross-site and an origin that is not listed passes", () => {
    fc.assert(
      fc.property(
        anyOptions,
        anyMethod,
        anyOrigin,
        anyHost,
        anyScheme,
        (options, method, origin, host, scheme) => {
          const policy = make(options)
          fc.pre(origin === undefined || !policy.origins.includes(origin))
          assert.strictEqual(decide(policy, { method, secFetchSite: "cross-site", origin, host, scheme }), "refused")
        }
      ),
      { numRuns: 2000 }
    )
  })

  it("no write passes by a Sec-Fetch-Site that browsers do not send", () => {
    const known = ["same-origin", "none", "same-site", "cross-site"]
    const anySite = fc.oneof(
      fc.string(),
      fc.constantFrom(...garbage),
      fc.tuple(fc.constantFrom(...known), fc.string({ minLength: 1 })).map(([value, rest]) => value + rest)
    ).filter((site) => !known.includes(site))
    fc.assert(
      fc.property(
        anyOptions,
        anyMethod,
        anySite,
        anyOrigin,
        anyHost,
        (options, method, secFetchSite, origin, host) => {
          assert.strictEqual(decide(make(options), { method, secFetchSite, origin, host }), "refused")
        }
      ),
      { numRuns: 2000 }
    )
  })

  it("an origin that passes for the request's own names the request's host and port", () => {
    let passed = 0
    fc.assert(
      fc.property(anyMethod, anyOrigin, anyHost, anyScheme, (method, origin, host, scheme) => {
        fc.pre(origin !== undefined)
        if (decide(own, { method, origin, host, scheme }) === "refused") return
        passed++
        const page = new URL(origin)
        assert.strictEqual(page.origin, origin)
        assert.strictEqual(page.host, new URL(`${page.protocol}//${host}`).host)
        if (scheme !== undefined) assert.strictEqual(page.protocol, `${scheme}:`)
      }),
      { numRuns: 2000 }
    )
    assert.isAbove(passed, 0)
  })
})

describe("make", () => {
  const accepted: ReadonlyArray<readonly [given: string, origin: string]> = [
    ["https://example.com", "https://example.com"],
    ["HTTPS://Example.COM", "https://example.com"],
    ["https://example.com:443", "https://example.com"],
    ["http://example.com:80", "http://example.com"],
    ["https://example.com:80", "https://example.com:80"],
    ["http://localhost:3000", "http://localhost:3000"],
    ["http://127.0.0.1:3000", "http://127.0.0.1:3000"],
    ["http://[::1]:3000", "http://[::1]:3000"],
    ["http://[0:0:0:0:0:0:0:1]", "http://[::1]"],
    ["https://xn--bcher-kva.example", "https://xn--bcher-kva.example"]
  ]
  it.each(accepted)("%j stands for %j", (given, origin) => {
    const policy = make({ origins: [given] })
    assert.deepStrictEqual(policy.origins, [origin])
    assert.strictEqual(decide(policy, { method: "POST", secFetchSite: "cross-site", origin }), "allowed")
  })

  const unfit = misspelled.filter((origin) => !accepted.some(([given]) => given.toLowerCase() === origin.toLowerCase()))
  it.each([
    ...unfit.filter((origin) => origin !== "https://example.com:0443"),
    "https://bücher.example",
    "https://.example.com",
    "https://example..com",
    "https://example.com:99999",
    "https://[::1",
    "https://[::g]",
    "https://256.256.256.256"
  ])("refuses the origin %j without showing it", (origin) => {
    const problems = CrossOrigin.validate({ origins: ["https://example.com", origin] })
    assert.strictEqual(problems.length, 1)
    assert.isTrue(problems[0]?.startsWith("origins[1]: must be http:// or https://"))
    if (origin.includes("user")) assert.notInclude(problems[0], "user")
  })

  it("lists every problem at once", () => {
    const options = JSON.parse(
      `{ "origins": ["https://example.com/", 1, "https://example.com", "null"], "allowSameSite": "yes", "strict": 1 }`
    )
    assert.deepStrictEqual(CrossOrigin.validate(options).map((problem) => problem.slice(0, problem.indexOf(":"))), [
      "allowSameSite",
      "strict",
      "origins[0]",
      "origins[1]",
      "origins[3]"
    ])
    assert.deepStrictEqual(CrossOrigin.validate(JSON.parse(`{ "origins": "https://example.com", "strict": 1 }`)), [
      "strict: must be true or false",
      "origins: must be an array"
    ])
    for (const build of [make, CrossOrigin.layer]) {
      try {
        build(options)
        assert.fail("nothing was thrown")
      } catch (error) {
        assert.instanceOf(error, CrossOrigin.CrossOriginConfigError)
        assert.strictEqual(error.problems.length, 5)
        assert.strictEqual(error.message.split("\n").length, 6)
      }
    }
  })

  it("treats undefined options like ones left out, names each origin once, and never changes", () => {
    assert.deepStrictEqual(make({ origins: undefined, allowSameSite: undefined, strict: undefined }), own)
    assert.deepStrictEqual([own.origins, own.allowSameSite, own.strict], [[], false, false])
    const given = ["https://example.com", "https://EXAMPLE.com:443"]
    const policy = make({ origins: given })
    given.push(attacker)
    assert.deepStrictEqual(policy.origins, ["https://example.com"])
    assert.isTrue(Object.isFrozen(policy) && Object.isFrozen(policy.origins))
  })
})

describe("evidence", () => {
  const of = (url: string, headers: Record<string, string> = {}) =>
    evidence(HttpServerRequest.fromWeb(new Request(url, { method: "POST", headers })))

  it("takes the host from the URL when there is no Host header", () => {
    assert.strictEqual(of("http://app.test:81/a?b").host, "app.test:81")
    assert.strictEqual(of("http://app.test/a", { host: "other.test" }).host, "other.test")
  })

  it("is certain of the scheme only on an encrypted connection or by a trusted proxy", () => {
    assert.strictEqual(of("https://app.test/").scheme, "https")
    assert.isUndefined(of("http://app.test/").scheme)
    const request = HttpServerRequest.fromWeb(new Request("http://app.test/"))
    assert.strictEqual(evidence(request.modify({ protocol: "http" })).scheme, "http")
    assert.strictEqual(evidence(request.modify({ protocol: "https" })).scheme, "https")
  })
})

/** Routes that remember which of them ran. */
const makeRoutes = () => {
  const ran: Array<string> = []
  const routes = HttpRouter.add("*", "/write", (request) =>
    Effect.sync(() => {
      ran.push(request.method)
      return HttpServerResponse.text("written")
    }))
  return { ran, routes }
}

const crossSite = { "sec-fetch-site": "cross-site", "origin": attacker }

describe.each(Object.entries(App.transports))("layer, %s", (_name, serve) => {
  it.effect("a refused request runs no handler and learns nothing", () =>
    Effect.gen(function*() {
      const { ran, routes } = makeRoutes()
      const client = yield* serve(routes.pipe(Layer.provide(CrossOrigin.layer())))
      const attempts: ReadonlyArray<Record<string, string>> = [
        crossSite,
        { "sec-fetch-site": "same-site" },
        { "sec-fetch-site": "same-origin, cross-site" },
        { origin: attacker },
        { origin: "null" }
      ]
      for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
        for (const headers of attempts) {
          for (const path of ["/write", "/nowhere"]) {
            const answer = yield* client.send(method, path, { headers })
            assert.strictEqual(answer.status, 403)
            assert.strictEqual(answer.body, "Forbidden")
            assert.strictEqual(answer.header("cache-control"), "no-store")
          }
        }
      }
      assert.deepStrictEqual(ran, [])
    }))

  it.effect("safe methods and the application's own pages pass", () =>
    Effect.gen(function*() {
      const { ran, routes } = makeRoutes()
      const client = yield* serve(routes.pipe(Layer.provide(CrossOrigin.layer())))
      for (const method of safe) {
        assert.strictEqual((yield* client.send(method, "/write", { headers: crossSite })).status, 200)
        assert.strictEqual((yield* client.send(method, "/nowhere", { headers: crossSite })).status, 404)
      }
      const host = client.port === undefined ? "app.test" : `127.0.0.1:${client.port}`
      const sent: ReadonlyArray<Record<string, string>> = [
        { "sec-fetch-site": "same-origin", "origin": `http://${host}` },
        { "sec-fetch-site": "none" },
        { origin: `http://${host}` },
        {}
      ]
      for (const headers of sent) {
        assert.strictEqual((yield* client.send("POST", "/write", { headers })).status, 200)
        assert.strictEqual((yield* client.send("POST", "/nowhere", { headers })).status, 404)
      }
      const other = yield* client.send("POST", "/write", { headers: { origin: `http://${host}1` } })
      assert.strictEqual(other.status, 403)
      assert.deepStrictEqual(ran, [...safe, ...sent.map(() => "POST")])
    }))

  it.effect("no header makes a write a safe request", () =>
    Effect.gen(function*() {
      const { ran, routes } = makeRoutes()
      const client = yield* serve(routes.pipe(Layer.provide(CrossOrigin.layer())))
      for (const name of ["x-http-method-override", "x-http-method", "x-method-override"]) {
        const answer = yield* client.send("POST", "/write", { headers: { ...crossSite, [name]: "GET" } })
        assert.strictEqual(answer.status, 403)
      }
      assert.strictEqual((yield* client.send("POST", "/write?_method=GET", { headers: crossSite })).status, 403)
      assert.deepStrictEqual(ran, [])
    }))

  it.effect("a refused write leaves the session alone", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      for (
        const app of [
          App.withSession(App.routes, store).pipe(Layer.provide(CrossOrigin.layer())),
          App.withGlobalSession(App.routes, store).pipe(Layer.provide(CrossOrigin.layer())),
          // The guard inside the session.
          Layer.mergeAll(App.routes, CrossOrigin.layer()).pipe(
            Layer.provide(SessionMiddleware.layerGlobal(App.UserSession)),
            Layer.provide(App.backend(store))
          )
        ]
      ) {
        const client = App.browser(yield* serve(app))
        const signedIn = yield* client.send("POST", "/login", { headers: { "sec-fetch-site": "same-origin" } })
        assert.strictEqual(App.shown(signedIn).subject, "ada")
        const cookie = client.cookie()
        store.calls.length = 0
        for (const path of ["/logout", "/inc", "/login?as=eve"]) {
          const answer = yield* client.send("POST", path, { headers: crossSite })
          assert.strictEqual(answer.status, 403)
          assert.deepStrictEqual(answer.setCookies, [])
        }
        assert.deepStrictEqual(store.calls, [])
        assert.strictEqual(client.cookie(), cookie)
        const page = yield* client.send("GET", "/me", { headers: crossSite })
        assert.deepStrictEqual(App.shown(page), { status: "active", subject: "ada", n: 0, note: "" })
      }
    }))
})

describe("layer", () => {
  it.effect("origins on the list pass from another site, with CORS around it", () =>
    Effect.gen(function*() {
      const { ran, routes } = makeRoutes()
      const origin = "https://front.test"
      const cors = HttpRouter.middleware(HttpMiddleware.cors({ allowedOrigins: [origin], credentials: true }), {
        global: true
      })
      const client = yield* App.inProcess(
        routes.pipe(Layer.provide(CrossOrigin.layer({ origins: [origin] })), Layer.provide(cors))
      )
      const preflight = yield* client.send("OPTIONS", "/write", {
        headers: { origin, "sec-fetch-site": "cross-site", "access-control-request-method": "POST" }
      })
      assert.strictEqual(preflight.status, 204)
      const theirs = yield* client.send("POST", "/write", { headers: { origin, "sec-fetch-site": "cross-site" } })
      assert.strictEqual(theirs.status, 200)
      assert.strictEqual(theirs.header("access-control-allow-origin"), origin)
      assert.strictEqual((yield* client.send("POST", "/write", { headers: crossSite })).status, 403)
      // With a list, the request's own origin is one like any other.
      assert.strictEqual((yield* client.send("POST", "/write", { headers: { origin: "http://app.test" } })).status, 403)
      assert.deepStrictEqual(ran, ["POST"])
    }))

  it.effect("options reach the decision", () =>
    Effect.gen(function*() {
      const { routes } = makeRoutes()
      const status = (options: CrossOrigin.Options, headers: Record<string, string>) =>
        Effect.gen(function*() {
          const client = yield* App.inProcess(routes.pipe(Layer.provide(CrossOrigin.layer(options))))
          return (yield* client.send("POST", "/write", { headers })).status
        })
      assert.strictEqual(yield* status({ allowSameSite: true }, { "sec-fetch-site": "same-site" }), 200)
      assert.strictEqual(yield* status({}, { "sec-fetch-site": "same-site" }), 403)
      assert.strictEqual(yield* status({ strict: true }, {}), 403)
      assert.strictEqual(yield* status({}, {}), 200)
    }))

  it.effect("the application may answer refused requests itself", () =>
    Effect.gen(function*() {
      const { ran, routes } = makeRoutes()
      const onRefused = (request: HttpServerRequest.HttpServerRequest) =>
        HttpServerResponse.text(`no ${request.method}`, { status: 418 })
      const client = yield* App.inProcess(routes.pipe(Layer.provide(CrossOrigin.layer({ onRefused }))))
      const answer = yield* client.send("DELETE", "/write", { headers: crossSite })
      assert.deepStrictEqual([answer.status, answer.body, ran], [418, "no DELETE", []])
      assert.strictEqual((yield* client.send("GET", "/write", { headers: crossSite })).status, 200)
    }))

  it.effect("an answer that cannot be made is an error, not a pass", () =>
    Effect.gen(function*() {
      const { ran, routes } = makeRoutes()
      const onRefused = () => {
        throw new Error("broken")
      }
      const client = yield* App.inProcess(routes.pipe(Layer.provide(CrossOrigin.layer({ onRefused }))))
      assert.strictEqual((yield* client.send("POST", "/write", { headers: crossSite })).status, 500)
      assert.deepStrictEqual(ran, [])
    }))

  const behindProxy = Effect.fnUntraced(function*(app: App.App, headers: Record<string, string>, peer = "10.0.0.7") {
    const effect = yield* HttpRouter.toHttpEffect(app)
    const request = HttpServerRequest.fromWeb(new Request("http://inner:8080/write", { method: "POST", headers }))
    let status = 0
    yield* HttpEffect.toHandled(effect, (_request, response) => Effect.sync(() => (status = response.status))).pipe(
      Effect.provideService(
        HttpServerRequest.HttpServerRequest,
        request.modify({ remoteAddress: Option.some(peer) })
      )
    )
    return status
  })

  it.effect("behind a trusted proxy the origin is the one the browser saw, scheme included", () =>
    Effect.gen(function*() {
      const { routes } = makeRoutes()
      const proxies = HttpRouter.middleware(
        HttpMiddleware.xForwardedHeaders({ trustedProxies: [IpNetwork.fromStringUnsafe("10.0.0.0/8")] }),
        { global: true }
      )
      const app = routes.pipe(Layer.provide(CrossOrigin.layer().pipe(Layer.provide(proxies))))
      const forwarded = {
        "x-forwarded-for": "198.51.100.7",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "example.com"
      }
      const status = (origin: string, peer?: string) => behindProxy(app, { ...forwarded, origin }, peer)
      assert.strictEqual(yield* status("https://example.com"), 200)
      assert.strictEqual(yield* status("http://example.com"), 403)
      assert.strictEqual(yield* status("http://inner:8080"), 403)
      // Headers of somebody else than the proxy do not count.
      assert.strictEqual(yield* status("https://example.com", "192.0.2.1"), 403)
      assert.strictEqual(yield* status("http://inner:8080", "192.0.2.1"), 200)
    }))

  it.effect("counts what it refuses, and nothing else", () =>
    Effect.gen(function*() {
      const { routes } = makeRoutes()
      const app = yield* HttpRouter.toHttpEffect(routes.pipe(Layer.provide(CrossOrigin.layer())))
      const send = (method: string, headers: Record<string, string>) =>
        HttpEffect.toHandled(app, () => Effect.void).pipe(
          Effect.provideService(
            HttpServerRequest.HttpServerRequest,
            HttpServerRequest.fromWeb(new Request("http://app.test/write", { method, headers }))
          )
        )
      yield* send("POST", crossSite)
      yield* send("DELETE", crossSite)
      yield* send("POST", { "sec-fetch-site": "same-origin" })
      yield* send("GET", crossSite)
      assert.strictEqual((yield* Metric.value(CrossOrigin.refused)).count, 2)
      const [counted] = yield* Metric.snapshot
      assert.deepStrictEqual([counted?.id, counted?.attributes], ["session.cross_origin_refused", undefined])
    }).pipe(Effect.provideContext(Context.make(Metric.MetricRegistry, new Map()))))

  it.effect("reads no header of a safe request", () =>
    Effect.gen(function*() {
      const { ran, routes } = makeRoutes()
      const app = yield* HttpRouter.toHttpEffect(routes.pipe(Layer.provide(CrossOrigin.layer())))
      const read: Array<string> = []
      const send = (method: string) => {
        const request = HttpServerRequest.fromWeb(new Request("http://app.test/write", { method }))
        const headers = new Proxy(request.headers, {
          get: (target, name, receiver) => {
            read.push(String(name))
            return Reflect.get(target, name, receiver)
          }
        })
        return app.pipe(
          Effect.provideService(HttpServerRequest.HttpServerRequest, request.modify({ headers }))
        )
      }
      yield* send("GET")
      assert.deepStrictEqual(read, [])
      yield* send("POST")
      assert.includeMembers(read, ["sec-fetch-site", "origin"])
      assert.deepStrictEqual(ran, ["GET", "POST"])
    }))
})
