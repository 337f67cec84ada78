import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Semaphore from "effect/Semaphore"
import type { Identity } from "../CommitPlan.ts"
import * as Lifetime from "../Lifetime.ts"
import type { Info, LifetimeOptions, ReadonlySession, Session, Status } from "../Session.ts"
import type { Envelope } from "../SessionData.ts"
import * as SessionError from "../SessionError.ts"
import type { Served } from "../SessionStore.ts"
import { commit } from "./commit.ts"
import * as SessionAccess from "./sessionAccess.ts"
import type { Change } from "./sessionChange.ts"
import { millisOf } from "./sessionDuration.ts"
import { SessionFlash } from "./sessionFlash.ts"
import type { Followed, OpenRequest, Outcome, TokenChange } from "./sessionRequest.ts"
import type { Runtime } from "./sessionRuntime.ts"
import { SessionState, unreadable } from "./sessionState.ts"
import { signedIn } from "./signIn.ts"

/** Where a session can be found after its request. */
export interface Trace<in out A> {
  readonly runtime: Runtime<A>
  readonly request: OpenRequest
  /** `undefined` where there is no session. */
  readonly followed: Followed | undefined
  readonly token: string | undefined
  /** Whether the request is over, and nothing of this changes any more. */
  readonly final: boolean
}

/** The session of one request, with the operations that users see. */
export class SessionHandle<in out A> implements Session<A> {
  // Hidden from whoever prints the session: it knows the token.
  readonly #state: SessionState<A>
  #messages: SessionFlash<A> | undefined = undefined
  private semaphore: Semaphore.Semaphore | undefined = undefined
  /** What of the end of the request is being carried out. */
  private committing: "finish" | "detach" | undefined = undefined

