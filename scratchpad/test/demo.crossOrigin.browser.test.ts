/** What pages of other origins can do to a signed-in user, in a real browser: nothing. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { once } from "node:events"
import { createServer, type Server } from "node:http"
import type { Browser, Page } from "playwright-core"
import * as Chromium from "../../test/Chromium.ts"
import * as Demo from "./Demo.ts"

let demo: Demo.Demo
let browser: Browser
let url = ""
let attacker: Server
let attackerPort = 0

/** A page that writes to the demo in every way that a page of another origin has. */
const attack = (target: string) =>
  `<!doctype html><meta charset="utf-8"><title>A cat</title>
${
    ["logout", "counter", "logout-everywhere"].map((name) =>
      `<form method="post" action="${target}/api/${name}"><button>${name}</button></form>`
    ).join("\n")
  }
<form method="post" action="${target}/api/login" enctype="text/plain">
<input type="hidden" name='{"username":"mallory","password":"demo","x":"' value='"}'><button>login</button></form>
<script>
const tries = {
  simple: { method: "POST", mode: "no-cors", credentials: "include" },
  json: { method: "POST", mode: "cors", credentials: "include", headers: { "content-type": "application/json" }, body: "{}" },
  text: { method: "POST", mode: "no-cors", credentials: "include", headers: { "content-type": "text/plain" }, body: "{}" }
}
const run = () => Promise.all(Object.values(tries).flatMap((init) => ["logout", "counter"].map((name) =>
  fetch("${target}/api/" + name, init).then((response) => response.type, () => "failed"))))
const read = () => fetch("${target}/api/me", { credentials: "include" }).then((response) => response.text(), () => "failed")
</script>`

beforeAll(async () => {
  demo = Demo.run("--port", "0")
  browser = await Chromium.launch()
  url = await Demo.address(demo)
  attacker = createServer((_request, response) => {
    response.setHeader("content-type", "text/html")
    response.end(attack(url))
  })
  await once(attacker.listen(0), "listening")
  const address = attacker.address()
  attackerPort = typeof address === "object" ? address?.port ?? 0 : 0
})

afterAll(async () => {
  await browser?.close()
  attacker?.close()
  attacker?.closeAllConnections()
  assert.strictEqual(await Demo.end(demo), 0)
})

const badge = (page: Page, text: string) => page.locator("#badge", { hasText: new RegExp(`^${text}$`) }).waitFor()

const signedIn = async (name: string) => {
  const context = await browser.newContext({ locale: "en-GB" })
  const page = await context.newPage()
  await page.goto(url)
  await badge(page, "No session")
  await page.getByLabel("Name").fill(name)
  await page.getByLabel("Password").fill("demo")
  await page.getByRole("button", { name: "Sign in" }).click()
  await badge(page, name)
  await page.getByRole("button", { name: "Add one", exact: true }).click()
  await page.locator("#counter", { hasText: /^1$/ }).waitFor()
  return { context, page }
}

describe("a page of another origin", () => {
  // The cookie is `SameSite=Lax`: forms of another site do not bring it, those of the same site do.
  it.each([
    { place: "another site", host: "127.0.0.1", site: "cross-site", cookie: false },
    { place: "another port of the same site", host: "localhost", site: "same-site", cookie: true }
  ])("on $place signs nobody out or in, writes nothing and reads nothing", async ({ cookie, host, site }) => {
    const { context, page } = await signedIn("ada")
    const before = await context.cookies()
    const other = await context.newPage()
    const lure = `http://${host}:${attackerPort}/`
    for (const name of ["logout", "counter", "logout-everywhere", "login"]) {
      await other.goto(lure)
      const [answer] = await Promise.all([
        other.waitForResponse(`${url}/api/${name}`),
        other.getByRole("button", { name, exact: true }).click()
      ])
      const headers = await answer.request().allHeaders()
      assert.deepStrictEqual(
        [headers["sec-fetch-site"], headers["cookie"] !== undefined, answer.status()],
        [site, cookie, 403],
        name
      )
    }
    await other.goto(lure)
    // No answer is shown to it. What it could send all the same has changed nothing, as the page itself shows below.
    assert.deepStrictEqual(await other.evaluate("run()"), Array.from({ length: 6 }, () => "failed"))
    assert.strictEqual(await other.evaluate("read()"), "failed")

    assert.deepStrictEqual(await context.cookies(), before)
    await page.reload()
    await badge(page, "ada")
    await page.locator("#counter", { hasText: /^1$/ }).waitFor()
    await page.getByRole("button", { name: "Add one", exact: true }).click()
    await page.locator("#counter", { hasText: /^2$/ }).waitFor()
    await page.locator("#logout").click()
    await badge(page, "No session")
    assert.deepStrictEqual(await context.cookies(), [])
    await context.close()
  })
})
