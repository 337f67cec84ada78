import * as Effect from "effect/Effect"
import type { ClientBinding, Policy } from "../ClientBinding.ts"
import type { Current, Identity } from "../CommitPlan.ts"
import type { Found } from "../SessionBackend.ts"
import type { Binding, Envelope, Undecodable } from "../SessionData.ts"
import * as SessionError from "../SessionError.ts"
import type { SessionRecord, SessionStoreError } from "../SessionStore.ts"
import * as FollowedKey from "./followedKey.ts"
import type { Observer } from "./observer.ts"
import * as SessionAccess from "./sessionAccess.ts"
import type { Change, Mark } from "./sessionChange.ts"
import type { OpenRequest, Outcome, TokenChange } from "./sessionRequest.ts"
import type { Runtime } from "./sessionRuntime.ts"
import * as Snapshot from "./snapshot.ts"

export const noIdentity: Identity = { renew: false, subject: undefined, authenticated: false }
const bindingReasons: { readonly [P in Policy]: string } = {
  reject: "binding",
  renew: "binding renewed",
  report: "binding reported"
}

/** The session of one request: what was read of it and what shall become of it. */
export class SessionState<in out A> {
  readonly runtime: Runtime<A>
  readonly request: OpenRequest
  /** The token that stands for the session now, known once the session was asked for. */
  token: string | undefined = undefined
  snapshot: Snapshot.Snapshot<A> | undefined = undefined
  /** The request has asked for its session. */
  accessed = false
  changes: ReadonlyArray<Change<A>> = []
  identity: Identity = noIdentity
  /** The session was ended by this request; what follows belongs to a new one. */
  ended = false
  /** How often the request has ended its session. */
  endings = 0
  touchRequested = false
  /** The request is over. */
  finished = false
  /** The session is bound to another client, and goes on nevertheless. */
  clientChanged = false
  /** The session was first stored by this request. */
  created = false
  tokenChange: TokenChange = { _tag: "Keep" }
  private reloading = false
  private working: Envelope<A> | undefined = undefined
  private first: Envelope<A> | undefined = undefined
  /** Store time minus local time, known after a read. */
  private offset = 0

  constructor(runtime: Runtime<A>, request: OpenRequest) {
    this.runtime = runtime
    this.request = request
  }

  /** The store's time. */
  now(): number {
    return this.runtime.clock.currentTimeMillisUnsafe() + this.offset
  }

  /** The envelope of a new session, made once per session. */
  initial(): Envelope<A> {
    return this.first ??= this.runtime.definition.data.initial()
  }

  /** What changes apply to: what is stored, or a new session. */
  base(snapshot: Snapshot.Snapshot<A>): Envelope<A> {
    return this.ended || snapshot.stored === undefined ? this.initial() : snapshot.stored
  }

  /** The session as this request sees it. */
  envelope(snapshot: Snapshot.Snapshot<A>): Envelope<A> {
    // What was not read must not stand for what will be.
    if (this.snapshot === undefined) return this.changed(this.base(snapshot))
    return this.working ??= this.changed(this.base(snapshot))
  }

  /** An envelope with everything that is recorded. */
  changed(envelope: Envelope<A>): Envelope<A> {
    return this.changes.reduce((changed, change) => change.apply(changed), envelope)
  }

  /** Reads the session, once. Of two fibers that ask at the same time both read; the first answer is taken. */
  load(): Effect.Effect<Snapshot.Snapshot<A>, SessionError.SessionError> {
    const snapshot = this.snapshot
    if (snapshot !== undefined) {
      return snapshot.problem !== undefined && this.runtime.settings.onInvalid === "fail" && !this.ended
        ? unreadable(snapshot.problem)
        : Effect.succeed(snapshot)
    }
    if (!this.accessed) {
      // Nothing of the request is looked at.
      if (this.request.access === "none") return Effect.succeed(Snapshot.anonymous)
      this.accessed = true
      // What is followed by its key needs no token, and has none.
      this.token = this.request.followed === undefined ? this.request.token : ""
    }
    if (this.token === undefined) {
      const rejected = this.request.rejected
      this.snapshot = rejected === undefined ? Snapshot.anonymous : Snapshot.invalid
      return rejected === undefined
        ? Effect.succeed(Snapshot.anonymous)
        : Effect.as(this.observe("rejected", { reason: rejected }), Snapshot.invalid)
    }
    return this.read(this.token)
  }

