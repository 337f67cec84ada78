import * as Effect from "effect/Effect"
import type { Flash, FlashKind } from "../Flash.ts"
import { type FlashMessage, format } from "../SessionData.ts"
import * as SessionError from "../SessionError.ts"
import type { Change, SessionState, Snapshot } from "./sessionState.ts"

type Matches = (message: FlashMessage) => boolean

const every: Matches = () => true

/** The flash messages of one request's session. */
export class SessionFlash<in out A> implements Flash {
  private readonly state: SessionState<A>
  private readonly exclusively: <B, E>(effect: Effect.Effect<B, E>) => Effect.Effect<B, E>
  /** Taken out of the stored session by this request. */
  private delivered: Array<FlashMessage> = []
  private current: Array<FlashMessage> = []

  constructor(state: SessionState<A>, exclusively: <B, E>(effect: Effect.Effect<B, E>) => Effect.Effect<B, E>) {
    this.state = state
    this.exclusively = exclusively
  }

  readonly add = (kind: FlashKind, message: string) => this.queue([{ kind, message }])
  readonly notice = (message: string) => this.add("notice", message)
  readonly alert = (message: string) => this.add("alert", message)
  readonly error = (message: string) => this.add("error", message)
  readonly success = (message: string) => this.add("success", message)
  readonly warning = (message: string) => this.add("warning", message)
  readonly info = (message: string) => this.add("info", message)

  readonly now = (kind: FlashKind, message: string): Effect.Effect<void> =>
    Effect.sync(() => {
      this.current.push({ kind, message })
    })

  readonly get = (kind: FlashKind): Effect.Effect<ReadonlyArray<string>, SessionError.SessionError> =>
    Effect.map(this.deliver((message) => message.kind === kind), (messages) => messages.map(({ message }) => message))

  get all(): Effect.Effect<ReadonlyArray<FlashMessage>, SessionError.SessionError> {
    return this.deliver(every)
  }

  get peek(): Effect.Effect<ReadonlyArray<FlashMessage>, SessionError.SessionError> {
    return Effect.map(this.state.load(), (snapshot) => this.waiting(snapshot, every))
  }

  readonly keep = (kind: FlashKind) =>
    Effect.suspend(() => this.queue(this.delivered.filter((message) => message.kind === kind)))

  get keepAll(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.suspend(() => this.queue(this.delivered))
  }

  readonly discard = (kind: FlashKind) => this.drop((message) => message.kind === kind)

  get discardAll(): Effect.Effect<void, SessionError.SessionError> {
    return this.drop(every)
  }

  get clear(): Effect.Effect<void, SessionError.SessionError> {
    return Effect.suspend(() => {
      this.current = []
      return this.discardAll
    })
  }

  /** Puts back what a request that failed has taken: nobody has seen it. */
  restore(): void {
    const undelivered = this.delivered
    if (undelivered.length === 0) return
    this.delivered = []
    this.state.changes = [...this.state.changes, {
      apply: (envelope) => ({ ...envelope, flash: [...undelivered, ...envelope.flash] }),
      replay: true,
      stands: true
    }]
  }

  private queue(messages: ReadonlyArray<FlashMessage>): Effect.Effect<void, SessionError.SessionError> {
    if (messages.length === 0) return Effect.void
    return this.change((flash) => [...flash, ...messages])
  }

  private drop(matches: Matches): Effect.Effect<void, SessionError.SessionError> {
    return Effect.flatMap(Effect.suspend(() => this.state.loadForWriting()), (snapshot) => {
      this.delivered = this.delivered.filter((message) => !matches(message))
      return this.state.envelope(snapshot).flash.some(matches)
        ? this.change((flash) => flash.filter((message) => !matches(message)))
        : Effect.void
    })
  }

  private change(f: (flash: ReadonlyArray<FlashMessage>) => ReadonlyArray<FlashMessage>) {
    const change: Change<A> = {
      apply: (envelope) => ({ ...envelope, flash: f(envelope.flash) }),
      replay: true,
      stands: false
    }
    return Effect.asVoid(this.state.record(change))
  }

  private deliver(matches: Matches): Effect.Effect<ReadonlyArray<FlashMessage>, SessionError.SessionError> {
    return Effect.map(this.claim(matches), () => [...this.delivered, ...this.current].filter(matches))
  }

  private claim(matches: Matches): Effect.Effect<void, SessionError.SessionError> {
    return Effect.flatMap(
      this.state.load(),
      (snapshot) =>
        this.waiting(snapshot, matches).length === 0 || this.state.finished
          ? Effect.void
          : this.exclusively(Effect.suspend(() => this.take(matches, this.state.runtime.settings.conflictRetries)))
    )
  }

  // What is stored and was not discarded by this request. An alias is read-only: its successor delivers.
  private waiting(snapshot: Snapshot<A>, matches: Matches): ReadonlyArray<FlashMessage> {
    if (snapshot.stored === undefined || snapshot.current?.alias !== undefined || this.state.ended) return []
    const visible = this.state.envelope(snapshot).flash
    return snapshot.stored.flash.filter((message) => matches(message) && visible.includes(message))
  }

  // Takes the waiting messages out of the store, apart from everything else the request has recorded.
  private take(matches: Matches, retries: number): Effect.Effect<void, SessionError.SessionError> {
    const { state } = this
    const { backend, definition, settings } = state.runtime
    const snapshot = state.snapshot
    const taken = snapshot === undefined ? [] : this.waiting(snapshot, matches)
    if (taken.length === 0 || snapshot?.stored === undefined || snapshot.current === undefined) return Effect.void
    const { current, stored } = snapshot
    const envelope = { ...stored, flash: stored.flash.filter((message) => !taken.includes(message)) }
    const payload = definition.data.encode(envelope)
    if (payload === undefined) return state.refuse(new SessionError.Invalid({ problem: "encoding" }))
    const change = {
      format,
      payload,
      idleTimeout: current.record.idleTimeout,
      lifetime: undefined,
      active: (state.request.active ?? true) && settings.sliding
    }
    return Effect.matchEffect(backend.apply({ _tag: "Save", current, change }), {
      onFailure: (error) => state.unavailable(error),
      onSuccess: (applied) => {
        if (applied._tag === "Stored") {
          state.adopt(applied.token, applied.key, applied.record, envelope)
          this.delivered.push(...taken)
          return state.observe("saved", { key: applied.key, subject: applied.record.subject })
        }
        // Another request was faster and may have delivered them; one that ended has nothing to deliver.
        if (applied._tag !== "Conflict" || retries === 0) return Effect.void
        return Effect.flatMap(state.reload(current.token), () => this.take(matches, retries - 1))
      }
    })
  }
}
