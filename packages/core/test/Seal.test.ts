import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as FastCheck from "fast-check"
import { inspect } from "node:util"
import * as AtOnce from "../src/internal/atOnce.ts"
import * as KeyRing from "../src/KeyRing.ts"
import * as SealedFormat from "../src/SealedFormat.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import { bytes, context, counters, older, platformNames, secret, service, suites } from "./SealFixture.ts"

const text = "{\"cart\":[1,2,3],\"who\":\"ada\"}"

const everywhere = suites.flatMap((suite) => platformNames.map((platform) => ({ suite, platform })))

const changed = (sealed: Uint8Array, at: number, value: (octet: number) => number) => {
  const copy = new Uint8Array(sealed)
  copy[at] = value(copy[at])
  return copy
}

describe("seal and open", () => {
  const contexts = FastCheck.record({
    purpose: FastCheck.string({ unit: "grapheme", maxLength: 12 }),
    place: FastCheck.string({ unit: "grapheme", maxLength: 12 }),
    key: FastCheck.string({ maxLength: 40 })
  })

  for (const suite of suites) {
    it.effect(`${suite}: what node seals opens in WebCrypto, and the other way round`, () =>
      Effect.gen(function*() {
        const node = yield* service({ suite, platform: "node" })
        const portable = yield* service({ suite, platform: "portable" })
        yield* Effect.promise(() =>
          FastCheck.assert(
            FastCheck.asyncProperty(
              contexts,
              FastCheck.uint8Array({ maxLength: 300 }),
              FastCheck.boolean(),
              async (context, plaintext, forth) => {
                const [from, to] = forth ? [node, portable] : [portable, node]
                const sealed = await Effect.runPromise(from.seal(context, plaintext))
                assert.strictEqual(sealed.length, SealedFormat.sealedLength(suite, plaintext.length))
                for (const opener of [from, to]) {
                  const opened = await Effect.runPromise(opener.open(context, sealed))
                  assert.deepStrictEqual(opened?.plaintext, plaintext)
                  assert.isTrue(opened?.current)
                }
              }
            ),
            { numRuns: 200 }
          )
        )
      }))
  }

  it.effect("node is synchronous: one fibre, no asynchronous step", () =>
    Effect.gen(function*() {
      for (const suite of suites) {
        const crypto = yield* service({ suite })
        const sealed = Effect.runSync(crypto.seal(context, bytes(text)))
        assert.deepStrictEqual(Effect.runSync(crypto.open(context, sealed))?.plaintext, bytes(text))
        const signature = Effect.runSync(crypto.sign("csrf", text))
        assert.isTrue(Effect.runSync(crypto.verify("csrf", text, signature)))
      }
    }))

  it.effect("returns memory of its own", () =>
    Effect.gen(function*() {
      const crypto = yield* service()
      const sealed = yield* crypto.seal(context, bytes(text))
      const { plaintext } = (yield* crypto.open(context, sealed))!
      plaintext.slice().fill(0)
      assert.deepStrictEqual(plaintext, bytes(text))
      assert.deepStrictEqual((yield* crypto.open(context, sealed))?.plaintext, bytes(text))
    }))

  it.effect("tells contexts with half a surrogate pair apart by refusing them", () =>
    Effect.gen(function*() {
      const crypto = yield* service()
      const sealed = yield* crypto.seal({ ...context, key: "\ufffd" }, bytes(text))
      assert.isUndefined(yield* crypto.open({ ...context, key: "\ud800" }, sealed))
      assert.strictEqual((yield* Effect.exit(crypto.seal({ ...context, key: "\ud800" }, bytes(text))))._tag, "Failure")
    }))

  it.effect("any suite opens what another sealed under the same secret, and says that it is not current", () =>
    Effect.gen(function*() {
      for (const { platform, suite } of everywhere) {
        const sealed = yield* (yield* service({ suite })).seal(context, bytes(text))
        for (const configured of suites) {
          const opened = yield* (yield* service({ suite: configured, platform })).open(context, sealed)
          assert.deepStrictEqual(opened?.plaintext, bytes(text))
          assert.strictEqual(opened?.current, configured === suite)
        }
      }
    }))
})

