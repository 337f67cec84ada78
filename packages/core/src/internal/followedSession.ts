import * as Effect from "effect/Effect"
import * as Lifetime from "../Lifetime.ts"
import type { Session, Status } from "../Session.ts"
import type { SessionError } from "../SessionError.ts"
import type { Check, FollowedSession } from "../SessionManager.ts"
import type { Lookup, SessionStoreError } from "../SessionStore.ts"
import * as FollowedKey from "./followedKey.ts"
import { SessionHandle, type Trace } from "./sessionHandle.ts"
import { outcomeOf } from "./sessionRequest.ts"

const ended: Check = { _tag: "Over", cause: "ended" }
const handedOver: Check = { _tag: "Over", cause: "handedOver" }

const checkOf = (lookup: Lookup): Check => {
  if (lookup._tag === "Expired") return { _tag: "Over", cause: "expired" }
  if (lookup._tag !== "Live") return ended
  const { now, record } = lookup
  return { _tag: "Live", remaining: Lifetime.remaining(record, now), expiresIn: record.expiresAt - now }
}

/** A session that is used after its request. Over a store it is known by its key, and the token is forgotten. */
export class Following<in out A> implements FollowedSession<A> {
  // Hidden from whoever prints it.
  #request: SessionHandle<A> | undefined
  #known: Trace<A>
  private touchedAt = -Infinity

  constructor(request: SessionHandle<A>, trace: Trace<A>) {
    this.#request = request
    this.#known = trace
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "FollowedSession"
  }

  get key(): string | undefined {
    const { followed, runtime } = this.trace
    return runtime.backend.loadKey === undefined ? undefined : followed?.key
  }

  get status(): Effect.Effect<Status> {
    return Effect.suspend(() => this.open("read").status)
  }

  read<B>(f: (session: Session<A>) => Effect.Effect<B, SessionError>): Effect.Effect<B, SessionError> {
    return Effect.suspend(() => {
      const session = this.open("read")
      return Effect.andThen(this.present(session), f(session))
    })
  }

  run<B, E, R>(use: (session: Session<A>) => Effect.Effect<B, E, R>): Effect.Effect<B, E | SessionError, R> {
    return Effect.suspend(() => {
      const session = this.open("data")
      return this.present(session).pipe(
        Effect.andThen(use(session)),
        Effect.onError((cause) => Effect.ignore(session.finish(outcomeOf(cause)))),
        Effect.tap(() => session.finish("success"))
      )
    })
  }

  get touch(): Effect.Effect<void, SessionError> {
    return Effect.suspend(() => {
      const { clock, settings } = this.trace.runtime
      const now = clock.currentTimeMillisUnsafe()
      const before = this.touchedAt
      if (now - before < settings.touchInterval) return Effect.void
      // At once, and also if it fails: a store that is slow or down is not asked for each sign of life.
      this.touchedAt = now
      return Effect.tapError(this.run((session) => session.touch), ({ reason }) =>
        Effect.sync(() => {
          if (reason._tag !== "Unavailable") this.touchedAt = before
        }))
    })
  }

  get check(): Effect.Effect<Check, SessionStoreError> {
    return Effect.suspend(() => {
      const { followed, runtime: { backend }, token } = this.trace
      if (followed === undefined || token === undefined) return Effect.succeed(ended)
      return backend.loadKey === undefined
        ? Effect.map(backend.load(token), (found) => found._tag === "Found" ? checkOf(found.lookup) : ended)
        : Effect.map(
          FollowedKey.load(backend.loadKey, followed),
          (lookup) => FollowedKey.isHandedOver(lookup, followed) ? handedOver : checkOf(lookup)
        )
    })
  }

  // Until its response begins, the request itself may change what its session is.
  private get trace(): Trace<A> {
    const trace = this.#request?.trace
    if (trace !== undefined) {
      const keepsToken = trace.runtime.backend.loadKey === undefined
      this.#known = keepsToken ? trace : { ...trace, token: trace.token && "" }
      if (trace.final) this.#request = undefined
    }
    return this.#known
  }

  private open(access: "data" | "read"): SessionHandle<A> {
    const { followed, request, runtime, token } = this.trace
    const followsKey = runtime.backend.loadKey !== undefined
    return new SessionHandle(runtime, {
      token: followsKey ? undefined : token,
      followed: followsKey ? followed : undefined,
      active: false,
      // What only reads stays so afterwards, and what has no session has none.
      access: request.access === "read" || request.access === "none" ? request.access : access,
      binding: request.binding
    })
  }

  // Who never had a session goes on without; one that was there must not turn into another one.
  private present(session: SessionHandle<A>): Effect.Effect<void, SessionError> {
    return this.#known.followed === undefined ? Effect.void : session.present
  }
}
