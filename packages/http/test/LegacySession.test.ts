import { CookieStore, Revocations, SessionConfig } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { LegacySession, MovedSessions, SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as Legacy from "./LegacyApp.ts"
import * as App from "./SessionApp.ts"

const { shown, tokenOf, UserSession } = App
const ada = Legacy.expressCookie("ada-1")

const setup = Effect.fnUntraced(
  function*(options?: Partial<LegacySession.Options<Legacy.Data>>, routes?: typeof App.routes) {
    const store = yield* App.makeStore()
    const old = Legacy.oldStore()
    old.entries.set("sess:ada-1", Legacy.expressRecord({ user: "ada", n: 7 }))
    const reader = yield* Legacy.expressReader(old)
    const client = yield* App.inProcess(Legacy.application(store, reader, options, routes))
    const send = (cookie: string, path = "/me", method = "GET") => client.send(method, path, { headers: { cookie } })
    /** The live sessions of ours, without the marks. */
    const sessions = Effect.map(store.entries, (entries) => entries.filter(({ record }) => record.payload !== "moved"))
    return { store, old, client, send, sessions }
  }
)

const ours = (answer: App.Reply): string => {
  const token = tokenOf(answer)
  if (token === undefined) assert.fail("a cookie was expected")
  return `session=${token}`
}

const isAnonymous = (answer: App.Reply) => {
  assert.strictEqual(answer.status, 200)
  assert.deepStrictEqual(shown(answer), { status: "anonymous", subject: null, n: 0, note: "" })
  assert.isUndefined(tokenOf(answer))
}

describe("LegacySession", () => {
  it.effect("moves a live session in under an id of ours, and tells nobody to cache it", () =>
    Effect.gen(function*() {
      const { old, send, store } = yield* setup()
      const answer = yield* send(ada)
      assert.deepStrictEqual(shown(answer), { status: "active", subject: "ada", n: 7, note: "moved" })
      assert.strictEqual(answer.header("vary"), "Cookie")
      assert.strictEqual(answer.header("cache-control"), "no-store")
      assert.strictEqual(answer.setCookies.length, 1)
      assert.notInclude(JSON.stringify(yield* store.entries), "ada-1")
      // The old application still has it.
      assert.isTrue(old.entries.has("sess:ada-1"))
      const next = yield* send(`${ada}; ${ours(answer)}`)
      assert.deepStrictEqual(shown(next), { status: "active", subject: "ada", n: 7, note: "moved" })
      assert.strictEqual(old.reads, 1)
    }))

  it.effect("reads nothing for a route that does not use its session, and moves at the first that does", () =>
    Effect.gen(function*() {
      const { old, send, store } = yield* setup()
      const plain = yield* send(ada, "/plain")
      assert.deepStrictEqual([plain.body, plain.setCookies.length, old.reads, store.calls.length], ["plain", 0, 0, 0])
      assert.strictEqual(shown(yield* send(ada)).subject, "ada")
    }))

  it.effect("a write in the request of the move goes on top of what arrived", () =>
    Effect.gen(function*() {
      const { send, sessions } = yield* setup()
      const answer = yield* send(ada, "/inc", "POST")
      assert.strictEqual(shown(answer).n, 8)
      assert.strictEqual(shown(yield* send(ours(answer))).n, 8)
      assert.strictEqual((yield* sessions).length, 1)
    }))

  it.effect("is off without the layer", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* App.inProcess(App.withSession(App.routes, store))
      isAnonymous(yield* client.send("GET", "/me", { headers: { cookie: ada } }))
    }))

  it.effect("moves nothing from the deadline on", () =>
    Effect.gen(function*() {
      const { old, send } = yield* setup({ deadline: "1970-01-01T01:00:00Z" })
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(shown(yield* send(ada)).subject, "ada")
      const { send: later } = yield* setup({ deadline: "1970-01-01T01:00:00Z" })
      yield* TestClock.adjust("1 minute")
      isAnonymous(yield* later(ada))
      assert.strictEqual(old.reads, 1)
    }))

  it.effect("refuses a deadline that is no instant, or too far, and no sources", () =>
    Effect.gen(function*() {
      const reader = yield* Legacy.expressReader(Legacy.oldStore())
      const sources = [{ reader, map: Legacy.arrive }]
      const attempt = (options: LegacySession.Options<Legacy.Data>) =>
        LegacySession.make(options).pipe(
          Effect.as("made"),
          Effect.catchDefect((error) => Effect.succeed(error instanceof RangeError ? "refused" : "broken")),
          Effect.provideService(MovedSessions.MovedSessions, {
            claim: () => Effect.succeed(true),
            release: () => Effect.void
          })
        )
      assert.strictEqual(yield* attempt({ sources, deadline: "1971-01-31" }), "made")
      for (const deadline of ["", "soon", "1970-01-02T00:00:00", "1971-02-06", new Date(NaN)]) {
        assert.strictEqual(yield* attempt({ sources, deadline }), "refused", String(deadline))
      }
      assert.strictEqual(yield* attempt({ sources: [], deadline: "1970-02-01" }), "refused")
      assert.strictEqual(yield* attempt({ sources, deadline: "1970-02-01", timeout: 0 }), "refused")
    }))
})

