import { CookieStore, Session, SessionConfig, SessionManager } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { type Revocable, Revocations as CookieList } from "@effect-session/core/Revocations"
import { RevocationsConformance } from "@effect-session/core/testing"
import { RedisRevocations } from "@effect-session/redis"
import { assert, describe, it, layer } from "@effect/vitest"
import { Clock, Context, Effect, Layer, Redacted, Schema } from "effect"
import * as RedisServer from "./RedisServer.ts"
import { layerClient, layerServer, logged, Server } from "./StoreFixture.ts"

const secrets = Redacted.make("Kq5-Zr8_Wt2.Hn7+Vm4/Xc9=Bb3~Ld6^Js1?")

class UserSession extends Session.Service<UserSession>()("test/UserSession", {
  data: Schema.Struct({ n: Schema.Number }),
  initial: { n: 0 }
}) {}

type Data = (typeof UserSession)["definition"] extends Session.Definition<infer A> ? A : never
class Manager extends Context.Service<Manager, SessionManager.SessionManager<UserSession, Data>>()("test/Manager") {}

let prefixes = 0

/** Two lists of one application, as two processes have them. */
const lists = (options?: RedisRevocations.Options) =>
  Effect.gen(function*() {
    const server = yield* Server
    const prefix = `revocations-${prefixes++}:`
    const list = Layer.effect(CookieList, RedisRevocations.make(options)).pipe(
      Layer.provide(layerClient(server.url, prefix))
    )
    const make = Effect.flatMap(Layer.build(list), (context) => Effect.provide(CookieList, context))
    return { server, prefix, make, a: yield* make, b: yield* make }
  })

const session = (key: string, at: number, subject?: string): Revocable => ({
  key,
  subject,
  authenticatedAt: subject === undefined ? undefined : at,
  issuedAt: at
})

const now = Clock.currentTimeMillis

