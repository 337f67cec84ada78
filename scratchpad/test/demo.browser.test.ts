import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Browser, BrowserContextOptions, Page } from "playwright-core"
import * as Chromium from "../../test/Chromium.ts"
import * as Demo from "./Demo.ts"

const screenshots = fileURLToPath(new URL("../../.artifacts/demo", import.meta.url))

let demo: Demo.Demo
let cookieDemo: Demo.Demo
let browser: Browser
let url = ""
let cookieUrl = ""

beforeAll(async () => {
  mkdirSync(screenshots, { recursive: true })
  demo = Demo.run("--port", "0")
  cookieDemo = Demo.run("--port", "0", "--store", "cookie")
  browser = await Chromium.launch()
  url = await Demo.address(demo)
  cookieUrl = await Demo.address(cookieDemo)
})

afterAll(async () => {
  await browser?.close()
  for (const program of [demo, cookieDemo]) {
    assert.strictEqual(await Demo.end(program), 0)
    assert.strictEqual(program.output.stderr, "")
  }
})

// Without a window it would say to be no browser of a person.
const userAgent =
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"

/** A browser of its own, with an empty cookie jar, on the page. */
const visit = async (options: BrowserContextOptions = {}, at = url) => {
  const context = await browser.newContext({ locale: "en-GB", userAgent, ...options })
  const page = await context.newPage()
  const complaints: Array<string> = []
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text())
  })
  page.on("pageerror", (error) => complaints.push(error.message))
  page.on("requestfailed", (request) => {
    const reason = request.failure()?.errorText
    // A reload ends what is on its way.
    if (reason !== "net::ERR_ABORTED") complaints.push(`${request.url()}: ${reason}`)
  })
  await page.goto(at)
  await badge(page, "No session")
  return { context, page, complaints }
}

const badge = (page: Page, text: string) => page.locator("#badge", { hasText: new RegExp(`^${text}$`) }).waitFor()

const signIn = async (page: Page, name: string) => {
  await page.getByLabel("Name").fill(name)
  await page.getByLabel("Password").fill("demo")
  await page.getByRole("button", { name: "Sign in" }).click()
  await badge(page, name)
}

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true })
const devices = (page: Page) => page.locator("#devices li")
const items = (page: Page) => page.locator("#items li span").allTextContents()

/** Queues a flash message and waits until it is stored. */
const queue = async (page: Page, kind: string) => {
  await button(page, kind).click()
  await page.locator("#kinds button:enabled", { hasText: kind }).waitFor()
}

const add = async (page: Page, ...texts: ReadonlyArray<string>) => {
  for (const text of texts) {
    await page.getByLabel("New item").fill(text)
    await button(page, "Add").click()
    await page.locator("#items li", { hasText: text }).waitFor()
  }
}

const counterShows = (page: Page, text: string) =>
  page.locator("#counter", { hasText: new RegExp(`^${text}$`) }).waitFor()

