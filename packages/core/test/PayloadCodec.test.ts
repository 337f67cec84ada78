import { assert, describe, it } from "@effect/vitest"
import { Clock, DateTime, Effect, Layer, Logger, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as Zlib from "node:zlib"
import * as Compression from "../src/Compression.ts"
import * as CompressionNode from "../src/CompressionNode.ts"
import * as Crypto from "../src/Crypto.ts"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as MemoryStore from "../src/MemoryStore.ts"
import * as PayloadCodec from "../src/PayloadCodec.ts"
import * as SealedFormat from "../src/SealedFormat.ts"
import * as SessionBackend from "../src/SessionBackend.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionDevices from "../src/SessionDevices.ts"
import * as SessionManager from "../src/SessionManager.ts"
import { presets, type SessionPreset } from "../src/SessionPreset.ts"
import { SessionQuery } from "../src/SessionQuery.ts"
import { type Payload, type SessionRecord, SessionStore } from "../src/SessionStore.ts"
import * as FaultyStore from "./FaultyStore.ts"
import { increment, layer as plainLayer, loginAs, reasonOf, secret, setup, UserSession } from "./Fixture.ts"

const older = Redacted.make("Yp3-Mb8_Qw1.Jd6+Rf2/Nz5=Kx9~Ec4^Tg7?")

const layer = (options: PayloadCodec.Options, config?: SessionConfig.Options) =>
  plainLayer(config).pipe(Layer.provide(PayloadCodec.layer(options)), Layer.provide(CompressionNode.layer()))

type Manager = Effect.Success<typeof setup>["manager"]

const sealed = { seal: true } satisfies PayloadCodec.Options

const aRecord: SessionRecord = {
  version: 1,
  createdAt: 0,
  issuedAt: 0,
  authenticatedAt: 0,
  lastSeenAt: 0,
  idleTimeout: 1000,
  expiresAt: 1e15,
  subject: undefined,
  format: 2,
  payload: ""
}

/** Writes into the store, past the library. */
const overwrite = Effect.fnUntraced(function*(key: string, written: PayloadCodec.Written) {
  const store = yield* SessionStore
  const lookup = yield* store.load(key)
  if (lookup._tag !== "Live") return assert.fail(lookup._tag)
  const { idleTimeout, version } = lookup.record
  const saved = yield* store.save(key, version, { ...written, idleTimeout, lifetime: undefined, active: false })
  assert.strictEqual(saved._tag, "Saved")
})

const bytesOf = (payload: Payload | undefined): Uint8Array =>
  payload instanceof Uint8Array ? payload : assert.fail(`bytes were expected: ${typeof payload}`)

const write = (data: Partial<{ readonly n: number; readonly who: string; readonly cart: ReadonlyArray<string> }>) =>
  UserSession.update((before) => ({ ...before, ...data }))

const gzipOf = (text: string | Uint8Array) => new Uint8Array(Zlib.gzipSync(text))

/** The content of a seal: marker, length, octets. */
const content = (marker: number, bytes: Uint8Array, length = bytes.length) =>
  Uint8Array.from([marker, length >>> 16, length >>> 8 & 255, length & 255, ...bytes])

const recordContext = (key: string, place = "faulty", subject?: string) => ({ purpose: "record", place, key, subject })

/** A session whose payload is replaced by one that was sealed with the right key. */
const withSealed = Effect.fnUntraced(function*(plaintext: Uint8Array) {
  const { keyOf, start, statusOf } = yield* setup
  const crypto = yield* Crypto.Crypto
  const token = yield* start
  const key = yield* keyOf(token)
  yield* overwrite(key, { format: 2, payload: yield* crypto.seal(recordContext(key), plaintext) })
  return yield* statusOf(token)
})

describe("PayloadCodec", () => {
  it.effect("does nothing unless it is asked to", () =>
    Effect.gen(function*() {
      const { start, stored, store } = yield* setup
      const record = yield* stored(yield* start)
      assert.strictEqual(record?.format, 1)
      assert.isString(record?.payload)
      assert.isUndefined((yield* SessionBackend.SessionBackend).open)
      const raw = yield* SessionStore
      assert.strictEqual(PayloadCodec.over(raw, PayloadCodec.identity), raw)
      assert.isAbove(store.count("load"), 0)
    }).pipe(Effect.provide(plainLayer())))

  describe("sealed", () => {
    it.effect("shows no data to the store and all of it to the session", () =>
      Effect.gen(function*() {
        const { dataOf, run, stored } = yield* setup
        const { token } = yield* run(undefined, write({ who: "a canary in the coal mine", n: 7 }))
        const record = yield* stored(token!)
        assert.strictEqual(record?.format, 2)
        const kept = Buffer.from(bytesOf(record?.payload)).toString("latin1")
        for (const word of ["canary", "app/UserSession", "who"]) assert.notInclude(kept, word)
        assert.deepStrictEqual(yield* dataOf(token), { who: "a canary in the coal mine", n: 7, cart: [] })
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("writes only what has changed", () =>
      Effect.gen(function*() {
        const { run, start, store } = yield* setup
        const token = yield* start
        store.forget()
        yield* run(token, UserSession.get)
        yield* run(token, write({ n: 1 }))
        assert.deepStrictEqual([store.count("load"), store.count("save", "touch", "renew", "create")], [2, 0])
        yield* run(token, write({ n: 2 }))
        assert.strictEqual(store.count("save"), 1)
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("goes on after a commit in the middle of a request", () =>
      Effect.gen(function*() {
        const { dataOf, run, start, store } = yield* setup
        const token = yield* start
        store.forget()
        yield* run(token, Effect.andThen(increment, UserSession.commit))
        assert.strictEqual(store.count("save", "renew"), 1)
        const renewed = yield* run(
          token,
          Effect.andThen(increment, Effect.andThen(UserSession.commit, UserSession.renew))
        )
        const created = yield* run(
          undefined,
          Effect.andThen(increment, Effect.andThen(UserSession.commit, loginAs("ada")))
        )
        assert.strictEqual((yield* dataOf(renewed.token)).n, 3)
        assert.strictEqual((yield* dataOf(created.token)).who, "ada")
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("loses no update", () =>
      Effect.gen(function*() {
        const { dataOf, run, start } = yield* setup
        const token = yield* start
        const twenty = Array.from({ length: 20 }, () => run(token, increment))
        yield* Effect.all(twenty, { concurrency: "unbounded" })
        assert.strictEqual((yield* dataOf(token)).n, 21)
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("seals for the new key when the id is replaced", () =>
      Effect.gen(function*() {
        const { dataOf, keyOf, run, start, stored } = yield* setup
        const crypto = yield* Crypto.Crypto
        const before = yield* start
        const after = (yield* run(before, loginAs("ada"))).token!
        assert.notStrictEqual(after, before)
        const payload = bytesOf((yield* stored(after))?.payload)
        assert.isUndefined(yield* crypto.open(recordContext(yield* keyOf(before), "faulty", "ada"), payload))
        assert.isUndefined(yield* crypto.open(recordContext(yield* keyOf(after)), payload))
        assert.isDefined(yield* crypto.open(recordContext(yield* keyOf(after), "faulty", "ada"), payload))
        assert.strictEqual((yield* dataOf(after)).who, "ada")
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("reads through an id that was renewed away, while that may read", () =>
      Effect.gen(function*() {
        const { dataOf, run, start } = yield* setup
        const before = yield* start
        yield* TestClock.adjust("2 minutes")
        const after = (yield* run(before, increment)).token!
        assert.notStrictEqual(after, before)
        assert.strictEqual((yield* dataOf(before)).n, 2)
        assert.strictEqual((yield* dataOf(after)).n, 2)
      }).pipe(Effect.provide(layer(sealed, { renewalInterval: "1 minute" }))))

    it.effect("delivers flash messages and lists devices", () =>
      Effect.gen(function*() {
        const { run, signIn } = yield* setup
        const phone = yield* signIn("ada")
        const laptop = yield* signIn("ada")
        yield* run(phone, UserSession.flash.success("Saved."))
        const { value } = yield* run(phone, UserSession.flash.all)
        assert.deepStrictEqual(value.map(({ message }) => message), ["Saved."])
        const devices = (yield* run(laptop, SessionDevices.list(UserSession))).value
        assert.deepStrictEqual(devices.map(({ current }) => current).toSorted(), [false, true])
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("counts the octets of the data, not those that are stored", () =>
      Effect.gen(function*() {
        const { run } = yield* setup
        const empty = UserSession.definition.data.encode({
          ...UserSession.definition.data.initial(),
          data: { n: 0, who: "", cart: [] }
        })
        const room = 300 - empty!.length
        assert.isDefined((yield* run(undefined, write({ who: "x".repeat(room) }))).token)
        assert.strictEqual(yield* reasonOf(run(undefined, write({ who: "x".repeat(room + 1) }))), "TooLarge")
      }).pipe(Effect.provide(layer(sealed, { maxPayload: 300 }))))

    it.effect("opens nothing that was moved to another record or another store", () =>
      Effect.gen(function*() {
        const { dataOf, keyOf, run, signIn, statusOf, stored } = yield* setup
        const crypto = yield* Crypto.Crypto
        const [ada, eve] = [yield* signIn("ada"), yield* signIn("eve")]
        const hers = (yield* stored(ada))!
        yield* overwrite(yield* keyOf(eve), hers)
        assert.strictEqual(yield* statusOf(eve), "invalid")
        const { value } = yield* run(eve, UserSession.get)
        assert.strictEqual(value.who, "guest")
        assert.strictEqual(yield* statusOf(ada), "active")
        assert.strictEqual((yield* dataOf(ada)).who, "ada")

        const key = yield* keyOf(ada)
        const own = recordContext(key, "faulty", "ada")
        const { plaintext } = (yield* crypto.open(own, bytesOf(hers.payload)))!
        for (
          const context of [
            { ...own, place: "another" },
            { ...own, purpose: "session" },
            { ...own, key: "" },
            { ...own, subject: "eve" },
            recordContext(key)
          ]
        ) {
          yield* overwrite(key, { format: 2, payload: yield* crypto.seal(context, plaintext) })
          assert.strictEqual(yield* statusOf(ada), "invalid", JSON.stringify(context))
        }
        yield* overwrite(key, { format: 2, payload: yield* crypto.seal(own, plaintext) })
        assert.strictEqual(yield* statusOf(ada), "active")
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("makes nobody another user who can write to the store and has a session there", () =>
      Effect.gen(function*() {
        const { run, signIn, start, store } = yield* setup
        const named = (subject: string | undefined) => {
          store.next("load", (call) =>
            Effect.map(call, (lookup) =>
              Object.assign({}, lookup, {
                record: Object.assign({}, Reflect.get(Object(lookup), "record"), { subject })
              })))
        }
        const seen = (token: string) =>
          Effect.map(run(token, Effect.all([UserSession.status, UserSession.subject])), ({ value }) => value)
        const [eve, visitor] = [yield* signIn("eve"), yield* start]
        for (
          const [token, own, other] of [[eve, "eve", "root"], [eve, "eve", undefined], [visitor, undefined, "root"]]
        ) {
          named(other)
          assert.deepStrictEqual(yield* seen(token!), ["invalid", undefined])
          // Nor does what was sealed before, by a save, a renewal or a step-up.
          const { token: next } = yield* run(token!, Effect.andThen(increment, UserSession.flash.notice("n")))
          named(other)
          assert.deepStrictEqual(yield* seen(next!), ["invalid", undefined])
          assert.deepStrictEqual(yield* seen(next!), ["active", own])
          yield* run(next!, UserSession.flash.all)
          assert.deepStrictEqual(yield* seen(next!), ["active", own])
        }
        const { token: renewed } = yield* run(eve, UserSession.renew)
        assert.deepStrictEqual(yield* seen(renewed!), ["active", "eve"])
        const { token: signedIn } = yield* run(visitor, loginAs("ada"))
        assert.deepStrictEqual(yield* seen(signedIn!), ["active", "ada"])
        named("root")
        assert.deepStrictEqual(yield* seen(signedIn!), ["invalid", undefined])
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("opens nothing that was damaged, at any place", () =>
      Effect.gen(function*() {
        const { keyOf, start, statusOf, stored } = yield* setup
        const token = yield* start
        const key = yield* keyOf(token)
        const payload = bytesOf((yield* stored(token))?.payload).slice()
        for (let i = 0; i < payload.length; i++) {
          const damaged = payload.slice()
          damaged[i] ^= 1 << i % 8
          yield* overwrite(key, { format: 2, payload: damaged })
          assert.strictEqual(yield* statusOf(token), "invalid", `octet ${i}`)
          yield* overwrite(key, { format: 2, payload: payload.subarray(0, i) })
          assert.strictEqual(yield* statusOf(token), "invalid", `length ${i}`)
        }
        yield* overwrite(key, { format: 2, payload })
        assert.strictEqual(yield* statusOf(token), "active")
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("opens a payload once while it stays the same, and none that it sealed", () =>
      Effect.gen(function*() {
        const crypto = yield* Crypto.Crypto
        let opens = 0
        const counting = Crypto.Crypto.of({
          ...crypto,
          open: (context, sealed) => {
            opens++
            return crypto.open(context, sealed)
          }
        })
        const codecOf = Effect.fnUntraced(function*() {
          const place = { name: "counted", sealByDefault: true, crypto: counting }
          return PayloadCodec.make(place, yield* Compression.Compression, yield* Clock.Clock)
        })
        const [writer, reader] = [yield* codecOf(), yield* codecOf()]
        const sealedAs = (payload: string) =>
          Effect.map(writer.encode("key", "ada", { format: 1, payload }), (written) => bytesOf(written.payload))
        const read = (codec: PayloadCodec.Codec, payload: Uint8Array, key = "key", subject = "ada") =>
          Effect.map(codec.decode(key, { ...aRecord, subject, payload }), (record) => [
            record.format,
            record.payload
          ])
        const first = yield* sealedAs("first")
        for (let i = 0; i < 3; i++) assert.deepStrictEqual(yield* read(writer, first.slice()), [1, "first"])
        assert.strictEqual(opens, 0)
        for (let i = 0; i < 3; i++) assert.deepStrictEqual(yield* read(reader, first.slice()), [1, "first"])
        assert.strictEqual(opens, 1)
        // What it depends on is another one: it is opened, and does not.
        assert.deepStrictEqual(yield* read(reader, first, "another key"), [0, ""])
        assert.deepStrictEqual(yield* read(reader, first, "key", "eve"), [0, ""])
        assert.strictEqual(opens, 3)
        const second = yield* sealedAs("second")
        assert.deepStrictEqual(yield* read(reader, second), [1, "second"])
        assert.deepStrictEqual(yield* read(reader, first), [1, "first"])
        assert.deepStrictEqual(yield* read(writer, first), [1, "first"])
        assert.strictEqual(opens, 6)
        // Half a surrogate pair is not what comes back.
        const odd = yield* sealedAs("\ud800")
        assert.deepStrictEqual(yield* read(writer, odd), [1, "\ufffd"])
        // What the store does with its octets later changes nothing.
        const many = new Uint8Array(1000)
        const view = many.subarray(100, 100 + first.length)
        view.set(first)
        const other = yield* codecOf()
        assert.deepStrictEqual(yield* read(other, view), [1, "first"])
        many.fill(0)
        assert.deepStrictEqual(yield* read(other, view), [0, ""])
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("has no fallback for what is not sealed", () =>
      Effect.gen(function*() {
        const { keyOf, start, statusOf } = yield* setup
        const token = yield* start
        const key = yield* keyOf(token)
        const text = UserSession.definition.data.encode(UserSession.definition.data.initial())!
        const octets = new TextEncoder().encode(text)
        const long = text.replace("guest", "g".repeat(500))
        const forged: ReadonlyArray<PayloadCodec.Written> = [
          { format: 1, payload: text },
          { format: 1, payload: octets },
          { format: 2, payload: text },
          { format: 2, payload: octets },
          { format: 2, payload: Uint8Array.from([0, ...octets]) },
          { format: 2, payload: Buffer.from(text).toString("base64") },
          { format: 2, payload: new Uint8Array(0) },
          { format: 3, payload: content(1, gzipOf(long)) },
          { format: 0, payload: text },
          { format: -1, payload: text },
          { format: 4, payload: text },
          { format: 200, payload: octets }
        ]
        for (const written of forged) {
          yield* overwrite(key, written)
          assert.strictEqual(yield* statusOf(token), "invalid", JSON.stringify(written))
        }
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("says why it does not read, and only that", () =>
      Effect.gen(function*() {
        const { keyOf, run, start } = yield* setup
        const token = yield* start
        const key = yield* keyOf(token)
        const problemOf = Effect.fnUntraced(function*(written: PayloadCodec.Written) {
          yield* overwrite(key, written)
          const { reason } = yield* Effect.flip(run(token, UserSession.get))
          return reason._tag === "Invalid" ? reason.problem : reason._tag
        })
        assert.strictEqual(yield* problemOf({ format: 2, payload: new Uint8Array(100) }), "sealed")
        assert.strictEqual(yield* problemOf({ format: 1, payload: "{}" }), "sealed")
        assert.strictEqual(yield* problemOf({ format: 3, payload: content(1, gzipOf("{}")) }), "sealed")
        assert.strictEqual(yield* problemOf({ format: 4, payload: "{}" }), "newer")
      }).pipe(Effect.provide(layer(sealed, { onInvalid: "fail" }))))

    it.effect("begins anew at the next write of a visitor whose session it cannot read, and destroys nothing", () =>
      Effect.gen(function*() {
        const { dataOf, keyOf, run, start, store } = yield* setup
        const token = yield* start
        yield* overwrite(yield* keyOf(token), { format: 1, payload: "{}" })
        store.forget()
        const next = (yield* run(token, increment)).token!
        assert.notStrictEqual(next, token)
        assert.strictEqual((yield* dataOf(next)).n, 1)
        assert.strictEqual(store.count("destroy"), 0)
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("opens under every secret of the ring and seals under the newest", () =>
      Effect.gen(function*() {
        const memory = yield* Layer.build(MemoryStore.layerStore())
        const withSecrets = <A, E>(
          secrets: SessionConfig.Secrets,
          use: (manager: Manager, keyIdOf: (token: string) => Effect.Effect<string>) => Effect.Effect<A, E>
        ) =>
          Effect.gen(function*() {
            const crypto = yield* Crypto.Crypto
            const store = yield* SessionStore
            const keyIdOf = Effect.fnUntraced(function*(token: string) {
              const lookup = yield* Effect.orDie(store.load((yield* crypto.hashId(token))!))
              return Buffer.from(bytesOf(lookup._tag === "Live" ? lookup.record.payload : "").subarray(2, 4)).toString(
                "hex"
              )
            })
            return yield* use(yield* SessionManager.make(UserSession), keyIdOf)
          }).pipe(
            Effect.provide(
              SessionBackend.layer("memory").pipe(
                Layer.provideMerge(Layer.succeedContext(memory)),
                Layer.provide(PayloadCodec.layer(sealed)),
                Layer.provideMerge(CryptoNode.layer),
                Layer.provideMerge(SessionConfig.layer({ preset: "development", secrets }))
              ),
              { local: true }
            )
          )
        const first = yield* withSecrets(older, ({ run }, keyIdOf) =>
          Effect.flatMap(run(undefined, increment), ({ token }) =>
            Effect.map(keyIdOf(token!), (keyId) => ({ token, keyId }))))
        yield* withSecrets([secret, older], ({ run }, keyIdOf) =>
          Effect.gen(function*() {
            assert.strictEqual((yield* run(first.token, UserSession.get)).value.n, 1)
            assert.strictEqual(yield* keyIdOf(first.token!), first.keyId)
            assert.strictEqual((yield* run(first.token, increment)).value.n, 2)
            assert.notStrictEqual(yield* keyIdOf(first.token!), first.keyId)
            assert.strictEqual((yield* run(first.token, UserSession.get)).value.n, 2)
          }))
      }))
  })

  describe("plain payloads in a sealed store", () => {
    const start = Effect.gen(function*() {
      const { keyOf, signIn, stored } = yield* setup
      const token = yield* signIn("ada")
      const key = yield* keyOf(token)
      const backend = yield* SessionBackend.SessionBackend
      const found = yield* backend.load(token)
      if (found._tag !== "Found" || found.lookup._tag !== "Live") return assert.fail("not found")
      const { format, payload } = found.lookup.record
      assert.isString(payload)
      yield* overwrite(key, { format, payload })
      return { token, stored: stored(token) }
    })

    it.effect("are read until the date, sealed at the next write, and refused from then on", () =>
      Effect.gen(function*() {
        const { dataOf, run, statusOf } = yield* setup
        yield* TestClock.setTime(0)
        const [first, second] = [yield* start, yield* start]
        yield* TestClock.setTime(Date.UTC(1970, 0, 1, 0, 19, 59, 999))
        assert.strictEqual((yield* dataOf(first.token)).who, "ada")
        assert.strictEqual((yield* first.stored)?.format, 1)
        yield* run(first.token, increment)
        assert.strictEqual((yield* first.stored)?.format, 2)
        assert.strictEqual(yield* statusOf(second.token), "active")
        yield* TestClock.setTime(Date.UTC(1970, 0, 1, 0, 20))
        assert.strictEqual(yield* statusOf(second.token), "invalid")
        assert.strictEqual(yield* statusOf(first.token), "active")
      }).pipe(Effect.provide(layer({ ...sealed, acceptPlainUntil: "1970-01-01T00:20:00Z" }))))

    it.effect("are refused without a date", () =>
      Effect.gen(function*() {
        const { statusOf } = yield* setup
        assert.strictEqual(yield* statusOf((yield* start).token), "invalid")
      }).pipe(Effect.provide(layer(sealed))))

    it.effect("are announced in the log while they are accepted", () =>
      Effect.gen(function*() {
        const lines: Array<unknown> = []
        const logger = Logger.layer([Logger.make(({ message }) => void lines.push(message))])
        const build = (acceptPlainUntil: DateTime.DateTime.Input) =>
          Effect.provide(Effect.asVoid(setup), layer({ ...sealed, acceptPlainUntil }).pipe(Layer.provide(logger)))
        yield* build(new Date(60_000))
        assert.match(String(lines[0]), /"faulty" until 1970-01-01T00:01:00.000Z/)
        yield* TestClock.setTime(60_000)
        yield* build(DateTime.makeUnsafe(60_000))
        assert.strictEqual(lines.length, 1)
      }))

    it.effect("need a date that is one", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Effect.provide(setup, layer({ acceptPlainUntil: "some day" })))
        assert.match(String(exit), /acceptPlainUntil is not a date/)
      }))
  })

  it.effect("reads sealed payloads also where it does not seal, and writes plain ones then", () =>
    Effect.gen(function*() {
      const { keyOf, run, start, stored } = yield* setup
      const crypto = yield* Crypto.Crypto
      const token = yield* start
      const text = (yield* stored(token))!.payload
      if (typeof text !== "string") return assert.fail("plain text was expected")
      const key = yield* keyOf(token)
      const plaintext = Uint8Array.from([0, ...new TextEncoder().encode(text)])
      yield* overwrite(key, { format: 2, payload: yield* crypto.seal(recordContext(key), plaintext) })
      assert.strictEqual((yield* run(token, UserSession.get)).value.n, 1)
      yield* run(token, increment)
      assert.strictEqual((yield* stored(token))?.format, 1)
    }).pipe(Effect.provide(layer({ seal: false }))))

  describe("compressed", () => {
    const cart = Array.from({ length: 120 }, (_, i) => `item ${i * 7919 % 1000}`)
    const variants: ReadonlyArray<readonly [PayloadCodec.Options, number]> = [
      [{ seal: true, compress: "gzip" }, 2],
      [{ seal: true, compress: "brotli" }, 2],
      [{ seal: false, compress: "gzip" }, 3],
      [{ seal: false, compress: "brotli" }, 3]
    ]

    it.effect.each(variants)("takes less room and comes back: %j", ([options, format]) =>
      Effect.gen(function*() {
        const { dataOf, run, stored } = yield* setup
        const { token } = yield* run(undefined, write({ cart }))
        const record = yield* stored(token!)
        assert.strictEqual(record?.format, format)
        assert.isBelow(bytesOf(record?.payload).length, JSON.stringify(cart).length * 0.7)
        assert.deepStrictEqual((yield* dataOf(token)).cart, cart)
      }).pipe(Effect.provide(layer(options))))

    it.effect("leaves small payloads alone", () =>
      Effect.gen(function*() {
        const { dataOf, run, stored } = yield* setup
        const { token } = yield* run(undefined, increment)
        assert.strictEqual((yield* stored(token!))?.format, 1)
        assert.strictEqual((yield* dataOf(token)).n, 1)
      }).pipe(Effect.provide(layer({ seal: false, compress: "gzip" }))))

    it.effect("starts at a threshold of its own", () =>
      Effect.gen(function*() {
        const { run, stored } = yield* setup
        const { token } = yield* run(undefined, write({ who: "ab".repeat(60) }))
        assert.strictEqual((yield* stored(token!))?.format, 3)
      }).pipe(Effect.provide(layer({ seal: false, compress: "gzip", threshold: 64 }))))

    it.effect("keeps only what is smaller in its bucket too", () =>
      Effect.gen(function*() {
        const place = { name: "redis", sealByDefault: true, crypto: yield* Crypto.Crypto }
        const codec = PayloadCodec.make(place, CompressionNode.make(), yield* Clock.Clock, {
          compress: "gzip",
          threshold: 0
        })
        for (const length of [40, 60, 63, 64, 100, 127, 128, 129, 200]) {
          const { payload } = yield* codec.encode("key", undefined, { format: 1, payload: "a".repeat(length) })
          assert.isAtMost(payload.length, SealedFormat.sealedLength("aes256Gcm", 1 + length), `${length}`)
        }
      }).pipe(Effect.provide(plainLayer())))

    it.effect("takes text that begins like a compressed one as text", () =>
      Effect.gen(function*() {
        const { dataOf, run } = yield* setup
        for (const length of [0, 3, 600]) {
          const who = Buffer.from(Zlib.gzipSync("x".repeat(1000))).toString("latin1") + "y".repeat(length)
          assert.isTrue(who.startsWith("\u001f\u008b"))
          const { token } = yield* run(undefined, write({ who }))
          assert.strictEqual((yield* dataOf(token)).who, who)
        }
      }).pipe(Effect.provide(layer({ seal: true, compress: "gzip", threshold: 0 }))))

    it.effect("shows only a bucket of the length inside a seal", () =>
      Effect.gen(function*() {
        const { run, stored } = yield* setup
        const lengths = new Set<number>()
        const secretPart = "csrf=q".repeat(3) + JSON.stringify(cart)
        for (const letter of "abcdefghijklmnopqrstuvwxyz") {
          const { token } = yield* run(undefined, write({ who: `csrf=${letter}`, cart: [secretPart] }))
          lengths.add(bytesOf((yield* stored(token!))?.payload).length)
        }
        assert.strictEqual(lengths.size, 1)
      }).pipe(Effect.provide(layer({ seal: true, compress: "gzip" }))))

    it.effect("refuses what is damaged, unknown, or cut, inside a valid seal too", () =>
      Effect.gen(function*() {
        const text = UserSession.definition.data.encode({
          ...UserSession.definition.data.initial(),
          data: { n: 0, who: "ada", cart }
        })!
        const good = gzipOf(text)
        assert.strictEqual(yield* withSealed(content(1, good)), "active")
        assert.strictEqual(yield* withSealed(Uint8Array.from([...content(1, good), ...new Uint8Array(60)])), "active")
        const bad: ReadonlyArray<Uint8Array> = [
          new Uint8Array(0),
          Uint8Array.of(1),
          Uint8Array.of(1, 0, 0),
          Uint8Array.of(1, 0, 0, 0),
          content(2, good),
          content(3, good),
          content(255, good),
          content(1, good, good.length + 1),
          content(1, good, good.length - 1),
          content(1, good.subarray(1)),
          Uint8Array.from([0, 0xff, 0xfe]),
          Uint8Array.from([0, ...good])
        ]
        for (const plaintext of bad) {
          assert.strictEqual(
            yield* withSealed(plaintext),
            "invalid",
            Buffer.from(plaintext.subarray(0, 8)).toString("hex")
          )
        }
      }).pipe(Effect.provide(layer({ seal: true, compress: "gzip" }))))

    it.effect("refuses a bomb inside a valid seal", () =>
      Effect.gen(function*() {
        const zeros = Buffer.alloc(50 * 1024 * 1024, " ")
        const brotli = new Uint8Array(
          Zlib.brotliCompressSync(zeros, { params: { [Zlib.constants.BROTLI_PARAM_QUALITY]: 5 } })
        )
        const gzip = gzipOf(zeros)
        assert.isBelow(gzip.length, 65_536)
        for (const plaintext of [content(1, gzip), content(2, brotli), content(1, gzipOf(gzipOf(gzip)))]) {
          assert.strictEqual(yield* withSealed(plaintext), "invalid")
        }
      }).pipe(Effect.provide(layer({ seal: true }))))

    it.effect("needs an algorithm that is there", () =>
      Effect.gen(function*() {
        const services = plainLayer().pipe(Layer.provide(PayloadCodec.layer({ compress: "brotli" })))
        assert.match(String(yield* Effect.exit(Effect.provide(setup, services))), /there is no brotli here/)
      }))
  })

  describe("by default", () => {
    const stores = {
      "a store outside the process": () => SessionBackend.layer("faulty", { sealByDefault: true }),
      "a store in the process": () => SessionBackend.layer("faulty")
    }
    const formatUnder = (backend: keyof typeof stores, preset: SessionPreset, codec?: PayloadCodec.Options) =>
      Effect.gen(function*() {
        const { run, stored } = yield* setup
        return (yield* stored((yield* run(undefined, increment)).token!))?.format
      }).pipe(
        Effect.provide(
          stores[backend]().pipe(
            Layer.provideMerge(plainLayer({ preset })),
            Layer.provide(codec === undefined ? Layer.empty : PayloadCodec.layer(codec))
          )
        )
      )

    for (const preset of Object.keys(presets) as ReadonlyArray<SessionPreset>) {
      const seals = ["production", "highSecurity", "clustered"].includes(preset)
      it.effect(`${preset} ${seals ? "seals" : "does not seal"} what leaves the process`, () =>
        Effect.gen(function*() {
          assert.strictEqual(yield* formatUnder("a store outside the process", preset), seals ? 2 : 1)
          assert.strictEqual(yield* formatUnder("a store outside the process", preset, { seal: !seals }), seals ? 1 : 2)
          assert.strictEqual(yield* formatUnder("a store in the process", preset), 1)
          assert.strictEqual(yield* formatUnder("a store in the process", preset, {}), 1)
          assert.strictEqual(yield* formatUnder("a store in the process", preset, { seal: true }), 2)
        }))
    }

    it.effect("what sealed under one preset still opens under another", () =>
      Effect.gen(function*() {
        const crypto = yield* Crypto.Crypto
        const clock = yield* Clock.Clock
        const place = (sealByDefault: boolean) => ({ name: "redis", sealByDefault, crypto })
        const [sealing, plain] = [true, false].map((seal) => PayloadCodec.make(place(seal), Compression.make(), clock))
        const written = yield* sealing.encode("key", undefined, { format: 1, payload: "text" })
        const record: SessionRecord = {
          ...written,
          version: 1,
          createdAt: 0,
          issuedAt: 0,
          authenticatedAt: undefined,
          lastSeenAt: 0,
          idleTimeout: 1,
          expiresAt: 1,
          subject: undefined
        }
        assert.deepStrictEqual(yield* plain.decode("key", record), { ...record, format: 1, payload: "text" })
        assert.deepStrictEqual(yield* plain.decode("other", record), { ...record, format: 0, payload: "" })
      }).pipe(Effect.provide(plainLayer())))
  })

  it.effect("works on the portable cryptography and compression", () =>
    Effect.gen(function*() {
      const { dataOf, run, stored } = yield* setup
      const who = "portable ".repeat(100).replaceAll(/o/g, () => "0")
      const { token } = yield* run(undefined, write({ who }))
      assert.strictEqual((yield* stored(token!))?.format, 2)
      assert.strictEqual((yield* dataOf(token)).who, who)
      const { token: next } = yield* run(token, loginAs("ada"))
      assert.strictEqual((yield* dataOf(next)).who, "ada")
      assert.strictEqual((yield* (yield* SessionQuery).bySubject("ada")).length, 1)
    }).pipe(Effect.provide(
      FaultyStore.layer().pipe(
        Layer.provide(PayloadCodec.layer({ seal: true, compress: "gzip" })),
        Layer.provideMerge(Crypto.layer),
        Layer.provideMerge(SessionConfig.layer({ preset: "development", secrets: secret }))
      )
    )))
})