describe("refuses alike", () => {
  for (const { platform, suite } of everywhere) {
    it.effect(`${suite} on ${platform}: every flipped bit and every truncation`, () =>
      Effect.gen(function*() {
        const crypto = yield* service({ suite, platform })
        const sealed = yield* crypto.seal(context, bytes(text))
        assert.isDefined(yield* crypto.open(context, sealed))
        for (let bit = 0; bit < sealed.length * 8; bit++) {
          const flipped = changed(sealed, bit >>> 3, (octet) => octet ^ 1 << (bit & 7))
          assert.isUndefined(yield* crypto.open(context, flipped), `bit ${bit}`)
        }
        for (let length = 0; length < sealed.length; length++) {
          assert.isUndefined(yield* crypto.open(context, sealed.subarray(0, length)), `cut to ${length}`)
          assert.isUndefined(yield* crypto.open(context, sealed.subarray(length + 1)), `from ${length + 1}`)
        }
      }))

    it.effect(`${suite} on ${platform}: tags of another length`, () =>
      Effect.gen(function*() {
        const crypto = yield* service({ suite, platform })
        const plaintext = bytes(text.padEnd(32))
        const sealed = yield* crypto.seal(context, plaintext)
        const { tagLength } = SealedFormat.layouts[suite]
        for (const length of [0, 4, 8, 12, 13, 14, 15, 17, 20, 24, 31, 33]) {
          if (length === tagLength) continue
          const other = new Uint8Array(sealed.length - tagLength + length)
          other.set(sealed.subarray(0, Math.min(sealed.length, other.length)))
          assert.isUndefined(yield* crypto.open(context, other), `tag of ${length}`)
        }
      }))

    it.effect(`${suite} on ${platform}: every header field changed, and every value of version and suite`, () =>
      Effect.gen(function*() {
        const crypto = yield* service({ suite, platform, secrets: [secret, older] })
        const sealed = yield* crypto.seal(context, bytes(text.padEnd(64)))
        for (let value = 0; value < 256; value++) {
          for (const at of [0, 1, 2]) {
            if (sealed[at] === value) continue
            assert.isUndefined(yield* crypto.open(context, changed(sealed, at, () => value)), `${at}: ${value}`)
          }
        }
        // The id of the other key of the ring.
        const other = yield* (yield* service({ suite, secrets: older })).seal(context, bytes(text))
        const renamed = new Uint8Array(sealed)
        renamed.set(other.subarray(2, 4), 2)
        assert.isUndefined(yield* crypto.open(context, renamed))
        // Another message's salt, commitment, nonce or body.
        const second = yield* (yield* service({ suite })).seal(context, bytes(text.padEnd(64)))
        const nonceEnd = SealedFormat.prefixLength + SealedFormat.layouts[suite].nonceLength
        for (const [from, to] of [[4, 20], [20, 36], [4, 36], [36, nonceEnd], [nonceEnd, sealed.length]]) {
          const mixed = new Uint8Array(sealed)
          mixed.set(second.subarray(from, to), from)
          assert.isUndefined(yield* crypto.open(context, mixed), `${from} to ${to}`)
        }
      }))

    it.effect(`${suite} on ${platform}: moved to another purpose, place, key, application or secret`, () =>
      Effect.gen(function*() {
        const crypto = yield* service({ suite, platform })
        const sealed = yield* crypto.seal(context, bytes(text))
        for (
          const other of [
            { ...context, purpose: "csrf" },
            { ...context, place: "__Host-other" },
            { ...context, key: "r3corD" },
            { ...context, key: "" },
            // The same characters, cut elsewhere.
            { purpose: "sessio", place: "n__Host-id", key: "r3cord" },
            { purpose: "session", place: "__Host-idr", key: "3cord" },
            { purpose: "session", place: "__Host-i", key: "dr3cord" }
          ]
        ) {
          assert.isUndefined(yield* crypto.open(other, sealed), JSON.stringify(other))
        }
        for (const options of [{ name: "other" }, { secrets: older }]) {
          const other = yield* service({ suite, platform, ...options })
          assert.isUndefined(yield* other.open(context, sealed))
          // Not the key id alone: the value is given that of the other.
          const own = yield* other.seal(context, bytes(text))
          const renamed = new Uint8Array(sealed)
          renamed.set(own.subarray(2, 4), 2)
          assert.isUndefined(yield* other.open(context, renamed))
        }
      }))
  }

  it.effect("what was never sealed: text, JSON, empty, noise", () =>
    Effect.gen(function*() {
      const { count, watch } = counters()
      const crypto = yield* service({ watch })
      yield* crypto.seal(context, bytes(text))
      count.derivations = 0
      const noise = FastCheck.uint8Array({ maxLength: 200 }).filter((octets) => octets[0] !== SealedFormat.version)
      for (const sample of [bytes(""), bytes("{}"), bytes("e30"), bytes(text), ...FastCheck.sample(noise, 2_000)]) {
        assert.isUndefined(yield* crypto.open(context, sample))
      }
      assert.deepStrictEqual(count, { derivations: 0, decryptions: 0 })
    }))
})

