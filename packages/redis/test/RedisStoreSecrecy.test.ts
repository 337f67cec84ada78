import { Crypto, PayloadCodec, SessionBackend, SessionConfig, SessionStore } from "@effect-session/core"
import * as CompressionNode from "@effect-session/core/CompressionNode"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { RedisStore } from "@effect-session/redis"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Stream } from "effect"
import { Redis } from "ioredis"
import { tracingChannel } from "node:diagnostics_channel"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { inspect } from "node:util"
import { brotliCompressSync, gzipSync } from "node:zlib"
import * as Recorded from "../../core/test/Recorded.ts"
import { layerClient, layerServer, open, Server } from "./StoreFixture.ts"

const secret = Redacted.make("Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1?")

/** What an application has in production: payloads are sealed. */
const production = (prefix: string, options?: SessionConfig.Options) =>
  Effect.flatMap(Server, ({ url }) =>
    Layer.build(
      RedisStore.layer().pipe(
        Layer.provideMerge(layerClient(url, prefix)),
        Layer.provideMerge(CryptoNode.layer),
        Layer.provide(SessionConfig.layer({ preset: "production", secrets: secret, ...options }))
      )
    ))

const stored = (backend: SessionBackend.SessionBackend["Service"], subject: string | undefined, payload: string) =>
  Effect.flatMap(
    backend.apply({
      _tag: "Create",
      record: { idleTimeout: 60_000, lifetime: 60_000, subject, format: 1, payload },
      limit: undefined
    }),
    (applied) => applied._tag === "Stored" ? Effect.succeed(applied) : Effect.die(applied._tag)
  )

const lookupOf = (backend: SessionBackend.SessionBackend["Service"], token: string) =>
  Effect.map(backend.load(token), (found) => found._tag === "Found" ? found.lookup._tag : found._tag)

const filesIn = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory).flatMap((name) => {
    const path = join(directory, name)
    return statSync(path).isDirectory() ? filesIn(path) : [path]
  })

/** Records what everything that can be listened to in the process says. */
const listening = Effect.gen(function*() {
  const seen: Array<unknown> = []
  const record = (context: object) => void seen.push({ ...context })
  const subscriber = { start: record, end: record, asyncStart: record, asyncEnd: record, error: record }
  const channels = ["ioredis:command", "ioredis:batch", "ioredis:connect"].map((name) => tracingChannel(name))
  yield* Effect.acquireRelease(
    Effect.sync(() => channels.forEach((channel) => channel.subscribe(subscriber))),
    () => Effect.sync(() => channels.forEach((channel) => channel.unsubscribe(subscriber)))
  )
  return { seen, ...Recorded.make() }
})

