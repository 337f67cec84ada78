import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Logger, Redacted } from "effect"
import { inspect } from "node:util"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionPreset from "../src/SessionPreset.ts"
import { secret } from "./Fixture.ts"

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

const problemsOf = (options: SessionConfig.Options) =>
  Effect.map(Effect.flip(SessionConfig.make({ secrets: secret, ...options })), ({ problems }) => problems)

/** What an effect logs, as text. */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      lines.push(`${logLevel} ${[message].flat().map((part) => inspect(part, { depth: 10 })).join(" ")}`)
    })
    return Effect.map(Effect.provide(effect, Logger.layer([logger])), (value) => ({ value, lines }))
  })

describe("SessionPreset", () => {
  it("has the documented values", () => {
    const { clustered, development, highSecurity, production, testing } = SessionPreset.presets
    assert.deepStrictEqual(
      [development, production, highSecurity, testing, clustered].map((preset) => [
        preset.idleTimeout,
        preset.lifetime,
        preset.sliding,
        preset.requireSecret,
        preset.secureTransport
      ]),
      [
        [30 * minute, day, true, false, false],
        [hour, day, true, true, true],
        [15 * minute, 8 * hour, true, true, true],
        [5 * minute, hour, false, false, false],
        [hour, day, true, true, true]
      ]
    )
  })

  it("stays within the limits of NIST SP 800-63B", () => {
    for (const { idleTimeout, lifetime } of Object.values(SessionPreset.presets)) {
      assert.isTrue(lifetime <= day && idleTimeout <= hour)
    }
    assert.isTrue(SessionPreset.presets.highSecurity.lifetime <= 12 * hour)
    assert.isTrue(SessionPreset.presets.highSecurity.idleTimeout <= 15 * minute)
  })

  it("knows its own names only", () => {
    for (const name of Object.keys(SessionPreset.presets)) assert.isTrue(SessionPreset.isPreset(name))
    for (const name of ["", "Production", "toString", "__proto__"]) assert.isFalse(SessionPreset.isPreset(name))
  })
})

