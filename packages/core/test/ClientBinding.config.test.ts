import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted } from "effect"
import type * as ClientBinding from "../src/ClientBinding.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import { secret } from "./Fixture.ts"

const fromEnv = (env: Readonly<Record<string, string>>) =>
  Effect.provide(SessionConfig.SessionConfig, SessionConfig.layerConfig(), { local: true }).pipe(
    Effect.provideService(
      ConfigProvider.ConfigProvider,
      ConfigProvider.fromEnv({ env: { SESSION_SECRET: Redacted.value(secret), ...env } })
    )
  )

const exact: ClientBinding.Settings = { address: undefined, userAgent: undefined, policy: "reject" }

describe("a binding from the environment", () => {
  const table: ReadonlyArray<readonly [Readonly<Record<string, string>>, ClientBinding.Settings | undefined]> = [
    [{}, undefined],
    [{ SESSION_PRESET: "highSecurity" }, { address: { ipv4: 32, ipv6: 64 }, userAgent: "exact", policy: "reject" }],
    [{ SESSION_PRESET: "highSecurity", SESSION_BINDING: "false" }, undefined],
    [{ SESSION_BINDING: "false", SESSION_BINDING_ADDRESS: "true" }, undefined],
    [{ SESSION_BINDING_ADDRESS: "true" }, { ...exact, address: { ipv4: 32, ipv6: 64 } }],
    [{ SESSION_BINDING: "true", SESSION_BINDING_ADDRESS: "true" }, { ...exact, address: { ipv4: 32, ipv6: 64 } }],
    [{ SESSION_BINDING_IPV4: "24" }, { ...exact, address: { ipv4: 24, ipv6: 64 } }],
    [{ SESSION_BINDING_IPV6: "48", SESSION_BINDING_IPV4: "16" }, { ...exact, address: { ipv4: 16, ipv6: 48 } }],
    [{ SESSION_BINDING_USER_AGENT: "true" }, { ...exact, userAgent: "exact" }],
    [
      { SESSION_BINDING_USER_AGENT: "withoutVersions", SESSION_BINDING_POLICY: "renew" },
      { ...exact, userAgent: "withoutVersions", policy: "renew" }
    ],
    [
      { SESSION_BINDING_ADDRESS: "false", SESSION_BINDING_IPV4: "24", SESSION_BINDING_USER_AGENT: "true" },
      { ...exact, userAgent: "exact" }
    ],
    [
      { SESSION_BINDING_ADDRESS: "true", SESSION_BINDING_USER_AGENT: "false", SESSION_BINDING_POLICY: "report" },
      { ...exact, address: { ipv4: 32, ipv6: 64 }, policy: "report" }
    ]
  ]
  it.effect.each(table)("%j", ([env, binding]) =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* fromEnv(env)).binding, binding)
    }))

  it.effect("that says nothing or binds to nothing stops the start", () =>
    Effect.gen(function*() {
      const wrong = [
        { SESSION_BINDING: "perhaps" },
        { SESSION_BINDING_ADDRESS: "24" },
        { SESSION_BINDING_IPV4: "many" },
        { SESSION_BINDING_USER_AGENT: "exact" },
        { SESSION_BINDING_POLICY: "ignore" }
      ]
      for (const env of wrong) {
        assert.strictEqual((yield* Effect.flip(fromEnv(env)))._tag, "ConfigError", JSON.stringify(env))
      }
      const empty = [
        { SESSION_BINDING: "true" },
        { SESSION_BINDING_POLICY: "renew" },
        { SESSION_BINDING_ADDRESS: "false" },
        { SESSION_BINDING_IPV4: "33" },
        { SESSION_BINDING_IPV6: "0" }
      ]
      for (const env of empty) {
        const error = yield* Effect.flip(fromEnv(env))
        assert.strictEqual(error._tag, "SessionConfigError", JSON.stringify(env))
        assert.match(error.message, /binding/)
      }
    }))
})
