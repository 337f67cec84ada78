import { Revocations } from "@effect-session/core"
import { Csrf, SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as CookieMode from "./CookieModeApp.ts"
import * as App from "./SessionApp.ts"

const { UserSession } = App

const older = Redacted.make("Older-8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1?")
const newer = Redacted.make("Newer-3-Qf7_Pw9.Jt4+Bk6/Ny2=Rc8~Mz5^Hx0?")
const stages = { before: [older, newer], after: [newer, older], retired: [newer] } as const

const page = HttpRouter.add("GET", "/token", Effect.map(Csrf.token, (token) => HttpServerResponse.text(token)))

const application = Layer.mergeAll(App.routes, page).pipe(
  Layer.provide(Csrf.layerGlobal(UserSession)),
  Layer.provide(SessionMiddleware.layerGlobal(UserSession))
)

type Start = (secrets: ReadonlyArray<Redacted.Redacted>) => ReturnType<typeof App.inProcess>

/** Starts nodes on what they share. */
const modes = {
  "over a store": Effect.map(
    App.makeStore(),
    (store): Start => (secrets) =>
      App.inProcess(application.pipe(Layer.provide(App.backend(store, { preset: "testing", secrets }))))
  ),
  "in cookie mode": Effect.map(Revocations.makeMemory(), (list): Start => (secrets) =>
    App.inProcess(
      application.pipe(Layer.provide(CookieMode.backend({ list, config: { preset: "testing", secrets } })))
    ))
}

describe.each(Object.entries(modes))("Csrf while a secret is replaced, %s", (_, shared) => {
  const nodes = Effect.gen(function*() {
    const start = yield* shared
    return {
      before: yield* start(stages.before),
      after: yield* start(stages.after),
      retired: yield* start(stages.retired)
    }
  })

  const pairs = (reply: App.Reply): string => reply.setCookies.map((line) => line.split(";")[0]).join("; ")
  const tokenFor = (node: App.Client, cookie: string) =>
    Effect.map(node.send("GET", "/token", { headers: { cookie } }), ({ body }) => body)
  const write = (node: App.Client, path: string, cookie: string, token: string) =>
    node.send("POST", path, { headers: { cookie, "x-csrf-token": token } })

  it.effect("a page of one node writes to the other, whichever secret is the newest there", () =>
    Effect.gen(function*() {
      const { after, before } = yield* nodes
      for (const [from, to] of [[before, after], [after, before]] as const) {
        const visitor = yield* from.send("GET", "/token")
        const signedIn = yield* write(to, "/login", pairs(visitor), visitor.body)
        assert.strictEqual(signedIn.status, 200)
        const cookie = `session=${App.tokenOf(signedIn)}`
        const tokens = [yield* tokenFor(from, cookie), yield* tokenFor(to, cookie)]
        for (const node of [from, to]) {
          for (const token of tokens) assert.strictEqual((yield* write(node, "/inc", cookie, token)).status, 200)
        }
      }
    }))

  it.effect("a token under the secret that has retired, or of another session, is refused", () =>
    Effect.gen(function*() {
      const { after, before, retired } = yield* nodes
      const visitor = yield* after.send("GET", "/token")
      const signIn = Effect.map(
        write(after, "/login", pairs(visitor), visitor.body),
        (reply) => `session=${App.tokenOf(reply)}`
      )
      const [cookie, other] = [yield* signIn, yield* signIn]
      const old = yield* tokenFor(before, cookie)
      assert.strictEqual((yield* write(retired, "/inc", cookie, old)).status, 403, "retired")
      assert.strictEqual((yield* write(retired, "/inc", cookie, yield* tokenFor(after, cookie))).status, 200)
      assert.strictEqual((yield* write(after, "/inc", other, old)).status, 403, "of another session")
    }))
})
