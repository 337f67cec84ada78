/** What depends on who keeps the sessions: a store on the server, or each client its own. */
import {
  Resilience,
  Revocations,
  SealedFormat,
  SessionBackend,
  SessionDevices,
  SessionError,
  SessionStore,
  SessionToken
} from "@effect-session/core"
import { Crypto } from "@effect-session/core/Crypto"
import { SessionCookie } from "@effect-session/http"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { Problem } from "./Input.ts"
import { cookie, UserSession } from "./UserSession.ts"

type Failure = SessionError.SessionError | Problem

/** What a sealed cookie shows of itself: sizes, and names of what it was sealed with. */
export interface Seal {
  /** Octets of name and value, which is what browsers count. */
  readonly cookieBytes: number
  readonly limitBytes: number
  readonly suite: SealedFormat.Suite
  readonly keyId: string
  readonly sealedBytes: number
  /** Octets of the data in it. */
  readonly payloadBytes: number
  /** Time since the session got its id. */
  readonly ageMs: number
}

/** How the store is doing, as far as its last answers tell. */
export interface Health {
  /** Whether reads, and writes, are let through to it. */
  readonly circuits: ReadonlyArray<{ readonly name: string; readonly state: "Closed" | "Open" | "HalfOpen" }>
  /** What became of the last operations, the newest first. */
  readonly recent: ReadonlyArray<Resilience.Recent>
  readonly load: Resilience.Load
}

export class Accounts extends Context.Service<Accounts, {
  /** Who keeps the sessions. */
  readonly keeper: "server" | "client"
  readonly devices: Effect.Effect<ReadonlyArray<SessionDevices.Device>, Failure, UserSession>
  /** Ends one of the devices; `false` if the user has no such session. */
  readonly revoke: (handle: string) => Effect.Effect<boolean, Failure, UserSession>
  /** Ends every session of whoever is signed in to this one. */
  readonly revokeAll: (subject: string) => Effect.Effect<void, Failure, UserSession>
  readonly seal: Effect.Effect<Seal, Failure, UserSession | HttpServerRequest.HttpServerRequest>
  /** `undefined` where the store is in the process and cannot be away. */
  readonly health: Effect.Effect<Health | undefined>
  /** Succeeds if sessions work, and fails with the reason why not. */
  readonly ready: Effect.Effect<void, Problem>
}>()("demo/Accounts") {}

const missing = (reason: string) => new Problem({ status: 404, reason })

const unready = (what: string) => new Problem({ status: 503, reason: `${what} does not answer` })

const unavailable = (cause: SessionStore.SessionStoreError) =>
  new SessionError.SessionError({
    reason: new SessionError.Unavailable({ retryAfter: cause.reason.retryAfter, cause })
  })

const healthOf = (resilience: Resilience.Resilience["Service"]): Effect.Effect<Health> =>
  Effect.map(
    Effect.all([resilience.circuits, resilience.recent, resilience.load]),
    ([circuits, recent, load]) => ({
      circuits: circuits.map(({ _tag, key }) => ({ name: key, state: _tag })),
      recent: recent.slice(0, 40),
      load
    })
  )

/** Sessions in a store that can list them. */
export const layerStore: Layer.Layer<Accounts, never, SessionDevices.Requirements> = Layer.effect(
  Accounts,
  Effect.gen(function*() {
    const context = yield* Effect.context<SessionDevices.Requirements>()
    const store = yield* SessionStore.SessionStore
    const crypto = yield* Crypto
    const resilience = Option.getOrUndefined(yield* Effect.serviceOption(Resilience.Resilience))

    // Ready is who can write: a probe goes in under a key like any other, and out again.
    const probe = Effect.gen(function*() {
      const key = yield* crypto.hashId(yield* crypto.newToken(undefined))
      if (key === undefined) return false
      yield* store.create({ key, idleTimeout: 1000, lifetime: 1000, subject: undefined, format: 0, payload: "probe" })
      return yield* store.destroy(key)
    })

    return Accounts.of({
      keeper: "server",
      devices: Effect.provideContext(SessionDevices.list(UserSession), context),
      revoke: (handle) => Effect.provideContext(SessionDevices.revoke(UserSession, handle), context),
      revokeAll: () => Effect.provideContext(SessionDevices.revokeAll(UserSession), context),
      seal: Effect.fail(missing("This store keeps sessions on the server: the cookie names one and holds nothing")),
      health: resilience === undefined ? Effect.undefined : healthOf(resilience),
      ready: probe.pipe(
        Effect.catchTag("SessionStoreError", () => Effect.succeed(false)),
        Effect.flatMap((works) => works ? Effect.void : Effect.fail(unready("The session store")))
      )
    })
  })
)

const octets = (payload: string | Uint8Array) =>
  typeof payload === "string" ? new TextEncoder().encode(payload).length : payload.length

/** Sessions in the cookies of their clients, and a list of those that are over. */
export const layerCookie: Layer.Layer<Accounts, never, Revocations.Revocations | SessionBackend.SessionBackend> = Layer
  .effect(
    Accounts,
    Effect.gen(function*() {
      const revocations = yield* Revocations.Revocations
      const backend = yield* SessionBackend.SessionBackend
      const sessionCookie = SessionCookie.make(cookie)

      const noList = Effect.fail(missing("This store keeps no list of sessions: each client holds its own"))
      const noSeal = missing("There is no session to show the seal of")

      const seal = Effect.gen(function*() {
        // Answers an outage, and counts as a visit like any other.
        yield* UserSession.get
        const { headers } = yield* HttpServerRequest.HttpServerRequest
        const token = SessionCookie.read(sessionCookie, headers["cookie"])
        if (typeof token !== "string") return yield* noSeal
        const found = yield* Effect.mapError(backend.load(token), unavailable)
        // Who presents anything but a live session of this application learns nothing about it.
        if (found._tag !== "Found" || found.lookup._tag !== "Live") return yield* noSeal
        const bytes = Result.getOrUndefined(Base64Url.decode(token))
        const sealed = bytes && SealedFormat.parse(bytes)
        if (bytes === undefined || sealed === undefined) return yield* noSeal
        const { issuedAt, payload } = found.lookup.record
        return {
          cookieBytes: sessionCookie.name.length + token.length,
          limitBytes: SessionCookie.maximumSize,
          suite: sealed.layout.suite,
          keyId: SessionToken.fromBytes(Uint8Array.of(sealed.keyId >>> 4, sealed.keyId << 4)),
          sealedBytes: bytes.length,
          payloadBytes: octets(payload),
          ageMs: Math.max(0, found.lookup.now - issuedAt)
        }
      })

      // Nobody's session: all that matters is that the list says something.
      const nobody = (now: number): Revocations.Revocable => ({
        key: "probe",
        subject: undefined,
        authenticatedAt: undefined,
        issuedAt: now
      })

      return Accounts.of({
        keeper: "client",
        devices: noList,
        revoke: () => noList,
        revokeAll: (subject) =>
          Effect.mapError(revocations.revokeSubject(subject), unavailable).pipe(
            // Over already; this takes the cookie away.
            Effect.andThen(UserSession.destroy)
          ),
        seal,
        health: Effect.undefined,
        ready: Clock.currentTimeMillis.pipe(
          Effect.flatMap((now) => revocations.isRevoked(nobody(now))),
          Effect.mapError(() => unready("The list of revocations")),
          Effect.asVoid
        )
      })
    })
  )