describe("the cost of a hostile value", () => {
  it.effect("bad form, unknown suite and unknown key cost no derivation", () =>
    Effect.gen(function*() {
      const { count, watch } = counters()
      const crypto = yield* service({ watch })
      const sealed = yield* crypto.seal(context, bytes(text))
      assert.strictEqual(count.derivations, 1)
      for (
        const hostile of [
          sealed.subarray(0, 63),
          changed(sealed, 0, () => 2),
          changed(sealed, 1, () => 4),
          changed(sealed, 2, (octet) => octet ^ 1),
          changed(sealed, 2, (octet) => octet | 16)
        ]
      ) {
        assert.isUndefined(yield* crypto.open(context, hostile))
      }
      assert.deepStrictEqual(count, { derivations: 1, decryptions: 0 })
    }))

  for (const { platform, suite } of everywhere) {
    it.effect(`${platform}, ${suite}: what is sealed and opened has memory of its own, which nothing else is in`, () =>
      Effect.gen(function*() {
        const crypto = yield* service({ platform, suite })
        const first = yield* crypto.seal(context, bytes(text))
        const second = yield* crypto.seal(context, bytes("another"))
        assert.strictEqual(first.buffer.byteLength, first.length)
        structuredClone(first, { transfer: [first.buffer] })
        const opened = yield* crypto.open(context, second)
        assert.deepStrictEqual(opened?.plaintext, bytes("another"))
        assert.strictEqual(opened?.plaintext.buffer.byteLength, opened?.plaintext.length)
      }))
  }

  for (const suite of suites) {
    it.effect(`${suite}: what is opened at once is what is opened, and only under a key that is known`, () =>
      Effect.gen(function*() {
        const { count, watch } = counters()
        const sealer = yield* service({ suite })
        const crypto = yield* service({ suite, watch })
        const openNow = AtOnce.of(crypto.open)!
        const sealed = yield* Effect.forEach(["one", "two", "three"], (text) => sealer.seal(context, bytes(text)))
        assert.isUndefined(openNow(context, sealed[0]))
        assert.deepStrictEqual(count, { derivations: 0, decryptions: 0 })
        yield* crypto.open(context, sealed[0])
        const opened = sealed.map((one) => openNow(context, one))
        assert.deepStrictEqual(opened.map((one) => one?.plaintext), ["one", "two", "three"].map(bytes))
        assert.deepStrictEqual(opened[0], yield* crypto.open(context, sealed[0]))
        for (const at of [0, 1, 2, 3, 5, 21, sealed[0].length - 1]) {
          assert.isUndefined(openNow(context, changed(sealed[0], at, (octet) => octet ^ 1)))
        }
        assert.isUndefined(openNow({ ...context, place: "elsewhere" }, sealed[0]))
        for (let length = 0; length < sealed[0].length; length++) {
          assert.isUndefined(openNow(context, sealed[0].subarray(0, length)))
        }
        assert.strictEqual(count.derivations, 1)
      }))
  }

  it.effect("a salt that nobody sealed with costs one derivation, no decryption and no memory", () =>
    Effect.gen(function*() {
      const { count, watch } = counters()
      const sealer = yield* service()
      const crypto = yield* service({ watch })
      const sealed = yield* sealer.seal(context, bytes(text))
      yield* crypto.open(context, sealed)
      assert.deepStrictEqual(count, { derivations: 1, decryptions: 1 })
      for (let i = 0; i < 3_000; i++) {
        const hostile = new Uint8Array(sealed)
        hostile.set([i >>> 8, i, ~sealed[6]], 4)
        assert.isUndefined(yield* crypto.open(context, hostile))
      }
      assert.deepStrictEqual(count, { derivations: 3_001, decryptions: 1 })
      // The key of the value that did open was not driven out by any of them.
      assert.isDefined(yield* crypto.open(context, sealed))
      assert.deepStrictEqual(count, { derivations: 3_001, decryptions: 2 })
    }))

  it.effect("a known salt with a broken body is not remembered either", () =>
    Effect.gen(function*() {
      const { count, watch } = counters()
      const crypto = yield* service({ watch })
      const sealed = yield* (yield* service()).seal(context, bytes(text))
      const broken = changed(sealed, sealed.length - 1, (octet) => octet ^ 1)
      yield* crypto.open(context, broken)
      yield* crypto.open(context, broken)
      assert.deepStrictEqual(count, { derivations: 2, decryptions: 2 })
    }))

  it.effect("keeps the 256 message keys that were used last", () =>
    Effect.gen(function*() {
      const { count, watch } = counters()
      const crypto = yield* service({ watch })
      const sealer = yield* service({ sealsPerSalt: 1 })
      const values = yield* Effect.forEach(Array.from({ length: 300 }), () => sealer.seal(context, bytes(text)))
      for (const value of values.slice(0, 256)) assert.isDefined(yield* crypto.open(context, value))
      assert.strictEqual(count.derivations, 256)
      for (const used of [100, 0]) yield* crypto.open(context, values[used])
      assert.strictEqual(count.derivations, 256)
      for (const value of values.slice(256)) assert.isDefined(yield* crypto.open(context, value))
      assert.strictEqual(count.derivations, 300)
      yield* crypto.open(context, values[0])
      assert.strictEqual(count.derivations, 300, "used again, so not the oldest")
      yield* crypto.open(context, values[1])
      assert.strictEqual(count.derivations, 301, "driven out")
    }))
})

