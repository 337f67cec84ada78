import { CookieChunks, SessionCookie } from "@effect-session/http"
import { assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as Chromium from "../../../test/Chromium.ts"
import * as CookieMode from "./CookieModeApp.ts"
import * as App from "./SessionApp.ts"

const cookie = { name: "__Host-session", secure: true, chunks: 3 }
const secrets = Redacted.make("Wq8-Zr5_Kt2.Hn7+Lm3*Pd6!Xc9?Vb4@")

const browser = Effect.acquireRelease(
  Effect.promise(Chromium.launch),
  (browser) => Effect.promise(() => browser.close())
)

it.live("Chromium keeps a session in parts as it grows and shrinks, and nothing of it after its end", () =>
  Effect.gen(function*() {
    const { port } = yield* App.transports["Node server"](CookieMode.application({
      config: { preset: "testing", secrets, persistent: true },
      cookie: { maxToken: CookieChunks.capacity(SessionCookie.make(cookie)) },
      transport: { cookie }
    }))
    const context = yield* Effect.flatMap(browser, (browser) => Effect.promise(() => browser.newContext()))
    const page = yield* Effect.promise(() => context.newPage())
    yield* Effect.promise(() => page.goto(`http://localhost:${port}/me`))
    const send = (method: string, path: string) =>
      Effect.promise(() =>
        page.evaluate(
          async ([method, path]) => {
            const response = await fetch(path, { method })
            return { status: response.status, body: await response.text() }
          },
          [method, path] as const
        )
      )
    const stored = Effect.promise(async () => (await context.cookies()).map(({ name }) => name).toSorted())
    const names = ["__Host-session", "__Host-session.1", "__Host-session.2"]
    const steps: ReadonlyArray<readonly [size: number, cookies: number]> = [
      [10, 1],
      [5000, 2],
      [8200, 3],
      [5000, 2],
      [8200, 3],
      [10, 1],
      [8200, 3]
    ]
    for (const [size, cookies] of steps) {
      assert.strictEqual((yield* send("POST", `/fill?size=${size}`)).status, 200)
      assert.deepStrictEqual(yield* stored, names.slice(0, cookies))
      const { body } = yield* send("GET", "/me")
      const shown: App.Shown = JSON.parse(body)
      assert.deepStrictEqual([shown.status, shown.note.length], ["active", size])
    }
    assert.strictEqual((yield* send("POST", "/logout")).status, 204)
    assert.deepStrictEqual(yield* stored, [])
  }))
