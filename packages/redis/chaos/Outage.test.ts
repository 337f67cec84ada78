import { Session, SessionManager } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schema } from "effect"
import * as RedisClient from "../src/RedisClient.ts"
import * as LongestPause from "../test/LongestPause.ts"
import * as RedisServer from "../test/RedisServer.ts"
import * as Lab from "./Lab.ts"

class UserSession extends Session.Service<UserSession>()("chaos/UserSession", {
  data: Schema.Struct({ n: Schema.Int, who: Schema.String }),
  initial: { n: 0, who: "guest" }
}) {}

const increment = UserSession.update((data) => ({ ...data, n: data.n + 1 }))

const deadline = 1000

interface Visit {
  readonly write: boolean
  readonly ok: boolean
  readonly ended: number
  readonly millis: number
}

// Of a minute in which the machine has other work too, a request may lose as much in two places: before and after the store.
const allowance = (longestPause: number): number => Math.max(Lab.slack, 2 * longestPause)

const browsing = { before: 1500, outage: Lab.rounds(4000, 30_000), recovery: 2000, after: Lab.rounds(1500, 5000) }

describe(`fifty signed-in clients through ${browsing.outage / 1000} seconds of a store`, () => {
  for (const outage of Lab.outages) {
    it.live(
      `${outage.name}: nobody is logged out, every answer comes in time, and all are served within 2 seconds`,
      () =>
        Effect.gen(function*() {
          const pause = yield* LongestPause.make
          const server = yield* RedisServer.make(...Lab.durable)
          const services = yield* Layer.build(
            Lab.resilientOver(RedisClient.layer({ url: server.url, maxReconnectDelay: "500 millis" }))
          )
          const manager = yield* Effect.provideContext(SessionManager.make(UserSession), services)
          const clients = yield* Effect.forEach(
            Array.from({ length: 50 }, (_, i) => `user-${i}`),
            (who) =>
              Effect.map(
                manager.run(undefined, UserSession.login(who, (data) => ({ ...data, who }))),
                ({ token }) => ({ who, token: token!, answered: 0, written: 0, unknown: 0 })
              )
          )

          // A page that reads, and now and then one that writes.
          const request = Effect.fnUntraced(function*(client: (typeof clients)[number]) {
            const write = Math.random() < 0.3
            const begun = performance.now()
            const session = manager.open({ token: client.token })
            const exit = yield* Effect.exit(Effect.gen(function*() {
              const { who } = yield* session.get
              if (write) yield* Effect.provideService(increment, UserSession, session)
              yield* session.finish("success")
              return who
            }))
            const ended = performance.now()
            assert.strictEqual(session.tokenChange._tag, "Keep")
            if (Exit.isSuccess(exit)) {
              assert.strictEqual(exit.value, client.who)
              client.answered = ended
              if (write) client.written++
            } else {
              const [failure] = exit.cause.reasons
              assert(failure._tag === "Fail" && failure.error.reason._tag === "Unavailable", String(exit.cause))
              if (failure.error.reason.applied !== "no") client.unknown++
            }
            visits.push({ write, ok: Exit.isSuccess(exit), ended, millis: ended - begun })
          })
          const visits: Array<Visit> = []
          const browse = (client: (typeof clients)[number]) =>
            Effect.forever(
              Effect.andThen(request(client), Effect.suspend(() => Effect.sleep(50 + Math.random() * 200)))
            )
          const fibers = yield* Effect.forEach(clients, (client) => Effect.forkChild(browse(client)))
          yield* Effect.sleep(browsing.before)
          assert.isTrue(visits.length > 100 && visits.every(({ ok }) => ok), "all are served before")

          yield* outage.begin(server)
          yield* Effect.sleep(50)
          const from = visits.length
          yield* Effect.sleep(browsing.outage)
          const during = visits.slice(from)
          yield* outage.end(server)
          const back = performance.now()
          yield* Effect.sleep(browsing.recovery)
          yield* Effect.sleep(browsing.after)
          // One that died has left its assertion behind.
          for (const fiber of fibers) {
            const exit = fiber.pollUnsafe()
            if (exit !== undefined) yield* exit
          }
          yield* Fiber.interruptAll(fibers)

          const failed = during.filter(({ ok }) => !ok)
          const times = visits.map(({ millis }) => millis)
          const lastFailure = Math.max(back, ...visits.filter(({ ok }) => !ok).map(({ ended }) => ended)) - back
          const longest = yield* pause
          yield* Lab.report(
            `${outage.name} for ${browsing.outage / 1000} s: ${visits.length} requests, ${failed.length} of ` +
              `${during.length} failed; p50 ${Lab.percentile(times, 0.5)}, p99 ${Lab.percentile(times, 0.99)}, ` +
              `longest ${Lab.percentile(times, 1)} ms; last failure ${Math.round(lastFailure)} ms after the return; ` +
              `longest pause of the process ${Math.round(longest)} ms`
          )
          assert.isAbove(failed.length, 50, "the outage was felt")
          if (outage.reads) assert.isTrue(failed.every(({ write }) => write), "who reads does not feel it")
          else assert.isAbove(failed.length, during.length * 0.9)
          assert.isAtMost(Math.max(...times), deadline + 50 + allowance(longest))
          assert.isAtMost(lastFailure, browsing.recovery + allowance(longest), "all are served after 2 seconds")
          for (const { answered, token, unknown, who, written } of clients) {
            assert.isAbove(answered, back)
            const { value } = yield* manager.run(token, Effect.all([UserSession.status, UserSession.get]))
            assert.strictEqual(value[0], "active")
            assert.strictEqual(value[1].who, who)
            assert.isAtLeast(value[1].n, written, "what was confirmed is there")
            // The last request of each may have been interrupted.
            assert.isAtMost(value[1].n, written + unknown + 1)
          }
        }),
      browsing.outage + 30_000
    )
  }
})
