/** A session service, its set-up on the scripted store, and what tests say again and again. */
import { assert } from "@effect/vitest"
import { Deferred, Effect, Layer, Redacted, Schema } from "effect"
import { Crypto } from "../src/Crypto.ts"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as Session from "../src/Session.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import type { SessionError, SessionErrorReason } from "../src/SessionError.ts"
import type { OpenSession } from "../src/SessionManager.ts"
import * as SessionManager from "../src/SessionManager.ts"
import { SessionStore } from "../src/SessionStore.ts"
import * as FaultyStore from "./FaultyStore.ts"

export const secret = Redacted.make("Tq8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^Gs1?")

export class UserSession extends Session.Service<UserSession>()("app/UserSession", {
  data: Schema.Struct({ n: Schema.Number, who: Schema.String, cart: Schema.Array(Schema.String) }),
  initial: { n: 0, who: "guest", cart: [] },
  keepOnLogin: ["cart"]
}) {}

export const increment = UserSession.update((data) => ({ ...data, n: data.n + 1 }))

/** Everything but `who` comes from the initial data and `keepOnLogin`. */
export const loginAs = (subject: string) => UserSession.login(subject, (data) => ({ ...data, who: subject }))

/** Sessions of 30 minutes idle and 24 hours in all, slid at most once in a minute. */
export const layer = (options: SessionConfig.Options = {}, skew = 0) =>
  FaultyStore.layer(skew).pipe(
    Layer.provideMerge(CryptoNode.layer),
    Layer.provideMerge(SessionConfig.layer({ preset: "development", secrets: secret, ...options }))
  )

export type Opened = OpenSession<(typeof UserSession)["definition"] extends Session.Definition<infer A> ? A : never>

/** The manager of `UserSession` and the scripted store under it. */
export const setup = Effect.gen(function*() {
  const manager = yield* SessionManager.make(UserSession)
  const store = yield* FaultyStore.FaultyStore
  const crypto = yield* Crypto
  return {
    manager,
    store,
    run: manager.run,
    open: (token?: string) => manager.open({ token }),
    /** Stores a session and returns its token. */
    start: Effect.map(manager.run(undefined, increment), ({ token }) => token!),
    signIn: (subject: string) => Effect.map(manager.run(undefined, loginAs(subject)), ({ token }) => token!),
    statusOf: (token: string | undefined) => Effect.map(manager.run(token, UserSession.status), ({ value }) => value),
    dataOf: (token: string | undefined) => Effect.map(manager.run(token, UserSession.get), ({ value }) => value),
    keyOf: (token: string) => Effect.map(crypto.hashId(token), (key) => key!),
    /** What is stored for a token, past the library. */
    stored: (token: string) =>
      Effect.gen(function*() {
        const lookup = yield* (yield* SessionStore).load((yield* crypto.hashId(token))!)
        return lookup._tag === "Live" ? lookup.record : undefined
      })
  }
})

export const reasonOf = <A, R>(
  effect: Effect.Effect<A, SessionError, R>
): Effect.Effect<SessionErrorReason["_tag"], A, R> => Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

export const issued = (change: SessionManager.TokenChange): string => {
  if (change._tag !== "Issue") assert.fail(`a token was expected, the change is ${change._tag}`)
  return change.token
}

/** A place to stop at: `arrive` tells the test, and waits until it lets go. */
export const barrier = Effect.map(
  Effect.all([Deferred.make<void>(), Deferred.make<void>()]),
  ([arrived, released]) => ({
    arrive: Effect.andThen(Deferred.succeed(arrived, undefined), Deferred.await(released)),
    arrived: Deferred.await(arrived),
    release: Deferred.succeed(released, undefined)
  })
)