describe("key commitment", () => {
  it.effect("the right key with the commitment of another is refused before decryption", () =>
    Effect.gen(function*() {
      const { count, watch } = counters()
      const crypto = yield* service({ watch })
      const sealed = yield* (yield* service()).seal(context, bytes(text))
      assert.isUndefined(yield* crypto.open(context, changed(sealed, 20, (octet) => octet ^ 128)))
      assert.deepStrictEqual(count, { derivations: 1, decryptions: 0 })
    }))
})

describe("salts and nonces", () => {
  for (const suite of suites) {
    it.effect(`${suite}: 100,000 seals of two processes never repeat a salt with a nonce`, () =>
      Effect.gen(function*() {
        const seen = new Set<string>()
        const end = SealedFormat.prefixLength + SealedFormat.layouts[suite].nonceLength
        for (const crypto of [yield* service({ suite }), yield* service({ suite })]) {
          for (let i = 0; i < 50_000; i++) {
            const sealed = yield* crypto.seal(context, new Uint8Array(0))
            seen.add(Buffer.from(sealed.subarray(4, end)).toString("latin1"))
          }
        }
        assert.strictEqual(seen.size, 100_000)
        assert.strictEqual(new Set(Array.from(seen, (name) => name.slice(0, 16))).size, 2)
      }))
  }

  for (const platform of platformNames) {
    it.effect(`${platform}: draws another salt after its number of seals, under concurrency too`, () =>
      Effect.gen(function*() {
        const crypto = yield* service({ platform, sealsPerSalt: 10 })
        const values = yield* Effect.forEach(
          Array.from({ length: 200 }),
          () => crypto.seal(context, bytes(text)),
          { concurrency: "unbounded" }
        )
        const salts = new Map<string, number>()
        for (const value of values) {
          const salt = Buffer.from(value.subarray(4, 20)).toString("hex")
          salts.set(salt, (salts.get(salt) ?? 0) + 1)
          assert.isDefined(yield* crypto.open(context, value))
        }
        assert.isAtLeast(salts.size, 20)
        assert.isAtMost(Math.max(...salts.values()), 10)
      }))
  }

  it.effect("an effect that runs twice seals twice", () =>
    Effect.gen(function*() {
      const seal = (yield* service()).seal(context, bytes(text))
      assert.notDeepEqual(yield* seal, yield* seal)
    }))

  it.effect("refuses more seals for one salt than are safe", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Effect.exit(service({ sealsPerSalt: 2 ** 28 + 1 })))._tag, "Failure")
      assert.strictEqual((yield* Effect.exit(service({ sealsPerSalt: 0 })))._tag, "Failure")
    }))
})