describe("SessionConfig", () => {
  it.effect("takes what is not set from the preset, production by default", () =>
    Effect.gen(function*() {
      for (const preset of [undefined, "highSecurity", "testing"] as const) {
        const values = SessionPreset.presets[preset ?? "production"]
        const settings = yield* SessionConfig.make({ preset, secrets: secret })
        assert.strictEqual(settings.idleTimeout, values.idleTimeout)
        assert.strictEqual(settings.lifetime, values.lifetime)
        assert.strictEqual(settings.sliding, values.sliding)
        assert.strictEqual(settings.secureTransport, values.secureTransport)
      }
    }))

  it.effect("has the documented defaults", () =>
    Effect.gen(function*() {
      const settings = yield* SessionConfig.make({ secrets: secret })
      assert.strictEqual(settings.name, "session")
      assert.strictEqual(settings.touchInterval, minute)
      assert.isUndefined(settings.renewalInterval)
      assert.strictEqual(settings.renewalGrace, 10_000)
      assert.isFalse(settings.persistent)
      assert.isUndefined(settings.limit)
      assert.strictEqual(settings.maxPayload, 65_536)
      assert.strictEqual(settings.conflictRetries, 32)
      assert.strictEqual(settings.onInvalid, "fresh")
      assert.deepStrictEqual(
        (yield* SessionConfig.make({ secrets: secret, maxSessions: 3 })).limit,
        { max: 3, onLimit: "evict" }
      )
      assert.strictEqual((yield* SessionConfig.make({ secrets: secret, idleTimeout: "1 minute" })).touchInterval, 6000)
      assert.strictEqual((yield* SessionConfig.make({ secrets: secret, idleTimeout: 1 })).touchInterval, 1)
      assert.strictEqual((yield* SessionConfig.make({ secrets: secret, renewalInterval: 500 })).renewalGrace, 500)
    }))

  it.effect("lets every option make a difference", () =>
    Effect.gen(function*() {
      const options: ReadonlyArray<SessionConfig.Options> = [
        { preset: "highSecurity" },
        { name: "shop" },
        { secrets: Redacted.make("Yp3-Mb8_Qw1.Jd6+Rf2/Nz5=Kx9~Ec4^Tg7?") },
        { idleTimeout: "20 minutes" },
        { lifetime: "2 hours" },
        { sliding: false },
        { touchInterval: "2 seconds" },
        { renewalInterval: "10 minutes" },
        { renewalGrace: "3 seconds" },
        { persistent: true },
        { maxSessions: 2 },
        { maxSessions: 2, onLimit: "refuse" },
        { maxPayload: 1000 },
        { conflictRetries: 0 },
        { onInvalid: "fail" }
      ]
      const seen = new Set<string>()
      for (const option of [{}, ...options]) {
        const { secrets, ...settings } = yield* SessionConfig.make({ secrets: secret, ...option })
        seen.add(JSON.stringify([settings, secrets.map((own) => Redacted.isRedacted(own) && Redacted.value(own))]))
      }
      assert.strictEqual(seen.size, options.length + 1)
    }))

  it.effect("reports every problem at once", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(SessionConfig.make({
        name: "two words",
        secrets: [Redacted.make("short"), Redacted.make("short")],
        idleTimeout: "2 hours",
        lifetime: "1 hour",
        sliding: false,
        touchInterval: "3 hours",
        renewalInterval: "1 minute",
        renewalGrace: "2 minutes",
        maxSessions: 0,
        maxPayload: -1,
        conflictRetries: 1.5
      }))
      const fields = error.problems.map((problem) => problem.slice(0, problem.indexOf(":")))
      assert.deepStrictEqual([...new Set(fields)].toSorted(), [
        "conflictRetries",
        "lifetime",
        "maxPayload",
        "maxSessions",
        "name",
        "renewalGrace",
        "renewalInterval",
        "secrets",
        "touchInterval"
      ])
      for (const problem of error.problems) assert.include(error.message, problem)
    }))

  for (
    const [field, values] of Object.entries({
      idleTimeout: [0, -1, 0.5, NaN, Infinity, "401 days", "soon"],
      lifetime: [0, -1, NaN, Infinity, "401 days"],
      touchInterval: [0, -1, NaN],
      renewalInterval: [0, -1, NaN, "401 days"],
      renewalGrace: [0, -1, NaN],
      maxSessions: [0, -1, 1.5, NaN, Infinity, 2 ** 53],
      maxPayload: [0, -1, 1.5, NaN],
      conflictRetries: [-1, 1.5, NaN, Infinity],
      name: ["", "two words", "é", "line\nbreak", "x".repeat(65)],
      preset: ["prod", "__proto__"]
    })
  ) {
    it.effect(`refuses a bad ${field}`, () =>
      Effect.gen(function*() {
        for (const value of values) {
          const problems = yield* problemsOf({ [field]: value })
          assert.isTrue(problems.some((problem) => problem.startsWith(`${field}:`)), `${value}: ${problems}`)
        }
      }))
  }

  it.effect("refuses bad secrets and shows none of them", () =>
    Effect.gen(function*() {
      const bad = [
        "",
        "a",
        "Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6",
        "a".repeat(64),
        "abababababababababababababababababababab",
        "change-me-Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6",
        "replace_this_Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6",
        "your-secret-Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6",
        "example Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1",
        "password Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1",
        "Tq8-Zr5_Kt2.Hn7+0123456789=Vb3~Ld6^Gs1?",
        "Tq8-Zr5_Kt2.Hn7+abcdef=Vb3~Ld6^Gs1?Wm4"
      ]
      for (const text of bad) {
        for (const secrets of [Redacted.make(text), [secret, Redacted.make(text)]]) {
          const error = yield* Effect.flip(SessionConfig.make({ secrets }))
          assert.isTrue(error.problems.every((problem) => problem.startsWith("secrets:")), text)
          if (text.length > 1) assert.notInclude(inspect(error, { depth: 10 }), text)
        }
      }
      assert.lengthOf(yield* problemsOf({ secrets: [secret, secret] }), 1)
      // Octets count, not characters.
      yield* SessionConfig.make({ secrets: Redacted.make("äöüßéèêçñøåæłžš€") })
    }))

  it.effect("needs a secret where the preset says so", () =>
    Effect.gen(function*() {
      for (const preset of ["production", "highSecurity", "clustered"] as const) {
        for (const secrets of [undefined, []]) {
          const error = yield* Effect.flip(SessionConfig.make({ preset, secrets }))
          assert.lengthOf(error.problems, 1)
          assert.include(error.message, "SESSION_SECRET")
        }
      }
    }))

  it.effect("makes a different throw-away secret each time, and says so", () =>
    Effect.gen(function*() {
      for (const preset of ["development", "testing"] as const) {
        const first = yield* logged(SessionConfig.make({ preset }))
        const second = yield* logged(SessionConfig.make({ preset }))
        const texts = [first, second].map(({ value }) => {
          assert.lengthOf(value.secrets, 1)
          return Redacted.isRedacted(value.secrets[0]) ? Redacted.value(value.secrets[0]) : ""
        })
        assert.notStrictEqual(texts[0], texts[1])
        assert.match(texts[0], /^[\w-]{64}$/)
        assert.lengthOf(first.lines, 1)
        assert.match(first.lines[0], /^Info .*throw-away secret/)
        assert.notInclude(first.lines[0], texts[0])
      }
      assert.deepStrictEqual((yield* logged(SessionConfig.make({ preset: "testing", secrets: secret }))).lines, [])
    }))

  it.effect("warns about limits looser than the preset, and only about those", () =>
    Effect.gen(function*() {
      const looser = yield* logged(
        SessionConfig.make({ secrets: secret, idleTimeout: "2 hours", lifetime: "48 hours" })
      )
      assert.lengthOf(looser.lines, 1)
      assert.match(looser.lines[0], /^Warn .*"production": idleTimeout, lifetime/)
      const stricter = yield* logged(
        SessionConfig.make({ secrets: secret, idleTimeout: "5 minutes", lifetime: "2 hours" })
      )
      assert.deepStrictEqual(stricter.lines, [])
    }))

  it.effect("never prints a secret", () =>
    Effect.gen(function*() {
      const settings = yield* SessionConfig.make({ secrets: secret })
      for (const text of [inspect(settings, { depth: 10 }), JSON.stringify(settings), String(settings.secrets[0])]) {
        assert.notInclude(text, Redacted.value(secret))
      }
    }))

  it.effect("takes secrets from a Config and reports a missing one with the other problems", () =>
    Effect.gen(function*() {
      const options = { secrets: Config.Redacted("SESSION_SECRET"), maxPayload: 0 }
      const error = yield* Effect.flip(SessionConfig.make(options))
      assert.lengthOf(error.problems, 2)
      assert.include(error.problems[0], "SESSION_SECRET")
      assert.include(error.problems[1], "maxPayload")
      const settings = yield* SessionConfig.make({ secrets: Config.Redacted("SESSION_SECRET") }).pipe(
        Effect.provideService(
          ConfigProvider.ConfigProvider,
          ConfigProvider.fromUnknown({ SESSION_SECRET: Redacted.value(secret) })
        )
      )
      assert.lengthOf(settings.secrets, 1)
    }).pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))))

  const fromEnv = (env: Record<string, string>) =>
    Effect.provide(SessionConfig.SessionConfig, SessionConfig.layerConfig(), { local: true }).pipe(
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))
    )

  it.effect("reads every setting from the environment", () =>
    Effect.gen(function*() {
      const older = "Yp3-Mb8_Qw1.Jd6+Rf2/Nz5=Kx9~Ec4^Tg7?"
      const { secrets, ...settings } = yield* fromEnv({
        SESSION_PRESET: "highSecurity",
        SESSION_NAME: "shop",
        SESSION_SECRET: Redacted.value(secret),
        SESSION_SECRET_PREVIOUS: `${older} , ${older}2`,
        SESSION_IDLE_TIMEOUT: "10 minutes",
        SESSION_LIFETIME: "4 hours",
        SESSION_SLIDING: "true",
        SESSION_TOUCH_INTERVAL: "5 seconds",
        SESSION_RENEWAL_INTERVAL: "15 minutes",
        SESSION_RENEWAL_GRACE: "4 seconds",
        SESSION_PERSISTENT: "true",
        SESSION_MAX_SESSIONS: "5",
        SESSION_ON_LIMIT: "refuse",
        SESSION_MAX_PAYLOAD: "1024",
        SESSION_CONFLICT_RETRIES: "2",
        SESSION_ON_INVALID: "fail"
      })
      const texts = secrets.map((own) => Redacted.isRedacted(own) && Redacted.value(own))
      assert.deepStrictEqual(texts, [Redacted.value(secret), older, `${older}2`])
      assert.deepInclude(settings, {
        preset: "highSecurity",
        name: "shop",
        idleTimeout: 10 * minute,
        lifetime: 4 * hour,
        sliding: true,
        touchInterval: 5000,
        renewalInterval: 15 * minute,
        renewalGrace: 4000,
        persistent: true,
        limit: { max: 5, onLimit: "refuse" },
        maxPayload: 1024,
        conflictRetries: 2,
        onInvalid: "fail",
        secureTransport: true
      })
    }))

  it.effect("starts from an environment with a secret alone, and not without", () =>
    Effect.gen(function*() {
      const settings = yield* fromEnv({ SESSION_SECRET: Redacted.value(secret) })
      assert.strictEqual(settings.preset, "production")
      assert.strictEqual((yield* Effect.flip(fromEnv({})))._tag, "SessionConfigError")
    }))

  it.effect("refuses environment variables that say nothing", () =>
    Effect.gen(function*() {
      for (
        const [name, value] of Object.entries({
          SESSION_PRESET: "prod",
          SESSION_IDLE_TIMEOUT: "soon",
          SESSION_SLIDING: "perhaps",
          SESSION_MAX_SESSIONS: "many",
          SESSION_ON_LIMIT: "explode",
          SESSION_ON_INVALID: "ignore"
        })
      ) {
        const error = yield* Effect.flip(fromEnv({ SESSION_SECRET: Redacted.value(secret), [name]: value }))
        assert.strictEqual(error._tag, "ConfigError", name)
        assert.notInclude(inspect(error, { depth: 10 }), Redacted.value(secret))
      }
    }))

  it.effect("stops a layer with its problems", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Layer.build(SessionConfig.layer({ secrets: Redacted.make("short") })))
      assert.strictEqual(error._tag, "SessionConfigError")
    }))
})
