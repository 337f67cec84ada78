import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdirSync } from "node:fs"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as Lab from "../../packages/redis/chaos/Lab.ts"
import * as RedisServer from "../../packages/redis/test/RedisServer.ts"
import * as Chromium from "../../test/Chromium.ts"
import { backends, redis, type Server, started } from "./Backend.ts"
import { browser } from "./Browser.ts"
import * as DemoApp from "./DemoApp.ts"
import { assertRefused } from "./DemoApp.ts"

const deadline = 1000

const login = async (url: string, name: string) => {
  const { close, send } = browser(url)
  const { headers } = await send("POST", "/api/login", { body: JSON.stringify({ username: name, password: "demo" }) })
  const cookie = String(headers["set-cookie"]).split(";")[0]
  assert.match(cookie, /^session=./)
  return { name, cookie, close, send, answered: 0, counted: 0, unknown: 0 }
}

interface Outage {
  readonly name: string
  readonly begin: (server: Server) => Effect.Effect<unknown, unknown>
  readonly end: (server: Server) => Effect.Effect<unknown, unknown>
  /** Whether the server still reads. */
  readonly reads: boolean
}

const outages: ReadonlyArray<Outage> = [
  { name: "stopped", begin: ({ kill }) => kill, end: ({ start }) => start, reads: false },
  { name: "frozen", begin: ({ pause }) => pause, end: ({ resume }) => resume, reads: false },
  {
    name: "refusing writes",
    begin: ({ writes }) => writes("refused"),
    end: ({ writes }) => writes("accepted"),
    reads: true
  }
]

// Of a machine that has other work too, a request may lose as much in two places: on its way to the store, and back.
const allowance = (longestPause: number): number => Math.max(Lab.slack, 2 * longestPause)

const visits = { before: 1500, outage: Lab.rounds(4000, 30_000), recovery: 2000, after: Lab.rounds(1500, 5000) }

const seconds = visits.outage / 1000

