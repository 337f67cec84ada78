import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Aead from "effect/crypto/Aead"
import * as Cipher from "effect/crypto/Cipher"
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as Mac from "effect/crypto/Mac"
import * as FastCheck from "fast-check"
import { createHmac } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import * as portablePrimitives from "../src/internal/portablePrimitives.ts"
import { bitLength, type MessageCipher } from "../src/internal/primitives.ts"
import * as primitivesNode from "../src/internal/primitivesNode.ts"
import { hex, type Platform, platformNames, platforms, webCrypto } from "./SealFixture.ts"

interface Vector {
  readonly tcId: number
  readonly result: "valid" | "invalid" | "acceptable"
  readonly [field: string]: string | number | ReadonlyArray<string>
}

interface Group {
  readonly tests: ReadonlyArray<Vector>
  readonly [field: string]: unknown
}

const root = resolve(import.meta.dirname, "../../..")
const folder = process.env.WYCHEPROOF_DIR ?? join(root, "../shared/vectors")
const present = existsSync(join(folder, "aes_gcm_test.json"))

const bytesOf = (vector: Vector, field: string) => hex(String(vector[field]))

/** The groups of a file that a suite can take. */
const groups = (file: string, fits: (group: Group) => boolean = () => true): ReadonlyArray<Group> => {
  const { testGroups }: { readonly testGroups: ReadonlyArray<Group> } = JSON.parse(
    readFileSync(join(folder, file), "utf8")
  )
  return testGroups.filter(fits)
}

const join2 = (parts: ReadonlyArray<Uint8Array>) => new Uint8Array(Buffer.concat(parts))

const gcm: { readonly [P in Platform]: (key: Uint8Array) => Effect.Effect<MessageCipher> } = {
  node: (key) => Effect.flatMap(platforms.node, (primitives) => primitives.cipher("aes256Gcm", key)),
  portable: (key) => Effect.flatMap(platforms.portable, (primitives) => primitives.cipher("aes256Gcm", key))
}

const cbc: {
  readonly [P in Platform]: (hash: "sha256" | "sha512", key: Uint8Array) => Effect.Effect<MessageCipher, unknown>
} = {
  node: (hash, key) => Effect.sync(() => primitivesNode.cbcHmac(hash, key)),
  portable: (hash, key) =>
    Effect.gen(function*() {
      const services = { cipher: yield* Cipher.Cipher, mac: yield* Mac.Mac }
      return yield* portablePrimitives.cbcHmac(services, hash === "sha256" ? Mac.hmacSha256 : Mac.hmacSha512, key)
    }).pipe(Effect.provide(webCrypto))
}

/** One vector of an authenticated cipher: seals to the very bytes, and opens, or is refused. */
const checkCipher = Effect.fnUntraced(function*(cipher: MessageCipher, vector: Vector) {
  const [nonce, aad, message] = [bytesOf(vector, "iv"), bytesOf(vector, "aad"), bytesOf(vector, "msg")]
  const body = join2([bytesOf(vector, "ct"), bytesOf(vector, "tag")])
  const opened = yield* cipher.decrypt(nonce, aad, body)
  if (vector.result === "invalid") return assert.isUndefined(opened, `${vector.tcId}`)
  assert.deepStrictEqual(opened, message, `${vector.tcId}`)
  assert.deepStrictEqual(join2(yield* cipher.encrypt(nonce, aad, message)), body, `${vector.tcId}`)
})

