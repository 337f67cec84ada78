import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Redacted } from "effect"
import { createHash } from "node:crypto"
import * as Secret from "../src/Secret.ts"
import * as SessionConfig from "../src/SessionConfig.ts"

const good = Redacted.make("Rk3-Vd8_Ys2.Fp7+Bn4/Jc9=Hw1~Zx6^Mq5?")
const salt = "bW4kVq2L9xTz7RcJ"
const words = Redacted.make("umbrella glacier turmeric violin")

const problemsOf = (secrets: SessionConfig.Secrets) =>
  SessionConfig.make({ secrets }).pipe(
    Effect.match({ onSuccess: () => [], onFailure: ({ problems }) => problems })
  )

const short = /needs at least 32; make one with: openssl rand -base64 48$/
const guessed = /can be guessed; make one with/
const placeholder = /looks like a placeholder; make one with/

const bad: ReadonlyArray<readonly [text: string, problem: RegExp]> = [
  ["", short],
  ["secret", short],
  ["Rk3-Vd8_Ys2.Fp7+Bn4/Jc9=Hw1~Zx6", short],
  ["éééééééééééé", short],
  ["a".repeat(64), guessed],
  ["ab".repeat(32), guessed],
  ["x1Y2z3W4v5".repeat(4), guessed],
  ["Kq7-Zr2_Lw9.Tn4+Kq7-Zr2_Lw9.Tn4+Kq7-", guessed],
  ["abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", guessed],
  ["zyxwvutsrqponmlkjihgfedcba9876543210", guessed],
  ["12345678901234567890123456789012", guessed],
  ["00112233445566778899aabbccddeeff", guessed],
  ["change-me-please-this-is-not-for-production", placeholder],
  ["CHANGEIT-Kq7-Zr2_Lw9.Tn4+Vb8/Xc1", placeholder],
  ["replace this before you deploy, friends", placeholder],
  ["your-own-secret-goes-right-over-there", placeholder],
  ["my_super_secret_key_for_the_session_app", placeholder],
  ["default_secret_32_chars_for_sessions_k", placeholder],
  ["this-is-a-very-secret-thing-for-cookies", placeholder],
  ["keyboard cat keyboard dog and a mouse", placeholder],
  ["development-only-kq7zr2lw9tn4vb8xc1m", placeholder],
  ["insecure-kq7zr2lw9tn4vb8xc1mjd5fg3h", placeholder],
  ["P4ssword-password-P@ssw0rd-passw0rd!!", placeholder],
  ["correct horse battery staple, and so on", placeholder],
  ["qwertyuiop[]asdfghjkl;'zxcvbnm,./1!2@", placeholder],
  ["lorem ipsum dolor sit amet consectetur", placeholder],
  ["deadbeefKq7Zr2Lw9Tn4Vb8Xc1Mjd5Fg3H", placeholder],
  ["<insert your random string at this spot>", placeholder]
]

describe("secrets", () => {
  for (const [text, problem] of bad) {
    it.effect(`stop the start: ${text.length > 40 ? `${text.slice(0, 40)}...` : text}`, () =>
      Effect.gen(function*() {
        for (const preset of ["production", "development", "testing"] as const) {
          const { problems } = yield* Effect.flip(SessionConfig.make({ preset, secrets: Redacted.make(text) }))
          assert.strictEqual(problems.length, 1)
          assert.match(problems[0], problem)
          if (text.length > 8) assert.notInclude(problems[0], text.slice(0, 8))
        }
      }))
  }

  it("from a random source pass, in every usual encoding", () => {
    for (let i = 0; i < 2_000; i++) {
      for (const encoding of ["base64", "base64url", "hex"] as const) {
        const octets = createHash("sha256").update(`secret ${i}`).digest()
        assert.deepStrictEqual(Secret.problems([Redacted.make(octets.toString(encoding))]), [])
      }
    }
  })

  it("from a random source pass also with a word that their few characters can write", () => {
    const random = createHash("sha256").update("secret").digest("hex")
    for (const word of ["abcdef", "1234567", "9876543", "deadbeef", "fedcba"]) {
      for (const text of [random + word, word + random, random.slice(0, 40) + word + random.slice(40)]) {
        assert.deepStrictEqual(Secret.problems([Redacted.make(text)]), [], word)
        assert.deepStrictEqual(Secret.problems([Redacted.make(text.toUpperCase())]), [], word)
      }
    }
    const sixteen = "0123456789abcdef"
    for (const text of [sixteen.repeat(2), `${sixteen}${sixteen}0`, `f${sixteen}${random.slice(0, 20)}`]) {
      assert.lengthOf(Secret.problems([Redacted.make(text)]), 1, text)
    }
  })

  it.effect("that are missing stop the start where the preset has none of its own", () =>
    Effect.gen(function*() {
      assert.match((yield* problemsOf([]))[0], /needs a secret; make one with: openssl rand -base64 48/)
    }))

  it.effect("listed twice stop the start", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* problemsOf([good, good]), ["secrets: the same secret is listed twice"])
      const twice = [Secret.passphrase(words, { salt }), Secret.passphrase(words, { salt })]
      assert.deepStrictEqual(yield* problemsOf(twice), ["secrets: the same secret is listed twice"])
      const salted = [Secret.passphrase(words, { salt }), Secret.passphrase(words, { salt: `${salt}2` })]
      assert.deepStrictEqual(yield* problemsOf(salted), [])
    }))
})

