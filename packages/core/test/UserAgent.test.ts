import { assert, describe, it } from "@effect/vitest"
import * as UserAgent from "../src/UserAgent.ts"

const webkit = "AppleWebKit/537.36 (KHTML, like Gecko)"
const apple = "AppleWebKit/605.1.15 (KHTML, like Gecko)"

const agents: ReadonlyArray<readonly [expected: string, agent: string]> = [
  ["Chrome on Windows", `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${webkit} Chrome/141.0.0.0 Safari/537.36`],
  ["Chrome on macOS", `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${webkit} Chrome/141.0.0.0 Safari/537.36`],
  ["Chrome on Linux", `Mozilla/5.0 (X11; Linux x86_64) ${webkit} Chrome/141.0.0.0 Safari/537.36`],
  ["Chrome on ChromeOS", `Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) ${webkit} Chrome/141.0.0.0 Safari/537.36`],
  ["Chrome on Android", `Mozilla/5.0 (Linux; Android 10; K) ${webkit} Chrome/141.0.0.0 Mobile Safari/537.36`],
  [
    "Chrome on iOS",
    `Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) ${apple} CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1`
  ],
  [
    "Edge on Windows",
    `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${webkit} Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0`
  ],
  [
    "Edge on Android",
    `Mozilla/5.0 (Linux; Android 10; K) ${webkit} Chrome/141.0.0.0 Mobile Safari/537.36 EdgA/141.0.0.0`
  ],
  [
    "Edge on iOS",
    `Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) ${apple} Version/18.0 EdgiOS/141.0 Mobile/15E148 Safari/604.1`
  ],
  [
    "Opera on Windows",
    `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${webkit} Chrome/140.0.0.0 Safari/537.36 OPR/124.0.0.0`
  ],
  [
    "Samsung Internet on Android",
    `Mozilla/5.0 (Linux; Android 10; K) ${webkit} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36`
  ],
  ["Firefox on Windows", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0"],
  ["Firefox on Linux", "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"],
  ["Firefox on Android", "Mozilla/5.0 (Android 15; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0"],
  [
    "Firefox on iOS",
    `Mozilla/5.0 (iPhone; CPU iPhone OS 15_6 like Mac OS X) ${apple} FxiOS/143.0 Mobile/15E148 Safari/605.1.15`
  ],
  ["Safari on macOS", `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${apple} Version/26.0 Safari/605.1.15`],
  [
    "Safari on iOS",
    `Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) ${apple} Version/26.0 Mobile/15E148 Safari/604.1`
  ]
]

const others: ReadonlyArray<readonly [expected: string, agent: string | undefined]> = [
  ["Unknown browser", undefined],
  ["Unknown browser", ""],
  ["Unknown browser", "curl/8.14.1"],
  ["Unknown browser", "Chrome/141"],
  ["Unknown browser", "Mozilla/5.0"],
  ["Unknown browser", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"],
  ["Unknown browser on Linux", `Mozilla/5.0 (X11; Linux x86_64) ${webkit} HeadlessChrome/141.0.0.0 Safari/537.36`],
  // A page inside an application is not a browser that anybody would look for in a list.
  [
    "Unknown browser on Android",
    `Mozilla/5.0 (Linux; Android 10; K; wv) ${webkit} Version/4.0 Chrome/141.0.0.0 Mobile`
  ],
  ["Unknown browser on iOS", `Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) ${apple} Mobile/15E148`],
  [
    "Unknown browser on macOS",
    `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${webkit} Slack/4.45 Chrome/141.0.0.0 Electron/38.0 Safari/537.36`
  ],
  ["Unknown browser on Android", "okhttp/4.12.0 (Android 15)"]
]

describe("UserAgent", () => {
  it.each(agents)("tells %s", (expected, agent) => {
    assert.strictEqual(UserAgent.format(UserAgent.parse(agent)), expected)
  })

  it.each(others)("says no more than it knows: %s, %s", (expected, agent) => {
    assert.strictEqual(UserAgent.format(UserAgent.parse(agent)), expected)
  })

  it("reads 1,024 characters and no more, whatever they are", () => {
    assert.deepStrictEqual(UserAgent.parse(`Mozilla/5.0 (${" ".repeat(1024)}Windows NT) Firefox/1`), {
      browser: undefined,
      system: undefined
    })
    for (const text of ["Version/1".repeat(50_000), "Version/".repeat(50_000), "\u{1f600}".repeat(10_000), "\0"]) {
      assert.deepStrictEqual(UserAgent.parse(text), { browser: undefined, system: undefined })
    }
  })

  it("never gives back text of the client", () => {
    const { browser, system } = UserAgent.parse("Mozilla/5.0 (Windows NT <script>) Firefox/<script>")
    assert.deepStrictEqual([browser, system], ["Firefox", "Windows"])
  })
})
