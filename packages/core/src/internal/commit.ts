import * as Effect from "effect/Effect"
import * as CommitPlan from "../CommitPlan.ts"
import type { Applied } from "../SessionBackend.ts"
import { type Binding, type Envelope, format, type Written } from "../SessionData.ts"
import * as SessionError from "../SessionError.ts"
import type { Payload } from "../SessionStore.ts"
import * as SessionAccess from "./sessionAccess.ts"
import type { Mark } from "./sessionChange.ts"
import type { SessionState } from "./sessionState.ts"
import { isReadableElsewhere, problemOfOthers, type Snapshot } from "./snapshot.ts"

const done: Effect.Effect<void> = Effect.void
const utf8 = new TextEncoder()

/** One attempt to carry out what a request recorded. */
interface Attempt<A> {
  readonly snapshot: Snapshot<A>
  readonly envelope: Envelope<A>
  /** The envelope as it shall be stored, unless a step adds to it. */
  readonly written: Written<A> | undefined
  /** What of the recorded the attempt covers. */
  readonly mark: Mark
  readonly mayRenewByAge: boolean
  readonly retries: number
}

/** Carries out what was recorded; replays it, at most `retries` times, when another request was faster. */
export const commit = <A>(
  state: SessionState<A>,
  mayRenewByAge: boolean,
  retries: number
): Effect.Effect<void, SessionError.SessionError> => {
  const snapshot = state.snapshot
  // Nothing was read, so nothing was recorded.
  if (snapshot === undefined) return done
  const { data } = state.runtime.definition
  const envelope = state.envelope(snapshot)
  const current = snapshot.stored !== undefined || state.ended ? snapshot.current : undefined
  const stays = current !== undefined && !state.ended
  if (current === undefined && !state.hasRecorded()) return done
  const initialPayload = stays ? undefined : data.encode(state.initial()) ?? ""
  const unchanged = stays ? current.record.payload : initialPayload
  const written = state.changes.length === 0 ? undefined : data.write(envelope)
  const payload = state.changes.length === 0 ? unchanged : written?.payload
  if (payload === undefined) {
    const refused = state.refuse(new SessionError.Invalid({ problem: "encoding" }))
    if (!state.ended) return refused
    // The end stands, whatever was to come after it.
    return Effect.suspend(() => {
      state.discardRefused(new SessionError.Invalid({ problem: "encoding" }))
      return Effect.andThen(commit(state, mayRenewByAge, retries), refused)
    })
  }
  const plan = CommitPlan.make({
    current,
    unread: snapshot.unread,
    ended: state.ended,
    identity: state.identity,
    payload,
    initialPayload,
    format,
    override: envelope.override,
    lifetimeChanged: state.changes.some((change) => change.lifetimes === "deadline"),
    touch: state.touchRequested,
    active: SessionAccess.isActive(state),
    mayRenewByAge: mayRenewByAge && SessionAccess.mayRenewByAge(state.request),
    renewalDue: state.clientChanged && state.runtime.binding?.policy === "renew",
    now: state.now(),
    settings: state.runtime.settings
  })
  if (plan._tag === "ReadOnly") {
    return current?.alias === undefined
      ? state.refuse(new SessionError.Unavailable({ applied: "no" }))
      : Effect.asVoid(over(state))
  }
  const attempt = { snapshot, envelope, written, mark: state.mark, mayRenewByAge, retries }
  return state.ended && plan.steps[0]?._tag !== "Destroy"
    ? Effect.andThen(Effect.sync(() => noteEnd(state)), Effect.suspend(() => carryOut(state, attempt, plan.steps, 0)))
    : carryOut(state, attempt, plan.steps, 0)
}

const noteEnd = <A>(state: SessionState<A>): void => {
  const presented = state.request.token !== undefined || state.request.rejected !== undefined
  state.tokenChange = { _tag: presented ? "Revoke" : "Keep" }
  state.drop()
}

const carryOut = <A>(
  state: SessionState<A>,
  attempt: Attempt<A>,
  steps: ReadonlyArray<CommitPlan.Step>,
  index: number
): Effect.Effect<void, SessionError.SessionError> => {
  if (index === steps.length) {
    if (index === 0) state.settleRecorded(attempt.mark)
    return done
  }
  const { binding } = state.runtime
  return binding === undefined || !binds(state, attempt, steps[index])
    ? perform(state, attempt, steps, index, undefined)
    : Effect.flatMapEager(
      binding.bind(state.request.binding?.()),
      (bound) => perform(state, attempt, steps, index, bound)
    )
}