  private read(token: string): Effect.Effect<Snapshot.Snapshot<A>, SessionError.SessionError> {
    const { atOnce, backend, clock, observer, reading } = this.runtime
    const { followed } = this.request
    const options = SessionAccess.isActive(this) ? reading : undefined
    const found = followed === undefined ? atOnce.load?.(token, options) : undefined
    if (found !== undefined) {
      observer.loadTime(0)
      return this.takeAndLoad(token, found, clock.currentTimeMillisUnsafe())
    }
    const started = clock.currentTimeMillisUnsafe()
    return Effect.matchEffect(FollowedKey.findSession(backend, followed, token, options), {
      onFailure: (error) => {
        if (error.reason.continueAs !== "anonymous") return this.unavailable(error)
        // Of two fibers, the other one was first.
        this.snapshot ??= Snapshot.outage(error)
        return Effect.andThen(this.observe("error", { reason: error.reason._tag }), this.load())
      },
      onSuccess: (found) => {
        const ended = clock.currentTimeMillisUnsafe()
        observer.loadTime(ended - started)
        return this.takeAndLoad(token, found, ended)
      }
    })
  }

  private takeAndLoad(token: string, found: Found, at: number) {
    const taken = this.snapshot === undefined ? this.take(token, found, at) : Effect.void
    return taken === Effect.void ? this.load() : Effect.flatMap(taken, () => this.load())
  }

  /** Forgets what was read and reads it again. */
  reload(token: string): Effect.Effect<Snapshot.Snapshot<A>, SessionError.SessionError> {
    this.reloading = true
    this.snapshot = undefined
    this.working = undefined
    return this.read(token)
  }

  // Turns the backend's answer into the snapshot.
  private take(token: string, found: Found, at: number): Effect.Effect<void, SessionError.SessionError> {
    const { backend, definition } = this.runtime
    if (found._tag === "Rejected") {
      this.snapshot = Snapshot.invalid
      return this.observe("rejected", { reason: "unknown token" })
    }
    const { key, lookup } = found
    switch (lookup._tag) {
      case "Live": {
        const { alias, now, record, served, touched } = lookup
        if (touched === true) this.runtime.observer.touched()
        this.offset = now - at
        const current: Current = { token, key, record, alias, served }
        const decoded = definition.data.decode(key, record.format, record.payload)
        if (decoded._tag === "Decoded") {
          const { envelope } = decoded
          const active: Snapshot.Snapshot<A> = { status: "active", current, stored: envelope, problem: undefined }
          const { binding } = this.runtime
          if (binding !== undefined && envelope.binding !== undefined) {
            return this.takeBound(binding, envelope.binding, active, current)
          }
          this.snapshot = active
          return this.observe("loaded", { key, subject: record.subject })
        }
        if (decoded._tag === "Foreign") {
          this.snapshot = Snapshot.invalid
          return this.observe("rejected", { key, reason: "another service" })
        }
        this.snapshot = { status: "invalid", current, stored: undefined, problem: decoded.problem }
        return this.observe("rejected", { key, subject: record.subject, reason: decoded.problem })
      }
      case "Absent":
        this.snapshot = Snapshot.anonymous
        return Effect.void
      case "Expired":
        this.snapshot = Snapshot.expired
        return this.observe("expired", { key })
      case "Superseded":
        // A request that began before the renewal and took long is late, not a thief.
        if (this.reloading) {
          this.snapshot = Snapshot.anonymous
          return Effect.void
        }
        // The renewed id never reached this client, or somebody else has the old one: the family ends.
        return Effect.matchEffect(backend.apply({ _tag: "Destroy", key: lookup.successor, until: undefined }), {
          onFailure: (error) => this.unavailable(error),
          onSuccess: () => {
            this.snapshot = Snapshot.invalid
            return this.observe("theftSuspected", { key: lookup.successor })
          }
        })
    }
  }

