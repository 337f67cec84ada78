import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Layer, Random } from "effect"
import { TestClock } from "effect/testing"
import * as CryptoNode from "../src/CryptoNode.ts"
import type * as Resilience from "../src/Resilience.ts"
import * as SessionBackend from "../src/SessionBackend.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionManager from "../src/SessionManager.ts"
import type { Operation } from "../src/StoreFault.ts"
import * as FaultStore from "../src/testing/FaultStore.ts"
import { increment, loginAs, secret, UserSession } from "./Fixture.ts"
import { numbers } from "./memoryStoreFixture.ts"
import { layer as storeLayer } from "./ResilienceFixture.ts"

const layer = (options?: Resilience.Options) =>
  SessionBackend.layer("chaos").pipe(
    Layer.provideMerge(storeLayer(options)),
    Layer.provideMerge(CryptoNode.layer),
    Layer.provideMerge(SessionConfig.layer({ preset: "development", secrets: secret }))
  )

const writes: ReadonlyArray<Operation> = ["create", "save", "touch", "renew", "destroy"]

const outages: ReadonlyArray<readonly [name: string, fault: FaultStore.Fault, operations: ReadonlyArray<Operation>]> = [
  ["stopped", FaultStore.failBefore, ["load", ...writes]],
  ["frozen", FaultStore.hang, ["load", ...writes]],
  ["refusing writes", FaultStore.failBefore, writes]
]

describe("fifty signed-in clients through thirty seconds of a store", () => {
  for (const [name, fault, operations] of outages) {
    it.effect(`${name}: nobody is logged out, every answer comes in time, and all are served within 2 seconds`, () =>
      Effect.gen(function*() {
        const manager = yield* SessionManager.make(UserSession)
        const faults = yield* FaultStore.FaultStore
        const clients = yield* Effect.forEach(
          numbers(50),
          (name) =>
            Effect.map(manager.run(undefined, loginAs(name)), ({ token }) => ({ name, token: token!, answered: 0 }))
        )

        // A page that reads, and now and then one that writes.
        const request = Effect.fnUntraced(function*(client: (typeof clients)[number]) {
          const started = yield* Clock.currentTimeMillis
          const write = (yield* Random.next) < 0.3
          const session = manager.open({ token: client.token })
          const exit = yield* Effect.exit(Effect.gen(function*() {
            const { who } = yield* session.get
            if (write) yield* Effect.provideService(increment, UserSession, session)
            yield* session.finish("success")
            return who
          }))
          const took = (yield* Clock.currentTimeMillis) - started
          assert.isAtMost(took, 1050)
          assert.strictEqual(session.tokenChange._tag, "Keep")
          if (Exit.isSuccess(exit)) {
            assert.strictEqual(exit.value, client.name)
            client.answered = yield* Clock.currentTimeMillis
          } else {
            const [failure] = exit.cause.reasons
            assert.isTrue(failure._tag === "Fail" && failure.error.reason._tag === "Unavailable", String(exit.cause))
          }
          return { write, ok: Exit.isSuccess(exit) }
        })

        const visits: Array<{ readonly write: boolean; readonly ok: boolean }> = []
        const browse = (client: (typeof clients)[number]) =>
          request(client).pipe(
            Effect.map((visit) => visits.push(visit)),
            Effect.andThen(Effect.flatMap(Random.next, (random) => Effect.sleep(100 + 400 * random))),
            Effect.forever
          )
        const fibers = yield* Effect.forEach(clients, (client) => Effect.forkChild(browse(client)))
        yield* TestClock.adjust("5 seconds")
        assert.isTrue(visits.length > 500 && visits.every(({ ok }) => ok))

        visits.length = 0
        faults.always(fault, ...operations)
        yield* TestClock.adjust("30 seconds")
        const failed = visits.filter(({ ok }) => !ok)
        assert.isAbove(failed.length, 100, "the outage was felt by those who asked for more than there was")
        if (name === "refusing writes") assert.isTrue(failed.every(({ write }) => write))

        faults.heal()
        const back = yield* Clock.currentTimeMillis
        yield* TestClock.adjust("2 seconds")
        visits.length = 0
        yield* TestClock.adjust("5 seconds")
        assert.isTrue(visits.length > 500 && visits.every(({ ok }) => ok))
        for (const { answered } of clients) assert.isAbove(answered, back)
        yield* Fiber.interruptAll(fibers)
        for (const { name, token } of clients) {
          const { value } = yield* manager.run(token, Effect.all([UserSession.status, UserSession.get]))
          assert.strictEqual(value[0], "active")
          assert.strictEqual(value[1].who, name)
        }
      }).pipe(Random.withSeed(name), Effect.provide(layer())))
  }
})
