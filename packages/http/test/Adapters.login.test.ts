/** Signing in behind the adapters: what becomes of a visitor's data, and several accounts side by side. */
import { Session } from "@effect-session/core"
import { type PromiseSession, SessionFetch } from "@effect-session/http"
import * as SessionNode from "@effect-session/http/SessionNode"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import * as Http from "node:http"
import * as Adapters from "./AdapterApp.ts"
import * as App from "./SessionApp.ts"

interface Theme {
  readonly theme: string
}

const account = { data: Schema.Struct({ theme: Schema.String }), initial: { theme: "light" } }
class First extends Session.Service<First>()("test/Account/0", account) {}
class Second extends Session.Service<Second>()("test/Account/1", account) {}

const secrets = Redacted.make("Wq8-Zr5_Kt2.Hn7+Lm3*Pd6!Xc9?Vb4@")

const routes: Adapters.Routes = {
  ...Adapters.routes,
  "/merge": async (session, query) => {
    await session.login(query.get("as") ?? "", (data, before) => ({ ...data, n: data.n + 100 + (before?.n ?? 0) }))
    return Adapters.show(session)
  }
}

describe.each(Object.entries(Adapters.servers))("signing in behind %s", (_name, serve) => {
  it.effect("takes over what the application takes of a visitor, and nothing of another user", () =>
    Effect.gen(function*() {
      const client = yield* serve(routes, yield* App.makeStore())
      const send = (path: string, token: string | undefined) =>
        client.send("POST", path, token === undefined ? {} : { headers: { cookie: `session=${token}` } })
      const visitor = App.tokenOf(yield* send("/note?text=mine", undefined))
      yield* send("/inc", visitor)
      const ada = yield* send("/merge?as=ada", visitor)
      // `note` is in `keepOnLogin`; `n` is what the function makes of it.
      assert.deepStrictEqual(App.shown(ada), { status: "active", subject: "ada", n: 101, note: "mine" })
      assert.notStrictEqual(App.tokenOf(ada), visitor)
      const eve = yield* send("/merge?as=eve", App.tokenOf(ada))
      assert.deepStrictEqual(App.shown(eve), { status: "active", subject: "eve", n: 100, note: "" })
    }))
})

describe("several accounts in one browser", () => {
  it.effect("have a cookie each, on node:http and as fetch handlers", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const layer = yield* Adapters.layerOf(store, { preset: "testing", secrets })
      const options = (slot: number) => ({ cookie: { name: `account${slot}` } })
      const node = yield* Effect.promise(async () => ({
        first: await SessionNode.make(First, layer, options(0)),
        second: await SessionNode.make(Second, layer, options(1))
      }))
      const web = yield* Effect.promise(async () => ({
        first: await SessionFetch.make(First, layer, options(0)),
        second: await SessionFetch.make(Second, layer, options(1))
      }))
      yield* Effect.addFinalizer(() =>
        Effect.promise(() => Promise.all([node.first, node.second, web.first, web.second].map(({ close }) => close())))
      )

      const answer = async (accounts: ReadonlyArray<PromiseSession.PromiseSession<Theme>>, path: string) => {
        const [, slot, name] = path.split("/")
        if (name === "logout") await accounts[Number(slot)].destroy()
        else if (name !== undefined) await accounts[Number(slot)].login(name)
        return JSON.stringify(await Promise.all(accounts.map((account) => account.subject())))
      }
      const { send } = yield* Adapters.listen(
        Http.createServer(node.first.listener((request, response) =>
          node.second.listener(async (request, response) => {
            response.end(await answer([node.first.of(request), node.second.of(request)], request.url ?? ""))
          })(request, response)
        ))
      )
      const handler = web.first.handler(web.second.handler(async (request) => {
        const accounts = [web.first.of(request), web.second.of(request)]
        return new Response(await answer(accounts, new URL(request.url).pathname))
      }))

      const jar = new Map<string, string>()
      const keep = (lines: ReadonlyArray<string>) => {
        for (const line of lines) {
          const [name, value] = line.split(";")[0].split("=")
          if (value === "") {
            jar.delete(name)
          } else jar.set(name, value)
        }
      }
      const cookie = () => [...jar].map((pair) => pair.join("=")).join("; ")
      const viaNode = (path: string) =>
        Effect.map(send("POST", path, { headers: { cookie: cookie() } }), ({ body, setCookies }) => {
          keep(setCookies)
          return body
        })
      const viaFetch = (path: string) =>
        Effect.promise(async () => {
          const request = new Request(`http://app.test${path}`, { method: "POST", headers: { cookie: cookie() } })
          const response = await handler(request)
          keep(response.headers.getSetCookie())
          return response.text()
        })

      assert.strictEqual(yield* viaNode("/0/ada"), "[\"ada\",null]")
      assert.strictEqual(yield* viaFetch("/1/bob"), "[\"ada\",\"bob\"]")
      assert.deepStrictEqual([...jar.keys()], ["account0", "account1"])
      assert.strictEqual(yield* viaNode("/"), "[\"ada\",\"bob\"]")
      yield* viaFetch("/0/logout")
      assert.strictEqual(yield* viaNode("/"), "[null,\"bob\"]")
      assert.deepStrictEqual([...jar.keys()], ["account1"])
      // The cookie of one slot opens no other.
      jar.set("account0", jar.get("account1") ?? "")
      jar.delete("account1")
      const answers = [yield* viaNode("/"), yield* viaFetch("/")]
      assert.deepStrictEqual(answers, ["[null,null]", "[null,null]"])
    }))
})
