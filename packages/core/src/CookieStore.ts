/**
 * Keeps each session in the token of its client: the token is the sealed record,
 * and the server keeps only a list of what is over.
 *
 * Sessions are used as with any other backend; one layer is swapped for another.
 * Both deadlines are inside the seal and checked on every request, by the clock
 * of the server. Signing out, renewing the id and `Revocations.revokeSubject` end
 * a session also for those who have a copy of its token, because its key is
 * looked up in the list of `Revocations` on every request. Where the list does
 * not answer, neither does the session: it is `unavailable`, never `active`.
 *
 * The token changes with every write and with every recorded activity, and the
 * client has to take the new one. It is about 1.4 times as long as the data, plus
 * some 250 characters.
 *
 * **What a record in the client's hands cannot promise**
 *
 * - Compare-and-set across responses: of two requests that change the session at
 *   the same time, the response that arrives last wins, and the other change is
 *   lost. Nothing fails with `Conflict`.
 * - Exactly once: a client can present an earlier token of its session again,
 *   until the session ends. Flash messages may show twice; counters, stock and
 *   one-time codes do not belong in it.
 * - Limits on the number of sessions, and lists of them: nobody knows them all.
 *   There is no `SessionQuery`, and `maxSessions` is refused.
 * - A grace window: a renewed id is over at once, also for requests that are on
 *   their way with it. If the response with the new one is lost, so is the
 *   session; and a sign-out that is on its way with the old one does not end the
 *   new one.
 *
 * **Example** (A session without a store)
 *
 * ```ts
 * import { Session, SessionConfig, SessionManager } from "@effect-session/core"
 * import * as CookieStore from "@effect-session/core/CookieStore"
 * import * as CryptoNode from "@effect-session/core/CryptoNode"
 * import * as Revocations from "@effect-session/core/Revocations"
 * import { Effect, Schema } from "effect"
 *
 * class UserSession extends Session.Service<UserSession>()("app/UserSession", {
 *   data: Schema.Struct({ theme: Schema.String }),
 *   initial: { theme: "light" }
 * }) {}
 *
 * const program = Effect.gen(function*() {
 *   const manager = yield* SessionManager.make(UserSession)
 *   const { token } = yield* manager.run(undefined, UserSession.login("ada", () => ({ theme: "dark" })))
 *   const { value } = yield* manager.run(token, UserSession.get)
 *   yield* manager.run(token, UserSession.destroy)
 *   const replayed = yield* manager.run(token, UserSession.status)
 *   return [value.theme, replayed.value].join()
 * }).pipe(
 *   Effect.provide(CookieStore.layer()),
 *   Effect.provide(Revocations.layerMemory()),
 *   Effect.provide(CryptoNode.layer),
 *   Effect.provide(SessionConfig.layer({ preset: "testing" }))
 * )
 * console.log(await Effect.runPromise(program)) // => dark,anonymous
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Crypto } from "./Crypto.ts"
import * as cookieBackend from "./internal/cookieBackend.ts"
import { Revocations } from "./Revocations.ts"
import { SessionBackend } from "./SessionBackend.ts"
import type { SessionConfig, SessionConfigError } from "./SessionConfig.ts"

/**
 * Options of cookie mode.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Where the tokens belong, the application's name by default. A token opens
   * only under the place it was sealed for.
   */
  readonly place?: string | undefined
  /**
   * Longest token in characters, 4,000 by default: with its name, it fits the
   * 4,096 octets that a browser keeps of one cookie. A longer one is refused
   * before anything is done with it, and a write that would need it fails with
   * `TooLarge`. Raise it only with a transport that carries longer ones, such as
   * the `chunks` of a session cookie; one that cannot does not start.
   */
  readonly maxToken?: number | undefined
  /**
   * Number of opened tokens that are kept in memory, so that the next request
   * need not open them: 4,096 by default, 0 for none. Of the tokens that were
   * given out, the last 512 at most are kept beside them.
   * Deadlines and revocations are checked all the same.
   */
  readonly remembered?: number | undefined
}

/**
 * Makes the backend with a list of revocations.
 *
 * **Details**
 *
 * Fails for a configuration that cookie mode cannot keep: `maxSessions`.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options?: Options
): Effect.Effect<SessionBackend["Service"], SessionConfigError, Crypto | SessionConfig | Revocations> =>
  Effect.flatMap(Revocations, (revocations) => cookieBackend.make(revocations, options))

// Longest that a session can live.
const longest = 400 * 24 * 60 * 60 * 1000

const signInRefused = Effect.die(
  new Error(
    "CookieStore.layerAnonymous cannot sign anybody in: a copy of the token would outlive the sign-out. " +
      "Provide CookieStore.layer with Revocations, or a store"
  )
)

// Ends nothing, and therefore holds nobody who is signed in.
const nobody: Revocations["Service"] = {
  subjectLifetime: longest,
  revoke: () => Effect.succeed(true),
  revokeSubject: () => signInRefused,
  epoch: () => signInRefused,
  isRevoked: ({ subject }) => Effect.succeed(subject !== undefined)
}

/**
 * Makes the backend without a list of revocations, for sessions in which nobody
 * signs in.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const makeAnonymous = (
  options?: Options
): Effect.Effect<SessionBackend["Service"], SessionConfigError, Crypto | SessionConfig> =>
  cookieBackend.make(nobody, options)

/**
 * Provides cookie mode. Signing out is final: the list of revocations is part of
 * it.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: Options
): Layer.Layer<SessionBackend, SessionConfigError, Crypto | SessionConfig | Revocations> =>
  Layer.effect(SessionBackend, make(options))

/**
 * Provides cookie mode from wrapped configuration options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<SessionBackend, SessionConfigError | Config.ConfigError, Crypto | SessionConfig | Revocations> =>
  Layer.effect(SessionBackend, Effect.flatMap(Config.unwrap(options), make))

/**
 * Provides cookie mode without a list of revocations, for sessions in which
 * nobody signs in: a theme, a language, a basket.
 *
 * **Gotchas**
 *
 * A sign-in is a defect. The end of a session clears the client's token and
 * nothing else: a copy of it works until a deadline.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerAnonymous = (
  options?: Options
): Layer.Layer<SessionBackend, SessionConfigError, Crypto | SessionConfig> =>
  Layer.effect(SessionBackend, makeAnonymous(options))
