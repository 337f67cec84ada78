/**
 * The seam between sessions and where they live: turns a token into a record,
 * and a decision into the next token.
 *
 * Over a `SessionStore` the token is an id and the record lives on the server:
 * that is {@link layer}, and every store's own `layer` brings it along. A backend
 * in which the token is the record itself implements the same two methods;
 * sessions cannot tell the difference.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Current, Step } from "./CommitPlan.ts"
import { Crypto } from "./Crypto.ts"
import * as AtOnce from "./internal/atOnce.ts"
import * as PayloadCodec from "./PayloadCodec.ts"
import { SessionConfig } from "./SessionConfig.ts"
import { presets } from "./SessionPreset.ts"
import {
  type LoadOptions,
  type Lookup,
  type Saved,
  type SessionRecord,
  SessionStore,
  SessionStoreError,
  StoreUnavailable
} from "./SessionStore.ts"

/**
 * Result of `load`: the store's answer with the key of the token, or `Rejected`
 * for a text that is not a token of this application.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Found =
  | { readonly _tag: "Found"; readonly key: string; readonly lookup: Lookup }
  | { readonly _tag: "Rejected" }

/**
 * Result of `apply`.
 *
 * **Details**
 *
 * - `Stored`: the session as it is now, with the token that stands for it from
 *   now on. `evicted` holds keys of sessions that a limit ended.
 * - `Touched`: the activity was recorded, or there was nothing to record it on,
 *   and the token stays. A backend whose tokens hold the activity answers a
 *   touch with `Stored`.
 * - `Ended`: the session is over; `live` says whether it still was before.
 * - `Conflict`, `Gone`, `LimitReached`: nothing was changed.
 * - `TooLarge`: nothing was changed; in a token of `actual` characters the session
 *   would be larger than `maximum`.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Applied =
  | {
    readonly _tag: "Stored"
    readonly token: string
    readonly key: string
    readonly record: SessionRecord
    readonly evicted: ReadonlyArray<string>
  }
  | { readonly _tag: "Touched"; readonly live: boolean }
  | { readonly _tag: "Ended"; readonly live: boolean }
  | { readonly _tag: "Conflict" }
  | { readonly _tag: "Gone" }
  | { readonly _tag: "LimitReached" }
  | { readonly _tag: "TooLarge"; readonly actual: number; readonly maximum: number }

/**
 * Service that loads sessions by token and carries out decisions.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class SessionBackend extends Context.Service<SessionBackend, {
  /** Name for metrics: one fixed word such as `memory`. */
  readonly name: string
  /** Longest token in characters, where tokens differ in length. A transport that cannot carry it refuses to start. */
  readonly maxToken?: number | undefined
  readonly load: (token: string, options?: LoadOptions) => Effect.Effect<Found, SessionStoreError>
  /**
   * Loads the session of a key, for what goes on after a request. Missing where
   * the token is the record: every write then makes a new token.
   */
  readonly loadKey?: ((key: string) => Effect.Effect<Lookup, SessionStoreError>) | undefined
  readonly apply: (step: Step) => Effect.Effect<Applied, SessionStoreError>
  /**
   * Returns the key of a token without asking anybody, where that is possible: a
   * session that cannot be read can then be ended. `undefined` for a text that is
   * not a token of this application.
   */
  readonly keyOf?: ((token: string) => Effect.Effect<string | undefined>) | undefined
  /**
   * Turns a record as `SessionQuery` finds it into one with the payload as
   * sessions see it, where the two differ.
   */
  readonly open?: ((key: string, record: SessionRecord) => Effect.Effect<SessionRecord>) | undefined
}>()("@effect-session/core/SessionBackend") {}

const rejected: Effect.Effect<Found> = Effect.succeed({ _tag: "Rejected" })
const conflict: Applied = { _tag: "Conflict" }
const gone: Applied = { _tag: "Gone" }
const limitReached: Applied = { _tag: "LimitReached" }
const noEvictions: ReadonlyArray<string> = []

// A taken key means that 256 random bits came twice: with a sound source it never happens.
const drawsBeforeGivingUp = 5

/**
 * Options of a backend over a `SessionStore`.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * For stores whose records leave the process: payloads are sealed if the preset
   * says so, unless `PayloadCodec` says otherwise. `false` by default.
   */
  readonly sealByDefault?: boolean | undefined
}