  // Takes a session only if it is bound to this client, or if the policy lets it go on.
  private takeBound(
    { matches, policy }: ClientBinding,
    bound: Binding,
    active: Snapshot.Snapshot<A>,
    { key, record: { subject } }: Current
  ): Effect.Effect<void> {
    return Effect.flatMapEager(matches(bound, this.request.binding?.()), (same) => {
      // Of two fibers, the other one was first.
      if (this.snapshot !== undefined) return Effect.void
      const goesOn = same || policy !== "reject"
      this.clientChanged = !same && goesOn
      // What takes no new id is only reported.
      const met = policy === "renew" && !SessionAccess.mayRenewByAge(this.request) ? "report" : policy
      this.snapshot = goesOn ? active : Snapshot.foreign
      const loaded = goesOn ? this.observe("loaded", { key, subject }) : Effect.void
      return same
        ? loaded
        : Effect.andThen(loaded, this.observe("rejected", { key, subject, reason: bindingReasons[met] }))
    })
  }

  /** Records a change, with what it does to the identity, and returns what the session looks like with it. */
  record(change: Change<A>, identity?: Partial<Identity>): Effect.Effect<Envelope<A>, SessionError.SessionError> {
    return Effect.flatMapEager(
      this.loadForWriting(identity !== undefined || change.lifetimes !== undefined),
      (snapshot) => {
        // It would begin a session.
        if (this.request.access === "data" && (this.ended || snapshot.stored === undefined)) {
          return this.refuse(new SessionError.Undeliverable())
        }
        const next = change.apply(this.envelope(snapshot))
        this.changes = [...this.changes, change]
        if (identity !== undefined) this.identity = { ...this.identity, ...identity }
        this.working = next
        return Effect.succeed(next)
      }
    )
  }

  /**
   * Reads the session for an operation that writes, which is too late once the request is over. `reaches` says that the
   * client has to learn of it, `ends` that it needs nothing of the session but its end.
   */
  loadForWriting(
    reaches = false,
    ends = false
  ): Effect.Effect<Snapshot.Snapshot<A>, SessionError.SessionError> {
    const { access } = this.request
    if (this.finished) return this.refuse(new SessionError.Finished())
    if (access === "read" || access === "none") return this.refuse(new SessionError.ReadOnly())
    // Where the token is the record, the client has to learn of every write.
    return access === "data" && (reaches || (this.runtime.backend.loadKey === undefined && !ends))
      ? this.refuse(new SessionError.Undeliverable())
      : Effect.flatMapEager(
        this.load(),
        (snapshot) => {
          // Read while the request ended: nobody carries out what is recorded now.
          if (this.finished) return this.refuse(new SessionError.Finished())
          if (snapshot.outage !== undefined) return this.unavailable(snapshot.outage)
          const problem = ends || this.ended ? undefined : Snapshot.problemOfOthers(snapshot)
          return problem === undefined ? Effect.succeed(snapshot) : unreadable(problem)
        }
      )
  }

  /**
   * Ends a session that could not be read: what its token says is enough for that. Fails as the read has where the
   * backend knows no session without reading it.
   */
  endUnread(error: SessionError.SessionError): Effect.Effect<void, SessionError.SessionError> {
    const { backend } = this.runtime
    const { followed } = this.request
    const keyOf = this.finished || this.token === undefined
      ? undefined
      : followed === undefined
      ? backend.keyOf?.(this.token)
      : Effect.succeed(followed.key)
    return keyOf === undefined ? Effect.fail(error) : Effect.map(keyOf, (unread) => {
      this.snapshot = { ...Snapshot.anonymous, status: "unavailable", unread }
      this.end()
    })
  }

  /** Begins a new session beside one that others can use, if that is why an operation was refused. */
  leave({ _tag }: SessionError.SessionErrorReason): boolean {
    const others = _tag === "Invalid" && this.snapshot !== undefined && Snapshot.isReadableElsewhere(this.snapshot)
    if (this.ended || (!others && _tag !== "BindingMismatch")) return false
    this.snapshot = Snapshot.invalid
    this.end()
    return true
  }

