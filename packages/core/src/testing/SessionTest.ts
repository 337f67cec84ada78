/**
 * Everything a deterministic test of code with sessions needs, in one layer:
 * the memory store, ids from a seeded source, and a clock that only moves when
 * told to.
 *
 * **Example** (Testing an operation)
 *
 * ```ts
 * import { Session } from "@effect-session/core"
 * import { SessionTest } from "@effect-session/core/testing"
 * import { Effect, Schema } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * class Cart extends Session.Service<Cart>()("app/Cart", {
 *   data: Schema.Struct({ items: Schema.Array(Schema.String) }),
 *   initial: { items: [] }
 * }) {}
 *
 * const program = Effect.gen(function*() {
 *   const token = yield* SessionTest.start(Cart, { subject: "ada", data: { items: ["tea"] } })
 *   const before = yield* SessionTest.inspect(Cart, token)
 *   yield* TestClock.adjust("1 hour")
 *   const after = yield* SessionTest.inspect(Cart, token)
 *   return [before.data.items, before.subject, before.status, after.status].join()
 * }).pipe(Effect.provide(SessionTest.layer()))
 * console.log(await Effect.runPromise(program)) // => tea,ada,active,expired
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import * as Crypto from "../Crypto.ts"
import * as MemoryStore from "../MemoryStore.ts"
import type { SessionClass, Status } from "../Session.ts"
import type { SessionBackend } from "../SessionBackend.ts"
import * as SessionConfig from "../SessionConfig.ts"
import type { FlashMessage } from "../SessionData.ts"
import type { SessionError } from "../SessionError.ts"
import * as SessionManager from "../SessionManager.ts"
import type { SessionQuery } from "../SessionQuery.ts"
import type { SessionStore } from "../SessionStore.ts"

/**
 * Options of {@link layer}: those of `SessionConfig`, and a seed for the ids.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options extends SessionConfig.Options {
  /** Seed of the ids, 1 by default. The same seed gives the same ids in the same order. */
  readonly seed?: number | undefined
}

/**
 * Provides a `SecureRandom` that repeats: the same seed gives the same bytes.
 *
 * **Gotchas**
 *
 * For tests only. Whoever knows the seed knows every id.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerSeededRandom = (seed = 1): Layer.Layer<SecureRandom.SecureRandom> =>
  Layer.sync(SecureRandom.SecureRandom, () => {
    let state = seed >>> 0
    // Mulberry32: 32 bits of state are plenty for ids that only have to differ.
    const next = () => {
      state = (state + 0x6d2b79f5) >>> 0
      let word = Math.imul(state ^ (state >>> 15), state | 1)
      word ^= word + Math.imul(word ^ (word >>> 7), word | 61)
      return (word ^ (word >>> 14)) & 0xff
    }
    return SecureRandom.make((size) => Uint8Array.from({ length: size }, next))
  })

const secret = Redacted.make("the fixed test key of 48 octets: Wq8-Zr5_Kt2.Hn7+")

/**
 * Provides a complete set-up on the memory store, with the preset `testing`.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<
  | SessionStore
  | SessionQuery
  | SessionBackend
  | MemoryStore.MemoryStore
  | Crypto.Crypto
  | SessionConfig.SessionConfig
  | TestClock.TestClock,
  SessionConfig.SessionConfigError
> =>
  // Expired sessions stay until they are asked for, so that a test can tell them from absent ones.
  MemoryStore.layer({ sweepInterval: "400 days" }).pipe(
    Layer.provideMerge(Crypto.layerNoDeps),
    Layer.provide([Digest.layerWebCrypto, Kdf.layerWebCrypto, layerSeededRandom(options.seed)]),
    Layer.provideMerge(SessionConfig.layer({ preset: "testing", secrets: secret, ...options })),
    Layer.provideMerge(TestClock.layer())
  )

/**
 * Stores a session as an application would, and returns its token: signed in
 * with a subject, anonymous without.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const start = <Self, Id extends string, A>(
  session: SessionClass<Self, Id, A>,
  options: { readonly subject?: string | undefined; readonly data: A }
): Effect.Effect<string, SessionError, SessionBackend | SessionConfig.SessionConfig | Crypto.Crypto> =>
  Effect.gen(function*() {
    const manager = yield* SessionManager.make(session)
    const open = manager.open({})
    if (options.subject === undefined) yield* open.set(options.data)
    else yield* open.login(options.subject, () => options.data)
    const change = yield* open.finish("success")
    return change._tag === "Issue"
      ? change.token
      : yield* Effect.die(new Error("SessionTest.start: anonymous initial data is never stored; change it or sign in"))
  })

/**
 * What a token's session looks like from outside.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Inspected<A> {
  readonly status: Status
  readonly data: A
  readonly subject: string | undefined
  /** Messages that wait. Looking does not deliver them. */
  readonly flash: ReadonlyArray<FlashMessage>
}

/**
 * Looks at the session of a token and leaves it as it is.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const inspect = <Self, Id extends string, A>(
  session: SessionClass<Self, Id, A>,
  token: string | undefined
): Effect.Effect<Inspected<A>, SessionError, SessionBackend | SessionConfig.SessionConfig | Crypto.Crypto> =>
  Effect.gen(function*() {
    const manager = yield* SessionManager.make(session)
    // Without a call of finish, whatever reading would deliver stays where it is.
    const open = manager.open({ token, active: false })
    return {
      status: yield* open.status,
      data: yield* open.get,
      subject: yield* open.subject,
      flash: yield* open.flash.peek
    }
  })