const files: ReadonlyArray<{
  readonly name: string
  readonly groups: () => ReadonlyArray<Group>
  /** Both, unless it says one. */
  readonly on?: Platform
  readonly run: (platform: Platform, vector: Vector) => Effect.Effect<unknown, unknown>
}> = [
  {
    name: "AES-256-GCM with 96-bit nonces",
    groups: () => groups("aes_gcm_test.json", ({ ivSize, keySize }) => keySize === 256 && ivSize === 96),
    run: (platform, vector) =>
      Effect.flatMap(gcm[platform](bytesOf(vector, "key")), (cipher) => checkCipher(cipher, vector))
  },
  {
    // The suite uses SHA-256; the composite is the same code with another hash.
    name: "AES-256-CBC and HMAC-SHA-512",
    groups: () => groups("a256cbc_hs512_test.json", ({ ivSize }) => ivSize === 128),
    run: (platform, vector) =>
      Effect.flatMap(cbc[platform]("sha512", bytesOf(vector, "key")), (cipher) => checkCipher(cipher, vector))
  },
  {
    // The MAC is right in every one, so that the padding decides.
    name: "AES-256-CBC with PKCS 7 padding",
    groups: () => groups("aes_cbc_pkcs5_test.json", ({ keySize }) => keySize === 256),
    run: (platform, vector) => {
      const macKey = Buffer.alloc(32, 7)
      const [iv, ciphertext] = [bytesOf(vector, "iv"), bytesOf(vector, "ct")]
      const aad = new Uint8Array(0)
      const tag = createHmac("sha256", macKey).update(iv).update(ciphertext).update(bitLength(aad)).digest()
      return Effect.flatMap(
        cbc[platform]("sha256", join2([macKey, bytesOf(vector, "key")])),
        (cipher) => checkCipher(cipher, { ...vector, aad: "", tag: tag.toString("hex") })
      )
    }
  },
  {
    name: "HKDF-SHA-256",
    groups: () => groups("hkdf_sha256_test.json"),
    run: (platform, vector) =>
      Effect.gen(function*() {
        const hkdf = (yield* platforms[platform]).hkdf(bytesOf(vector, "ikm"))
        const derived = Effect.suspend(() =>
          hkdf(bytesOf(vector, "salt"), bytesOf(vector, "info"), Number(vector.size))
        )
        if (vector.result === "invalid") {
          assert.strictEqual((yield* Effect.exit(derived))._tag, "Failure", `${vector.tcId}`)
        } else {
          assert.deepStrictEqual(yield* derived, bytesOf(vector, "okm"), `${vector.tcId}`)
        }
      })
  },
  {
    name: "HMAC-SHA-256",
    groups: () => groups("hmac_sha256_test.json"),
    run: (platform, vector) =>
      Effect.gen(function*() {
        const hmac = yield* (yield* platforms[platform]).hmac(bytesOf(vector, "key"))
        const tag = bytesOf(vector, "tag")
        const computed = (yield* hmac(bytesOf(vector, "msg"))).subarray(0, tag.length)
        assert.strictEqual(Mac.timingSafeEqual(computed, tag), vector.result === "valid", `${vector.tcId}`)
      })
  },
  {
    name: "PBKDF2-HMAC-SHA-256",
    groups: () => groups("pbkdf2_hmacsha256_test.json"),
    // One code for both: pass-phrases are stretched by WebCrypto, off the event loop.
    on: "portable",
    run: (_, vector) =>
      Effect.gen(function*() {
        const derived = yield* (yield* Kdf.Kdf).derive(
          Kdf.pbkdf2({ hash: Digest.sha256, iterations: Number(vector.iterationCount) }),
          bytesOf(vector, "password"),
          { salt: bytesOf(vector, "salt"), length: Number(vector.dkLen) }
        )
        assert.deepStrictEqual(derived, bytesOf(vector, "dk"), `${vector.tcId}`)
      }).pipe(Effect.provide(webCrypto))
  }
]

describe("Wycheproof", () => {
  if (present) {
    for (const file of files) {
      it.effect(file.name, ({ annotate }) =>
        Effect.gen(function*() {
          let executed = 0
          const vectors = file.groups().flatMap(({ tests }) => tests)
          for (const platform of file.on === undefined ? platformNames : [file.on]) {
            for (const vector of vectors) {
              yield* file.run(platform, vector)
              executed++
            }
          }
          assert.isAbove(executed, 0)
          yield* Effect.promise(() => annotate(`${executed} executed`))
          process.stdout.write(`Wycheproof, ${file.name}: ${executed} executed\n`)
        }))
    }
  } else {
    it("is absent", () => {
      process.stdout.write(`Wycheproof: no vectors in ${folder}, none executed; set WYCHEPROOF_DIR\n`)
    })
  }
})

