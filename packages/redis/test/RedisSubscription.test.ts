import { type RedisError, RedisSubscription } from "@effect-session/redis"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted, Scope } from "effect"
import { inspect } from "node:util"
import * as Address from "../src/internal/address.ts"
import * as RedisCluster from "./RedisCluster.ts"
import * as RedisServer from "./RedisServer.ts"
import * as TcpProxy from "./TcpProxy.ts"

const listeners = (server: RedisServer.RedisServer) =>
  Effect.map(
    server.admin("CLIENT", "LIST", "TYPE", "pubsub"),
    (list) => String(list).split("\n").filter(Boolean).length
  )

const publish = (server: RedisServer.RedisServer, ...messages: ReadonlyArray<string>) =>
  Effect.forEach(messages, (message) => server.admin("PUBLISH", "news", message), { discard: true })

const heardBy = Effect.fnUntraced(function*(
  url: Redacted.Redacted<string>,
  options?: Partial<RedisSubscription.Options>
) {
  const heard: Array<string> = []
  const subscription = yield* RedisSubscription.open(url, {
    channel: "news",
    onMessage: (message) => heard.push(message),
    ...options
  })
  return { heard, closed: subscription.closed }
})

const holds = (what: string, holds: () => boolean) => RedisServer.waitUntil(what, 200, Effect.sync(holds))

const reasonOf = (error: RedisError.RedisError | RedisSubscription.Moved) =>
  error._tag === "RedisError" ? [error.reason._tag, error.command] : [error._tag]

describe("a subscription", () => {
  it.live("hears its channel from the first message on, whatever the database, until its scope closes", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const scope = yield* Scope.make()
      const url = Redacted.make(`${Redacted.value(server.url)}/3`)
      const { heard } = yield* Scope.provide(heardBy(url), scope)
      yield* publish(server, "one", "two")
      yield* server.admin("PUBLISH", "other", "three")
      yield* holds("all is heard", () => heard.length === 2)
      assert.deepStrictEqual(heard, ["one", "two"])
      assert.strictEqual(yield* listeners(server), 1)
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      yield* publish(server, "four")
      assert.strictEqual(yield* listeners(server), 0)
      assert.deepStrictEqual(heard, ["one", "two"])
    }))

  it.live("ends with its connection, and does not come back by itself", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const { closed, heard } = yield* heardBy(server.url)
      yield* publish(server, "one")
      yield* holds("one is heard", () => heard.length === 1)
      yield* server.admin("CLIENT", "KILL", "TYPE", "pubsub")
      yield* closed
      // Also for who asks later.
      yield* closed
      yield* publish(server, "two")
      yield* Effect.sleep(300)
      assert.strictEqual(yield* listeners(server), 0)
      assert.deepStrictEqual(heard, ["one"])
    }))

  it.live("that cannot be had fails by its reason, in time, and leaves nothing", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.makeWith({ password: "canary1", args: ["--requirepass", "canary1"] })
      const proxy = yield* TcpProxy.make(server.port)
      yield* server.admin("ACL", "SETUSER", "deaf", "on", ">canary3", "+@all", "resetchannels")
      const at = (user: string, port = server.port) => Redacted.make(`redis://${user}127.0.0.1:${port}`)
      const refused = (url: Redacted.Redacted<string>) =>
        Effect.map(Effect.flip(Effect.scoped(heardBy(url, { timeout: "300 millis" }))), (error) => {
          assert.notMatch(inspect(error, { depth: 9 }), /canary/)
          return reasonOf(error)
        })
      assert.deepStrictEqual(yield* refused(at(":canary2@")), ["WrongPassword", undefined])
      assert.deepStrictEqual(yield* refused(at("")), ["NoAuth", "SUBSCRIBE"])
      assert.deepStrictEqual(yield* refused(at("deaf:canary3@")), ["NoPermission", "SUBSCRIBE"])
      assert.deepStrictEqual(yield* refused(at("", yield* RedisServer.freePort)), ["NotConnected", undefined])
      assert.deepStrictEqual(yield* refused(Redacted.make("http://127.0.0.1")), ["InvalidUrl", undefined])
      for (const timeout of [0, Infinity, Number.NaN, 2 ** 31]) {
        const exit = yield* Effect.exit(Effect.scoped(heardBy(server.url, { timeout })))
        assert.isTrue(Exit.hasDies(exit), String(timeout))
      }
      yield* proxy.always(TcpProxy.blackHole)
      const [silent] = yield* refused(at(":canary1@", proxy.port))
      assert.include(["Timeout", "ConnectionLost"], silent)
      yield* RedisServer.waitUntil("all are closed", 200, Effect.map(listeners(server), (count) => count === 0))
      assert.isTrue(proxy.connections().every((connection) => !connection.isOpen()))
    }))

  it.live("to a sharded channel is told which server has it, and that it has moved", () =>
    Effect.gen(function*() {
      const cluster = yield* RedisCluster.make()
      const slot = RedisCluster.slotOf("news")
      const owner = yield* cluster.masterOf(slot)
      const other = cluster.nodes.slice(0, 3).find((node) => node !== owner)!
      const moved = yield* Effect.flip(Effect.scoped(heardBy(other.url, { sharded: true })))
      assert(moved._tag === "Moved")
      assert.strictEqual(Redacted.value(moved.url), `redis://127.0.0.1:${owner.port}/0`)
      assert.notInclude(inspect(moved, { depth: 9 }), String(owner.port))
      const { closed, heard } = yield* heardBy(moved.url, { sharded: true })
      yield* owner.admin("SPUBLISH", "news", "one")
      yield* holds("one is heard", () => heard.length === 1)
      yield* cluster.migrateSlot(slot, other)
      yield* closed
    }), 60_000)
})

describe("the url of an address", () => {
  it("is read as the same address", () => {
    const urls = [
      "redis://localhost",
      "rediss://ada:p%40%3A%2F%20%C3%A9@example.com:7000/3",
      "redis://:secret@[::1]:7001",
      "redis://127.0.0.1:1/12345"
    ]
    for (const url of urls) {
      const address = Address.parse(Redacted.make(url), undefined)!
      assert.deepStrictEqual(Address.parse(Address.urlOf(address), undefined), address)
      assert.isTrue(RedisSubscription.isUrl(Address.urlOf(address)))
    }
    for (const bad of ["", "redis://", "redis://h?db=1", "redis://h/x", "http://h"]) {
      assert.isFalse(RedisSubscription.isUrl(Redacted.make(bad)), bad)
    }
  })
})