describe("rotation", () => {
  for (const platform of platformNames) {
    it.effect(`${platform}: all can open the new key, then seal with it, then retire the old: nothing is lost`, () =>
      Effect.gen(function*() {
        const before = yield* service({ platform, secrets: [older] })
        const prepared = yield* service({ platform, secrets: [older, secret] })
        const switched = yield* service({ platform, secrets: [secret, older] })
        const retired = yield* service({ platform, secrets: [secret] })

        const old = yield* before.seal(context, bytes(text))
        const young = yield* switched.seal(context, bytes(text))
        assert.isTrue((yield* prepared.open(context, old))?.current)
        assert.isFalse((yield* prepared.open(context, young))?.current)
        assert.isFalse((yield* switched.open(context, old))?.current)
        assert.isTrue((yield* switched.open(context, young))?.current)
        assert.isUndefined(yield* retired.open(context, old))
        assert.isTrue((yield* retired.open(context, young))?.current)
        assert.isUndefined(yield* before.open(context, young))

        const { keyId } = (yield* switched.open(context, old))!
        assert.strictEqual(keyId, (yield* before.newToken(undefined)).slice(0, 2))
      }))
  }
})

describe("secrecy", () => {
  it.effect("no service, setting or cause shows a secret or a key", () =>
    Effect.gen(function*() {
      const canary = "cAnArY-9fK2.Lw7+Qd4/Zr8=Tb5~Xm1^Ps6?"
      const secrets = Redacted.make(canary)
      const keys = new Set([canary, Buffer.from(canary).toString("hex"), Buffer.from(canary).toString("base64url")])
      const watched: Array<Uint8Array> = []
      const crypto = yield* service({
        secrets,
        platform: "portable",
        watch: (primitives) => ({
          ...primitives,
          cipher: (suite, key) => {
            watched.push(key)
            return primitives.cipher(suite, key)
          },
          hmac: (key) => {
            watched.push(key)
            return primitives.hmac(key)
          }
        })
      })
      yield* crypto.seal(context, bytes(text))
      yield* crypto.sign("csrf", text)
      for (const key of watched) {
        keys.add(Buffer.from(key).toString("hex"))
        keys.add(Buffer.from(key).toString("base64url"))
        keys.add(Array.from(key.subarray(0, 8)).join(", "))
      }
      const ring = yield* Effect.provide(
        Effect.all([KeyRing.KeyRing, SessionConfig.SessionConfig]),
        KeyRing.layer.pipe(Layer.provideMerge(SessionConfig.layer({ preset: "testing", secrets })))
      )
      const shown = [
        crypto,
        ring,
        yield* Effect.exit(crypto.seal({ ...context, key: "\ud800" }, bytes(text))),
        yield* Effect.exit(service({ secrets: [secrets, secrets] })),
        yield* Effect.exit(service({ secrets: Redacted.make(canary.slice(0, 20)) }))
      ]
      for (const value of shown) {
        const printed = [inspect(value, { depth: 10, showHidden: true }), JSON.stringify(value), String(value)].join()
        for (const key of keys) assert.notInclude(printed, key)
        assert.notInclude(printed, canary.slice(0, 12))
      }
    }))
})