describe.each(backends)(`the demo with fifty signed-in clients through ${seconds} seconds of $name`, (backend) => {
  // One way of being away is shown of the second store in the short form, and all of them in the long one.
  const shown = backend === redis || Lab.rounds(0, 1) === 1 ? outages : outages.filter(({ name }) => name === "frozen")
  for (const outage of shown) {
    it.live(
      `${outage.name}: nobody is logged out, every answer comes in time, and all are served within 2 seconds`,
      () =>
        Effect.gen(function*() {
          const server = yield* backend.server
          const { demo, nodes: [{ url }] } = yield* started(backend, server)
          const clients = yield* Effect.promise(() =>
            Promise.all(Array.from({ length: 50 }, (_, i) => login(url, `user-${i}`)))
          )
          const seen: Array<{ readonly write: boolean; readonly ok: boolean; readonly ended: number; millis: number }> =
            []
          const wrong: Array<string> = []
          const leaving = new AbortController()
          // What an answer takes that has nothing to do with the store is the machine's.
          let pause = 0
          const watch = async () => {
            const { close, send } = browser(url)
            while (!leaving.signal.aborted) {
              const begun = performance.now()
              await send("GET", "/healthz")
              pause = Math.max(pause, performance.now() - begun)
              await setTimeout(20)
            }
            close()
          }

          const visit = async (client: (typeof clients)[number]) => {
            const write = Math.random() < 0.3
            const begun = performance.now()
            const { headers, status, text } = write
              ? await client.send("POST", "/api/counter", client)
              : await client.send("GET", "/api/me", client)
            const ended = performance.now()
            const ok = status === 200
            if (ok && write) client.counted++
            if (!ok && write) client.unknown++
            if (ok) client.answered = ended
            if (headers["set-cookie"] !== undefined) wrong.push(`${status} sets ${headers["set-cookie"]}`)
            if (ok && !write && JSON.parse(text).username !== client.name) wrong.push(`signed out: ${text}`)
            if (!ok && (status !== 503 || !(Number(headers["retry-after"]) >= 1))) {
              wrong.push(`${status}, retry after ${headers["retry-after"]}: ${text}`)
            }
            seen.push({ write, ok, ended, millis: ended - begun })
          }
          const browse = async (client: (typeof clients)[number]) => {
            while (!leaving.signal.aborted) {
              await visit(client)
              await setTimeout(50 + Math.random() * 200)
            }
          }
          const readiness = Effect.promise(() => fetch(`${url}/readyz`).then(({ status }) => status))
          const running = Promise.all([watch(), ...clients.map(browse)])
          yield* Effect.sleep(visits.before)
          const served = seen.filter(({ ok }) => ok).length
          assert.isTrue(served > 100 && served > 0.95 * seen.length, "they are served before")

          yield* outage.begin(server)
          yield* Effect.sleep(50)
          const from = seen.length
          yield* Effect.sleep(visits.outage)
          const during = seen.slice(from)
          const ready = [yield* readiness]
          yield* outage.end(server)
          const back = performance.now()
          yield* Effect.sleep(visits.recovery)
          yield* Effect.sleep(visits.after)
          ready.push(yield* readiness)
          leaving.abort()
          yield* Effect.promise(() => running)

          const failed = during.filter(({ ok }) => !ok)
          const times = seen.map(({ millis }) => millis)
          const lastFailure = Math.max(back, ...seen.filter(({ ok }) => !ok).map(({ ended }) => ended)) - back
          yield* Lab.report(
            `demo, ${backend.name} ${outage.name} for ${seconds} s: ${seen.length} requests, ${failed.length} of ` +
              `${during.length} refused; p50 ${Lab.percentile(times, 0.5)}, p99 ${Lab.percentile(times, 0.99)}, ` +
              `longest ${Lab.percentile(times, 1)} ms; last failure ${Math.round(lastFailure)} ms after the return; ` +
              `longest answer without it ${Math.round(pause)} ms`
          )
          assert.deepStrictEqual(wrong, [])
          assert.deepStrictEqual(ready, [503, 200], "ready is who can write")
          assert.isAbove(failed.length, 50, "the outage was felt")
          if (outage.reads) assert.isTrue(failed.every(({ write }) => write), "who reads does not feel it")
          else assert.isAbove(failed.length, during.length * 0.9)
          assert.isAtMost(Math.max(...times), deadline + 50 + allowance(pause))
          assert.isAtMost(lastFailure, visits.recovery + allowance(pause), "all are served after 2 seconds")
          for (const { answered, close, cookie, counted, name, send, unknown } of clients) {
            assert.isAbove(answered, back)
            const me = JSON.parse((yield* Effect.promise(() => send("GET", "/api/me", { cookie }))).text)
            assert.deepStrictEqual([me.username, me.status], [name, "active"])
            assert.isAtLeast(me.counter, counted, "what was confirmed is there")
            assert.isAtMost(me.counter, counted + unknown)
            close()
          }
          assert.strictEqual(demo.output.stderr, "")
        }),
      visits.outage + 30_000
    )
  }
})

describe.each(backends)("signing out while $name is away", (backend) => {
  const setup = Effect.fnUntraced(function*(onDestroyFailed: "queue" | "refuse") {
    const server = yield* backend.server
    const app = yield* backend.open(server.url, { onDestroyFailed, recoveryCheck: "100 millis" })
    const client = DemoApp.client(app)
    yield* client.login("ada")
    // Another process with the same server, where the session lives on until it is told.
    const other = DemoApp.client(yield* backend.open(server.url))
    const { cookie } = client.jar
    other.jar.cookie = cookie
    assert.strictEqual((yield* other.me).username, "ada")
    return { server, client, other, cookie }
  })

  it.live("takes the cookie away, says that it is not confirmed, and ends the session when the store is back", () =>
    Effect.gen(function*() {
      const { client, cookie, other, server } = yield* setup("queue")
      yield* server.kill
      const answer = yield* client.send("POST", "/api/logout")
      assertRefused(answer, 503)
      assert.isAtLeast(Number(answer.headers.get("retry-after")), 1)
      assert.match(answer.headers.get("set-cookie") ?? "", /^session=;.*Max-Age=0/)
      assert.isUndefined(client.jar.cookie)
      // For this process it is over, although the store cannot be asked.
      client.jar.cookie = cookie
      assert.strictEqual((yield* client.me).authenticated, false)
      yield* server.start
      const dead = Effect.map(
        other.send("GET", "/api/me"),
        ({ json, status }) => status === 200 && json().authenticated === false
      )
      yield* RedisServer.waitUntil("the session is over in the store", 100, dead)
      client.jar.cookie = cookie
      assert.strictEqual((yield* client.me).authenticated, false)
    }))

  it.live("keeps cookie and session where the end is refused", () =>
    Effect.gen(function*() {
      const { client, cookie, other, server } = yield* setup("refuse")
      yield* server.kill
      const answer = yield* client.send("POST", "/api/logout")
      assertRefused(answer, 503)
      assert.isNull(answer.headers.get("set-cookie"))
      assert.strictEqual(client.jar.cookie, cookie)
      yield* server.start
      for (const { jar, send } of [client, other]) {
        jar.cookie = cookie
        const signedIn = Effect.map(send("GET", "/api/me"), ({ json, status }) =>
          status === 200 && json().username === "ada")
        yield* RedisServer.waitUntil("the session is back", 100, signedIn)
      }
    }))
})

