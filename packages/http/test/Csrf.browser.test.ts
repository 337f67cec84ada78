/** Forms with tokens in Chromium. The cookie is `SameSite=None`, so that pages of other origins send it as well. */
import { Csrf, SessionMiddleware } from "@effect-session/http"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import type { Page } from "playwright-core"
import * as Chromium from "../../../test/Chromium.ts"
import * as App from "./SessionApp.ts"

const { UserSession } = App

const sameSite = { name: "__Host-session", sameSite: "none", secure: true } as const
const config = { preset: "production", secrets: Redacted.make("Wq8-Zr5_Kt2.Hn7+Lm3*Pd6!Xc9?Vb4@") } as const

const back = HttpServerResponse.redirect("/", { status: 303 })

const Page = Effect.gen(function*() {
  const input = yield* Csrf.input
  const subject = yield* UserSession.subject
  const { n } = yield* UserSession.get
  const messages = yield* UserSession.flash.all
  const form = (action: string, more = "") =>
    `<form method="post" action="${action}">${input}${more}<button>${action.slice(1)}</button></form>`
  return HttpServerResponse.html(`<!doctype html><meta charset="utf-8"><title>Notes</title>
<p id="who">${subject ?? "nobody"}, ${n}</p>
${messages.map(({ message }) => `<p class="flash">${message}</p>`).join("")}
${form("/login", "<input name=\"as\" aria-label=\"Name\">")}${form("/inc")}${form("/logout")}`)
})

const routes = Layer.mergeAll(
  HttpRouter.add("GET", "/", Page),
  HttpRouter.add(
    "POST",
    "/login",
    Effect.gen(function*() {
      const form = yield* HttpServerRequest.HttpServerRequest.use(({ text }) => text)
      yield* UserSession.login(new URLSearchParams(form).get("as") ?? "")
      yield* UserSession.flash.add("success", "Welcome")
      return back
    })
  ),
  HttpRouter.add("POST", "/inc", Effect.as(App.increment, back)),
  HttpRouter.add("POST", "/logout", Effect.as(UserSession.destroy, back))
)

/** A page of another origin, with forms that send what is known of the application, and a token of somebody else. */
const attack = (target: string, token: string) => {
  const form = (action: string, label: string, ...fields: ReadonlyArray<string>) =>
    `<form method="post" action="${target}${action}">${
      fields.map((field) => `<input type="hidden" name="${field.split("=")[0]}" value="${field.split("=")[1]}">`)
    }<button>${label}</button></form>`
  return `<!doctype html><title>A cat</title>
${form("/inc", "bare")}${form("/inc", "stolen", `_csrf=${token}`)}${form("/login", "login", "as=mallory")}
${form("/login", "login stolen", "as=mallory", `_csrf=${token}`)}${form("/logout", "logout", `_csrf=${token}`)}`
}

const attacker = (html: () => string) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: Effect.Effect<void> }>((resume) => {
      const server = createServer((_request, response) => {
        response.setHeader("content-type", "text/html")
        response.end(html())
      })
      const close = Effect.callback<void>((done) => {
        server.close(() => done(Effect.void))
        server.closeAllConnections()
      })
      server.listen(0, () => {
        const address = server.address()
        resume(Effect.succeed({ port: typeof address === "object" ? address?.port ?? 0 : 0, close }))
      })
    }),
    ({ close }) => close
  )

const browser = Effect.acquireRelease(
  Effect.promise(Chromium.launch),
  (browser) => Effect.promise(() => browser.close())
)

it.live.each([
  { policy: "refused by what the browser says", trusts: false },
  { policy: "refused by their tokens alone", trusts: true }
])(
  "in Chromium, forms of the page sign in and write; those of other origins are $policy",
  ({ trusts }) =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      let target = ""
      let stolen = ""
      const other = yield* attacker(() => attack(target, stolen))
      const origins = ["127.0.0.1", "localhost"].map((host) => `http://${host}:${other.port}`)
      const { port } = yield* App.transports["Node server"](
        routes.pipe(
          Layer.provide(Csrf.layerGlobal(UserSession, { crossOrigin: trusts ? { origins } : {} })),
          Layer.provide(SessionMiddleware.layerGlobal(UserSession, { cookie: sameSite })),
          Layer.provide(App.backend(store, config))
        )
      )
      const url = target = `http://localhost:${port}`
      const chromium = yield* browser
      yield* Effect.promise(async () => {
        const press = async (page: Page, name: string, path: string) => {
          const [answer] = await Promise.all([
            page.waitForResponse((response) => response.url() === url + path && response.request().method() === "POST"),
            page.getByRole("button", { name, exact: true }).click()
          ])
          return { status: answer.status(), headers: await answer.request().allHeaders() }
        }
        const who = (page: Page, text: string) => page.locator("#who", { hasText: new RegExp(`^${text}$`) }).waitFor()

        // The attacker has a session too, and its tokens.
        const theirs = await (await chromium.newContext()).newPage()
        await theirs.goto(url)
        await theirs.getByLabel("Name").fill("mallory")
        assert.strictEqual((await press(theirs, "login", "/login")).status, 303)
        await who(theirs, "mallory, 0")
        stolen = await theirs.locator("[name=_csrf]").first().inputValue()

        const context = await chromium.newContext()
        const page = await context.newPage()
        await page.goto(url)
        await who(page, "nobody, 0")
        // Nobody is signed in by a page of the attacker.
        for (const origin of origins) {
          await page.goto(origin)
          assert.strictEqual((await press(page, "login", "/login")).status, 403)
          await page.goto(origin)
          assert.strictEqual((await press(page, "login stolen", "/login")).status, 403)
        }
        await page.goto(url)
        await page.getByLabel("Name").fill("ada")
        assert.strictEqual((await press(page, "login", "/login")).status, 303)
        await who(page, "ada, 0")
        assert.deepStrictEqual(await page.locator(".flash").allTextContents(), ["Welcome"])
        assert.strictEqual((await press(page, "inc", "/inc")).status, 303)
        await who(page, "ada, 1")
        assert.deepStrictEqual(await page.locator(".flash").allTextContents(), [])

        for (const [i, site] of ["cross-site", "same-site"].entries()) {
          for (const [name, path] of [["bare", "/inc"], ["stolen", "/inc"], ["logout", "/logout"]]) {
            await page.goto(origins[i])
            const { headers, status } = await press(page, name, path)
            assert.deepStrictEqual([status, headers["sec-fetch-site"]], [403, site])
            assert.include(headers["cookie"], "__Host-session=")
          }
        }
        await page.goto(url)
        await who(page, "ada, 1")
        // A page that was opened before the sign-out writes no more.
        const stale = await context.newPage()
        await stale.goto(url)
        await who(stale, "ada, 1")
        assert.strictEqual((await press(page, "logout", "/logout")).status, 303)
        await who(page, "nobody, 0")
        assert.deepStrictEqual((await context.cookies()).map(({ name }) => name), ["__Host-csrf"])
        assert.strictEqual((await press(stale, "inc", "/inc")).status, 403)
      })
    })
)
