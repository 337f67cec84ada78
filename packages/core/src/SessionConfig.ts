/**
 * The settings of an application's sessions: read once, validated as a whole,
 * immutable afterwards.
 *
 * A start with wrong settings fails with every problem listed, never later in a
 * request. Cookie attributes are not here: they belong to the transport.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as ClientBinding from "./ClientBinding.ts"
import { isSuite, layouts, type Suite } from "./SealedFormat.ts"
import { howToMakeOne, isPassphrase, problems as secretProblems, type Secret } from "./Secret.ts"
import { isPreset, presets, type SessionPreset } from "./SessionPreset.ts"
import type { SessionLimit } from "./SessionStore.ts"

/**
 * One secret, or several with the newest first: the newest makes new ids, the
 * others still recognise theirs.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export type Secrets = Secret | ReadonlyArray<Secret>

/**
 * Options of `SessionConfig`. Everything has a default but the secret, which
 * only the presets `development` and `testing` do without.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Preset that gives the values not set here, `production` by default. */
  readonly preset?: SessionPreset | undefined
  /**
   * Name of the application, `session` by default. Two applications with
   * different names share nothing, also with one secret and one store.
   */
  readonly name?: string | undefined
  /**
   * Secret of at least 32 octets, or several with the newest first. May come from
   * `Config`. `Secret.passphrase` makes one from a pass-phrase.
   */
  readonly secrets?: Secrets | Config.Config<Secrets> | undefined
  /** Longest inactivity; from the preset by default. */
  readonly idleTimeout?: Duration.Input | undefined
  /** Time to the absolute deadline; from the preset by default. */
  readonly lifetime?: Duration.Input | undefined
  /** Whether activity moves the idle deadline; from the preset by default. */
  readonly sliding?: boolean | undefined
  /**
   * Activity is recorded at most once in this time. A tenth of the idle timeout
   * by default, at most one minute.
   */
  readonly touchInterval?: Duration.Input | undefined
  /** Age at which an id is replaced while the session is in use. Off by default. */
  readonly renewalInterval?: Duration.Input | undefined
  /** How long the old id may still read after a timed renewal, 10 seconds by default. */
  readonly renewalGrace?: Duration.Input | undefined
  /** Whether the client keeps the session when it closes, `false` by default. */
  readonly persistent?: boolean | undefined
  /** Number of live sessions a subject may have. No limit by default. */
  readonly maxSessions?: number | undefined
  /** What happens at that limit: end the oldest (`evict`, the default) or `refuse` the sign-in. */
  readonly onLimit?: "evict" | "refuse" | undefined
  /** Largest payload in octets, 65,536 by default. */
  readonly maxPayload?: number | undefined
  /** How often a commit that lost a race is replayed before it fails, 32 by default. */
  readonly conflictRetries?: number | undefined
  /**
   * What becomes of stored data that cannot be decoded: the request starts with
   * a `fresh` session (the default) and status `invalid`, or reading `fail`s. A
   * write over a fresh one takes its place. But data of a later version of the
   * application is never written over, nor that of a signed-in user that does not
   * open: other nodes can read it. Such a write fails with `Invalid`, and a sign-in
   * begins another session.
   */
  readonly onInvalid?: "fresh" | "fail" | undefined
  /**
   * How values are sealed, `aes256Gcm` by default. What another suite sealed
   * under a secret of the ring still opens: each suite has keys of its own.
   */
  readonly suite?: Suite | undefined
  /**
   * What of their client sessions are bound to, and what a difference means. From
   * the preset by default: nothing but under `highSecurity`. `false` for nothing.
   */
  readonly binding?: ClientBinding.Options | false | undefined
}