describe("a session is moved once", () => {
  it.effect("its cookie alone brings nothing back after the move", () =>
    Effect.gen(function*() {
      const { send, sessions } = yield* setup()
      ours(yield* send(ada))
      isAnonymous(yield* send(ada))
      isAnonymous(yield* send(ada))
      assert.strictEqual((yield* sessions).length, 1)
    }))

  it.effect("its cookie brings nothing back after our session was signed out", () =>
    Effect.gen(function*() {
      const { old, send, sessions } = yield* setup()
      const session = ours(yield* send(ada))
      yield* send(session, "/logout", "POST")
      // Only the copy of a thief is left; the record is still there.
      assert.isTrue(old.entries.has("sess:ada-1"))
      isAnonymous(yield* send(ada))
      assert.deepStrictEqual(yield* sessions, [])
    }))

  it.effect("nor after it has expired, nor under a stale cookie of ours", () =>
    Effect.gen(function*() {
      const { send } = yield* setup()
      const session = ours(yield* send(ada))
      yield* TestClock.adjust("2 hours")
      isAnonymous(yield* send(ada))
      const stale = yield* send(`${session}; ${ada}`)
      assert.strictEqual(shown(stale).subject, null)
      assert.isUndefined(tokenOf(stale))
    }))

  it.effect("of twenty requests at once, one moves it", () =>
    Effect.gen(function*() {
      const { send, sessions } = yield* setup()
      const answers = yield* Effect.all(Array.from({ length: 20 }, () => send(ada)), { concurrency: "unbounded" })
      assert.strictEqual(answers.filter((answer) => tokenOf(answer) !== undefined).length, 1)
      assert.isTrue(answers.every(({ status }) => status === 200))
      assert.strictEqual((yield* sessions).length, 1)
    }))

  it.effect("a new sign-in at the old application is another session, and is moved", () =>
    Effect.gen(function*() {
      const { old, send } = yield* setup()
      const first = ours(yield* send(ada))
      yield* send(`${first}; ${ada}`, "/logout", "POST")
      old.entries.set("sess:ada-2", Legacy.expressRecord({ user: "ada", n: 9 }))
      assert.strictEqual(shown(yield* send(Legacy.expressCookie("ada-2"))).n, 9)
    }))

  it.effect("also where the list of cookie mode remembers it", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      old.entries.set("sess:ada-1", Legacy.expressRecord({ user: "ada", n: 7 }))
      const reader = yield* Legacy.expressReader(old)
      const client = yield* App.inProcess(App.routes.pipe(
        Layer.provide(SessionMiddleware.layer(UserSession)),
        Layer.provide(
          LegacySession.layer(UserSession, { sources: [{ reader, map: Legacy.arrive }], deadline: "1970-01-02" })
        ),
        Layer.provide(MovedSessions.layerRevocations),
        Layer.provide(CookieStore.layer()),
        Layer.provide([Revocations.layerMemory(), CryptoNode.layer]),
        Layer.provide(SessionConfig.layer({ preset: "testing" }))
      ))
      const answer = yield* client.send("GET", "/me", { headers: { cookie: ada } })
      assert.strictEqual(shown(answer).subject, "ada")
      isAnonymous(yield* client.send("GET", "/me", { headers: { cookie: ada } }))
      assert.strictEqual(shown(yield* client.send("GET", "/me", { headers: { cookie: ours(answer) } })).n, 7)
    }))
})