const perform = <A>(
  state: SessionState<A>,
  attempt: Attempt<A>,
  steps: ReadonlyArray<CommitPlan.Step>,
  index: number,
  binding: Binding | undefined
): Effect.Effect<void, SessionError.SessionError> => {
  const { atOnce, backend, clock, observer, settings } = state.runtime
  const envelope = withClient(state, attempt, steps[index], binding)
  const written = envelope === attempt.envelope ? attempt.written : state.runtime.definition.data.write(envelope)
  const step = written === attempt.written ? steps[index] : rewrite(steps[index], written?.payload)
  const size = exceeding(step, settings.maxPayload)
  if (size !== undefined) {
    return state.refuse(new SessionError.TooLarge({ actual: size, maximum: settings.maxPayload }))
  }
  const reported = (applied: Applied): Effect.Effect<void, SessionError.SessionError> => {
    const reports = report(state, { ...attempt, envelope, written }, step, applied, index + 1 === steps.length)
    return reports === done
      ? carryOut(state, attempt, steps, index + 1)
      : Effect.flatMap(reports, (finished) => finished === true ? done : carryOut(state, attempt, steps, index + 1))
  }
  const known = atOnce.apply?.(step)
  if (known !== undefined) {
    observer.storeTime(0)
    return reported(known)
  }
  const started = clock.currentTimeMillisUnsafe()
  const answered = Effect.match(backend.apply(step), {
    // Activity that could not be recorded takes nothing from the answer, which is complete and true.
    onFailure: (error): Effect.Effect<void, SessionError.SessionError> => {
      if (step._tag === "Touch") return state.observe("error", { reason: error.reason._tag })
      // The end is written down: this client is signed out, whatever the store still has to confirm.
      if (step._tag === "Destroy" && error.reason.queued === true) noteEnd(state)
      return step._tag === "Destroy"
        ? Effect.andThen(Effect.logError("The store has not confirmed the end of a session"), state.unavailable(error))
        : state.unavailable(error)
    },
    onSuccess: (applied): Effect.Effect<void, SessionError.SessionError> => {
      observer.storeTime(clock.currentTimeMillisUnsafe() - started)
      return reported(applied)
    }
  })
  // An interruption waits for the store, which answers in time: otherwise nobody would know what it has done, and what
  // was carried out would be carried out again.
  return Effect.flatten(Effect.uninterruptible(answered))
}

// What an answer of the backend means. Succeeds with `true` when the remaining steps have been dealt with.
const report = <A>(
  state: SessionState<A>,
  attempt: Attempt<A>,
  step: CommitPlan.Step,
  applied: Applied,
  last: boolean
): Effect.Effect<true | void, SessionError.SessionError> => {
  const { backend, definition, observer, settings } = state.runtime
  switch (applied._tag) {
    case "Stored": {
      const { evicted, key, record, token } = applied
      if (attempt.written !== undefined) definition.data.remember(key, attempt.written, attempt.envelope)
      const { subject } = record
      const covered = state.endings === attempt.mark.endings ? state.changes.slice(0, attempt.mark.changes) : []
      if (step._tag === "Create") state.created = true
      if (binds(state, attempt, step)) state.clientChanged = false
      state.adopt(token, key, record, attempt.envelope)
      state.settleRecorded(attempt.mark)
      // The client has to learn a new expiry also where the token stays.
      if (token !== attempt.snapshot.current?.token || covered.some((change) => change.lifetimes !== undefined)) {
        state.issue(token, record, attempt.envelope)
      }
      if (step._tag === "Touch") {
        observer.touched()
        return done
      }
      const name = step._tag === "Create" ? "created" : step._tag === "Renew" ? "renewed" : "saved"
      let reports = state.observe(name, { key, subject })
      for (const other of evicted) {
        const revoked = state.observe("revoked", { key: other, subject, reason: "session limit" })
        reports = Effect.andThen(reports, revoked)
      }
      const { current, problem } = attempt.snapshot
      const unreadable = problem === undefined || isReadableElsewhere(attempt.snapshot) || attempt.mark.ended
        ? undefined
        : current
      if (unreadable === undefined || step._tag !== "Create") return reports
      // Data that nobody can read is replaced, not left behind under an id that nobody has any more.
      return Effect.andThen(
        reports,
        Effect.matchEffect(
          backend.apply(CommitPlan.destroy(unreadable.key, unreadable.record)),
          {
            onFailure: (error) => state.observe("error", { reason: error.reason._tag }),
            onSuccess: () => done
          }
        )
      )
    }
    case "Touched":
      if (applied.live) observer.touched()
      state.settleRecorded(attempt.mark)
      return done
    case "Ended": {
      const current = attempt.snapshot.current
      const destroyed = state.observe("destroyed", { key: current?.key, subject: current?.record.subject })
      noteEnd(state)
      if (last) state.settleRecorded(attempt.mark)
      return applied.live ? destroyed : done
    }
    case "Conflict":
      observer.conflict()
      return attempt.retries > 0 && state.changes.every((change) => change.replay)
        ? again(state, attempt)
        : state.refuse(new SessionError.Conflict())
    case "Gone":
      return gone(state, attempt)
    case "LimitReached":
      return state.refuse(new SessionError.LimitReached({ maximum: settings.limit?.max ?? 0 }))
    case "TooLarge":
      return state.refuse(new SessionError.TooLarge({ actual: applied.actual, maximum: applied.maximum }))
  }
}

