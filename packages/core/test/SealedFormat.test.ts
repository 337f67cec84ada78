import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { createCipheriv, createHmac, hkdfSync } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as SealedFormat from "../src/SealedFormat.ts"
import { bytes, context, platformNames, secret, service, suites } from "./SealFixture.ts"

const prefix = SealedFormat.makePrefix("aes256Gcm", 0xabc, new Uint8Array(16).fill(1), new Uint8Array(16).fill(2))

describe("SealedFormat", () => {
  for (const suite of suites) {
    it(`${suite}: takes apart what it put together, at every length`, () => {
      const { blockLength, nonceLength, number, tagLength } = SealedFormat.layouts[suite]
      const header = SealedFormat.makePrefix(suite, 0xabc, new Uint8Array(16).fill(1), new Uint8Array(16).fill(2))
      const nonce = new Uint8Array(nonceLength).fill(3)
      for (let length = blockLength === 1 ? 0 : blockLength; length < 100; length += blockLength) {
        const parts = [new Uint8Array(length).fill(4), new Uint8Array(tagLength).fill(5)]
        const sealed = SealedFormat.write(header, nonce, parts)
        const parsed = SealedFormat.parse(sealed)!
        assert.strictEqual(parsed.layout.suite, suite)
        assert.strictEqual(parsed.keyId, 0xabc)
        assert.deepStrictEqual(sealed.subarray(0, SealedFormat.prefixLength), header)
        assert.deepStrictEqual(parsed.nonce, nonce)
        assert.deepStrictEqual(Buffer.from(parsed.body), Buffer.concat(parts))
        assert.deepStrictEqual(SealedFormat.saltOf(sealed), new Uint8Array(16).fill(1))
        assert.deepStrictEqual(SealedFormat.commitmentOf(sealed), new Uint8Array(16).fill(2))
        assert.deepStrictEqual(Array.from(sealed.subarray(0, 4)), [1, number, 0x0a, 0xbc])
      }
    })

    it(`${suite}: refuses what cannot have been sealed`, () => {
      const { blockLength } = SealedFormat.layouts[suite]
      const shortest = SealedFormat.sealedLength(suite, 0)
      const sealed = new Uint8Array(shortest + 64)
      sealed.set([SealedFormat.version, SealedFormat.layouts[suite].number])
      for (let length = 0; length <= sealed.length; length++) {
        const possible = length >= shortest && (length - shortest) % blockLength === 0
        assert.strictEqual(SealedFormat.parse(sealed.subarray(0, length)) !== undefined, possible, `${length}`)
      }
      const most = SealedFormat.sealedLength(suite, SealedFormat.maxPlaintext)
      const large = new Uint8Array(most + 16)
      large.set(sealed.subarray(0, 4))
      assert.isDefined(SealedFormat.parse(large.subarray(0, most)))
      assert.isUndefined(SealedFormat.parse(large.subarray(0, most + (blockLength === 1 ? 2 : 16))))
    })
  }

  it("knows one version, three suites and key ids of 12 bits", () => {
    const sealed = new Uint8Array(SealedFormat.sealedLength("aes256CbcHmacSha256", 100))
    for (let value = 0; value < 256; value++) {
      sealed.set([value, 1, 15, 255])
      assert.strictEqual(SealedFormat.parse(sealed) !== undefined, value === 1, `version ${value}`)
      sealed.set([1, value, 15, 255])
      const possible = value >= 1 && value <= 3
      assert.strictEqual(SealedFormat.parse(sealed) !== undefined, possible, `suite ${value}`)
      sealed.set([1, 1, value, 255])
      assert.strictEqual(SealedFormat.parse(sealed) !== undefined, value < 16, `key id ${value}`)
    }
  })

  it("puts lengths before the texts of a context, so that no two contexts look alike", () => {
    const texts = ["", "a", "b", "ab", "ba", "\0", "\0\0\0\u0001a", "é", "e\u0301", "\u{1f512}", "\uffff"]
    const seen = new Set<string>()
    for (const purpose of texts) {
      for (const place of texts) {
        for (const key of texts) {
          const data = SealedFormat.additionalData(prefix, { purpose, place, key })!
          assert.deepStrictEqual(data.subarray(0, SealedFormat.prefixLength), prefix)
          seen.add(Buffer.from(data).toString("hex"))
          for (const subject of texts) {
            seen.add(
              Buffer.from(SealedFormat.additionalData(prefix, { purpose, place, key, subject })!).toString("hex")
            )
          }
        }
      }
    }
    assert.strictEqual(seen.size, texts.length ** 3 + texts.length ** 4)
    const { length } = SealedFormat.additionalData(prefix, { purpose: "é", place: "x".repeat(300), key: "" })!
    assert.strictEqual(length, SealedFormat.prefixLength + 12 + 2 + 300)
  })

  it("has no data for a context with half a surrogate pair", () => {
    for (const half of ["\ud800", "a\udfff", "\udc00\ud800"]) {
      assert.isUndefined(SealedFormat.additionalData(prefix, { ...context, key: half }))
      assert.isUndefined(SealedFormat.additionalData(prefix, { ...context, place: half }))
      assert.isUndefined(SealedFormat.additionalData(prefix, { ...context, purpose: half }))
      assert.isUndefined(SealedFormat.additionalData(prefix, { ...context, subject: half }))
    }
  })

  it("refuses what is no text, and goes on", () => {
    const before = SealedFormat.additionalData(prefix, { ...context, subject: "ada" })
    for (const subject of [5, {}, true]) {
      assert.throws(() => SealedFormat.additionalData(prefix, { ...context, subject: subject as never }))
      assert.deepStrictEqual(SealedFormat.additionalData(prefix, { ...context, subject: "ada" }), before)
    }
  })
})