describe("both sides run", () => {
  it.effect("a live session of ours wins, and the old one is not even read", () =>
    Effect.gen(function*() {
      const { client, old, send } = yield* setup()
      const bob = ours(yield* client.send("POST", "/login?as=bob"))
      assert.strictEqual(shown(yield* send(`${ada}; ${bob}`)).subject, "bob")
      assert.strictEqual(old.reads, 0)
    }))

  it.effect("two cookies of ours are none, and no reason to look for an old one", () =>
    Effect.gen(function*() {
      const { old, send } = yield* setup()
      assert.strictEqual(shown(yield* send(`session=a; session=b; ${ada}`)).status, "invalid")
      assert.strictEqual(old.reads, 0)
    }))

  it.effect("signing out of ours signs out of the old one: its record is gone and its cookie is cleared", () =>
    Effect.gen(function*() {
      const { old, send } = yield* setup()
      const session = ours(yield* send(ada))
      const answer = yield* send(`${ada}; ${session}`, "/logout", "POST")
      assert.isFalse(old.entries.has("sess:ada-1"))
      assert.deepStrictEqual(answer.setCookies.map((line) => line.slice(0, line.indexOf(";"))).toSorted(), [
        "connect.sid=",
        "session="
      ])
    }))

  it.effect("signing out with an old session that was never moved ends that one too", () =>
    Effect.gen(function*() {
      const { client, old, send } = yield* setup()
      const bob = ours(yield* client.send("POST", "/login?as=bob"))
      yield* send(`${ada}; ${bob}`, "/logout", "POST")
      assert.isFalse(old.entries.has("sess:ada-1"))
      // Also where the old application writes it back.
      old.entries.set("sess:ada-1", Legacy.expressRecord({ user: "ada" }))
      isAnonymous(yield* send(ada))
    }))

  it.effect("signing out by the old cookie alone leaves nothing behind", () =>
    Effect.gen(function*() {
      const { old, send, sessions } = yield* setup()
      const answer = yield* send(ada, "/logout", "POST")
      assert.deepStrictEqual(answer.setCookies.map((line) => line.slice(0, line.indexOf("="))), ["connect.sid"])
      assert.isFalse(old.entries.has("sess:ada-1"))
      assert.deepStrictEqual(yield* sessions, [])
    }))

  it.effect("also where the handler has committed the end itself, and where a new session follows", () =>
    Effect.gen(function*() {
      for (const then of [UserSession.commit, UserSession.set({ n: 0, note: "goodbye" })]) {
        const leave = Effect.as(Effect.andThen(UserSession.destroy, then), HttpServerResponse.empty())
        const { old, send } = yield* setup({}, Layer.merge(App.routes, HttpRouter.add("POST", "/leave", leave)))
        const answer = yield* send(ada, "/leave", "POST")
        assert.isTrue(answer.setCookies.some((line) => line.startsWith("connect.sid=;")))
        assert.isFalse(old.entries.has("sess:ada-1"))
      }
    }))

  it.effect("also where it was refused, and the handler has committed the end itself", () =>
    Effect.gen(function*() {
      const leave = Effect.as(Effect.andThen(UserSession.destroy, UserSession.commit), HttpServerResponse.empty())
      const routes = Layer.merge(App.routes, HttpRouter.add("POST", "/leave", leave))
      const { old, send } = yield* setup({}, routes)
      old.entries.set("sess:ada-1", Legacy.expressRecord({ user: "broken" }))
      const answer = yield* send(ada, "/leave", "POST")
      assert.isTrue(answer.setCookies.some((line) => line.startsWith("connect.sid=;")))
      assert.isFalse(old.entries.has("sess:ada-1"))
    }))

  it.effect("with keepOld off, the move ends the old session", () =>
    Effect.gen(function*() {
      const { old, send } = yield* setup({ keepOld: false })
      const answer = yield* send(ada)
      assert.isFalse(old.entries.has("sess:ada-1"))
      assert.deepStrictEqual(answer.setCookies.map((line) => line.slice(0, line.indexOf("="))).toSorted(), [
        "connect.sid",
        "session"
      ])
    }))

  it.effect("a request that fails keeps what it has moved", () =>
    Effect.gen(function*() {
      const fails = HttpRouter.add("GET", "/fails", Effect.andThen(UserSession.get, Effect.die("a bug")))
      const { send } = yield* setup({}, Layer.merge(App.routes, fails))
      const answer = yield* send(ada, "/fails")
      assert.strictEqual(answer.status, 500)
      assert.strictEqual(shown(yield* send(ours(answer))).subject, "ada")
    }))

  it.effect("every operation moves first, the status too", () =>
    Effect.gen(function*() {
      const operations: Record<string, Effect.Effect<unknown, unknown, App.UserSession>> = {
        status: UserSession.status,
        subject: UserSession.subject,
        info: UserSession.info,
        renew: UserSession.renew,
        flash: UserSession.flash.notice("hello"),
        commit: UserSession.commit,
        readonly: Effect.flatMap(UserSession.readonly, (session) => session.get)
      }
      for (const [name, operation] of Object.entries(operations)) {
        const route = HttpRouter.add("GET", "/it", Effect.as(Effect.orDie(operation), HttpServerResponse.empty()))
        const { send } = yield* setup({}, Layer.merge(App.routes, route))
        const answer = yield* send(ada, "/it")
        assert.strictEqual(shown(yield* send(ours(answer))).subject, "ada", name)
      }
    }))
})