describe("the page", () => {
  it("counts and keeps a list, before and after signing in", async () => {
    const { complaints, context, page } = await visit()
    assert.deepStrictEqual(await context.cookies(), [])
    await button(page, "Add one").click()
    await badge(page, "Guest session")
    await counterShows(page, "1")
    await add(page, "Tea", "<b>Milk</b>")
    const [guest] = await context.cookies()
    await signIn(page, "ada")
    const [cookie] = await context.cookies()
    assert.notStrictEqual(cookie.value, guest.value)
    assert.deepStrictEqual(
      { ...cookie, value: "" },
      {
        name: "session",
        value: "",
        domain: "localhost",
        path: "/",
        expires: -1,
        httpOnly: true,
        secure: false,
        sameSite: "Lax"
      }
    )
    await counterShows(page, "1")
    await button(page, "20 at once").click()
    await counterShows(page, "21")
    await page.getByText("20 requests, 20 different answers.").waitFor()
    await button(page, "Remove Tea").click()
    await page.locator("#items li", { hasText: "Tea" }).waitFor({ state: "detached" })
    await page.reload()
    await counterShows(page, "21")
    assert.deepStrictEqual(await items(page), ["<b>Milk</b>"])
    assert.notInclude(await page.content(), cookie.value)
    assert.deepStrictEqual(complaints, [])
    await context.close()
  })

  it("shows each flash message once, and not again after a reload", async () => {
    const { complaints, context, page } = await visit()
    for (const kind of ["Notice", "Success", "Info", "Warning", "Alert", "Error"]) await queue(page, kind)
    await page.getByText("It is waiting.").waitFor()
    assert.strictEqual(await page.locator(".notice").count(), 0)
    await button(page, "Reload the page").click()
    await page.locator(".notice").nth(5).waitFor()
    assert.deepStrictEqual(
      await page.locator(".notice strong").allTextContents(),
      ["Notice", "Success", "Info", "Warning", "Alert", "Error"]
    )
    const colours = await page.locator(".notice").evaluateAll((notices) =>
      notices.map((notice) => getComputedStyle(notice).backgroundColor)
    )
    assert.lengthOf(new Set(colours), 6)
    await page.locator(".notice").first().getByRole("button", { name: "Dismiss" }).click()
    assert.strictEqual(await page.locator(".notice").count(), 5)
    await page.reload()
    await badge(page, "Guest session")
    await page.waitForLoadState("networkidle")
    assert.strictEqual(await page.locator(".notice").count(), 0)
    assert.deepStrictEqual(complaints, [])
    await context.close()
  })

  it("shows the devices of a user, and ends one from another", async () => {
    const desk = await visit()
    const phone = await visit({
      userAgent: "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19.0 Safari/604.1"
    })
    await signIn(desk.page, "grace")
    await signIn(phone.page, "grace")
    await desk.page.reload()
    await devices(desk.page).nth(1).waitFor()
    assert.match((await devices(desk.page).allTextContents()).join("\n"), /Chrome on Linux this one[^]*Safari on iOS/)
    // About where it is, and no address.
    assert.match((await devices(desk.page).allTextContents()).join("\n"), /(127\.0\.0\.0\/24|::\/48), since /)
    await button(desk.page, "End Safari on iOS").click()
    await devices(desk.page).nth(1).waitFor({ state: "detached" })
    // The phone notices at the next thing it does.
    await button(phone.page, "Add one").click()
    await phone.page.getByText("You are signed out: the session has ended.").waitFor()
    await button(phone.page, "Sign in").waitFor()
    await badge(desk.page, "grace")
    assert.deepStrictEqual([...desk.complaints, ...phone.complaints], [])
    await Promise.all([desk.context.close(), phone.context.close()])
  })

  it("signs out here, and leaves the other browser alone", async () => {
    const [here, there] = [await visit(), await visit()]
    await signIn(here.page, "alan")
    await signIn(there.page, "alan")
    await here.page.locator("#logout").click()
    await badge(here.page, "No session")
    assert.deepStrictEqual(await here.context.cookies(), [])
    await there.page.reload()
    await badge(there.page, "alan")
    assert.deepStrictEqual([...here.complaints, ...there.complaints], [])
    await Promise.all([here.context.close(), there.context.close()])
  })

  it("signs out everywhere", async () => {
    const [here, there] = [await visit(), await visit()]
    await signIn(here.page, "edsger")
    await signIn(there.page, "edsger")
    await button(here.page, "Sign out everywhere").click()
    await badge(here.page, "No session")
    assert.deepStrictEqual(await here.context.cookies(), [])
    await there.page.reload()
    await badge(there.page, "No session")
    assert.deepStrictEqual([...here.complaints, ...there.complaints], [])
    await Promise.all([here.context.close(), there.context.close()])
  })

  it("renews the id", async () => {
    const { complaints, context, page } = await visit()
    await signIn(page, "barbara")
    const [before] = await context.cookies()
    await button(page, "Renew the id").click()
    await page.getByText("The session has a new id").waitFor()
    const [after] = await context.cookies()
    assert.notStrictEqual(after.value, before.value)
    await badge(page, "barbara")
    assert.deepStrictEqual(complaints, [])
    await context.close()
  })

  it("counts down to both ends of the session", async () => {
    const { context, page } = await visit()
    await signIn(page, "ada")
    const left = () => page.locator("#idle-left").textContent()
    assert.match(await left() ?? "", /^(30:00|29:5\d)$/)
    assert.match(await page.locator("#absolute-left").textContent() ?? "", /^(24:00:00|23:59:5\d)$/)
    const first = await left()
    await page.waitForFunction((first) => document.getElementById("idle-left")?.textContent !== first, first)
    assert.isAbove(await page.locator("#idle").evaluate((bar) => (bar as HTMLProgressElement).value), 0.9)
    await context.close()
  })

  it("says what is wrong with a sign-in, where it is wrong", async () => {
    const { context, page } = await visit()
    await page.getByLabel("Name").fill("ada")
    await page.getByLabel("Password").fill("wrong")
    await page.keyboard.press("Enter")
    await page.getByRole("alert").getByText("That is not the password.").waitFor()
    assert.strictEqual(await page.evaluate(() => document.activeElement?.id), "password")
    assert.deepStrictEqual(await context.cookies(), [])
    await context.close()
  })

  it("draws what the store does", async () => {
    const { complaints, context, page } = await visit()
    await signIn(page, "ada")
    await page.waitForFunction(() =>
      (document.getElementById("loads-line")?.getAttribute("points") ?? "").includes(" ")
    )
    assert.isAbove(Number(await page.locator("#loads").textContent()), 0)
    assert.deepStrictEqual(complaints, [])
    await context.close()
  })
})

