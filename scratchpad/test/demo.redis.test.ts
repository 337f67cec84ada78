import { assert, describe, it } from "@effect/vitest"
import { setTimeout } from "node:timers/promises"
import * as Demo from "./Demo.ts"

interface OwnRedis {
  readonly demo: Demo.Demo
  readonly url: string
  /** Its redis-server. */
  readonly pid: number
}

const start = async (...modules: ReadonlyArray<string>): Promise<OwnRedis> => {
  const demo = Demo.runWith(modules, "--port", "0", "--store", "redis")
  const url = await Demo.address(demo)
  return { demo, url, pid: Number(/kill -STOP (\d+)/.exec(demo.output.stdout)?.[1]) }
}

const isRunning = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const login = async (url: string) => {
  const response = await fetch(`${url}/api/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: "ada", password: "demo" })
  })
  assert.strictEqual(response.status, 200)
  return response.headers.getSetCookie()[0].split(";")[0]
}

/** The status of an answer, or 0 for a connection that was closed. */
const status = (url: string, cookie: string, method = "GET") =>
  fetch(url, { method, headers: { cookie } }).then(({ status }) => status, () => 0)

/** Waits for the end, of which the test has its say: not that of a test that takes too long. */
const within = async <A>(millis: number, what: Promise<A>) => {
  const begun = performance.now()
  const result = await Promise.race([what, setTimeout(millis, "too late" as const, { ref: false })])
  return { result, millis: performance.now() - begun }
}

// One second for requests, five for the store, and some for the machine.
const limit = 8000

const assertEnded = async ({ demo, pid }: OwnRedis, stderr: RegExp | string = "") => {
  const { result } = await within(limit, demo.ended)
  assert.strictEqual(result, 0, demo.output.stderr)
  if (typeof stderr === "string") assert.strictEqual(demo.output.stderr, stderr)
  else assert.match(demo.output.stderr, stderr)
  assert.isFalse(isRunning(pid), "its redis-server is gone")
}

describe("the program with a redis-server of its own", () => {
  it("says how to freeze it, serves, and takes it away when it ends", async () => {
    const own = await start()
    assert.isTrue(isRunning(own.pid))
    const cookie = await login(own.url)
    const counter = await fetch(`${own.url}/api/counter`, { method: "POST", headers: { cookie } })
    assert.deepStrictEqual(await counter.json(), { counter: 1 })
    assert.strictEqual(await status(`${own.url}/readyz`, ""), 200)
    const { health } = await fetch(`${own.url}/api/health`).then((response) => response.json())
    assert.deepStrictEqual(health.circuits.map(({ state }: { readonly state: string }) => state), ["Closed", "Closed"])
    own.demo.child.kill("SIGTERM")
    await assertEnded(own)
    assert.match(
      own.demo.output.stdout,
      /^A redis-server of its own [^\n]*kill -STOP \d+[^\n]*\nDemo with the redis store: http:\/\/localhost:\d+[^\n]*\n$/
    )
  })

  // A terminal sends it to every process, the server included.
  it.each(
    [
      { what: "SIGTERM", signals: ["SIGTERM"], toServer: false },
      { what: "SIGTERM, twice", signals: ["SIGTERM", "SIGTERM"], toServer: false },
      { what: "Ctrl-C, also to its server", signals: ["SIGINT"], toServer: true },
      { what: "Ctrl-C, twice", signals: ["SIGINT", "SIGINT"], toServer: true }
    ] as const
  )("ends by itself with requests under way: $what", async ({ signals, toServer }) => {
    const own = await start()
    const cookie = await login(own.url)
    const stream = await fetch(`${own.url}/api/stream?ms=10000`, { headers: { cookie } })
    const read = stream.text().then(() => {}, () => {})
    const under = [
      read,
      status(`${own.url}/api/slow?delay=10000`, cookie),
      ...Array.from({ length: 20 }, () => status(`${own.url}/api/counter?delay=300`, cookie, "POST"))
    ]
    await setTimeout(100)
    for (const signal of signals) {
      if (toServer && isRunning(own.pid)) process.kill(own.pid, signal)
      own.demo.child.kill(signal)
      await setTimeout(50)
    }
    await assertEnded(own)
    await Promise.all(under)
  })

  it.each([{ frozen: false }, { frozen: true }])(
    "leaves nothing open when it ends, frozen: $frozen",
    async ({ frozen }) => {
      // Its own exit would hide what is open. Standard streams are pipes of this test.
      const saysWhatIsOpen = "process.on('exit', () => console.log('open: ' + process.getActiveResourcesInfo().join()))"
      const own = await start(`data:text/javascript,${encodeURIComponent(saysWhatIsOpen)}`)
      const cookie = await login(own.url)
      if (frozen) process.kill(own.pid, "SIGSTOP")
      assert.strictEqual(await status(`${own.url}/api/me`, cookie), frozen ? 503 : 200)
      own.demo.child.kill("SIGTERM")
      await assertEnded(own)
      assert.match(own.demo.output.stdout, /\nopen: (PipeWrap,?)*\n$/)
    }
  )

  it("ends by itself while its server is frozen", async () => {
    const own = await start()
    const cookie = await login(own.url)
    process.kill(own.pid, "SIGSTOP")
    const under = Array.from({ length: 20 }, () => status(`${own.url}/api/me`, cookie))
    await setTimeout(100)
    own.demo.child.kill("SIGTERM")
    own.demo.child.kill("SIGTERM")
    await assertEnded(own)
    await Promise.all(under)
  })

  it("says in one line, without a name, what it could not end", async () => {
    const own = await start()
    const cookie = await login(own.url)
    process.kill(own.pid, "SIGSTOP")
    assert.strictEqual(await status(`${own.url}/api/logout`, cookie, "POST"), 503)
    own.demo.child.kill("SIGTERM")
    // When it happened, and what is left of it at the end.
    await assertEnded(own, /^([^\n]* level=ERROR [^\n]*\n)+$/)
    const lines = own.demo.output.stderr.trim().split("\n")
    assert.lengthOf(lines.filter((line) => line.includes("before the shutdown")), 1)
    assert.match(lines.at(-1) ?? "", /has not confirmed before the shutdown: 1"?$/)
    assert.notInclude(own.demo.output.stderr, cookie.slice("session=".length))
    assert.notInclude(own.demo.output.stderr, "ada")
  })

  it("takes it away when it cannot start", async () => {
    const first = await start()
    const { port } = new URL(first.url)
    const demo = Demo.run("--port", port, "--store", "redis")
    assert.strictEqual(await demo.ended, 1)
    assert.match(demo.output.stderr, new RegExp(`^Port ${port} is taken[^\\n]*\\n$`))
    assert.isFalse(isRunning(Number(/kill -STOP (\d+)/.exec(demo.output.stdout)?.[1])))
    first.demo.child.kill("SIGTERM")
    await assertEnded(first)
  })

  it("says so when there is no server at the given address", async () => {
    const demo = Demo.run("--port", "0", "--store", "redis", "--redis-url", "redis://:pass-word@127.0.0.1:1")
    const { result } = await within(limit, demo.ended)
    assert.strictEqual(result, 1)
    assert.match(demo.output.stderr, /^[^\n]+\n$/)
    assert.notInclude(demo.output.stderr, "pass-word")
  })
})