describe("the example of the documentation", () => {
  const text = "{\"n\":1}"
  const count = (from: number, length: number) => Uint8Array.from({ length }, (_, i) => from + i)
  const salt = count(0, 16)
  const page = readFileSync(join(import.meta.dirname, "../../../docs/sealed-format.md"), "utf8")

  // The nonce is drawn first, then the salt.
  const random = Layer.sync(
    SecureRandom.SecureRandom,
    () => {
      let drawn = 0
      return SecureRandom.make((size) => ++drawn === 2 ? salt.slice() : count(16, size))
    }
  )

  const hkdf = (key: Uint8Array | string, salt: Uint8Array | string, info: string, length: number) =>
    Buffer.from(hkdfSync("sha256", key, salt, `effect-session/1/${info}`, length))

  const field = (text: string) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(Buffer.byteLength(text))
    return Buffer.concat([length, Buffer.from(text)])
  }

  /** The description of the format, followed by hand. */
  const byHand = (suite: SealedFormat.Suite) => {
    const { keyLength, nonceLength, number } = SealedFormat.layouts[suite]
    const root = hkdf(Redacted.value(secret), "session", `seal/${suite}`, 32)
    const derived = hkdf(root, salt, `message/${suite}`, keyLength + 16)
    const id = Buffer.alloc(2)
    id.writeUInt16BE(hkdf(Redacted.value(secret), "session", "key-id", 2).readUInt16BE() >>> 4)
    const head = Buffer.concat([Buffer.from([1, number]), id, salt, derived.subarray(keyLength)])
    const aad = Buffer.concat([head, field(context.purpose), field(context.place), field(context.key)])
    const nonce = count(16, nonceLength)
    if (suite === "aes256Gcm") {
      const cipher = createCipheriv("aes-256-gcm", derived.subarray(0, 32), nonce).setAAD(aad)
      return Buffer.concat([head, nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()])
    }
    const cipher = createCipheriv("aes-256-cbc", derived.subarray(32, 64), nonce)
    const ciphertext = Buffer.concat([cipher.update(text), cipher.final()])
    const bits = Buffer.alloc(8)
    bits.writeBigUInt64BE(BigInt(aad.length) * 8n)
    const mac = createHmac("sha256", derived.subarray(0, 32)).update(Buffer.concat([aad, nonce, ciphertext, bits]))
    return Buffer.concat([head, nonce, ciphertext, mac.digest()])
  }

  for (const platform of platformNames) {
    for (const suite of suites) {
      it.effect(`${suite} on ${platform} gives the octets that are printed there`, () =>
        Effect.gen(function*() {
          const crypto = yield* service({ suite, platform, random })
          const sealed = Buffer.from(yield* crypto.seal(context, bytes(text)))
          const printed = new RegExp(`${suite}\\n((?:[0-9a-f]+\\n)+)`).exec(page)?.[1].replaceAll("\n", "")
          assert.strictEqual(sealed.toString("hex"), printed)
          // effect/crypto has the only other XChaCha20-Poly1305; its vectors are tested on their own.
          if (suite !== "xchacha20Poly1305") assert.strictEqual(sealed.toString("hex"), byHand(suite).toString("hex"))
          assert.deepStrictEqual((yield* crypto.open(context, sealed))?.plaintext, bytes(text))
        }))
    }
  }
})