/**
 * Validated settings. Durations are milliseconds, sizes octets.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  readonly preset: SessionPreset
  readonly name: string
  readonly secrets: readonly [Secret, ...Array<Secret>]
  readonly idleTimeout: number
  readonly lifetime: number
  readonly sliding: boolean
  readonly touchInterval: number
  readonly renewalInterval: number | undefined
  readonly renewalGrace: number
  readonly persistent: boolean
  readonly limit: SessionLimit | undefined
  readonly maxPayload: number
  readonly conflictRetries: number
  readonly onInvalid: "fresh" | "fail"
  readonly suite: Suite
  readonly secureTransport: boolean
  readonly binding: ClientBinding.Settings | undefined
}

/**
 * Service that holds the settings.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class SessionConfig extends Context.Service<SessionConfig, Settings>()("@effect-session/core/SessionConfig") {}

/**
 * Error of a configuration that cannot work, with every problem found. No
 * message shows a secret.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class SessionConfigError
  extends Schema.Error<SessionConfigError>("@effect-session/core/SessionConfig/SessionConfigError")({
    _tag: Schema.tag("SessionConfigError"),
    problems: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    return `The session configuration has ${this.problems.length} problem(s):\n- ${this.problems.join("\n- ")}`
  }
}

const longest = 400 * 24 * 60 * 60 * 1000

const validate = (options: Options, given: ReadonlyArray<Secret>) => {
  const problems: Array<string> = []
  const preset = options.preset ?? "production"
  if (!isPreset(preset)) {
    problems.push(`preset: there is no preset "${preset}"; there are ${Object.keys(presets).join(", ")}`)
  }
  const base = presets[isPreset(preset) ? preset : "production"]

  const duration = (field: string, input: Duration.Input | undefined, or: number) => {
    if (input === undefined) return or
    const value = Duration.fromInput(input)
    const millis = value._tag === "Some" ? Duration.toMillis(value.value) : NaN
    if (!(millis >= 1 && millis <= longest)) {
      problems.push(`${field}: must be a duration of at least 1 millisecond and at most 400 days`)
      return or
    }
    return Math.floor(millis)
  }
  const count = (field: string, input: number | undefined, or: number, least: number) => {
    if (input === undefined || (Number.isSafeInteger(input) && input >= least)) return input ?? or
    problems.push(`${field}: must be an integer of at least ${least}`)
    return or
  }

  const idleTimeout = duration("idleTimeout", options.idleTimeout, base.idleTimeout)
  const lifetime = duration("lifetime", options.lifetime, Math.max(base.lifetime, idleTimeout))
  const touchInterval = duration("touchInterval", options.touchInterval, Math.min(idleTimeout / 10, 60_000))
  const renewalInterval = options.renewalInterval === undefined
    ? undefined
    : duration("renewalInterval", options.renewalInterval, lifetime)
  const renewalGrace = duration("renewalGrace", options.renewalGrace, Math.min(10_000, renewalInterval ?? 10_000))
  if (lifetime < idleTimeout) problems.push("lifetime: is shorter than idleTimeout, which then never takes effect")
  if (touchInterval > idleTimeout) {
    problems.push("touchInterval: is longer than idleTimeout, so active users would idle out")
  }
  if (renewalInterval !== undefined && !(options.sliding ?? base.sliding)) {
    problems.push(
      "renewalInterval: a renewal counts as activity, which must not move the idle deadline when sliding is off"
    )
  }
  if (renewalInterval !== undefined && renewalGrace > renewalInterval) {
    problems.push("renewalGrace: is longer than renewalInterval")
  }
  const name = options.name ?? "session"
  if (!/^[\x21-\x7e]{1,64}$/.test(name)) problems.push("name: must be 1 to 64 visible ASCII characters")
  if (options.onLimit !== undefined && options.maxSessions === undefined) {
    problems.push("onLimit: has no effect without maxSessions")
  }
  const maxSessions = count("maxSessions", options.maxSessions, 0, 1)

  if (given.length === 0 && base.requireSecret) {
    problems.push(`secrets: the preset "${preset}" needs a secret; ${howToMakeOne} and give it as SESSION_SECRET`)
  }
  problems.push(...secretProblems(given))
  const suite = options.suite ?? "aes256Gcm"
  if (!isSuite(suite)) {
    problems.push(`suite: there is no suite "${suite}"; there are ${Object.keys(layouts).join(", ")}`)
  }

  const bound = options.binding
  const binding = bound === undefined || bound === false ? undefined : ClientBinding.resolve(bound)
  if (binding !== undefined) problems.push(...binding.problems)

  const loosened: Array<string> = []
  if (idleTimeout > base.idleTimeout) loosened.push("idleTimeout")
  if (lifetime > base.lifetime) loosened.push("lifetime")
  if (base.binding !== undefined && bound !== undefined && isLooser(binding?.settings, base.binding)) {
    loosened.push("binding")
  }

  const settings: Omit<Settings, "secrets"> = {
    preset,
    name,
    idleTimeout,
    lifetime,
    sliding: options.sliding ?? base.sliding,
    touchInterval: Math.max(1, Math.floor(touchInterval)),
    renewalInterval,
    renewalGrace,
    persistent: options.persistent ?? false,
    limit: options.maxSessions === undefined ? undefined : { max: maxSessions, onLimit: options.onLimit ?? "evict" },
    maxPayload: count("maxPayload", options.maxPayload, 65_536, 1),
    conflictRetries: count("conflictRetries", options.conflictRetries, 32, 0),
    onInvalid: options.onInvalid ?? "fresh",
    suite,
    secureTransport: base.secureTransport,
    binding: bound === undefined ? base.binding : binding?.settings
  }
  return { problems, settings, loosened }
}

const isLooser = (binding: ClientBinding.Settings | undefined, base: ClientBinding.Settings): boolean =>
  binding === undefined || binding.policy !== base.policy ||
  (base.address !== undefined && (binding.address === undefined || binding.address.ipv4 < base.address.ipv4 ||
    binding.address.ipv6 < base.address.ipv6)) ||
  (base.userAgent !== undefined && binding.userAgent !== base.userAgent)

const toList = (secrets: Secrets): ReadonlyArray<Secret> =>
  Redacted.isRedacted(secrets) || isPassphrase(secrets) ? [secrets] : secrets

/**
 * Validates options into settings.
 *
 * **Details**
 *
 * Fails with a `SessionConfigError` that lists every problem. Logs a warning
 * when a limit is looser than its preset, and a notice when the preset made a
 * throw-away secret: sessions then end with the process.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make: (options?: Options) => Effect.Effect<Settings, SessionConfigError> = Effect.fnUntraced(
  function*(options: Options = {}) {
    const configProblems: Array<string> = []
    const given = options.secrets === undefined
      ? []
      : Config.isConfig(options.secrets)
      ? yield* options.secrets.pipe(
        Effect.map(toList),
        Effect.catch((error) => {
          configProblems.push(`secrets: ${error.message}; ${howToMakeOne}`)
          return Effect.succeed<ReadonlyArray<Secret>>([])
        })
      )
      : toList(options.secrets)
    const { loosened, problems, settings } = validate(options, given)
    // A Config that failed has said what is missing; the rule "needs a secret" would say it twice.
    const all = configProblems.length > 0
      ? [...configProblems, ...problems.filter((problem) => !problem.startsWith("secrets: the preset"))]
      : problems
    if (all.length > 0) return yield* new SessionConfigError({ problems: all })
    if (loosened.length > 0) {
      yield* Effect.logWarning(`Session limits looser than the preset "${settings.preset}": ${loosened.join(", ")}`)
    }
    const [first, ...rest] = given
    if (first !== undefined) return { ...settings, secrets: [first, ...rest] } satisfies Settings
    yield* Effect.logInfo(
      `Sessions use a throw-away secret (preset "${settings.preset}"): they end when this process does`
    )
    const random = yield* SecureRandom.SecureRandom
    const secret = Redacted.make(Base64Url.encode(yield* random.randomBytes(48)))
    return { ...settings, secrets: [secret] } satisfies Settings
  },
  Effect.provide(SecureRandom.layerWebCrypto)
)

/**
 * Options read from the environment.
 *
 * **Details**
 *
 * `SESSION_PRESET`, `SESSION_NAME`, `SESSION_SECRET`, `SESSION_SECRET_PREVIOUS`
 * (comma-separated, newest first), `SESSION_IDLE_TIMEOUT`, `SESSION_LIFETIME`,
 * `SESSION_SLIDING`, `SESSION_TOUCH_INTERVAL`, `SESSION_RENEWAL_INTERVAL`,
 * `SESSION_RENEWAL_GRACE`, `SESSION_PERSISTENT`, `SESSION_MAX_SESSIONS`,
 * `SESSION_ON_LIMIT`, `SESSION_MAX_PAYLOAD`, `SESSION_CONFLICT_RETRIES`,
 * `SESSION_ON_INVALID`, `SESSION_SUITE` and the variables of `ClientBinding.env`.
 * All are optional here; durations are written like `30 minutes`.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const env: Config.Config<Options> = Config.unwrap({
  preset: Config.Literals(["development", "production", "highSecurity", "testing", "clustered"], "PRESET").pipe(
    Config.withDefault(undefined)
  ),
  name: Config.NonEmptyString("NAME").pipe(Config.withDefault(undefined)),
  secrets: Config.unwrap({
    newest: Config.Redacted("SECRET").pipe(Config.withDefault(undefined)),
    previous: Config.Redacted("SECRET_PREVIOUS").pipe(Config.withDefault(undefined))
  }).pipe(
    Config.map(({ newest, previous }) =>
      newest === undefined && previous === undefined ? undefined : [
        ...(newest === undefined ? [] : [newest]),
        ...(previous === undefined ? [] : Redacted.value(previous).split(",").map((text) => Redacted.make(text.trim())))
      ]
    )
  ),
  idleTimeout: Config.Duration("IDLE_TIMEOUT").pipe(Config.withDefault(undefined)),
  lifetime: Config.Duration("LIFETIME").pipe(Config.withDefault(undefined)),
  sliding: Config.Boolean("SLIDING").pipe(Config.withDefault(undefined)),
  touchInterval: Config.Duration("TOUCH_INTERVAL").pipe(Config.withDefault(undefined)),
  renewalInterval: Config.Duration("RENEWAL_INTERVAL").pipe(Config.withDefault(undefined)),
  renewalGrace: Config.Duration("RENEWAL_GRACE").pipe(Config.withDefault(undefined)),
  persistent: Config.Boolean("PERSISTENT").pipe(Config.withDefault(undefined)),
  maxSessions: Config.Int("MAX_SESSIONS").pipe(Config.withDefault(undefined)),
  onLimit: Config.Literals(["evict", "refuse"], "ON_LIMIT").pipe(Config.withDefault(undefined)),
  maxPayload: Config.Int("MAX_PAYLOAD").pipe(Config.withDefault(undefined)),
  conflictRetries: Config.Int("CONFLICT_RETRIES").pipe(Config.withDefault(undefined)),
  onInvalid: Config.Literals(["fresh", "fail"], "ON_INVALID").pipe(Config.withDefault(undefined)),
  suite: Config.Literals(["aes256Gcm", "aes256CbcHmacSha256", "xchacha20Poly1305"], "SUITE").pipe(
    Config.withDefault(undefined)
  ),
  binding: ClientBinding.env
}).pipe(Config.nested("SESSION"))

/**
 * Provides settings from options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<SessionConfig, SessionConfigError> =>
  Layer.effect(SessionConfig, make(options))

/**
 * Provides settings from a `Config` of the options: the environment variables of
 * {@link env} unless another one is given.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Config<Options> = env
): Layer.Layer<SessionConfig, SessionConfigError | Config.ConfigError> =>
  Layer.effect(SessionConfig, Effect.flatMap(options, make))