  constructor(runtime: Runtime<A>, request: OpenRequest) {
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

  /** Whether anything is recorded that is not carried out. */
  get pending(): boolean {
    return this.#state.hasRecorded()
  }

  /** What the client has to do about its token, as far as it is decided. */
  get tokenChange(): TokenChange {
    return this.#state.tokenChange
  }

  get get(): Effect.Effect<A, SessionError.SessionError> {
    return Effect.suspend(() => this.getEager())
  }

  /** Reads at once, as far as nothing has to be waited for; the effect is what is left of it. */
  getEager(): Effect.Effect<A, SessionError.SessionError> {
    return Effect.mapEager(this.#state.load(), (snapshot) => this.#state.envelope(snapshot).data)
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
    return Effect.suspend(() => this.updateEager(f))
  }

  /** Records at once, as far as nothing has to be waited for; the effect is what is left of it. */
  updateEager(f: (data: A) => A): Effect.Effect<A, SessionError.SessionError> {
    const apply = (envelope: Envelope<A>) => ({ ...envelope, data: f(envelope.data) })
    return Effect.mapEager(this.record(apply), ({ data }) => data)
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
    const state = this.#state
    const end = () => state.finished ? state.refuse(new SessionError.Finished()) : Effect.sync(() => state.end())
    return Effect.flatMap(this.loadForWriting(false, true), end).pipe(
      // What cannot be decoded, or not be read, can still be ended.
      Effect.catchReasons("SessionError", {
        Invalid: end,
        BindingMismatch: end,
        Unavailable: (_, error) => state.endUnread(error)
      })
    )
  }

  get renew(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.map(this.loadForWriting(true), () => {
      this.#state.identity = { ...this.#state.identity, renew: true }
    })
  }

  login(subject: string, f?: (data: A, before: A | undefined) => A): Effect.Effect<A, SessionError.SessionError> {
    if (subject.length === 0 || !subject.isWellFormed()) {
      return Effect.die(new RangeError("Session.login: the subject must not be empty, nor have half a surrogate pair"))
    }
    const apply = (envelope: Envelope<A>): Envelope<A> =>
      signedIn(this.#state.runtime.definition, envelope, this.belongsToAnother(subject), f)
    const signIn = this.change(apply, { stands: true }, { renew: true, subject, authenticated: true })
    return signIn.pipe(
      // A sign-in does not need the session of another client, or of a later version: it begins a new one.
      Effect.catchIf(({ reason }) => this.#state.leave(reason), () => signIn),
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
    return Effect.suspend(() => this.finishEager(outcome))
  }

  /** Ends the request at once, as far as nothing has to be waited for; the effect is what is left of it. */
  finishEager(outcome: Outcome): Effect.Effect<TokenChange, SessionError.SessionError> {
    if (this.committing === "detach") {
      return Effect.andThen(this.exclusively(Effect.void), Effect.suspend(() => this.finishEager(outcome)))
    }
    const over = this.#state.finished || !this.accessed
    this.#state.finished = true
    if (over) return Effect.succeed(this.tokenChange)
    if (outcome !== "success") {
      this.#state.settle(outcome)
      this.#messages?.restore()
    }
    const finished = () => commit(this.#state, outcome !== "aborted", this.retries)
    // Most requests have one fiber: nobody else can be at it without the semaphore.
    const committed = this.semaphore === undefined ? finished() : this.exclusively(Effect.suspend(finished))
    return Effect.mapEager(
      Exit.isExit(committed) ? committed : this.whileCommitting("finish", committed),
      () => this.tokenChange
    )
  }

  /** Ends the request at once, if there is nothing to carry out. */
  finishUnsafe(outcome: Outcome): TokenChange | undefined {
    if (this.committing === "detach") return undefined
    if (this.accessed && !this.#state.finished) {
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

  /** Ends the request before its response, which then brings no token to the client. Fails if it would have to. */
  get detach(): Effect.Effect<void, SessionError.SessionError> {
    const state = this.#state
    return this.exclusively(Effect.flatMap(this.load(), () => {
      if (state.finished) return state.refuse(new SessionError.Finished())
      if (SessionAccess.reachesClient(state)) return state.refuse(new SessionError.Undeliverable())
      // What others write from here on would come too late. If the commit fails, the request goes on.
      state.finished = true
      // Where the token is the record, even a touch would make a new one.
      if (state.runtime.backend.loadKey === undefined) return Effect.void
      const committed = Effect.onError(commit(state, false, this.retries), () =>
        Effect.sync(() => {
          state.finished = false
        }))
      return this.whileCommitting("detach", committed)
    }))
  }

  /** Whether this request may do anything to its session, a new token included. */
  get isWritable(): boolean {
    return !this.#state.finished && SessionAccess.mayRenewByAge(this.#state.request)
  }

  /** How the session is found again as it is by now; `undefined` before it was read. */
  get trace(): Trace<A> | undefined {
    const { ended, finished, request, runtime, snapshot } = this.#state
    // Without access it is never read, and there is none.
    if (snapshot === undefined && request.access !== "none") return undefined
    const current = ended || snapshot === undefined ? undefined : readable(snapshot)
    const followed = current && { key: current.alias ?? current.key, subject: current.record.subject }
    return { runtime, request, followed, token: current?.token, final: finished && this.committing === undefined }
  }

  /** Fails if nothing is stored of the session, or nothing that can be read. */
  get present(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.flatMap(this.load(), ({ outage, problem, stored }) => {
      if (stored !== undefined || outage !== undefined) return Effect.void
      return problem === undefined
        ? Effect.fail(new SessionError.SessionError({ reason: new SessionError.Gone() }))
        : unreadable(problem)
    })
  }

  private get retries(): number {
    return this.#state.runtime.settings.conflictRetries
  }

  private load() {
    return Effect.suspend(() => this.#state.load())
  }

  private loadForWriting(reaches = false, ends = false) {
    return Effect.suspend(() => this.#state.loadForWriting(reaches, ends))
  }

  private fresh(): A {
    return this.#state.runtime.definition.data.initial().data
  }

  private signedIn(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.flatMap(
      Effect.andThen(this.loadForWriting(true), Effect.suspend(() => this.subject)),
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
    return Effect.suspend(() => this.record(apply, options, identity))
  }

  private record(
    apply: (envelope: Envelope<A>) => Envelope<A>,
    options?: Partial<Omit<Change<A>, "apply">>,
    identity?: Partial<Identity>
  ) {
    return this.#state.record({ replay: true, stands: false, ...options, apply }, identity)
  }

  // Whether the session is that of a subject other than the given one.
  private belongsToAnother(subject: string): boolean {
    const signedIn = this.#state.ended ? undefined : this.#state.snapshot?.current?.record.subject
    return signedIn !== undefined && signedIn !== subject
  }

  // Until it is over, what the session is may still change.
  private whileCommitting<B, E>(what: "finish" | "detach", effect: Effect.Effect<B, E>): Effect.Effect<B, E> {
    this.committing = what
    return Effect.ensuring(
      effect,
      Effect.sync(() => {
        this.committing = undefined
      })
    )
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