/**
 * Creates the backend over a `SessionStore`. Payloads are written as `PayloadCodec`
 * says: by default, and without options, as they are.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make: {
  (name: string): Effect.Effect<SessionBackend["Service"], never, SessionStore | Crypto>
  (
    name: string,
    options: Options
  ): Effect.Effect<SessionBackend["Service"], never, SessionStore | Crypto | SessionConfig>
} = makeWith

function makeWith(name: string): Effect.Effect<SessionBackend["Service"], never, SessionStore | Crypto>
function makeWith(
  name: string,
  options?: Options
): Effect.Effect<SessionBackend["Service"], never, SessionStore | Crypto | SessionConfig>
function makeWith(name: string, options?: Options) {
  return options?.sealByDefault === true
    ? Effect.flatMap(SessionConfig, ({ preset }) => makeOver(name, presets[preset].sealed))
    : makeOver(name, undefined)
}

const makeOver = Effect.fnUntraced(
  function*(name: string, sealByDefault: boolean | undefined) {
    const crypto = yield* Crypto
    const codec = yield* (yield* PayloadCodec.PayloadCodec)({ name, sealByDefault, crypto })
    const store = PayloadCodec.over(yield* SessionStore, codec)
    const loadNow = AtOnce.of(store.load)
    const saveNow = AtOnce.of(store.save)

    const withNewKey = (
      subject: string | undefined,
      attempt: (token: string, key: string) => Effect.Effect<Applied | "KeyTaken", SessionStoreError>,
      draws = 1
    ): Effect.Effect<Applied, SessionStoreError> =>
      Effect.flatMap(
        crypto.newToken(subject),
        (token) =>
          Effect.flatMap(crypto.hashId(token), (key) =>
            Effect.flatMap(key === undefined ? Effect.succeed("KeyTaken" as const) : attempt(token, key), (applied) => {
              if (applied !== "KeyTaken") {
                return Effect.succeed(applied)
              }
              if (draws < drawsBeforeGivingUp) {
                return withNewKey(subject, attempt, draws + 1)
              }
              return Effect.fail(
                new SessionStoreError({
                  reason: new StoreUnavailable({
                    description: "the random source repeats itself; no free key was found"
                  })
                })
              )
            }))
      )

    const load = (token: string, options?: LoadOptions) =>
      Effect.flatMapEager(crypto.hashId(token), (key) =>
        key === undefined
          ? rejected
          : Effect.map(store.load(key, options), (lookup): Found => ({ _tag: "Found", key, lookup })))

    const afterSave = (saved: Saved, { key, token }: Current): Applied => {
      if (saved._tag !== "Saved") return saved._tag === "Conflict" ? conflict : gone
      return { _tag: "Stored", token, key, record: saved.record, evicted: noEvictions }
    }

    return SessionBackend.of({
      name,
      open: codec === PayloadCodec.identity ? undefined : codec.decode,
      keyOf: crypto.hashId,
      loadKey: (key) => store.load(key),
      load: AtOnce.make(
        load,
        loadNow && ((token, options) => {
          const key = AtOnce.valueOf(crypto.hashId(token))
          if (key === undefined) return undefined
          const lookup = loadNow(key, options)
          return lookup && { _tag: "Found", key, lookup }
        })
      ),
      apply: AtOnce.make(
        (step) => {
          switch (step._tag) {
            case "Create":
              return withNewKey(
                step.record.subject,
                (token, key) =>
                  Effect.map(store.create({ ...step.record, key }, step.limit), (created) => {
                    if (created._tag === "Created") {
                      return { _tag: "Stored", token, key, record: created.record, evicted: created.evicted }
                    }
                    return created._tag === "KeyTaken" ? "KeyTaken" : limitReached
                  })
              )
            case "Save": {
              const { change, current } = step
              return Effect.map(
                store.save(current.key, current.record.version, change, current.record.subject),
                (saved) => afterSave(saved, current)
              )
            }
            case "Touch":
              return Effect.map(store.touch(step.current.key), (live): Applied => ({ _tag: "Touched", live }))
            case "Renew": {
              const { current, grace, limit, replacement } = step
              return withNewKey(replacement.subject, (token, key) =>
                Effect.map(
                  store.renew(current.key, current.record.version, { ...replacement, key }, { grace, limit }),
                  (renewed) => {
                    switch (renewed._tag) {
                      case "Renewed":
                        return { _tag: "Stored", token, key, record: renewed.record, evicted: renewed.evicted }
                      case "KeyTaken":
                        return "KeyTaken"
                      case "LimitReached":
                        return limitReached
                      case "Conflict":
                        return conflict
                      case "Gone":
                        return gone
                    }
                  }
                ))
            }
            case "Destroy":
              return Effect.map(store.destroy(step.key), (live): Applied => ({ _tag: "Ended", live }))
          }
        },
        saveNow && ((step) => {
          if (step._tag !== "Save") return undefined
          const { change, current } = step
          const saved = saveNow(current.key, current.record.version, change, current.record.subject)
          return saved && afterSave(saved, current)
        })
      )
    })
  }
)

/**
 * Provides the backend over a `SessionStore`.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer: {
  (name: string): Layer.Layer<SessionBackend, never, SessionStore | Crypto>
  (name: string, options: Options): Layer.Layer<SessionBackend, never, SessionStore | Crypto | SessionConfig>
} = layerWith

function layerWith(name: string): Layer.Layer<SessionBackend, never, SessionStore | Crypto>
function layerWith(
  name: string,
  options?: Options
): Layer.Layer<SessionBackend, never, SessionStore | Crypto | SessionConfig>
function layerWith(name: string, options?: Options) {
  return Layer.effect(SessionBackend, makeWith(name, options))
}