  /** Ends the session; what is recorded from now on goes into a new one. */
  end(): void {
    this.forgetRecorded()
    this.ended = true
    this.endings++
    this.first = undefined
  }

  get mark(): Mark {
    return { changes: this.changes.length, identity: this.identity, ended: this.ended, endings: this.endings }
  }

  /** Drops what has been carried out. What another fiber of the request recorded meanwhile stays recorded. */
  settleRecorded(mark: Mark): void {
    this.working = undefined
    if (this.endings !== mark.endings) return
    this.changes = this.changes.slice(mark.changes)
    if (this.identity === mark.identity) this.identity = noIdentity
    this.ended = this.touchRequested = false
  }

  /** Drops what was refused for good; an end stands. After a lost race the session is read again. */
  discardRefused(reason: SessionError.SessionErrorReason): void {
    const { ended } = this
    this.forgetRecorded()
    this.ended = ended
    if (reason._tag === "Conflict") this.snapshot = undefined
  }

  /** Keeps of what was recorded only what stands after the given outcome. */
  settle(outcome: Outcome): void {
    if (outcome === "success") return
    const { ended, identity } = this
    const standing = outcome === "failure" ? this.changes.filter((change) => change.stands) : []
    this.forgetRecorded()
    this.ended = ended
    if (outcome === "failure") {
      this.identity = identity
      this.changes = standing
    }
  }

  /** Whether there is anything to carry out. */
  hasRecorded(): boolean {
    return this.changes.length > 0 || this.identity !== noIdentity || this.ended
  }

  /** Drops everything that was recorded and not carried out. */
  forgetRecorded(): void {
    this.changes = []
    this.working = undefined
    this.identity = noIdentity
    this.ended = this.touchRequested = false
  }

  /** The client has to take this token, for as long as its session may last. */
  issue(token: string, record: SessionRecord, envelope: Envelope<A>): void {
    const persistent = envelope.override?.persistent ?? this.runtime.settings.persistent
    const expiresIn = persistent ? Math.max(0, record.expiresAt - this.now()) : undefined
    this.tokenChange = { _tag: "Issue", token, expiresIn }
  }

  /** Takes over a session that the store has confirmed. What is recorded applies to it. */
  adopt(token: string, key: string, record: SessionRecord, stored: Envelope<A>): void {
    // A new id was issued just now, by the store's clock. A new token may stand for the same id.
    if (key !== this.snapshot?.current?.key) {
      this.offset = record.issuedAt - this.runtime.clock.currentTimeMillisUnsafe()
    }
    this.token = token
    const current: Current = { token, key, record, alias: undefined, served: undefined }
    this.snapshot = { status: "active", current, stored, problem: undefined }
    this.working = undefined
  }

  /** What was recorded shall go into a new session: the one it was meant for is over. */
  startOver(): void {
    this.drop()
    this.working = this.first = undefined
  }

  /** Takes note that the store has forgotten the session. */
  drop(): void {
    this.token = undefined
    this.snapshot = Snapshot.anonymous
    this.created = false
  }

  observe(name: Parameters<Observer["observe"]>[0], details?: Parameters<Observer["observe"]>[2]): Effect.Effect<void> {
    const { observer } = this.runtime
    return observer.observe(name, observer.enabled ? this.now() : 0, details)
  }

  unavailable(error: SessionStoreError): Effect.Effect<never, SessionError.SessionError> {
    const { applied, retryAfter } = error.reason
    return this.refuse(new SessionError.Unavailable({ applied, retryAfter, cause: error }))
  }

  /** Fails, and says so to metrics and events. */
  refuse(reason: SessionError.SessionErrorReason): Effect.Effect<never, SessionError.SessionError> {
    return Effect.andThen(
      this.observe("error", { reason: reason._tag }),
      Effect.fail(new SessionError.SessionError({ reason }))
    )
  }
}

export const unreadable = (problem: Undecodable | "binding"): Effect.Effect<never, SessionError.SessionError> =>
  Effect.fail(
    new SessionError.SessionError({
      reason: problem === "binding" ? new SessionError.BindingMismatch() : new SessionError.Invalid({ problem })
    })
  )
