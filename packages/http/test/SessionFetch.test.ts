import { Session } from "@effect-session/core"
import { SessionFetch } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Adapters from "./AdapterApp.ts"
import * as App from "./SessionApp.ts"

const { increment } = Adapters
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const get = (token?: string, options?: RequestInit) =>
  new Request("http://app.test/", {
    ...options,
    headers: token === undefined ? {} : { cookie: `session=${token}` }
  })

const tokenOf = (response: Response) => /^session=([^;]*)/.exec(response.headers.getSetCookie().join("\n"))?.[1]

describe("SessionFetch", () => {
  it.effect("responses whose headers cannot be changed are copied", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.fetchSessions(store)
      const handler = sessions.handler(async (request) => {
        await increment(sessions.of(request))
        return Response.redirect("http://app.test/next", 303)
      })
      const response = yield* Effect.promise(() => handler(get()))
      assert.deepStrictEqual([response.status, response.headers.get("location")], [303, "http://app.test/next"])
      assert.strictEqual(tokenOf(response)?.length, 47)
    }))

  it.effect("a response that nobody can add a cookie to is an error, not a cookie that is missing", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.fetchSessions(store)
      const failed = (write: boolean) =>
        Effect.promise(() =>
          sessions.handler(async (request) => {
            if (write) await increment(sessions.of(request))
            return Response.error()
          })(get()).then(({ type }) => type, (error: Error) => error.message)
        )
      assert.strictEqual(yield* failed(false), "error")
      assert.match(yield* failed(true), /cannot be given the cookie of its session/)
    }))

  it.effect("an upgrade does not renew the id by age: its response could not say so", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const config = {
        preset: "testing",
        sliding: true,
        renewalInterval: "1 minute",
        renewalGrace: "1 second"
      } as const
      const sessions = yield* Adapters.fetchSessions(store, { config })
      const answer = (status: number, token?: string) =>
        Effect.promise(() =>
          sessions.handler(async (request) => {
            await (token === undefined ? increment(sessions.of(request)) : sessions.of(request).get())
            // Node makes no response with status 101, Workers do; its headers are as fixed as those of an error.
            return Object.defineProperty(Response.error(), "status", { value: status })
          })(get(token)).then((response) => response, (error: Error) => error)
        )
      const first = yield* Effect.promise(() =>
        sessions.handler(async (request) => {
          await increment(sessions.of(request))
          return new Response()
        })(get())
      )
      yield* TestClock.adjust("2 minutes")
      assert.instanceOf(yield* answer(101, tokenOf(first)), Response)
      yield* TestClock.adjust("1 minute")
      const after = yield* Effect.promise(() =>
        sessions.handler(async (request) => new Response(await sessions.of(request).status()))(get(tokenOf(first)))
      )
      assert.strictEqual(yield* Effect.promise(() => after.text()), "active")
      assert.isDefined(tokenOf(after))
    }))

  it.effect("what a handler gets besides the request is handed on", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.fetchSessions(store)
      const handler = sessions.handler((_request, env: { readonly name: string }, n: number) =>
        new Response(env.name + n)
      )
      const response = yield* Effect.promise(() => handler(get(), { name: "a" }, 1))
      assert.strictEqual(yield* Effect.promise(() => response.text()), "a1")
      assert.isNull(response.headers.get("vary"))
    }))

  it.effect("frameworks that make requests of their own get the session itself", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.fetchSessions(store)
      const request = get()
      const response = yield* Effect.promise(() =>
        sessions.run(request, async (session) => {
          assert.throws(() => sessions.of(new Request(request)), /test\/UserSession: the request has no session/)
          assert.strictEqual(sessions.of(request), session)
          // Within the same request it is the same session.
          return sessions.run(request, async (inner) => {
            await increment(inner)
            return new Response("done")
          })
        })
      )
      assert.strictEqual(response.headers.getSetCookie().length, 1)
      assert.deepStrictEqual(store.calls, ["create"])
    }))

  it.effect("a framework that answers errors itself can say that the request has failed", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.fetchSessions(store)
      const handler = sessions.handler(async (request) => {
        try {
          await increment(sessions.of(request))
          await sessions.of(request).elevate("1 minute")
          return new Response("done")
        } catch (error) {
          sessions.fail(request)
          return sessions.answer(error) ?? new Response("sorry", { status: 500 })
        }
      })
      const response = yield* Effect.promise(() => handler(get()))
      assert.deepStrictEqual([response.status, response.headers.getSetCookie()], [401, []])
      assert.deepStrictEqual(yield* store.keys, [])
    }))

  it.effect("a request that was aborted keeps the end of its session only", () =>
    Effect.gen(function*() {
      const operations: Record<string, (session: Adapters.Session) => Promise<unknown>> = {
        write: increment,
        login: (session) => session.login("ada"),
        renew: (session) => session.renew(),
        logout: (session) => session.destroy()
      }
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.fetchSessions(store)
      for (const [name, operation] of Object.entries(operations)) {
        const begin = sessions.handler(async (request) => {
          await increment(sessions.of(request))
          return new Response()
        })
        const token = tokenOf(yield* Effect.promise(() => begin(get())))
        const controller = new AbortController()
        const handler = sessions.handler(async (request) => {
          await operation(sessions.of(request))
          controller.abort()
          return new Response("nobody reads this")
        })
        const answer = yield* Effect.promise(() => handler(get(token, { signal: controller.signal })))
        if (name !== "logout") assert.deepStrictEqual(answer.headers.getSetCookie(), [])
        const look = sessions.handler(async (request) => Response.json(await sessions.of(request).get()))
        const me = yield* Effect.promise(() => look(get(token)).then((response) => response.json()))
        assert.deepStrictEqual(me, { n: name === "logout" ? 0 : 1, note: "" }, name)
      }
    }))

  it.effect("two services of one request commit both, and an outage of one discards the other's data", () =>
    Effect.gen(function*() {
      class Other extends Session.Service<Other>()("test/Other", {
        data: Schema.Struct({ level: Schema.Number }),
        initial: { level: 0 }
      }) {}
      const store = yield* App.makeStore()
      const otherStore = yield* App.makeStore()
      const user = yield* Adapters.fetchSessions(store)
      const layer = yield* Adapters.layerOf(otherStore, undefined)
      const other = yield* Effect.acquireRelease(
        Effect.promise(() => SessionFetch.make(Other, layer, { cookie: { name: "other", secure: false } })),
        ({ close }) => Effect.promise(close)
      )
      const handler = other.handler(user.handler(async (request) => {
        await increment(user.of(request))
        const { level } = await other.of(request).update(({ level }) => ({ level: level + 1 }))
        return new Response(String(level))
      }))
      const first = yield* Effect.promise(() => handler(get()))
      const names = (response: Response) => response.headers.getSetCookie().map((line) => line.split("=")[0])
      assert.deepStrictEqual(names(first), ["session", "other"])
      assert.strictEqual(first.headers.get("vary"), "Cookie")
      store.before = (method) => method === "create" ? App.down : Effect.void
      const failed = yield* Effect.promise(() => handler(get()))
      assert.deepStrictEqual([failed.status, names(failed)], [503, []])
      assert.strictEqual((yield* otherStore.keys).length, 1)
      store.before = () => Effect.void
      otherStore.before = (method) => method === "create" ? App.down : Effect.void
      const half = yield* Effect.promise(() => handler(get()))
      assert.deepStrictEqual([half.status, names(half)], [503, ["session"]])
    }))

  it.effect("a response is not handed on before its session is stored", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.fetchSessions(store)
      const gate = yield* Deferred.make<void>()
      const asked = yield* Deferred.make<void>()
      store.before = () => Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(gate))
      let over = false
      const response = sessions.handler(async (request) => {
        await increment(sessions.of(request))
        return new Response("done")
      })(get()).finally(() => (over = true))
      yield* Deferred.await(asked)
      yield* turn
      assert.isFalse(over)
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual(tokenOf(yield* Effect.promise(() => response))?.length, 47)
    }))
})
