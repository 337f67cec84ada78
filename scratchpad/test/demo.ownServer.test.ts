import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { existsSync, readlinkSync } from "node:fs"
import { basename, join } from "node:path"
import { setTimeout } from "node:timers/promises"
import * as Demo from "./Demo.ts"

interface Kind {
  readonly store: string
  /** What the program calls its server. */
  readonly server: string
  /** An address where there is none, and a secret in it. */
  readonly nowhere: ReadonlyArray<string>
}

const kinds: ReadonlyArray<Kind> = [
  { store: "redis", server: "redis-server", nowhere: ["--redis-url", "redis://:pass-word@127.0.0.1:1"] },
  {
    store: "sql",
    server: "PostgreSQL server",
    nowhere: ["--database-url", "postgres://ada:pass-word@127.0.0.1:1/demo"]
  }
]

/** What a program runs before itself. */
const module = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`

interface OwnServer {
  readonly demo: Demo.Demo
  readonly url: string
  /** Of the server. */
  readonly pid: number
  /** Where it is. */
  readonly directory: string
  /** As the program says that it is done. */
  readonly freeze: () => void
}

const pidIn = ({ output }: Demo.Demo): number => Number(/ runs as process (\d+): /.exec(output.stdout)?.[1])

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

const assertGone = ({ directory, pid, url }: OwnServer) => {
  assert.isFalse(isRunning(pid), "its server is gone")
  assert.isFalse(
    basename(directory).startsWith("effect-session-demo-") && existsSync(directory),
    "and so are its files"
  )
  return fetch(url).then(() => assert.fail("the port is still taken"), () => {})
}

const assertEnded = async (own: OwnServer, stderr: RegExp | string = "") => {
  const { demo } = own
  const { result } = await within(limit, demo.ended)
  assert.strictEqual(result, 0, demo.output.stderr)
  if (typeof stderr === "string") assert.strictEqual(demo.output.stderr, stderr)
  else assert.match(demo.output.stderr, stderr)
  await assertGone(own)
}

// How the program ends is one matter for all: the first store is shown each way.
const first = kinds[0].store

describe.each(kinds)("the program with a $server of its own", ({ nowhere, server, store }) => {
  const start = async (...modules: ReadonlyArray<string>): Promise<OwnServer> => {
    const demo = Demo.runWith(modules.map(module), "--port", "0", "--store", store)
    const url = await Demo.address(demo)
    const pid = pidIn(demo)
    const command = /: (kill -STOP .*) freezes it/.exec(demo.output.stdout)?.[1] ?? ""
    return {
      demo,
      url,
      pid,
      directory: readlinkSync(join("/proc", String(pid), "cwd")),
      freeze: () => void execFileSync("sh", ["-c", command])
    }
  }

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
    const lines = own.demo.output.stdout.split("\n")
    assert.lengthOf(lines, 3)
    assert.match(lines[0], new RegExp(`^A ${server} of its own .*kill -STOP ${own.pid}\\b.*kill -CONT ${own.pid}\\b`))
    assert.match(lines[1], new RegExp(`^Demo with the ${store} store: http://localhost:\\d+`))
  })

  // A terminal sends Ctrl-C to every process, the server included.
  interface End {
    readonly what: string
    readonly signals: ReadonlyArray<NodeJS.Signals>
    readonly toServer: boolean
  }
  const ends: ReadonlyArray<End> = [
    { what: "SIGTERM", signals: ["SIGTERM"], toServer: false },
    { what: "SIGTERM, twice", signals: ["SIGTERM", "SIGTERM"], toServer: false },
    { what: "Ctrl-C, also to its server", signals: ["SIGINT"], toServer: true },
    { what: "Ctrl-C, twice", signals: ["SIGINT", "SIGINT"], toServer: true }
  ]
  it.each(ends.filter(({ signals }) => store === first || signals.length === 1))(
    "ends by itself with requests under way: $what",
    async ({ signals, toServer }) => {
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
    }
  )

  it.each([{ frozen: false }, { frozen: true }].filter(({ frozen }) => store === first || !frozen))(
    "leaves nothing open when it ends, frozen: $frozen",
    async ({ frozen }) => {
      // Its own exit would hide what is open. Standard streams are pipes of this test.
      const own = await start(
        "process.on('exit', () => console.log('open: ' + process.getActiveResourcesInfo().join()))"
      )
      const cookie = await login(own.url)
      if (frozen) own.freeze()
      assert.strictEqual(await status(`${own.url}/api/me`, cookie), frozen ? 503 : 200)
      own.demo.child.kill("SIGTERM")
      await assertEnded(own)
      assert.match(own.demo.output.stdout, /\nopen: (PipeWrap,?)*\n$/)
    }
  )

  it("ends by itself while its server is frozen", async () => {
    const own = await start()
    const cookie = await login(own.url)
    own.freeze()
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
    own.freeze()
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

  it.each([{ frozen: false }, { frozen: true }])(
    "leaves none behind when it ends without a farewell, frozen: $frozen",
    async ({ frozen }) => {
      const own = await start("process.on('SIGUSR2', () => process.exit(3))")
      await login(own.url)
      if (frozen) own.freeze()
      own.demo.child.kill("SIGUSR2")
      assert.strictEqual(await own.demo.ended, 3, own.demo.output.stderr)
      // It was told to end, and nobody waits for it.
      for (let i = 0; i < 100 && isRunning(own.pid); i++) await setTimeout(20)
      await assertGone(own)
    }
  )

  it("takes it away when it cannot start", async () => {
    const first = await start()
    const { port } = new URL(first.url)
    const demo = Demo.run("--port", port, "--store", store)
    assert.strictEqual(await demo.ended, 1)
    assert.match(demo.output.stderr, new RegExp(`^Port ${port} is taken[^\\n]*\\n$`))
    assert.isFalse(isRunning(pidIn(demo)))
    first.demo.child.kill("SIGTERM")
    await assertEnded(first)
  })

  it("says so when there is no server at the given address", async () => {
    const demo = Demo.run("--port", "0", "--store", store, ...nowhere)
    const { result } = await within(limit, demo.ended)
    assert.strictEqual(result, 1)
    assert.match(demo.output.stderr, /^[^\n]+\n$/)
    assert.notInclude(demo.output.stderr, "pass-word")
  })
})
