import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { Session } from "../Session.ts"
import type { SessionError } from "../SessionError.ts"
import { operations } from "./accessors.ts"

const Underlying = Symbol("underlying")

/** What brings its session from somewhere else, and views made of it. */
interface Prepared<A> extends Session<A> {
  readonly [Underlying]: Session<A>
}

const isPrepared = <A>(session: Session<A>): session is Prepared<A> => Underlying in session

/** The session below preparations. */
export const underlying = <A>(session: Session<A>): Session<A> => isPrepared(session) ? session[Underlying] : session

/** A session that runs an effect once, before it is first asked for anything. What failed is tried again. */
export const prepared = <A>(session: Session<A>, preparation: Effect.Effect<void, SessionError>): Session<A> => {
  const semaphore = Semaphore.makeUnsafe(1)
  let ready = false
  const prepare = Semaphore.withPermit(
    semaphore,
    Effect.suspend(() =>
      ready
        ? Effect.void
        : Effect.map(preparation, () => {
          ready = true
        })
    )
  )
  const use = <B>(f: (session: Session<A>) => Effect.Effect<B, SessionError>): Effect.Effect<B, SessionError> =>
    Effect.suspend(() => ready ? f(session) : Effect.flatMap(prepare, () => f(session)))
  const inner = operations<A, never>(use, (f) => Effect.suspend(() => f(session)))
  const self: Prepared<A> = {
    ...inner,
    [Underlying]: session,
    status: Effect.suspend(() =>
      ready
        ? session.status
        : Effect.matchEffect(prepare, {
          onFailure: () => Effect.succeed("unavailable" as const),
          onSuccess: () => session.status
        })
    ),
    readonly: Effect.sync(() => {
      const { expiresAt, get, handle, info, isElevated, isNew, served, status, subject, timeUntilExpiry } = self
      return { expiresAt, get, handle, info, isElevated, isNew, served, status, subject, timeUntilExpiry }
    })
  }
  return self
}