describe("RFC vectors", () => {
  const ff = (length: number) => Array.from({ length }, (_, i) => i)
  const octets = (...values: ReadonlyArray<number>) => new Uint8Array(values)
  const range = (from: number, to: number) => octets(...ff(to - from).map((i) => from + i))

  // RFC 5869, A.1 to A.3.
  const hkdf = [
    {
      ikm: new Uint8Array(22).fill(0x0b),
      salt: range(0x00, 0x0d),
      info: range(0xf0, 0xfa),
      okm: "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    },
    {
      ikm: range(0x00, 0x50),
      salt: range(0x60, 0xb0),
      info: range(0xb0, 0x100),
      okm: "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09" +
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
    },
    {
      ikm: new Uint8Array(22).fill(0x0b),
      salt: octets(),
      info: octets(),
      okm: "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    }
  ]

  for (const platform of platformNames) {
    it.effect(`${platform}: HKDF-SHA-256, RFC 5869`, () =>
      Effect.gen(function*() {
        const primitives = yield* platforms[platform]
        for (const { ikm, info, okm, salt } of hkdf) {
          assert.deepStrictEqual(yield* primitives.hkdf(ikm)(salt, info, okm.length / 2), hex(okm))
        }
      }))

    // RFC 7518, B.3: AES_256_CBC_HMAC_SHA_512.
    it.effect(`${platform}: AES-256-CBC and HMAC-SHA-512, RFC 7518`, () =>
      Effect.gen(function*() {
        const cipher = yield* cbc[platform]("sha512", range(0x00, 0x40))
        const message = new TextEncoder().encode(
          "A cipher system must not be required to be secret, and it must be able to fall into the hands of " +
            "the enemy without inconvenience"
        )
        const body = yield* cipher.encrypt(
          hex("1af38c2dc2b96ffdd86694092341bc04"),
          new TextEncoder().encode("The second principle of Auguste Kerckhoffs"),
          message
        )
        assert.strictEqual(
          Buffer.concat(body).toString("hex"),
          "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd822c301dd67c373bccb584ad3e9279c2" +
            "e6d12a1374b77f077553df829410446b36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3" +
            "a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950bbe2638d09dd7a4930930806d0703b1f6" +
            "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5"
        )
      }))

    it.effect(`${platform}: the MAC binds the length of the associated data`, () =>
      Effect.gen(function*() {
        const cipher = yield* cbc[platform]("sha256", range(0x00, 0x40))
        const iv = range(0x00, 0x10)
        const aad = range(0x20, 0x40)
        const body = join2(yield* cipher.encrypt(iv, aad, range(0, 40)))
        assert.isDefined(yield* cipher.decrypt(iv, aad, body))
        // The same octets in a row, with 16 of them on the other side of the border.
        const moved = join2([aad.subarray(16), iv, body])
        assert.isUndefined(yield* cipher.decrypt(aad.subarray(0, 16), new Uint8Array(0), moved))
        assert.isUndefined(yield* cipher.decrypt(aad.subarray(16), aad.subarray(0, 16), join2([iv, body])))
      }))

    it.effect(`${platform}: a body too short for a tag is refused`, () =>
      Effect.gen(function*() {
        const primitives = yield* platforms[platform]
        for (
          const cipher of [
            yield* primitives.cipher("aes256CbcHmacSha256", range(0, 64)),
            yield* primitives.cipher("aes256Gcm", range(0, 32)),
            yield* primitives.cipher("xchacha20Poly1305", range(0, 32))
          ]
        ) {
          for (const length of [0, 1, 15]) {
            assert.isUndefined(yield* cipher.decrypt(new Uint8Array(12), range(0, 4), new Uint8Array(length)))
          }
        }
      }))

    it.effect(`${platform}: AES-256-GCM takes no shortened tag`, () =>
      Effect.gen(function*() {
        const cipher = yield* (yield* platforms[platform]).cipher("aes256Gcm", range(0, 32))
        const [nonce, aad] = [range(0, 12), range(0, 4)]
        const tag = join2(yield* cipher.encrypt(nonce, aad, octets()))
        assert.deepStrictEqual(yield* cipher.decrypt(nonce, aad, tag), octets())
        for (const length of [4, 8, 12, 13, 14, 15]) {
          assert.isUndefined(yield* cipher.decrypt(nonce, aad, tag.subarray(0, length)), `${length}`)
        }
      }))
  }

  // RFC 7914, section 11.
  it.effect("PBKDF2-HMAC-SHA-256, RFC 7914", () =>
    Effect.gen(function*() {
      const kdf = yield* Kdf.Kdf
      const utf8 = new TextEncoder()
      for (
        const [password, salt, iterations, key] of [
          [
            "passwd",
            "salt",
            1,
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc" +
            "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"
          ],
          [
            "Password",
            "NaCl",
            80_000,
            "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56" +
            "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d"
          ]
        ] as const
      ) {
        const derived = yield* kdf.derive(Kdf.pbkdf2({ hash: Digest.sha256, iterations }), utf8.encode(password), {
          salt: utf8.encode(salt),
          length: 64
        })
        assert.deepStrictEqual(derived, hex(key))
      }
    }).pipe(Effect.provide(webCrypto)))

  // draft-irtf-cfrg-xchacha-03, A.3.1.
  for (const platform of platformNames) {
    it.effect(`${platform}: XChaCha20-Poly1305`, () =>
      Effect.gen(function*() {
        const cipher = yield* (yield* platforms[platform]).cipher("xchacha20Poly1305", range(0x80, 0xa0))
        const message = new TextEncoder().encode(
          "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, " +
            "sunscreen would be it."
        )
        const [nonce, aad] = [range(0x40, 0x58), hex("50515253c0c1c2c3c4c5c6c7")]
        const body = join2(yield* cipher.encrypt(nonce, aad, message))
        assert.strictEqual(Buffer.from(body.subarray(0, 16)).toString("hex"), "bd6d179d3e83d43b9576579493c0e939")
        assert.strictEqual(Buffer.from(body.subarray(-16)).toString("hex"), "c0875924c1c7987947deafd8780acf49")
        assert.deepStrictEqual(yield* cipher.decrypt(nonce, aad, body), message)
      }))
  }

  it.effect("XChaCha20-Poly1305 by libsodium: the same octets, and its refusal is not an error", () =>
    Effect.gen(function*() {
      // Stands for `sodium-native`: it takes octets, writes into the first, and throws for a wrong tag.
      const { implementation } = Aead.xchacha20Poly1305
      const calls: Array<string> = []
      const sodium = {
        crypto_aead_xchacha20poly1305_ietf_encrypt: (
          c: Uint8Array,
          m: Uint8Array,
          ad: Uint8Array,
          secretNonce: null,
          nonce: Uint8Array,
          key: Uint8Array
        ) => {
          for (const part of [c, m, ad, nonce, key]) assert.instanceOf(part, Uint8Array)
          assert.strictEqual(c.length, m.length + 16)
          assert.isNull(secretNonce)
          calls.push("encrypt")
          c.set(implementation!.encrypt(key, nonce, m, ad))
        },
        crypto_aead_xchacha20poly1305_ietf_decrypt: (
          m: Uint8Array,
          secretNonce: null,
          c: Uint8Array,
          ad: Uint8Array,
          nonce: Uint8Array,
          key: Uint8Array
        ) => {
          for (const part of [c, m, ad, nonce, key]) assert.instanceOf(part, Uint8Array)
          assert.isNull(secretNonce)
          calls.push("decrypt")
          const opened = implementation!.decrypt(key, nonce, c, ad)
          if (opened === undefined) throw new Error("could not verify data")
          m.set(opened)
        }
      }
      const native = yield* primitivesNode.make(sodium).cipher("xchacha20Poly1305", range(0, 32))
      const portable = yield* (yield* platforms.portable).cipher("xchacha20Poly1305", range(0, 32))
      const [nonce, aad] = [range(0, 24), range(0, 5)]
      for (const length of [0, 1, 200]) {
        const body = join2(yield* native.encrypt(nonce, aad, range(0, length)))
        assert.deepStrictEqual(join2(yield* portable.encrypt(nonce, aad, range(0, length))), body)
        assert.deepStrictEqual(yield* native.decrypt(nonce, aad, body), range(0, length))
        assert.isUndefined(yield* native.decrypt(nonce, octets(), body))
      }
      assert.strictEqual(calls.length, 9)
    }))

  it.effect("XChaCha20-Poly1305 by the real libsodium is that of the portable code, whatever is sealed", () =>
    Effect.gen(function*() {
      const sodium = yield* primitivesNode.loadSodium()
      if (sodium === undefined) assert.fail("sodium-native is a development dependency")
      const native = primitivesNode.sodiumXchacha(sodium)
      const portable = Aead.xchacha20Poly1305.implementation!
      const bytes = (length: number) => FastCheck.uint8Array({ minLength: length, maxLength: length })
      const some = FastCheck.uint8Array({ maxLength: 300 })
      FastCheck.assert(FastCheck.property(bytes(32), bytes(24), some, some, (key, nonce, plaintext, data) => {
        const body = native.encrypt(key, nonce, plaintext, data)
        assert.deepStrictEqual(new Uint8Array(body), portable.encrypt(key, nonce, plaintext, data))
        assert.deepStrictEqual(new Uint8Array(native.decrypt(key, nonce, body, data)!), plaintext)
        const damaged = Uint8Array.from(body, (octet, i) => i === body.length - 1 ? octet ^ 1 : octet)
        assert.throws(() => native.decrypt(key, nonce, damaged, data))
      }))
    }))

  it.effect("libsodium that is not installed is no error", () =>
    Effect.gen(function*() {
      const sodium = yield* primitivesNode.loadSodium("sodium-that-is-not-installed")
      assert.isUndefined(sodium)
      const cipher = yield* primitivesNode.make(sodium).cipher("xchacha20Poly1305", range(0, 32))
      const body = join2(yield* cipher.encrypt(range(0, 24), octets(), range(0, 9)))
      assert.deepStrictEqual(yield* cipher.decrypt(range(0, 24), octets(), body), range(0, 9))
    }))
})