// Another request was faster: the changes run again on what it left. A session that ended meanwhile stays ended.
const again = <A>(state: SessionState<A>, attempt: Attempt<A>): Effect.Effect<true, SessionError.SessionError> =>
  Effect.andThen(Effect.yieldNow, Effect.suspend(() => state.reload(attempt.snapshot.current!.token))).pipe(
    Effect.flatMap((snapshot) => {
      if (snapshot.status === "active") {
        return Effect.as(commit(state, attempt.mayRenewByAge, attempt.retries - 1), true as const)
      }
      // Nobody knows what became of it.
      if (snapshot.outage !== undefined) return state.unavailable(snapshot.outage)
      const problem = problemOfOthers(snapshot)
      return problem === undefined || state.identity.subject !== undefined
        ? over(state)
        : state.refuse(new SessionError.Invalid({ problem }))
    })
  )

// A request that asked for nothing, and was to renew the id by age, loses nothing when another one was first.
const gone = <A>(state: SessionState<A>, attempt: Attempt<A>): Effect.Effect<true, SessionError.SessionError> =>
  attempt.mark.changes === 0 && !attempt.mark.identity.renew
    ? Effect.succeed(true)
    : Effect.flatMap(state.reload(attempt.snapshot.current!.token), () => over(state))

// Nothing is written to a session that is over. A sign-in does not need the one it began with: it begins a new one.
const over = <A>(state: SessionState<A>): Effect.Effect<true, SessionError.SessionError> => {
  if (state.identity.subject === undefined) return state.refuse(new SessionError.Gone())
  state.startOver()
  return Effect.as(commit(state, false, 0), true as const)
}

// A new id is bound to the client it is for. A client that was only reported does not take the session over.
const binds = <A>(state: SessionState<A>, { mark }: Attempt<A>, step: CommitPlan.Step): boolean =>
  step._tag === "Create" ||
  (step._tag === "Renew" &&
    (!state.clientChanged || state.runtime.binding?.policy === "renew" || mark.identity.authenticated))

// A session that begins, or changes hands, remembers the client it is for.
const withClient = <A>(
  state: SessionState<A>,
  { envelope: recorded, mark }: Attempt<A>,
  step: CommitPlan.Step,
  binding: Binding | undefined
): Envelope<A> => {
  const envelope = binding === undefined ? recorded : { ...recorded, binding }
  const begins = step._tag === "Create" || (step._tag === "Renew" && mark.identity.subject !== undefined)
  const client = begins ? state.request.client?.() : undefined
  return client === undefined ? envelope : { ...envelope, client }
}

const rewrite = (step: CommitPlan.Step, payload: Payload | undefined): CommitPlan.Step => {
  if (payload === undefined) return step
  if (step._tag === "Create") return { ...step, record: { ...step.record, payload } }
  return step._tag === "Renew" ? { ...step, replacement: { ...step.replacement, payload } } : step
}

const written = (step: CommitPlan.Step): Payload | undefined => {
  switch (step._tag) {
    case "Create":
      return step.record.payload
    case "Save":
      return step.change.payload
    case "Renew":
      return step.replacement.payload
    default:
      return undefined
  }
}

// Size in octets of what a step writes, if it is over the limit. One UTF-16 unit is at most three octets of UTF-8.
const exceeding = (step: CommitPlan.Step, maximum: number): number | undefined => {
  const payload = written(step)
  if (payload === undefined || payload.length * 3 <= maximum) return undefined
  const size = typeof payload === "string" ? utf8.encode(payload).length : payload.length
  return size > maximum ? size : undefined
}