layer(layerServer, { excludeTestServices: true })("RedisStore in production", (it) => {
  it.effect("no id and no payload is in the files of the server, in logs, spans, or the driver's diagnostics", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const { lines, seen, services, spans } = yield* listening
      yield* server.admin("CONFIG", "SET", "rdbcompression", "no")
      yield* server.admin("CONFIG", "SET", "appendonly", "yes")
      const context = yield* production("files:").pipe(Effect.provide(services))
      const backend = Context.get(context, SessionBackend.SessionBackend)
      const payload = "plain words of the payload"
      const { key, token } = yield* Effect.gen(function*() {
        const one = yield* stored(backend, "ada@example.org", payload)
        assert.strictEqual(yield* lookupOf(backend, one.token), "Live")
        // Something at its place makes operations fail, and be logged.
        const other = yield* stored(backend, undefined, payload)
        const at = `files:{${other.key.slice(0, 2)}}${other.key.slice(2)}`
        yield* server.admin("SET", at, "something")
        const error = yield* Effect.flip(backend.load(other.token))
        yield* Effect.logError("a failure of the store", error)
        for (const text of [other.token, other.key.slice(2), payload]) {
          assert.notInclude(inspect(error, { depth: 20, showHidden: true }), text)
        }
        return one
      }).pipe(Effect.withSpan("work"), Effect.provide(services))
      yield* server.admin("SAVE")

      const files = filesIn(server.directory)
      const stands = (text: string) => files.filter((file) => readFileSync(file).includes(text)).length
      assert.isAtLeast(files.length, 3, "a snapshot, and a log")
      assert.isAtLeast(stands(key.slice(2)), 2, "the files hold the session")
      for (const text of [token, token.slice(4), "plain words"]) assert.strictEqual(stands(text), 0)

      assert.isNotEmpty(lines)
      assert.isNotEmpty(spans)
      const shown = inspect([lines, seen, spans.map(({ attributes, name }) => [name, attributes])], {
        depth: 20
      })
      for (const text of [token, token.slice(4), key, key.slice(2), "plain words", "ada@example"]) {
        assert.notInclude(shown, text)
      }
      yield* server.admin("CONFIG", "SET", "appendonly", "no")
    }))

  it.effect("a bomb inside a valid seal is unreadable, costs little, and stays as it is", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const context = yield* production("bomb:")
      const backend = Context.get(context, SessionBackend.SessionBackend)
      const crypto = Context.get(context, Crypto.Crypto)
      const { key, token } = yield* stored(backend, undefined, "words ".repeat(9))
      const zeros = Buffer.alloc(50 * 1024 * 1024, " ")
      // The octet that names the algorithm, the length in three, and the octets.
      const content = (marker: number, bytes: Uint8Array) =>
        Uint8Array.from([marker, bytes.length >>> 16, bytes.length >>> 8, bytes.length, ...bytes])
      const redisKey = `bomb:{${key.slice(0, 2)}}${key.slice(2)}`
      const own = new Redis({ port: server.port, protocol: 2 })
      yield* Effect.addFinalizer(() => Effect.sync(() => own.disconnect()))
      const before = yield* Effect.promise(() => own.hgetBuffer(redisKey, "p"))
      const formatOf = Effect.map(backend.load(token), (found) =>
        found._tag === "Found" && found.lookup._tag === "Live" ? found.lookup.record.format : "not live")
      for (const bomb of [content(1, gzipSync(zeros)), content(2, brotliCompressSync(zeros.subarray(0, 4_000_000)))]) {
        const sealed = yield* crypto.seal({ purpose: "record", place: "redis", key }, bomb)
        yield* Effect.promise(() =>
          own.hset(redisKey, "p", Buffer.from(sealed))
        )
        const used = process.memoryUsage().arrayBuffers
        assert.strictEqual(yield* formatOf, PayloadCodec.unreadable)
        assert.isBelow(process.memoryUsage().arrayBuffers - used, 10 * 1024 * 1024)
        assert.deepStrictEqual(yield* Effect.promise(() => own.hgetBuffer(redisKey, "p")), Buffer.from(sealed))
      }
      // The seal itself is the right one: what it holds is the matter.
      const good = yield* crypto.seal({ purpose: "record", place: "redis", key }, content(1, gzipSync("words")))
      yield* Effect.promise(() => own.hset(redisKey, "p", Buffer.from(good)))
      assert.strictEqual(yield* formatOf, 1)
      yield* Effect.promise(() => own.hset(redisKey, "p", before ?? ""))
      assert.strictEqual(yield* formatOf, 1)
    }))

  it.effect("a session whose subject was written over opens for nobody, until it is as it was", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const backend = Context.get(yield* production("subject:"), SessionBackend.SessionBackend)
      const { key, token } = yield* stored(backend, "eve-of-tests", "words")
      const redisKey = `subject:{${key.slice(0, 2)}}${key.slice(2)}`
      const own = new Redis({ port: server.port, protocol: 2 })
      yield* Effect.addFinalizer(() => Effect.sync(() => own.disconnect()))
      const rename = (from: string, to: string) =>
        Effect.promise(async () => {
          const fields = Object.entries(await own.hgetallBuffer(redisKey)).filter(([, value]) => value.includes(from))
          for (const [field, value] of fields) {
            const at = value.indexOf(from)
            await own.hset(
              redisKey,
              field,
              Buffer.concat([value.subarray(0, at), Buffer.from(to), value.subarray(at + from.length)])
            )
          }
          return fields.length
        })
      const recordOf = Effect.map(
        backend.load(token),
        (found) => found._tag === "Found" && found.lookup._tag === "Live" ? found.lookup.record : undefined
      )
      assert.strictEqual(yield* rename("eve-of-tests", "the-operator"), 1)
      assert.deepInclude(yield* recordOf, { subject: "the-operator", format: PayloadCodec.unreadable, payload: "" })
      yield* rename("the-operator", "eve-of-tests")
      assert.deepInclude(yield* recordOf, { subject: "eve-of-tests", format: 1, payload: "words" })
    }))

  it.effect("payloads are compressed before they are sealed, where the application says so", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const payload = JSON.stringify(Array.from({ length: 100 }, (_, n) => ({ name: "an item of a list", n })))
      const lengths = yield* Effect.forEach(
        [[{ compress: "gzip" }, "zip:"], [{ compress: "gzip", seal: false }, "zip-plain:"], [{}, "unzipped:"]] as const,
        Effect.fnUntraced(function*([options, prefix]) {
          const context = yield* production(prefix).pipe(
            Effect.provide([PayloadCodec.layer(options), CompressionNode.layer()])
          )
          const backend = Context.get(context, SessionBackend.SessionBackend)
          const { key, token } = yield* stored(backend, undefined, payload)
          const found = yield* backend.load(token)
          assert.isTrue(
            found._tag === "Found" && found.lookup._tag === "Live" && found.lookup.record.payload === payload
          )
          return Number(yield* server.admin("HSTRLEN", `${prefix}{${key.slice(0, 2)}}${key.slice(2)}`, "p"))
        })
      )
      assert.isBelow(lengths[0], payload.length / 5)
      assert.isBelow(lengths[1], payload.length / 5)
      assert.isAbove(lengths[2], payload.length)
    }))

  it.effect("applications on one server do not meet: neither by name, nor by secret, nor by prefix", () =>
    Effect.gen(function*() {
      const applications = yield* Effect.forEach(
        [
          ["shared:", {}],
          ["shared:", { name: "another" }],
          ["shared:", { secrets: Redacted.make("Pz4-Lm9_Qa7.Xc2+Vb5/Ng8=Kd3~Jh6^Ft1?") }],
          ["other:", {}]
        ] as const,
        ([prefix, options]) =>
          Effect.map(production(prefix, options), (context) => ({
            backend: Context.get(context, SessionBackend.SessionBackend),
            store: Context.get(context, SessionStore.SessionStore)
          }))
      )
      const sessions = yield* Effect.forEach(
        applications,
        ({ backend }, i) => stored(backend, `ada ${i}`, `payload ${i}`)
      )
      for (const [i, { backend, store }] of applications.entries()) {
        for (const [j, { key, token }] of sessions.entries()) {
          assert.strictEqual((yield* lookupOf(backend, token)) === "Live", i === j, `${i} ${j}`)
          // Of the same prefix the record is there, and opens for its own application only.
          const lookup = yield* store.load(key)
          assert.strictEqual(lookup._tag === "Live", (i === 3) === (j === 3), `${i} ${j}`)
        }
      }
      const { query } = yield* open("shared:")
      assert.strictEqual((yield* Stream.runCollect(query.scan)).length, 3)
      const others = yield* open("other:")
      assert.deepStrictEqual(yield* others.query.bySubject("ada 0"), [])
      yield* others.query.destroyBySubject("ada 0")
      yield* Stream.runDrain(others.query.clear)
      assert.strictEqual(yield* lookupOf(applications[0].backend, sessions[0].token), "Live")
      assert.strictEqual(yield* lookupOf(applications[3].backend, sessions[3].token), "Absent")
    }))
})
