/** What a route behind an adapter says about its session. */
import { MemoryStore, OutagePolicy, Resilience, type SessionError } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Adapters from "./AdapterApp.ts"
import * as App from "./SessionApp.ts"

const { increment, show } = Adapters
const { shown } = App
const cookie = (token: string | undefined) => ({ headers: { cookie: `session=${token}` } })
const reasonOf = (promise: Promise<unknown>) =>
  promise.then(() => "done", (error: SessionError.SessionError) => error.reason._tag)

const more: Adapters.Routes = {
  ...Adapters.routes,
  "/poll": async (session, _query, { of }) => {
    of({ passive: true })
    return show(session)
  },
  "/read": async (_session, _query, { reader }) => {
    const session = reader({ access: "read" })
    return {
      body: JSON.stringify({
        status: await session.status(),
        subject: await session.subject() ?? null,
        n: (await session.get()).n,
        isNew: await session.isNew(),
        elevated: await session.isElevated(),
        lastSeenAt: (await session.info())?.lastSeenAt ?? null,
        expiresAt: await session.expiresAt() ?? null,
        named: await session.handle() !== undefined,
        served: await session.served() ?? null,
        methods: Object.keys(session)
      })
    }
  },
  "/sneak": async (session, _query, { reader }) => {
    const { n } = await reader({ access: "read" }).get()
    const reasons = [
      await reasonOf(increment(session)),
      await reasonOf(session.login("eve")),
      await reasonOf(session.renew()),
      await reasonOf(session.touch()),
      await reasonOf(session.destroy()),
      await reasonOf(session.flash.add("notice", "hello"))
    ]
    return { body: [n, ...reasons].join() }
  }
}

const life = { preset: "testing", sliding: true, idleTimeout: "10 minutes", touchInterval: "1 minute" } as const