describe("the page while Redis is frozen", () => {
  const screenshots = fileURLToPath(new URL("../../.artifacts/demo", import.meta.url))
  it.live.each(
    [
      { name: "outage-desktop-light", viewport: { width: 1280, height: 900 }, colorScheme: "light" },
      { name: "outage-mobile-dark", viewport: { width: 360, height: 780 }, colorScheme: "dark" }
    ] as const
  )(
    "shows that it does not answer, and that it does again, on $name",
    ({ name, ...options }) =>
      Effect.gen(function*() {
        const server = yield* redis.server
        const { nodes: [{ url }] } = yield* started(redis, server)
        const chromium = yield* Effect.acquireRelease(
          Effect.promise(Chromium.launch),
          (browser) => Effect.promise(() => browser.close())
        )
        const page = yield* Effect.promise(() => chromium.newPage({ locale: "en-GB", ...options }))
        const circuit = (text: string) => page.locator("#circuits li", { hasText: text })
        const shows = (text: string) => Effect.promise(() => circuit(text).waitFor({ timeout: 15_000 }))
        const badge = (text: string) =>
          Effect.promise(() => page.locator("#badge", { hasText: new RegExp(`^${text}$`) }).waitFor())

        yield* Effect.promise(async () => {
          mkdirSync(screenshots, { recursive: true })
          await page.goto(url)
          await page.getByLabel("Name").fill("ada")
          await page.getByLabel("Password").fill("demo")
          await page.getByRole("button", { name: "Sign in" }).click()
        })
        yield* badge("ada")
        yield* shows("Reads: working")
        yield* shows("Writes: working")
        // Others use the site too; by one visitor alone it takes longer to be sure.
        const others = yield* Effect.promise(() =>
          Promise.all(["eve", "bob", "kim", "joe"].map((who) => login(url, who)))
        )
        const askAll = Effect.promise(() =>
          Promise.all(others.map(({ cookie, send }) => send("GET", "/api/me", { cookie }).then(({ status }) => status)))
        )
        assert.deepStrictEqual(yield* askAll, [200, 200, 200, 200])

        yield* server.pause
        yield* askAll
        yield* askAll
        yield* shows("Reads: not answering")
        yield* shows("Writes: not asked")
        yield* badge("Store unavailable")
        yield* Effect.promise(async () => {
          await page.getByText("Nobody is signed out").waitFor()
          assert.isAbove(await page.locator("#recent li[data-kind=bad]").count(), 0)
          assert.isTrue(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth))
          await page.getByRole("button", { name: "Add one" }).click()
          await page.locator(".notice").waitFor()
          // Who was signed in still sees it.
          assert.strictEqual(await page.locator("#who").textContent(), "ada")
          await page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true })
        })

        yield* server.resume
        yield* shows("Reads: working")
        yield* badge("ada")
        yield* Effect.promise(() => page.screenshot({ path: `${screenshots}/${name}-over.png`, fullPage: true }))
        for (const { close } of others) close()
      }),
    60_000
  )
})