describe("the page in cookie mode", () => {
  it.each(
    [
      { name: "cookie-desktop-light", viewport: { width: 1280, height: 900 }, colorScheme: "light" },
      { name: "cookie-mobile-dark", viewport: { width: 360, height: 780 }, colorScheme: "dark" }
    ] as const
  )("shows what is in the seal and says what it cannot do, on $name", async ({ name, ...options }) => {
    const { complaints, context, page } = await visit(options, cookieUrl)
    const octets = async (id: string) =>
      Number((await page.locator(id).textContent() ?? "").replaceAll(",", "").split(" ")[0])
    assert.isTrue(await page.locator("#seal").isHidden())
    assert.isTrue(await page.getByText("My devices").isHidden())
    await page.getByText("the last answer wins").waitFor()
    await signIn(page, "ada")
    await page.locator("#seal").waitFor()
    const size = await octets("#cookie-bytes")
    const [{ value }] = await context.cookies()
    assert.strictEqual(size, "session".length + value.length)
    assert.match(await page.locator("#cookie-bytes").textContent() ?? "", / of 4,096 octets$/)
    assert.match(await page.locator("#key-id").textContent() ?? "", /^[\w-]{2}$/)
    assert.match(await page.locator("#seal-age").textContent() ?? "", /^0:\d\d$/)
    await add(page, "Tea", "Oat milk")
    assert.isAbove(await octets("#cookie-bytes"), size)
    await button(page, "20 at once").click()
    await page.getByText("20 requests, 1 different answer.").waitFor()
    await counterShows(page, "1")
    await queue(page, "Success")
    await page.reload()
    await page.locator(".notice").waitFor()
    await page.reload()
    await badge(page, "ada")
    assert.strictEqual(await page.locator(".notice").count(), 0)
    await page.locator("#seal").waitFor()
    await page.waitForFunction(() =>
      (document.getElementById("loads-line")?.getAttribute("points") ?? "").includes(" ")
    )
    assert.deepStrictEqual(await items(page), ["Tea", "Oat milk"])
    assert.isTrue(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth))
    await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true })
    await page.locator("#logout").click()
    await badge(page, "No session")
    assert.isTrue(await page.locator("#seal").isHidden())
    await context.addCookies([{ name: "session", value, url: cookieUrl }])
    await page.reload()
    await badge(page, "No session")
    assert.deepStrictEqual(complaints, [])
    await context.close()
  })

  it("signs out everywhere", async () => {
    const [here, there] = [await visit({}, cookieUrl), await visit({}, cookieUrl)]
    await signIn(here.page, "edsger")
    await signIn(there.page, "edsger")
    await button(here.page, "Sign out everywhere").click()
    await badge(here.page, "No session")
    assert.deepStrictEqual(await here.context.cookies(), [])
    await there.page.reload()
    await badge(there.page, "No session")
    assert.deepStrictEqual([...here.complaints, ...there.complaints], [])
    await Promise.all([here.context.close(), there.context.close()])
  })
})

describe("the look", () => {
  const desktop = { width: 1280, height: 900 }
  const mobile = { width: 360, height: 780 }
  it.each(
    [
      { name: "desktop-light", viewport: desktop, colorScheme: "light" },
      { name: "desktop-dark", viewport: desktop, colorScheme: "dark" },
      { name: "mobile-light", viewport: mobile, colorScheme: "light" },
      { name: "mobile-dark", viewport: mobile, colorScheme: "dark" }
    ] as const
  )("fits $name", async ({ name, ...options }) => {
    const { complaints, context, page } = await visit(options)
    const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)
    assert.isTrue(await fits())
    await page.screenshot({ path: join(screenshots, `${name}-signed-out.png`), fullPage: true })
    await signIn(page, `${name} `.padEnd(64, "x"))
    await add(page, "Tea", "Oat milk", "averylongwordthatdoesnotfitintoanyline".repeat(4))
    await button(page, "20 at once").click()
    await counterShows(page, "20")
    for (const kind of ["Success", "Warning", "Error"]) await queue(page, kind)
    await page.reload()
    await page.locator(".notice").nth(2).waitFor()
    await page.waitForFunction(() =>
      (document.getElementById("loads-line")?.getAttribute("points") ?? "").includes(" ")
    )
    assert.isTrue(await fits())
    await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true })
    assert.deepStrictEqual(complaints, [])
    await context.close()
  })
})
