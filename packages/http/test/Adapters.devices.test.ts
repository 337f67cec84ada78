/** What takes an effect, such as the list of devices, behind every adapter. */
import { SessionDevices, SessionError, SessionEvents } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Adapters from "./AdapterApp.ts"
import * as App from "./SessionApp.ts"

const { UserSession } = App

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
const safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19.0 Safari/604.1"

// Events are told beside the request, not before it ends.
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const json = (value: unknown): Adapters.Answer => ({ body: JSON.stringify(value) })

const routes: Adapters.Routes = {
  ...Adapters.routes,
  "/devices": async (_session, _query, { runEffect }) => json(await runEffect(SessionDevices.list(UserSession))),
  "/revoke": async (_session, query, { runEffect }) =>
    json(await runEffect(SessionDevices.revoke(UserSession, query.get("handle") ?? ""))),
  "/revoke-others": async (_session, _query, { runEffect }) =>
    json(await runEffect(SessionDevices.revokeOthers(UserSession))),
  "/revoke-all": async (_session, _query, { runEffect }) =>
    json(await runEffect(SessionDevices.revokeAll(UserSession))),
  "/twice": async (session, _query, { runEffect }) => {
    await Adapters.increment(session)
    await runEffect(App.increment)
    return Adapters.show(session)
  },
  "/own-error": async (_session, _query, { runEffect }) =>
    json(await runEffect(Effect.fail("taken")).catch((error: unknown) => error)),
  "/forgotten": async (_session, _query, { runEffect }) => {
    void runEffect(Effect.andThen(App.increment, Effect.fail("nobody looks")))
    return { body: "done" }
  },
  "/read": async (_session, _query, { reader, runEffect }) => {
    reader({ access: "read" })
    return json(
      await runEffect(App.increment).catch((error: unknown) =>
        SessionError.isSessionError(error) ? error.reason._tag : "another"
      )
    )
  }
}

describe.each(Object.entries(Adapters.servers))("effects in the session of a request, %s", (_name, serve) => {
  const setUp = Effect.gen(function*() {
    const events: Array<string> = []
    const store = yield* App.makeStore()
    const client = yield* serve(routes, store, {
      client: true,
      events: SessionEvents.layer({
        hooks: { revoked: ({ reason, subject }) => Effect.sync(() => void events.push(`${subject} ${reason}`)) }
      })
    })
    const signIn = (agent: string, as = "ada") =>
      Effect.map(
        client.send("POST", `/login?as=${as}`, { headers: { "user-agent": agent } }),
        (answer) => App.tokenOf(answer) ?? ""
      )
    const ask = (token: string | undefined, path: string, method = "POST") =>
      client.send(method, path, token === undefined ? {} : { headers: { cookie: `session=${token}` } })
    const devices = (token: string) =>
      Effect.map(ask(token, "/devices", "GET"), ({ body }): ReadonlyArray<SessionDevices.Device> => JSON.parse(body))
    const who = (token: string) => Effect.map(ask(token, "/me", "GET"), (answer) => App.shown(answer).subject)
    return { ask, devices, events, signIn, store, who }
  })

  it.effect("users see their devices, and end one, the others, and all", () =>
    Effect.gen(function*() {
      const { ask, devices, events, signIn, who } = yield* setUp
      const desk = yield* signIn(firefox)
      const phone = yield* signIn(safari)
      const eve = yield* signIn(firefox, "eve")
      const seen = yield* devices(desk)
      assert.deepStrictEqual(
        seen.map(({ client, current }) => [client.browser, client.system, current]),
        [["Firefox", "Linux", true], ["Safari", "iOS", false]]
      )
      const [, { handle }] = seen
      assert.strictEqual((yield* ask(eve, `/revoke?handle=${handle}`)).body, "false")
      assert.strictEqual((yield* ask(desk, `/revoke?handle=${handle}`)).body, "true")
      assert.deepStrictEqual([yield* who(phone), yield* who(desk)], [null, "ada"])
      while (events.length === 0) yield* turn
      assert.deepStrictEqual(events, ["ada by its user"])

      const again = yield* signIn(safari)
      assert.strictEqual((yield* ask(again, "/revoke-others")).body, "1")
      assert.deepStrictEqual([yield* who(desk), yield* who(again)], [null, "ada"])
      yield* signIn(firefox)
      const all = yield* ask(again, "/revoke-all")
      assert.deepStrictEqual([all.body, App.tokenOf(all)], ["2", ""])
      assert.deepStrictEqual([yield* who(again), yield* who(eve)], [null, "eve"])
    }))

  it.effect("nobody's devices are a 401, and an outage a 503", () =>
    Effect.gen(function*() {
      const { ask, signIn, store } = yield* setUp
      assert.strictEqual((yield* ask(undefined, "/devices", "GET")).status, 401)
      const token = yield* signIn(firefox)
      store.before = () => App.down
      assert.strictEqual((yield* ask(token, "/devices", "GET")).status, 503)
    }))

  it.effect("an effect and the promises of a request have one session, and one commit", () =>
    Effect.gen(function*() {
      const { ask, store } = yield* setUp
      const answer = yield* ask(undefined, "/twice")
      assert.deepStrictEqual([App.shown(answer).n, answer.setCookies.length], [2, 1])
      assert.deepStrictEqual(store.calls, ["create"])
    }))

  it.effect("its failure is the promise's, and the request's where nobody looks", () =>
    Effect.gen(function*() {
      const { ask, store } = yield* setUp
      assert.strictEqual((yield* ask(undefined, "/own-error")).body, "\"taken\"")
      assert.strictEqual((yield* ask(undefined, "/forgotten")).status, 500)
      assert.deepStrictEqual(store.calls, [])
    }))

  it.effect("what a route has said holds for it too", () =>
    Effect.gen(function*() {
      const { ask } = yield* setUp
      assert.strictEqual((yield* ask(undefined, "/read")).body, "\"ReadOnly\"")
    }))
})
