/** Cookie mode with a Crypto that counts and a list of revocations that can be made to fail. */
import { Context, Effect, Layer } from "effect"
import * as CookieStore from "../src/CookieStore.ts"
import { Crypto } from "../src/Crypto.ts"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as RecordCodec from "../src/internal/recordCodec.ts"
import * as Revocations from "../src/Revocations.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionManager from "../src/SessionManager.ts"
import type { SessionStoreError } from "../src/SessionStore.ts"
import { outage } from "./FaultyStore.ts"
import { increment, loginAs, secret, UserSession } from "./Fixture.ts"

export type { Opened } from "./Fixture.ts"

export type ListMethod = "revoke" | "revokeSubject" | "epoch" | "isRevoked"

export class Script extends Context.Service<Script, {
  /** Seals and opens since the last `forget`. */
  seals: number
  opens: number
  /** Calls of the list, in order. */
  readonly calls: Array<ListMethod>
  /** What the list was given, in order. */
  readonly given: Array<unknown>
  readonly forget: () => void
  /** Methods of the list that fail. */
  readonly down: Set<ListMethod>
  /** Happens before the next call of a method. */
  readonly before: Map<ListMethod, Effect.Effect<unknown>>
}>()("test/CookieScript") {}

const script = Layer.sync(Script, () => {
  const calls: Array<ListMethod> = []
  const given: Array<unknown> = []
  return {
    seals: 0,
    opens: 0,
    calls,
    forget() {
      this.seals =
        this.opens =
        calls.length =
        given.length =
          0
    },
    given,
    down: new Set<ListMethod>(),
    before: new Map<ListMethod, Effect.Effect<unknown>>()
  }
})

const counted = Layer.effect(
  Crypto,
  Effect.gen(function*() {
    const crypto = yield* Crypto
    const script = yield* Script
    return Crypto.of({
      ...crypto,
      seal: (context, plaintext) => {
        script.seals++
        return crypto.seal(context, plaintext)
      },
      open: (context, sealed) => {
        script.opens++
        return crypto.open(context, sealed)
      }
    })
  })
).pipe(Layer.provide(CryptoNode.layer))

const scripted = (options?: Revocations.Options) =>
  Layer.effect(
    Revocations.Revocations,
    Effect.gen(function*() {
      const list = yield* Revocations.makeMemory(options)
      const script = yield* Script
      const through = <Args extends ReadonlyArray<unknown>, A>(
        method: ListMethod,
        call: (...args: Args) => Effect.Effect<A, SessionStoreError>
      ) =>
      (...args: Args): Effect.Effect<A, SessionStoreError> =>
        Effect.suspend(() => {
          script.calls.push(method)
          script.given.push(...args)
          const first: Effect.Effect<unknown> = script.before.get(method) ?? Effect.void
          script.before.delete(method)
          return Effect.andThen(first, script.down.has(method) ? Effect.fail(outage) : call(...args))
        })
      return Revocations.Revocations.of({
        subjectLifetime: list.subjectLifetime,
        revoke: through("revoke", list.revoke),
        revokeSubject: through("revokeSubject", list.revokeSubject),
        epoch: through("epoch", list.epoch),
        isRevoked: through("isRevoked", list.isRevoked)
      })
    })
  )

export interface Options extends SessionConfig.Options {
  readonly cookie?: CookieStore.Options | undefined
  readonly list?: Revocations.Options | undefined
}

export const config = (options: SessionConfig.Options = {}) =>
  SessionConfig.layer({ preset: "development", secrets: secret, ...options })

/** Sessions of 30 minutes idle and 24 hours in all, slid at most once in a minute. */
export const layer = ({ cookie, list, ...options }: Options = {}) =>
  CookieStore.layer(cookie).pipe(
    Layer.provideMerge(scripted(list)),
    Layer.provideMerge(counted),
    Layer.provideMerge(script),
    Layer.provideMerge(config(options))
  )

export const layerAnonymous = ({ cookie, ...options }: Options = {}) =>
  CookieStore.layerAnonymous(cookie).pipe(
    Layer.provideMerge(counted),
    Layer.provideMerge(script),
    Layer.provideMerge(config(options))
  )

/** The manager of `UserSession` in cookie mode. */
export const setup = Effect.gen(function*() {
  const manager = yield* SessionManager.make(UserSession)
  return {
    manager,
    run: manager.run,
    open: (token?: string) => manager.open({ token }),
    /** Stores a session and returns its token. */
    start: Effect.map(manager.run(undefined, increment), ({ token }) => token!),
    signIn: (subject: string) => Effect.map(manager.run(undefined, loginAs(subject)), ({ token }) => token!),
    statusOf: (token: string | undefined) => Effect.map(manager.run(token, UserSession.status), ({ value }) => value),
    dataOf: (token: string | undefined) => Effect.map(manager.run(token, UserSession.get), ({ value }) => value)
  }
})

const place = { purpose: "cookie", place: "session", key: "" }

/** Seals what a test makes up with the key of the application, as a token. */
export const forge = (plaintext: string | Uint8Array, context: Partial<typeof place> = {}) =>
  Effect.gen(function*() {
    const bytes = typeof plaintext === "string" ? new TextEncoder().encode(plaintext) : plaintext
    return Buffer.from(yield* (yield* Crypto).seal({ ...place, ...context }, bytes)).toString("base64url")
  })

/** What a token of the application holds. */
export const inside = (token: string) =>
  Effect.gen(function*() {
    const opened = yield* (yield* Crypto).open(place, new Uint8Array(Buffer.from(token, "base64url")))
    return RecordCodec.decode(opened!.plaintext)!
  })
