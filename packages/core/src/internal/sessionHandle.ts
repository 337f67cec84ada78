import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { Identity } from "../CommitPlan.ts"
import * as Lifetime from "../Lifetime.ts"
import type { Info, LifetimeOptions, ReadonlySession, Session, Status } from "../Session.ts"
import type { Envelope } from "../SessionData.ts"
import * as SessionError from "../SessionError.ts"
import type { Served } from "../SessionStore.ts"
import { commit } from "./commit.ts"
import { SessionFlash } from "./sessionFlash.ts"
import {
  type Change,
  type Outcome,
  type Request,
  type Runtime,
  SessionState,
  type TokenChange
} from "./sessionState.ts"

const longest = 400 * 24 * 60 * 60 * 1000

/** The session of one request, with the operations that users see. */
export class SessionHandle<in out A> implements Session<A> {
  // Hidden from whoever prints the session: it knows the token.
  readonly #state: SessionState<A>
  #messages: SessionFlash<A> | undefined = undefined
  private semaphore: Semaphore.Semaphore | undefined = undefined

  constructor(runtime: Runtime<A>, request: Request) {
    this.#state = new SessionState(runtime, request)
  }

  // Also from whoever prints what its getters return.
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "Session"
  }

  /** Whether the request has read its session. */
  get accessed(): boolean {
    return this.#state.accessed
  }

  /** What the client has to do about its token, as far as it is decided. */
  get tokenChange(): TokenChange {
    return this.#state.tokenChange
  }

  get get(): Effect.Effect<A, SessionError.SessionError> {
    return Effect.map(this.load(), (snapshot) => this.#state.envelope(snapshot).data)
  }

  get status(): Effect.Effect<Status> {
    return Effect.suspend(() => {
      const known = this.#state.snapshot
      if (known !== undefined) return Effect.succeed(known.status)
      return Effect.match(this.#state.load(), {
        onFailure: ({ reason }): Status =>
          reason._tag === "Invalid" || reason._tag === "BindingMismatch" ? "invalid" : "unavailable",
        onSuccess: (snapshot): Status => snapshot.status
      })
    })
  }

  get isNew(): Effect.Effect<boolean, SessionError.SessionError> {
    return Effect.map(
      this.load(),
      (snapshot) => this.#state.created || this.#state.ended || snapshot.stored === undefined
    )
  }

  get subject(): Effect.Effect<string | undefined, SessionError.SessionError> {
    return Effect.map(
      this.load(),
      (snapshot) => this.#state.identity.subject ?? (this.#state.ended ? undefined : readable(snapshot)?.record.subject)
    )
  }

  get info(): Effect.Effect<Info | undefined, SessionError.SessionError> {
    return Effect.map(this.load(), (snapshot) => {
      const record = this.#state.ended ? undefined : readable(snapshot)?.record
      return record && {
        createdAt: record.createdAt,
        authenticatedAt: record.authenticatedAt,
        lastSeenAt: record.lastSeenAt,
        idleExpiresAt: Lifetime.deadline(record),
        absoluteExpiresAt: record.expiresAt,
        subject: record.subject,
        now: this.#state.now()
      }
    })
  }

  get expiresAt(): Effect.Effect<number | undefined, SessionError.SessionError> {
    return Effect.map(this.info, (info) => info?.idleExpiresAt)
  }

  get timeUntilExpiry(): Effect.Effect<Duration.Duration, SessionError.SessionError> {
    return Effect.map(
      this.info,
      (info) => info === undefined ? Duration.zero : Duration.millis(Math.max(0, info.idleExpiresAt - info.now))
    )
  }

  get isElevated(): Effect.Effect<boolean, SessionError.SessionError> {
    return Effect.map(this.load(), (snapshot) => {
      const until = this.#state.envelope(snapshot).elevatedUntil
      return until !== undefined && this.#state.now() < until
    })
  }

  get served(): Effect.Effect<Served | undefined, SessionError.SessionError> {
    return Effect.map(this.load(), (snapshot) => snapshot.current?.served)
  }

  get handle(): Effect.Effect<string | undefined, SessionError.SessionError> {
    return Effect.flatMap(this.load(), (snapshot) => {
      const current = this.#state.ended ? undefined : readable(snapshot)
      return current === undefined
        ? Effect.undefined
        : this.#state.runtime.crypto.handleOf(current.alias ?? current.key)
    })
  }

  /** The store key of the session as it is now. */
  get key(): Effect.Effect<string | undefined, SessionError.SessionError> {
    return Effect.map(this.load(), (snapshot) => {
      const current = this.#state.ended ? undefined : readable(snapshot)
      return current === undefined ? undefined : current.alias ?? current.key
    })
  }

  set(data: A): Effect.Effect<void, SessionError.SessionError> {
    return Effect.asVoid(this.change((envelope) => ({ ...envelope, data }), { replay: false }))
  }

  update(f: (data: A) => A): Effect.Effect<A, SessionError.SessionError> {
    return Effect.map(this.change((envelope) => ({ ...envelope, data: f(envelope.data) })), ({ data }) => data)
  }

  modify<B>(f: (data: A) => readonly [B, A]): Effect.Effect<B, SessionError.SessionError> {
    return Effect.suspend(() => {
      let result: readonly [B, A] | undefined
      const apply = (envelope: Envelope<A>) => {
        const pair = f(envelope.data)
        result ??= pair
        return { ...envelope, data: pair[1] }
      }
      return Effect.map(this.change(apply), () => result![0])
    })
  }

  get reset(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.asVoid(this.change((envelope) => ({ ...envelope, data: this.fresh() })))
  }

  get destroy(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.map(this.loadForWriting(), () => this.#state.end()).pipe(
      // What cannot be decoded, or not be read, can still be ended.
      Effect.catchReasons("SessionError", {
        Invalid: () => Effect.sync(() => this.#state.end()),
        BindingMismatch: () => Effect.sync(() => this.#state.end()),
        Unavailable: (_, error) => this.#state.endUnread(error)
      })
    )
  }

  get renew(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.map(this.loadForWriting(), () => {
      this.#state.identity = { ...this.#state.identity, renew: true }
    })
  }

  login(subject: string, f?: (data: A, before: A | undefined) => A): Effect.Effect<A, SessionError.SessionError> {
    if (subject.length === 0) return Effect.die(new RangeError("Session.login: the subject must not be empty"))
    const keep = this.#state.runtime.definition.keepOnLogin
    const apply = (envelope: Envelope<A>): Envelope<A> => {
      let data = this.fresh()
      // What belongs to another user does not pass on.
      const another = this.belongsToAnother(subject)
      if (keep.length > 0 && !another) {
        const kept = { ...data }
        for (const key of keep) kept[key] = envelope.data[key]
        data = kept
      }
      return {
        ...envelope,
        data: f === undefined ? data : f(data, another ? undefined : envelope.data),
        flash: another ? [] : envelope.flash,
        elevatedUntil: undefined
      }
    }
    const signIn = this.change(apply, { stands: true }, { renew: true, subject, authenticated: true })
    return signIn.pipe(
      // A sign-in does not need the session of another client: it begins a new one.
      Effect.catchReason("SessionError", "BindingMismatch", () => {
        this.#state.end()
        return signIn
      }),
      Effect.map(({ data }) => data)
    )
  }

  elevate(duration: Duration.Input): Effect.Effect<void, SessionError.SessionError> {
    const millis = millisOf("Session.elevate", duration)
    return Effect.andThen(
      this.signedIn(),
      Effect.suspend(() => {
        const elevatedUntil = this.#state.now() + millis
        const apply = (envelope: Envelope<A>): Envelope<A> => ({ ...envelope, elevatedUntil })
        return Effect.asVoid(this.change(apply, { stands: true }, { renew: true }))
      })
    )
  }

  get reauthenticate(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.map(this.signedIn(), () => {
      this.#state.identity = { ...this.#state.identity, renew: true, authenticated: true }
    })
  }

  get touch(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.map(this.loadForWriting(), () => {
      this.#state.touchRequested = true
    })
  }

  setLifetime(options: LifetimeOptions): Effect.Effect<void, SessionError.SessionError> {
    const idleTimeout = options.idleTimeout === undefined ? undefined : millisOf("idleTimeout", options.idleTimeout)
    const lifetime = options.lifetime === undefined ? undefined : millisOf("lifetime", options.lifetime)
    const apply = (envelope: Envelope<A>): Envelope<A> => ({
      ...envelope,
      override: {
        idleTimeout: idleTimeout ?? envelope.override?.idleTimeout,
        lifetime: lifetime ?? envelope.override?.lifetime,
        persistent: options.persistent ?? envelope.override?.persistent
      }
    })
    return Effect.asVoid(this.change(apply, { lifetimes: lifetime === undefined ? "any" : "deadline" }))
  }

  get flash(): SessionFlash<A> {
    return this.#messages ??= new SessionFlash(this.#state, (effect) => this.exclusively(effect))
  }

  get commit(): Effect.Effect<void, SessionError.SessionError> {
    return this.exclusively(Effect.suspend(() =>
      this.#state.finished
        ? this.#state.refuse(new SessionError.Finished())
        : Effect.tapError(commit(this.#state, true, this.retries), ({ reason }) =>
          // What was refused for good is not tried again at the end of the request; an outage may be over by then.
          Effect.sync(() => {
            if (reason._tag !== "Unavailable") this.#state.discardRefused(reason)
          }))
    ))
  }

  get readonly(): Effect.Effect<ReadonlySession<A>> {
    return Effect.sync(() => ({
      get: Effect.suspend(() => this.get),
      status: this.status,
      isNew: Effect.suspend(() => this.isNew),
      subject: Effect.suspend(() => this.subject),
      info: Effect.suspend(() => this.info),
      expiresAt: Effect.suspend(() => this.expiresAt),
      timeUntilExpiry: Effect.suspend(() => this.timeUntilExpiry),
      isElevated: Effect.suspend(() => this.isElevated),
      served: Effect.suspend(() => this.served),
      handle: Effect.suspend(() => this.handle)
    }))
  }

  /** Ends the request: carries out what stands after its outcome. The token change stands whatever happens. */
  finish(outcome: Outcome): Effect.Effect<TokenChange, SessionError.SessionError> {
    return Effect.suspend(() => {
      this.#state.finished = true
      if (!this.accessed) return Effect.succeed(this.tokenChange)
      if (outcome !== "success") {
        this.#state.settle(outcome)
        this.#messages?.restore()
      }
      const finished = Effect.suspend(() => commit(this.#state, outcome !== "aborted", this.retries))
      // Most requests only read, and nobody else can be at it without the semaphore.
      return Effect.map(this.semaphore === undefined ? finished : this.exclusively(finished), () => this.tokenChange)
    })
  }

  /** Ends the request at once, if there is nothing to carry out. */
  finishUnsafe(outcome: Outcome): TokenChange | undefined {
    if (this.accessed) {
      if (outcome !== "success" || this.semaphore !== undefined || this.#state.hasRecorded()) return undefined
      // Outside of an effect nothing may throw: the request would be left without any response. `finish` tells of it.
      try {
        if (commit(this.#state, true, this.retries) !== Effect.void) return undefined
      } catch {
        return undefined
      }
    }
    this.#state.finished = true
    return this.tokenChange
  }

  private get retries(): number {
    return this.#state.runtime.settings.conflictRetries
  }

  private load() {
    return Effect.suspend(() => this.#state.load())
  }

  private loadForWriting() {
    return Effect.suspend(() => this.#state.loadForWriting())
  }

  private fresh(): A {
    return this.#state.runtime.definition.data.initial().data
  }

  private signedIn(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.flatMap(
      Effect.andThen(this.loadForWriting(), Effect.suspend(() => this.subject)),
      (subject) =>
        subject === undefined
          ? Effect.fail(new SessionError.SessionError({ reason: new SessionError.NotAuthenticated() }))
          : Effect.void
    )
  }

  private change(
    apply: (envelope: Envelope<A>) => Envelope<A>,
    options?: Partial<Omit<Change<A>, "apply">>,
    identity?: Partial<Identity>
  ): Effect.Effect<Envelope<A>, SessionError.SessionError> {
    return Effect.suspend(() => this.#state.record({ replay: true, stands: false, ...options, apply }, identity))
  }

  // Whether the session is that of a subject other than the given one.
  private belongsToAnother(subject: string): boolean {
    const signedIn = this.#state.ended ? undefined : this.#state.snapshot?.current?.record.subject
    return signedIn !== undefined && signedIn !== subject
  }

  // Two fibers of one request commit one after the other.
  private exclusively<B, E>(effect: Effect.Effect<B, E>): Effect.Effect<B, E> {
    return Effect.suspend(() => {
      this.semaphore ??= Semaphore.makeUnsafe(1)
      return Semaphore.withPermit(this.semaphore, effect)
    })
  }
}

const readable = <A>(snapshot: NonNullable<SessionState<A>["snapshot"]>) =>
  snapshot.stored === undefined ? undefined : snapshot.current

const millisOf = (what: string, input: Duration.Input): number => {
  const millis = Math.floor(Duration.toMillis(Duration.fromInputUnsafe(input)))
  if (!(millis >= 1 && millis <= longest)) {
    throw new RangeError(`${what}: must be a duration of at least 1 millisecond and at most 400 days`)
  }
  return millis
}
