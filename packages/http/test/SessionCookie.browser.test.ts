import * as SessionCookie from "@effect-session/http/SessionCookie"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { createServer } from "node:http"
import * as Chromium from "../../../test/Chromium.ts"

const cookies: ReadonlyArray<SessionCookie.SessionCookie> = [
  SessionCookie.make(),
  SessionCookie.make({ name: "plain", secure: false }),
  SessionCookie.make({ name: "__Secure-path", path: "/app" }),
  SessionCookie.make({ name: "__Host-strict", sameSite: "strict", priority: "high" }),
  SessionCookie.make({ name: "__Host-none", sameSite: "none", partitioned: true }),
  SessionCookie.make({ name: "__Host-Http-s" }),
  SessionCookie.make({ name: "domain", domain: "localhost" })
]
const names = cookies.map(({ name }) => name)

const server = Effect.acquireRelease(
  Effect.callback<
    { readonly url: string; readonly headers: ReadonlyMap<string, string>; readonly close: Effect.Effect<void> }
  >(
    (resume) => {
      const headers = new Map<string, string>()
      const server = createServer((request, response) => {
        headers.set(request.url ?? "", request.headers.cookie ?? "")
        const now = Date.now()
        if (request.url === "/app/set") {
          response.setHeader(
            "Set-Cookie",
            cookies.map((cookie) => SessionCookie.set(cookie, "v", { maxAge: 60_000, now }))
          )
        }
        if (request.url === "/app/set-session") {
          response.setHeader("Set-Cookie", cookies.map((cookie) => SessionCookie.set(cookie, "v")))
        }
        if (request.url === "/app/clear") response.setHeader("Set-Cookie", cookies.map(SessionCookie.clear))
        response.setHeader("Content-Type", "text/html")
        response.end("<!doctype html><title>x</title>")
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        if (address === null || typeof address === "string") throw new Error("the server has no port")
        const close = Effect.callback<void>((done) => {
          server.close(() => done(Effect.void))
          server.closeAllConnections()
        })
        resume(Effect.succeed({ url: `http://localhost:${address.port}`, headers, close }))
      })
    }
  ),
  ({ close }) => close
)

const browser = Effect.acquireRelease(
  Effect.promise(Chromium.launch),
  (browser) => Effect.promise(() => browser.close())
)

it.live("stores every cookie in Chromium and removes it again", () =>
  Effect.gen(function*() {
    const { headers, url } = yield* server
    const context = yield* Effect.flatMap(browser, (browser) => Effect.promise(() => browser.newContext()))
    const page = yield* Effect.promise(() => context.newPage())
    const visit = (path: string) => Effect.promise(() => page.goto(`${url}${path}`))
    const stored = Effect.promise(async () => (await context.cookies()).map(({ name }) => name))

    for (const path of ["/app/set", "/app/set-session"]) {
      yield* visit(path)
      assert.sameMembers(yield* stored, names)
      yield* visit("/app/clear")
      // The request that clears still carried each of them, readable as the session's.
      for (const cookie of cookies) {
        assert.strictEqual(SessionCookie.read(cookie, headers.get("/app/clear")), "v", cookie.name)
      }
      assert.deepStrictEqual(yield* stored, [])
      yield* visit("/app/page")
      assert.strictEqual(headers.get("/app/page"), "")
    }
  }))