describe("pass-phrases", () => {
  it.effect("of 600,000 rounds and a salt of 16 octets pass, beside a random secret", () =>
    Effect.gen(function*() {
      const secret = Secret.passphrase(words, { salt })
      assert.strictEqual(secret.iterations, 600_000)
      assert.deepStrictEqual(yield* problemsOf(secret), [])
      assert.deepStrictEqual(yield* problemsOf([good, Secret.passphrase(words, { salt: new Uint8Array(16) })]), [])
    }))

  it.effect("with fewer rounds, a short salt or none stop the start", () =>
    Effect.gen(function*() {
      for (const iterations of [599_999, 0, -1, 600_000.5, NaN, Infinity, 2 ** 31]) {
        assert.deepStrictEqual(
          yield* problemsOf(Secret.passphrase(words, { salt, iterations })),
          ["secrets: the iterations of a pass-phrase must be an integer of at least 600000"]
        )
      }
      for (const short of ["", "fifteen octets.", new Uint8Array(15)]) {
        const [problem] = yield* problemsOf(Secret.passphrase(words, { salt: short }))
        assert.match(problem, /the salt of a pass-phrase has \d+ octets and needs at least 16; make one with: openssl/)
      }
      // As from JavaScript, which no type stops.
      const saltless: Secret.Passphrase = JSON.parse("{\"_tag\":\"Passphrase\",\"iterations\":600000}")
      const [problem] = yield* problemsOf({ ...saltless, text: words })
      assert.match(problem, /has 0 octets/)
    }))

  it.effect("that are weak stop the start, with every problem listed", () =>
    Effect.gen(function*() {
      const weak = Secret.passphrase(Redacted.make("hunter2"), { salt: "short", iterations: 1 })
      const problems = yield* problemsOf(weak)
      assert.strictEqual(problems.length, 3)
      assert.match(problems[0], /a pass-phrase has 7 octets and needs at least 16/)
      assert.match((yield* problemsOf(Secret.passphrase(Redacted.make("aaaaaaaaaaaaaaaaaa"), { salt })))[0], guessed)
      assert.match(
        (yield* problemsOf(Secret.passphrase(Redacted.make("correct horse battery"), { salt })))[0],
        placeholder
      )
    }))

  it.effect("may come from Config", () =>
    Effect.gen(function*() {
      const secrets = Config.Redacted("PHRASE").pipe(Config.map((text) => Secret.passphrase(text, { salt })))
      const settings = yield* SessionConfig.make({ secrets }).pipe(
        Effect.provideService(
          ConfigProvider.ConfigProvider,
          ConfigProvider.fromUnknown({ PHRASE: Redacted.value(words) })
        )
      )
      assert.isTrue(Secret.isPassphrase(settings.secrets[0]))
    }))
})

describe("suite", () => {
  it.effect("is aes256Gcm unless another is configured, and one that exists", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* SessionConfig.make({ secrets: good })).suite, "aes256Gcm")
      const env = ConfigProvider.fromUnknown({
        SESSION: { SUITE: "xchacha20Poly1305", SECRET: Redacted.value(good) }
      })
      const options = yield* Effect.provideService(
        SessionConfig.env,
        ConfigProvider.ConfigProvider,
        env
      )
      assert.strictEqual((yield* SessionConfig.make(options)).suite, "xchacha20Poly1305")
      const wrong: SessionConfig.Options = JSON.parse("{\"suite\":\"toString\"}")
      const { message } = yield* Effect.flip(SessionConfig.make({ ...wrong, secrets: good }))
      assert.include(message, "there is no suite \"toString\"; there are aes256Gcm, aes256CbcHmacSha256, xchacha20")
    }))
})
