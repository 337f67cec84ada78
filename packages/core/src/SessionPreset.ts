/**
 * Named sets of session settings, as pure data.
 *
 * A preset states its limits. What an application overrides is laid over it, and
 * what that loosens is said in the log when the application starts.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type * as ClientBinding from "./ClientBinding.ts"

/**
 * Name of a preset.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type SessionPreset = "development" | "production" | "highSecurity" | "testing" | "clustered"

/**
 * What a preset decides. Durations are milliseconds.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface PresetValues {
  /** Longest inactivity. */
  readonly idleTimeout: number
  /** Time from sign-in, or from creation, to the absolute deadline. */
  readonly lifetime: number
  /** Whether activity moves the idle deadline. */
  readonly sliding: boolean
  /** Whether the application must bring its own secret. */
  readonly requireSecret: boolean
  /** Whether sessions may only travel over a secure transport. */
  readonly secureTransport: boolean
  /** Whether payloads that leave the process are sealed, unless `PayloadCodec` says otherwise. */
  readonly sealed: boolean
  /** What sessions are bound to. */
  readonly binding: ClientBinding.Settings | undefined
}

const minute = 60_000
const hour = 60 * minute

/**
 * The presets.
 *
 * **Details**
 *
 * | preset | idle | absolute | sliding | own secret | secure transport | sealed | bound to |
 * | --- | --- | --- | --- | --- | --- | --- | --- |
 * | `development` | 30 min | 24 h | yes | no | no | no | nothing |
 * | `production` | 1 h | 24 h | yes | yes | yes | yes | nothing |
 * | `highSecurity` | 15 min | 8 h | yes | yes | yes | yes | address and `User-Agent` |
 * | `testing` | 5 min | 1 h | no | no | no | no | nothing |
 * | `clustered` | 1 h | 24 h | yes | yes | yes | yes | nothing |
 *
 * Idle times are the ones azutoolkit/session ships. The absolute limits are
 * within NIST SP 800-63B-4: 24 h at AAL2 (2.2.3), 12 h and 15 min idle at AAL3
 * (2.3.3).
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const presets: { readonly [K in SessionPreset]: PresetValues } = {
  development: {
    idleTimeout: 30 * minute,
    lifetime: 24 * hour,
    sliding: true,
    requireSecret: false,
    secureTransport: false,
    sealed: false,
    binding: undefined
  },
  production: {
    idleTimeout: hour,
    lifetime: 24 * hour,
    sliding: true,
    requireSecret: true,
    secureTransport: true,
    sealed: true,
    binding: undefined
  },
  highSecurity: {
    idleTimeout: 15 * minute,
    lifetime: 8 * hour,
    sliding: true,
    requireSecret: true,
    secureTransport: true,
    sealed: true,
    binding: { address: { ipv4: 32, ipv6: 64 }, userAgent: "exact", policy: "reject" }
  },
  testing: {
    idleTimeout: 5 * minute,
    lifetime: hour,
    sliding: false,
    requireSecret: false,
    secureTransport: false,
    sealed: false,
    binding: undefined
  },
  clustered: {
    idleTimeout: hour,
    lifetime: 24 * hour,
    sliding: true,
    requireSecret: true,
    secureTransport: true,
    sealed: true,
    binding: undefined
  }
}

/**
 * Tells whether a text names a preset.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isPreset = (name: string): name is SessionPreset => Object.hasOwn(presets, name)