describe.each(Object.entries(Adapters.servers))("routes behind %s", (_name, serve) => {
  it.effect("a passive request does not keep its session alive, and gets no new id", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(more, store, { config: { ...life, renewalInterval: "2 minutes" } })
      const token = App.tokenOf(yield* client.send("POST", "/login"))
      store.calls.length = 0
      for (let i = 0; i < 9; i++) {
        yield* TestClock.adjust("1 minute")
        const answer = yield* client.send("GET", "/poll", cookie(token))
        assert.deepStrictEqual([shown(answer).subject, answer.setCookies], ["ada", []])
      }
      assert.deepStrictEqual([...new Set(store.calls)], ["load"])
      yield* TestClock.adjust("1 minute")
      assert.isNull(shown(yield* client.send("GET", "/me", cookie(token))).subject)
      // The same without a word about it.
      const active = App.tokenOf(yield* client.send("POST", "/login"))
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual((yield* client.send("GET", "/me", cookie(active))).setCookies.length, 1)
    }))

  it.effect("a route that only reads shows the session, and neither writes, touches nor renews it", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(more, store, { config: { ...life, renewalInterval: "2 minutes" } })
      const stranger = yield* client.send("GET", "/read")
      assert.deepStrictEqual([JSON.parse(stranger.body).status, stranger.setCookies], ["anonymous", []])
      const token = App.tokenOf(yield* client.send("POST", "/login"))
      store.calls.length = 0
      yield* TestClock.adjust("3 minutes")
      const answer = yield* client.send("GET", "/read", cookie(token))
      const { methods, ...read } = JSON.parse(answer.body)
      assert.deepStrictEqual(read, {
        status: "active",
        subject: "ada",
        n: 0,
        isNew: false,
        elevated: false,
        lastSeenAt: 0,
        expiresAt: 600_000,
        named: true,
        served: null
      })
      for (const name of ["set", "update", "login", "destroy", "renew", "touch", "flash", "commit"]) {
        assert.notInclude(methods, name)
      }
      assert.deepStrictEqual([answer.setCookies, answer.header("vary")], [[], "Cookie"])
      assert.deepStrictEqual(store.calls, ["load"])
    }))

  it.effect("what else writes in a request that only reads is refused", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(more, store)
      const token = App.tokenOf(yield* client.send("POST", "/inc"))
      store.calls.length = 0
      const answer = yield* client.send("POST", "/sneak", cookie(token))
      assert.deepStrictEqual([answer.body, answer.setCookies], [`1${",ReadOnly".repeat(6)}`, []])
      assert.deepStrictEqual(store.calls, ["load"])
    }))

  it.effect("a route without a session looks at no cookie, and is as if it had none", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve({
        ...more,
        "/none": async (session, _query, { reader }) => {
          const none = reader({ access: "none" })
          const seen = [await none.status(), (await none.get()).n, await none.subject() ?? null]
          return { body: [...seen, await reasonOf(increment(session)), await reasonOf(session.destroy())].join() }
        },
        "/unhandled": async (session, _query, { reader }) => {
          reader({ access: "none" })
          return { body: String((await increment(session)).n) }
        }
      }, store)
      const token = App.tokenOf(yield* client.send("POST", "/inc"))
      store.calls.length = 0
      for (const value of [token, `${token}; session=${token}`, undefined]) {
        const answer = yield* client.send("POST", "/none", cookie(value))
        assert.strictEqual(answer.body, "anonymous,0,,ReadOnly,ReadOnly")
        assert.deepStrictEqual([answer.setCookies, answer.header("vary")], [[], undefined])
      }
      assert.strictEqual((yield* client.send("POST", "/unhandled", cookie(token))).status, 500)
      assert.deepStrictEqual(store.calls, [])
    }))

  it.effect("a route that may change data, and nothing that needs a new cookie", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve({
        ...more,
        "/data": async (_session, _query, { of }) => {
          const session = of({ access: "data" })
          return { body: [await reasonOf(increment(session)), await reasonOf(session.login("eve"))].join() }
        }
      }, store)
      const token = App.tokenOf(yield* client.send("POST", "/inc"))
      const answer = yield* client.send("POST", "/data", cookie(token))
      assert.deepStrictEqual([answer.body, answer.setCookies], ["done,Undeliverable", []])
      assert.strictEqual(shown(yield* client.send("GET", "/me", cookie(token))).n, 2)
      assert.strictEqual((yield* client.send("POST", "/data")).body, "Undeliverable,Undeliverable")
    }))

  it.effect("each route has its outage policy", () =>
    Effect.gen(function*() {
      const standIn = MemoryStore.make()
      const { store: fallback } = yield* standIn
      const policies: Record<string, OutagePolicy.OutagePolicy> = {
        "/fail": OutagePolicy.fail,
        "/stale": OutagePolicy.staleRead({ maxAge: "10 seconds" }),
        "/anonymous": OutagePolicy.anonymous,
        "/fallback": OutagePolicy.fallback(fallback)
      }
      const pages: Adapters.Routes = Object.fromEntries(
        Object.entries(policies).flatMap(([path, outage]) =>
          [
            [path, async (_session, _query, { of }): Promise<Adapters.Answer> => {
              const session = of({ outage })
              return { body: JSON.stringify([await session.status(), await session.subject(), await session.served()]) }
            }],
            [`${path}/read`, async (_session, _query, { reader }): Promise<Adapters.Answer> => {
              return { body: JSON.stringify([await reader({ access: "read", outage }).get()]) }
            }],
            [`${path}/write`, async (session, _query, { of }): Promise<Adapters.Answer> => {
              of({ outage })
              return { body: String((await increment(session)).n) }
            }]
          ] satisfies ReadonlyArray<readonly [string, Adapters.Handler]>
        )
      )
      const store = yield* App.makeStore()
      const over = Resilience.over({
        attempts: 1,
        copies: true,
        tripPolicy: { _tag: "Consecutive", failures: 1_000_000 }
      })
      const client = yield* serve({ ...more, ...pages }, { ...store, layer: over(store.layer) })
      const token = App.tokenOf(yield* client.send("POST", "/login"))
      const ask = (path: string, method = "GET") => client.send(method, path, cookie(token))
      yield* ask("/stale")
      Object.assign(store, { before: () => App.down })
      yield* TestClock.adjust("4 seconds")
      const shows = function*(path: string, expected: unknown) {
        const answer = yield* ask(path)
        assert.deepStrictEqual([answer.status, answer.setCookies], [200, []], path)
        assert.deepStrictEqual(JSON.parse(answer.body), expected)
      }
      const refuses = function*(path: string) {
        const answer = yield* ask(path, "POST")
        assert.deepStrictEqual([answer.status, answer.setCookies], [503, []], path)
      }
      yield* shows("/stale", ["active", "ada", { _tag: "Stale", age: 4000 }])
      yield* shows("/anonymous", ["unavailable", null, null])
      yield* shows("/anonymous/read", [{ n: 0, note: "" }])
      for (const path of ["/me", "/fail/read", "/fallback/read"]) yield* refuses(path)
      for (const path of Object.keys(policies)) yield* refuses(`${path}/write`)
      // A session that begins in the outage begins in the store that stands in.
      const begun = yield* client.send("POST", "/fallback/write")
      assert.deepStrictEqual([begun.status, begun.body, begun.setCookies.length], [200, "1", 1])
      assert.strictEqual((yield* client.send("POST", "/fail/write")).status, 503)
      assert.strictEqual((yield* client.send("GET", "/fallback/write", cookie(App.tokenOf(begun)))).body, "2")
      Object.assign(store, { before: () => Effect.void })
      yield* shows("/fail", ["active", "ada", null])
    }))
})