describe("what cannot be taken over", () => {
  it.effect("is as if it were not there when the function refuses it or throws, and may come again", () =>
    Effect.gen(function*() {
      const { old, send } = yield* setup()
      for (const record of ["null", "[]", "{", "", Legacy.expressRecord({ user: "broken" })]) {
        old.entries.set("sess:ada-1", record)
        isAnonymous(yield* send(ada))
      }
      old.entries.set("sess:ada-1", Legacy.expressRecord({ user: "ada" }))
      assert.strictEqual(shown(yield* send(ada)).subject, "ada")
    }))

  it.effect("is as if it were not there when our schema, our limits or the subject refuse it", () =>
    Effect.gen(function*() {
      for (
        const map of [
          () => ({ data: { n: 0, note: 1 as unknown as string } }),
          () => ({ data: { n: 0, note: "x".repeat(70_000) } }),
          () => ({ data: { n: 0, note: "" }, subject: "" }),
          () => ({ data: { n: 0, note: "a" }, lifetime: { lifetime: -1 } })
        ]
      ) {
        const old = Legacy.oldStore()
        old.entries.set("sess:ada-1", Legacy.expressRecord({}))
        const { send, sessions } = yield* setup({ sources: [{ reader: yield* Legacy.expressReader(old), map }] })
        isAnonymous(yield* send(ada))
        assert.deepStrictEqual(yield* sessions, [])
      }
    }))

  it.effect("an outage of the old store is an outage and no sign-out", () =>
    Effect.gen(function*() {
      const { old, send } = yield* setup()
      old.down = true
      const answer = yield* send(ada, "/inc", "POST")
      assert.strictEqual(answer.status, 503)
      assert.isDefined(answer.header("retry-after"))
      assert.deepStrictEqual(answer.setCookies, [])
      old.down = false
      assert.strictEqual(shown(yield* send(ada)).subject, "ada")
    }))

  it.effect("an old store that hangs is one too", () =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<void>()
      const get = () => Effect.andThen(Deferred.succeed(asked, undefined), Effect.never)
      const reader = yield* Legacy.expressReader({ get })
      const { send } = yield* setup({ sources: [{ reader, map: Legacy.arrive }] })
      const fiber = yield* Effect.forkChild(send(ada, "/inc", "POST"))
      yield* Deferred.await(asked)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber)).status, 503)
    }))

  it.effect("an outage of our store takes no session away: the move is tried again", () =>
    Effect.gen(function*() {
      const { send, sessions, store } = yield* setup()
      // The mark is made, and then the store refuses every other create.
      let creates = 0
      store.before = (method) => method === "create" && ++creates % 2 === 0 ? App.down : Effect.void
      assert.strictEqual((yield* send(ada)).status, 503)
      assert.deepStrictEqual(yield* store.entries, [])
      store.before = () => Effect.void
      assert.strictEqual(shown(yield* send(ada)).subject, "ada")
      assert.strictEqual((yield* sessions).length, 1)
    }))
})
