import type { SessionStore } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as RedisServer from "../test/RedisServer.ts"
import * as TcpProxy from "../test/TcpProxy.ts"
import * as Lab from "./Lab.ts"

interface Case {
  readonly key: string
  readonly next: string
  readonly subject: string
}

interface Operation {
  readonly name: string
  readonly exists: boolean
  readonly run: (
    store: SessionStore.SessionStore["Service"],
    names: Case
  ) => Effect.Effect<unknown, SessionStore.SessionStoreError>
  /** Judges what another client finds after the cut. */
  readonly judge: (
    found: {
      readonly old: SessionStore.Lookup
      readonly new: SessionStore.Lookup
      readonly index: ReadonlyArray<string>
    },
    succeeded: boolean,
    names: Case
  ) => void
}

const payload = (lookup: SessionStore.Lookup) => lookup._tag === "Live" ? lookup.record.payload : lookup._tag

const renewed = (grace: number): Operation => ({
  name: grace === 0 ? "renew" : "renew with a grace window",
  exists: true,
  run: (store, { key, next, subject }) => store.renew(key, 1, Lab.replacement(next, subject), { grace }),
  judge: (found, succeeded, { key, next }) => {
    const [old, fresh] = [Lab.isLive(found.old), Lab.isLive(found.new)]
    assert.strictEqual(Number(old) + Number(fresh), 1, "one of the two is live")
    if (succeeded) assert.isTrue(fresh)
    assert.deepStrictEqual(found.index, [old ? key : next])
    assert.strictEqual(payload(old ? found.old : found.new), Lab.payloadOf(old ? "old" : "new"))
    if (fresh) assert.strictEqual(payload(found.old), grace === 0 ? "Absent" : Lab.payloadOf("new"))
  }
})

const operations: ReadonlyArray<Operation> = [
  {
    name: "create",
    exists: false,
    run: (store, { key, subject }) => store.create(Lab.newRecord(key, subject)),
    judge: (found, succeeded, { key }) => {
      if (succeeded) assert.isTrue(Lab.isLive(found.old))
      if (found.old._tag !== "Absent") assert.strictEqual(payload(found.old), Lab.payloadOf("old"))
      assert.deepStrictEqual(found.index, found.old._tag === "Absent" ? [] : [key])
    }
  },
  {
    name: "save",
    exists: true,
    run: (store, { key }) => store.save(key, 1, Lab.change("new")),
    judge: (found, succeeded, { key }) => {
      const version = found.old._tag === "Live" ? found.old.record.version : 0
      if (succeeded) assert.strictEqual(version, 2)
      assert.strictEqual(payload(found.old), Lab.payloadOf(version === 2 ? "new" : "old"))
      assert.deepStrictEqual(found.index, [key])
    }
  },
  renewed(0),
  renewed(60_000),
  {
    name: "destroy",
    exists: true,
    run: (store, { key }) => store.destroy(key),
    judge: (found, succeeded, { key }) => {
      if (succeeded) assert.strictEqual(found.old._tag, "Absent")
      if (found.old._tag !== "Absent") assert.strictEqual(payload(found.old), Lab.payloadOf("old"))
      assert.deepStrictEqual(found.index, found.old._tag === "Absent" ? [] : [key])
    }
  }
]

let subjects = 0
const names = (): Case => {
  const subject = `user-${++subjects}`
  return { subject, key: Lab.newKey(subject), next: Lab.newKey(subject) }
}

describe("the connection is cut at every byte of a conversation", () => {
  for (const operation of operations) {
    it.live(`${operation.name}: nothing is half done, and success means done`, () =>
      Effect.gen(function*() {
        const server = yield* RedisServer.make()
        const direct = yield* Lab.openUrl(server.url)
        const lane = Effect.gen(function*() {
          const proxy = yield* TcpProxy.make(server.port)
          return { proxy, ...yield* Lab.openUrl(proxy.url) }
        })
        const lanes = yield* Effect.all(Array.from({ length: 6 }, () => lane))

        const prepare = Effect.gen(function*() {
          const each = names()
          if (operation.exists) yield* direct.store.create(Lab.newRecord(each.key, each.subject))
          return each
        })
        // The first run makes the scripts known, the second is the conversation.
        const [{ proxy, store }] = lanes
        yield* operation.run(store, yield* prepare)
        const measured = yield* prepare
        const before = { toServer: proxy.passed("toServer"), toClient: proxy.passed("toClient") }
        yield* operation.run(store, measured)
        const length = {
          toServer: proxy.passed("toServer") - before.toServer,
          toClient: proxy.passed("toClient") - before.toClient
        }

        const points = (["toServer", "toClient"] as const).flatMap((direction) => {
          const step = Math.max(1, Math.floor(length[direction] / Lab.rounds(10, length[direction])))
          const all = Array.from({ length: length[direction] + 1 }, (_, after) => ({ direction, after }))
          // The last bytes decide, so they are never left out.
          return all.filter(({ after }) => after % step === 0 || after >= length[direction] - 2)
        })
        let failed = 0
        let done = 0
        const cutAt = (lane: typeof lanes[number], direction: TcpProxy.Direction, after: number) =>
          Effect.gen(function*() {
            const each = yield* prepare
            // The connection of the last cut has been replaced.
            yield* Lab.confirmed(lane.store.load(each.key))
            const connection = lane.proxy.connections().findLast(({ isOpen }) => isOpen())
            assert(connection !== undefined)
            yield* connection.follow({ [direction]: { cutAfter: after, cut: after % 2 === 0 ? "reset" : "end" } })
            const { exit } = yield* Lab.timed(operation.run(lane.store, each))
            yield* connection.cut("reset")
            yield* Effect.sleep(5)
            const keys = (yield* direct.query.bySubject(each.subject)).map(({ key }) => key)
            const old = yield* direct.store.load(each.key)
            const next = yield* direct.store.load(each.next)
            Lab.assertTyped(exit, each.key, each.subject)
            try {
              operation.judge({ old, new: next, index: keys }, Exit.isSuccess(exit), each)
            } catch (cause) {
              assert.fail(`${operation.name}, cut ${direction} after ${after} bytes: ${String(cause)}`)
            }
            if (Exit.isFailure(exit)) failed++
            const changed = operation.exists
              ? old._tag !== "Live" || old.alias !== undefined || old.record.version > 1
              : old._tag === "Live"
            if (changed) done++
          })
        yield* Effect.forEach(
          lanes,
          (lane, index) =>
            Effect.forEach(
              points.filter((_, point) => point % lanes.length === index),
              ({ after, direction }) => cutAt(lane, direction, after)
            ),
          { concurrency: lanes.length }
        )
        yield* Lab.report(
          `${operation.name}: ${length.toServer} bytes there, ${length.toClient} back, ${points.length} cuts, ` +
            `${failed} reported failed, ${done} had been done`
        )
        // A cut on the way there leaves it undone; one on the way back leaves it done, and unknown.
        assert.isAbove(failed, points.length / 2)
        assert.isAbove(done, 0)
        assert.isBelow(done, points.length)
      }), 600_000)
  }
})
