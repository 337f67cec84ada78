import type { SessionStore } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as RedisServer from "../test/RedisServer.ts"
import * as TcpProxy from "../test/TcpProxy.ts"
import * as Lab from "./Lab.ts"

interface Site {
  readonly server: RedisServer.RedisServer
  readonly proxy: TcpProxy.TcpProxy
}

interface Fault {
  readonly name: string
  readonly begin: (site: Site) => Effect.Effect<unknown, RedisServer.ServerError>
  readonly end: (site: Site) => Effect.Effect<unknown, RedisServer.ServerError>
}

const nothing = () => Effect.void
const slowly = { toClient: { drip: 1000 } }

const faults: ReadonlyArray<Fault> = [
  { name: "a frozen server", begin: ({ server }) => server.pause, end: ({ server }) => server.resume },
  {
    name: "a server that sleeps",
    begin: ({ server }) =>
      Effect.andThen(
        Effect.forkDetach(Effect.ignore(server.admin("DEBUG", "SLEEP", 1.5)), { startImmediately: true }),
        Effect.sleep(100)
      ),
    end: nothing
  },
  {
    name: "paused clients",
    begin: ({ server }) => server.admin("CLIENT", "PAUSE", 1500, "ALL"),
    end: nothing
  },
  {
    name: "a black hole",
    begin: ({ proxy }) => proxy.everywhere(TcpProxy.blackHole),
    end: ({ proxy }) => proxy.everywhere({})
  },
  {
    name: "a peer that has gone without a word",
    begin: ({ proxy }) => proxy.everywhere({ toClient: { holeAfter: 0 } }),
    // The open connection stays as it is.
    end: ({ proxy }) => proxy.always({})
  },
  {
    name: "one byte in a second",
    begin: ({ proxy }) => proxy.everywhere(slowly),
    end: ({ proxy }) => proxy.everywhere({})
  }
]

const operations = (store: SessionStore.SessionStore["Service"], key: string) => [
  store.load(key),
  store.create(Lab.newRecord(Lab.newKey())),
  store.save(key, 1, Lab.change("saved")),
  store.touch(key),
  store.renew(key, 1, Lab.replacement(Lab.newKey()), { grace: 1000 }),
  store.destroy(Lab.newKey())
]

describe("every operation ends by its deadline", () => {
  for (const fault of faults) {
    it.live(`behind ${fault.name}, 200 at once`, () =>
      Effect.gen(function*() {
        const server = yield* RedisServer.make()
        const proxy = yield* TcpProxy.make(server.port)
        const { store } = yield* Lab.openUrl(proxy.url)
        const key = Lab.newKey()
        yield* store.create(Lab.newRecord(key))
        // Scripts are known from here on.
        yield* Effect.all(operations(store, Lab.newKey()))

        yield* fault.begin({ server, proxy })
        const calls = Array.from({ length: 34 }, () => operations(store, key)).flat().slice(0, 200)
        const ended = yield* Effect.forEach(calls, (call) => Lab.timed<unknown, never>(call), {
          concurrency: "unbounded"
        })
        yield* fault.end({ server, proxy })

        for (const { exit, millis } of ended) {
          Lab.assertTyped(exit, key)
          assert.isBelow(millis, Lab.commandTimeout + Lab.slack)
        }
        assert.isAbove(ended.filter(({ exit }) => Exit.isFailure(exit)).length, 150, "the fault has done nothing")
        const times = ended.map(({ millis }) => millis)
        const back = yield* Lab.untilWorks(store.load(key))
        yield* Lab.report(
          `${fault.name}: limit ${Lab.commandTimeout} ms, p50 ${Lab.percentile(times, 0.5)}, ` +
            `longest ${Lab.percentile(times, 1)} ms; works again after ${Math.round(back)} ms`
        )
        assert.isBelow(back, 5000)
      }), 20_000)
  }

  it.live("while there is no server, calls fail at once and leave nothing waiting", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const { store } = yield* Lab.openUrl(server.url)
      yield* server.kill
      const key = Lab.newKey()
      yield* Effect.exit(store.load(key))
      const ended = yield* Effect.forEach(Array.from({ length: 10_000 }), () => Lab.timed(store.load(key)))
      assert.strictEqual(ended.filter(({ exit }) => Exit.isSuccess(exit)).length, 0)
      const times = ended.map(({ millis }) => millis)
      yield* Lab.report(
        `no server, 10,000 calls: p99 ${Lab.percentile(times, 0.99)} ms, longest ${Lab.percentile(times, 1)} ms`
      )
      assert.isBelow(Lab.percentile(times, 0.99), 5)
    }))
})