layer(layerServer, { excludeTestServices: true })("a list of revocations in Redis", (it) => {
  const laws = RevocationsConformance.laws({
    elapse: Effect.sleep,
    unit: 50,
    exactTime: false,
    open: (_, settings) => Effect.map(lists({ clockSkew: 0, ...settings }), ({ make }) => make)
  })
  for (const law of laws) it.effect(law.name, () => law.run)

  it.effect("outlives its sessions by as much as the clocks of two processes may be apart", () =>
    Effect.gen(function*() {
      const { a, prefix, server } = yield* lists({ clockSkew: "1 minute", subjectLifetime: "1 hour" })
      const at = yield* now
      // Over for this process, and by the clock of another one not yet.
      assert.isTrue(yield* a.revoke("k", at - 50_000))
      assert.isTrue(yield* a.isRevoked(session("k", at + 60_000)))
      assert.isFalse(yield* a.revoke("late", at - 70_000))
      yield* a.revoke("long", at + 600_000)
      const epoch = yield* a.revokeSubject("ada")
      const ends = Effect.fnUntraced(function*(pattern: string) {
        const [name] = (yield* server.admin("KEYS", `${prefix}${pattern}`)) as Array<unknown>
        return Number(yield* server.admin("PEXPIRETIME", String(name)))
      })
      assert.strictEqual(yield* ends("revoked:long"), at + 660_000)
      // Set for as long as it takes, and so a moment later at most.
      const last = yield* ends("epoch:*")
      assert.isAtLeast(last, epoch + 3_600_000 + 60_000)
      assert.isAtMost(last, epoch + 3_600_000 + 70_000)
    }))

  it.effect("ends what a subject signed in to, with clocks that are apart, and nothing that comes after", () =>
    Effect.gen(function*() {
      const { a, b } = yield* lists({ clockSkew: "2 seconds" })
      const at = yield* now
      const ahead = session("k", at + 1500, "ada")
      assert.isFalse(yield* a.isRevoked(ahead))
      const epoch = yield* a.revokeSubject("ada")
      assert.strictEqual(yield* b.epoch("ada"), epoch)
      assert.isTrue(yield* b.isRevoked(ahead))
      assert.isTrue(yield* b.isRevoked(session("k", epoch, "ada")))
      assert.isFalse(yield* b.isRevoked(session("k", epoch + 1, "ada")))
      assert.isFalse(yield* b.isRevoked(session("k", at + 1500, "bob")))
      assert.isFalse(yield* b.isRevoked(session("k", at + 1500)))
      assert.isAbove(yield* b.revokeSubject("ada"), epoch)
      assert.isUndefined(yield* a.epoch("bob"))
    }))

  it.effect("refuses what was issued before it began, also after Redis has lost it", () =>
    Effect.gen(function*() {
      const before = yield* now
      yield* Effect.sleep(20)
      const { a, b, make, prefix, server } = yield* lists()
      assert.isTrue(yield* a.isRevoked(session("k", before)))
      yield* Effect.sleep(20)
      const after = yield* now
      assert.isFalse(yield* a.isRevoked(session("k", after)))
      // A process that starts later does not begin the list anew.
      yield* Effect.sleep(20)
      assert.isFalse(yield* (yield* make).isRevoked(session("k", after)))
      yield* a.revoke("ended", after + 60_000)
      yield* server.admin("DEL", `${prefix}revocations`, `${prefix}revoked:ended`)
      yield* Effect.sleep(5)
      assert.isTrue(yield* b.isRevoked(session("ended", after)))
      yield* Effect.sleep(20)
      assert.isFalse(yield* b.isRevoked(session("new", yield* now)))
    }))

  it.effect("shows neither subjects nor anything that lasts but its marker", () =>
    Effect.gen(function*() {
      const { a, prefix, server } = yield* lists()
      yield* a.revoke("k", (yield* now) + 60_000)
      yield* a.revokeSubject("ada@example.com")
      const names = yield* server.admin("KEYS", `${prefix}*`)
      assert.isArray(names)
      const keys = (names as Array<unknown>).map(String)
      assert.strictEqual(keys.length, 3)
      for (const key of keys) {
        assert.notInclude(key, "ada")
        const ttl = Number(yield* server.admin("PTTL", key))
        if (key === `${prefix}revocations`) assert.strictEqual(ttl, -1)
        else assert.isAbove(ttl, 0)
      }
    }))

  it.effect("fails while Redis does not answer, and lets nobody in", () =>
    Effect.gen(function*() {
      const { a, prefix, server } = yield* lists()
      yield* server.admin("SET", `${prefix}revocations`, "noise")
      assert.isTrue(yield* a.isRevoked(session("k", yield* now)))
      yield* server.admin("DEL", `${prefix}revocations`)
      yield* server.admin("RPUSH", `${prefix}revocations`, "noise")
      assert.strictEqual((yield* Effect.flip(a.isRevoked(session("k", yield* now)))).reason._tag, "StoreUnavailable")
    }))

  it.effect("makes logout final in cookie mode, in every process", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const node = Layer.effect(Manager, SessionManager.make(UserSession)).pipe(
        Layer.provide(CookieStore.layer()),
        Layer.provide(RedisRevocations.layer()),
        Layer.provide(layerClient(server.url, "cookie-nodes:")),
        Layer.provide(CryptoNode.layer),
        Layer.provide(SessionConfig.layer({ preset: "production", secrets }))
      )
      const start = Effect.flatMap(Layer.build(Layer.fresh(node)), (context) => Effect.provide(Manager, context))
      const [first, second] = [yield* start, yield* start]
      yield* Effect.sleep(20)
      const { token } = yield* first.run(undefined, UserSession.login("ada"))
      assert.strictEqual((yield* second.run(token, UserSession.subject)).value, "ada")
      yield* first.run(token, UserSession.destroy)
      assert.strictEqual((yield* second.run(token, UserSession.status)).value, "anonymous")
    }))
})

describe("a list of revocations on a server that evicts", () => {
  it.live("says so at the start, or refuses to start where told to", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const start = (options: RedisRevocations.Options) =>
        logged(
          Effect.scoped(Layer.build(RedisRevocations.layer(options).pipe(Layer.provide(layerClient(server.url, "p:")))))
        )
      for (const policy of ["noeviction", "volatile-lru", "volatile-ttl", "allkeys-lru"]) {
        const evicts = policy !== "noeviction"
        yield* server.admin("CONFIG", "SET", "maxmemory-policy", policy)
        const { exit, lines } = yield* start({})
        assert.strictEqual(exit._tag, "Success", policy)
        assert.strictEqual(lines.length, evicts ? 1 : 0, policy)
        if (evicts) assert.match(lines[0], new RegExp(`^Warn.*revocations.*"${policy}"`))
        const strict = yield* start({ onEviction: "fail" })
        assert.strictEqual(strict.exit._tag, evicts ? "Failure" : "Success", policy)
      }
    }))
})

describe("options of a list of revocations", () => {
  it("that make no sense are refused", () => {
    for (const subjectLifetime of [0, -1, "401 days", Infinity] as const) {
      assert.throws(() => RedisRevocations.make({ subjectLifetime }), RangeError)
    }
    for (const clockSkew of [-1, "2 hours"] as const) {
      assert.throws(() => RedisRevocations.make({ clockSkew }), RangeError)
    }
  })
})
