import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Browser, BrowserContext, Page } from "playwright-core"
import * as Chromium from "../../test/Chromium.ts"
import * as DemoCluster from "./DemoCluster.ts"

const screenshots = fileURLToPath(new URL("../../.artifacts/demo", import.meta.url))

let cluster: DemoCluster.Cluster
let browser: Browser

beforeAll(async () => {
  mkdirSync(screenshots, { recursive: true })
  ;[cluster, browser] = await Promise.all([DemoCluster.start(), Chromium.launch()])
})

afterAll(async () => {
  await browser?.close()
  await DemoCluster.end(cluster)
  assert.strictEqual(cluster.demo.output.stderr, "")
})

const visit = async (context: BrowserContext, { url }: DemoCluster.Node) => {
  const page = await context.newPage()
  const complaints: Array<string> = []
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text())
  })
  page.on("pageerror", (error) => complaints.push(error.message))
  await page.goto(url)
  await page.locator("#cluster:visible").waitFor()
  return { page, complaints }
}

const badge = (page: Page, text: string) => page.locator("#badge", { hasText: new RegExp(`^${text}$`) }).waitFor()
const shows = (page: Page, id: string, text: string | RegExp) => page.locator(`#${id}`, { hasText: text }).waitFor()

const signIn = async (page: Page, name: string) => {
  await page.getByLabel("Name").fill(name)
  await page.getByLabel("Password").fill("demo")
  await page.getByRole("button", { name: "Sign in" }).click()
  await badge(page, name)
}

describe("the page on several nodes", () => {
  it("shows which node served it, and on all of them what happens on one", async () => {
    const [a, b, c] = cluster.nodes
    const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1180, height: 1100 } })
    const [atA, atB, atC] = [await visit(context, a), await visit(context, b), await visit(context, c)]
    for (const [{ page }, node] of [[atA, a], [atB, b], [atC, c]] as const) {
      await shows(page, "node-title", `Served by node ${node.name}`)
      await shows(page, "node-pid", String(node.pid))
      assert.strictEqual(await page.locator("#nodes a").count(), 3)
      assert.strictEqual(
        await page.locator("#nodes [aria-current]").textContent(),
        `${node.name} ${new URL(node.url).port}`
      )
      await shows(page, "cache-text", "There is no session")
      await shows(page, "trust", "hears all others")
    }

    await signIn(atA.page, "ada")
    for (const { page } of [atB, atC]) await badge(page, "ada")
    await atB.page.getByRole("button", { name: "Add one" }).click()
    for (const { page } of [atA, atB, atC]) {
      await shows(page, "counter", /^1$/)
      await shows(page, "cache-from", "hit")
      await shows(page, "cache-text", /a copy, [\d.]+ m?s old/)
    }
    await atB.page.screenshot({ path: join(screenshots, "cluster.png"), fullPage: true })

    await atC.page.getByRole("button", { name: "Sign out", exact: true }).first().click()
    for (const { page } of [atA, atB]) {
      await badge(page, "No session")
      await page.getByText("You were signed out elsewhere.").waitFor()
    }
    await badge(atC.page, "No session")
    // Who did it is not told so.
    assert.strictEqual(await atC.page.locator(".notice").count(), 0)
    for (const { complaints } of [atA, atB, atC]) assert.deepStrictEqual(complaints, [])
    await context.close()
  })

  it("is told at once that another browser ended its session, and goes from node to node", async () => {
    const [a, b] = cluster.nodes
    const [mine, other] = [await browser.newContext(), await browser.newContext()]
    const here = await visit(mine, a)
    await signIn(here.page, "bob")
    const there = await visit(other, b)
    await signIn(there.page, "bob")
    await there.page.locator("#nodes a", { hasText: /^a / }).click()
    await there.page.locator("#cluster:visible").waitFor()
    await shows(there.page, "node-title", "Served by node a")
    await badge(there.page, "bob")
    await there.page.getByRole("button", { name: "Sign out everywhere" }).click()
    await badge(there.page, "No session")
    await here.page.getByText("You were signed out elsewhere.").waitFor()
    assert.deepStrictEqual([...here.complaints, ...there.complaints], [])
    await Promise.all([mine.close(), other.close()])
  })

  it("shows that a node has ended, and that its neighbours trust old copies no more", async () => {
    const [a, b, c] = cluster.nodes
    const context = await browser.newContext({ locale: "en-GB", viewport: { width: 400, height: 900 } })
    const { complaints, page } = await visit(context, a)
    process.kill(c.pid, "SIGKILL")
    await page.locator("#nodes span", { hasText: `c ${new URL(c.url).port}` }).waitFor()
    await shows(page, "trust", "Another node is silent")
    assert.strictEqual(await page.locator("#nodes a").count(), 2)
    assert.isFalse(await page.evaluate("document.documentElement.scrollWidth > innerWidth"))
    await page.locator("#cluster").screenshot({ path: join(screenshots, "cluster-silent.png") })
    assert.deepStrictEqual(complaints, [])
    const dead = await visit(context, b)
    process.kill(b.pid, "SIGKILL")
    await badge(dead.page, "No connection")
    await context.close()
  })
})
