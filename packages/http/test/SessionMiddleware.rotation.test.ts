import { Revocations, type SessionConfig } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as CookieMode from "./CookieModeApp.ts"
import * as App from "./SessionApp.ts"

const older = Redacted.make("Older-8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1?")
const newer = Redacted.make("Newer-3-Qf7_Pw9.Jt4+Bk6/Ny2=Rc8~Mz5^Hx0?")

/** All can open the new key, then seal with it, then the old one retires. */
const stages = [[older], [older, newer], [newer, older], [newer]] as const

const config = (stage: number, more: SessionConfig.Options = {}): SessionConfig.Options => ({
  preset: "testing",
  secrets: stages[stage],
  sliding: true,
  ...more
})

/** The four stages of two nodes, on what the nodes share. */
const modes = {
  "cookie mode": Effect.gen(function*() {
    const list = yield* Revocations.makeMemory()
    return (stage: number) => CookieMode.application({ list, config: config(stage) })
  }),
  // An id is bound to the secret it was drawn under, so that it has to be replaced before that retires.
  "memory mode": Effect.gen(function*() {
    const store = yield* App.makeStore()
    return (stage: number) =>
      App.withSession(App.routes, store, { config: config(stage, { renewalInterval: "1 minute" }) })
  })
}

const cases = Object.entries(modes).flatMap(([mode, shared]) =>
  Object.entries(App.transports).map(([name, serve]) => ({ mode, shared, name, serve }))
)

describe.each(cases)("rotation under traffic, $mode, $name", ({ serve, shared }) => {
  it.effect("loses no session, and accepts nothing of the retired key afterwards", () =>
    Effect.gen(function*() {
      const application = yield* shared
      const nodes = [0, 1].map(() => [] as Array<App.Client>)
      for (const node of nodes) {
        for (const stage of stages.keys()) node.push(yield* serve(application(stage)))
      }
      const at = [0, 0]
      let requests = 0
      // By turns, so that both nodes get every client.
      const client: App.Client = {
        port: undefined,
        send: (...request) =>
          Effect.suspend(() => {
            const node = requests++ % 2
            return nodes[node][at[node]].send(...request)
          })
      }
      const day = { over: false }
      const problems: Array<string> = []
      const written = new Map<string, number>()
      const retired: Array<string> = []
      const visitor = Effect.fnUntraced(function*(name: string) {
        const user = App.browser(client)
        yield* user.send("POST", `/login?as=${name}`)
        let n = 0
        while (!day.over) {
          const write = yield* user.send("POST", "/inc")
          n++
          const read = yield* user.send("GET", "/me")
          for (const answer of [write, read]) {
            const seen = answer.status === 200 ? App.shown(answer) : undefined
            if (seen?.subject !== name || seen.n !== n || seen.status !== "active") {
              problems.push(`${name}, ${n}, nodes at ${at}: ${answer.status} ${answer.body}`)
            }
          }
          // What is drawn or sealed under the old key alone is refused in the end.
          if (at[0] + at[1] < 2) retired.push(user.cookie()!)
          written.set(name, n)
          if (problems.length > 0) return
          yield* Effect.yieldNow
        }
        const last = yield* user.send("GET", "/me")
        assert.deepStrictEqual([App.shown(last).subject, App.shown(last).n], [name, n])
      })
      const names = Array.from({ length: 12 }, (_, i) => `user${i}`)
      const visitors = yield* Effect.forkChild(Effect.all(names.map(visitor), { concurrency: "unbounded" }))
      /** Waits until every visitor has written some more. */
      const traffic = Effect.fnUntraced(function*() {
        const goals = new Map(names.map((name) => [name, (written.get(name) ?? 0) + 4]))
        while (problems.length === 0 && names.some((name) => (written.get(name) ?? 0) < goals.get(name)!)) {
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        }
      })
      yield* traffic()
      for (const stage of [1, 2, 3]) {
        for (const node of [0, 1]) {
          at[node] = stage
          yield* traffic()
        }
        yield* TestClock.adjust("61 seconds")
        yield* traffic()
      }
      day.over = true
      yield* Fiber.join(visitors)
      assert.deepStrictEqual(problems, [])
      assert.isAbove(retired.length, names.length * 4)
      for (const cookie of new Set(retired)) {
        for (const [method, path] of [["GET", "/me"], ["POST", "/inc"]] as const) {
          for (const node of nodes) {
            const answer = yield* node[3].send(method, path, { headers: { cookie } })
            const { n, status, subject } = App.shown(answer)
            assert.strictEqual(answer.status, 200)
            assert.deepStrictEqual([subject, n], [null, path === "/me" ? 0 : 1])
            if (path === "/me") assert.deepStrictEqual([status, answer.setCookies], ["invalid", []])
          }
        }
      }
    }))
})
