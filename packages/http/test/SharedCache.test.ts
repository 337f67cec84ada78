import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect as connectTo } from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import {
  browser,
  connectSocket,
  makeStore,
  routes,
  shown,
  tokenOf,
  transports,
  UserSession,
  withSession
} from "./SessionApp.ts"

const page = HttpServerResponse.text("page")

const pages = Layer.mergeAll(
  routes,
  // What is cached is mostly asked for by GET.
  HttpRouter.add("GET", "/visit", Effect.as(UserSession.update(({ n, note }) => ({ n: n + 1, note })), page)),
  HttpRouter.add("GET", "/extend", Effect.as(UserSession.setLifetime({ lifetime: "2 days" }), page))
)

// Where it would write as another user.
const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]

// It keeps what it may for ten minutes, whoever asks: under /cookies also what sets cookies, and under /careless what it
// may not.
const configuration = (directory: string, port: number) => `
daemon off;
master_process off;
pid ${directory}/pid;
error_log stderr emerg;
events {}
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${directory}/${name};`).join(" ")}
  proxy_cache_path ${directory}/cache keys_zone=pages:1m;
  server {
    listen unix:${directory}/socket;
    proxy_cache pages;
    proxy_cache_valid any 10m;
    add_header x-cache $upstream_cache_status always;
    location / {
      proxy_pass http://127.0.0.1:${port}/;
      proxy_cache_key $request_uri;
    }
    location /cookies/ {
      proxy_pass http://127.0.0.1:${port}/;
      proxy_cache_key $request_uri;
      proxy_ignore_headers Set-Cookie;
    }
    location /careless/ {
      proxy_pass http://127.0.0.1:${port}/;
      proxy_cache_key $request_uri;
      proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
    }
  }
}
`

const listens = (socket: string) =>
  Effect.callback<void, Error>((resume) => {
    const connection = connectTo(socket)
    connection.on("connect", () => resume(Effect.void))
    connection.on("error", (error) => resume(Effect.fail(error)))
    return Effect.sync(() => connection.destroy())
  })

/** nginx as a shared cache in front of a port, for as long as the test runs. */
const cache = Effect.fnUntraced(function*(port: number) {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "shared-cache-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  writeFileSync(join(directory, "nginx.conf"), configuration(directory, port))
  const path = `${process.env.PATH}${delimiter}/usr/sbin`
  const args = ["-p", directory, "-c", join(directory, "nginx.conf"), "-e", "stderr"]
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn("nginx", args, { stdio: "ignore", env: { ...process.env, PATH: path } })
      // The program may be missing; the attempts to connect tell.
      child.once("error", () => {})
      return child
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  const socket = join(directory, "socket")
  yield* Effect.retry(listens(socket), Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(250)])).pipe(
    Effect.mapError((cause) => new Error("nginx does not listen; `npm test -- prerequisites` installs it", { cause }))
  )
  return yield* connectSocket(socket)
})

const setUp = Effect.gen(function*() {
  const { port } = yield* transports["Node server"](withSession(pages, yield* makeStore()))
  const shared = yield* cache(port)
  const [ada, bob] = [browser(shared), browser(shared)]
  for (const [name, one] of [["ada", ada], ["bob", bob]] as const) yield* one.send("POST", `/login?as=${name}`)
  return { ada, bob, shared }
})

describe("behind a shared cache", () => {
  it.live("pages without a session are kept, and pages with one are for their own client alone", () =>
    Effect.gen(function*() {
      const { ada, bob, shared } = yield* setUp
      assert.deepStrictEqual((yield* ada.send("GET", "/plain")).header("x-cache"), "MISS")
      assert.deepStrictEqual((yield* bob.send("GET", "/plain")).header("x-cache"), "HIT")
      for (let round = 0; round < 3; round++) {
        assert.strictEqual(shown(yield* ada.send("GET", "/me")).subject, "ada")
        assert.strictEqual(shown(yield* bob.send("GET", "/me")).subject, "bob")
        assert.strictEqual(shown(yield* shared.send("GET", "/me")).subject, null)
      }
      // Whoever signs out, or in, has another cookie.
      yield* ada.send("POST", "/logout")
      assert.strictEqual(shown(yield* ada.send("GET", "/me")).subject, null)
      assert.strictEqual(shown(yield* bob.send("GET", "/me")).subject, "bob")
    }))

  it.live("no cookie is kept: not that of a new visitor, and not one whose expiry alone is new", () =>
    Effect.gen(function*() {
      const { ada, bob, shared } = yield* setUp
      for (const path of ["/visit", "/extend", "/cookies/visit", "/cookies/extend"]) {
        const tokens: Array<string | undefined> = []
        for (const one of [shared, shared, ada, bob, ada, bob]) {
          const answer = yield* one.send("GET", path)
          const token = tokenOf(answer)
          // Of what sets no cookie, each client may get again what it got.
          if (token !== undefined) assert.strictEqual(answer.header("x-cache"), "MISS")
          tokens.push(token)
        }
        const [first, second, ofAda, ofBob] = tokens
        if (path.endsWith("/visit")) {
          assert.notStrictEqual(first, second)
          assert.deepStrictEqual([ofAda, ofBob], [undefined, undefined])
        } else {
          assert.strictEqual(`session=${ofAda}`, ada.cookie())
          assert.strictEqual(`session=${ofBob}`, bob.cookie())
          assert.notStrictEqual(ofAda, ofBob)
        }
      }
    }))

  it.live("one that cares for none of that delivers the pages and the cookies of others", () =>
    Effect.gen(function*() {
      const { ada, bob } = yield* setUp
      assert.strictEqual(shown(yield* ada.send("GET", "/careless/me")).subject, "ada")
      assert.strictEqual(shown(yield* bob.send("GET", "/careless/me")).subject, "ada")
      const token = tokenOf(yield* ada.send("GET", "/careless/extend"))
      assert.isDefined(token)
      assert.strictEqual(tokenOf(yield* bob.send("GET", "/careless/extend")), token)
    }))
})
