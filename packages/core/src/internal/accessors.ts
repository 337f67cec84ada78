import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Session } from "../Session.ts"
import type { SessionError } from "../SessionError.ts"

/** The operations of a session, each by a way to reach it: `use`, and `tell` for those that never fail. */
export const operations = <A, R>(
  use: <B>(f: (session: Session<A>) => Effect.Effect<B, SessionError>) => Effect.Effect<B, SessionError, R>,
  tell: <B>(f: (session: Session<A>) => Effect.Effect<B>) => Effect.Effect<B, never, R>
): Session<A, R> => ({
  get: use((session) => session.get),
  status: tell((session) => session.status),
  isNew: use((session) => session.isNew),
  subject: use((session) => session.subject),
  info: use((session) => session.info),
  expiresAt: use((session) => session.expiresAt),
  timeUntilExpiry: use((session) => session.timeUntilExpiry),
  isElevated: use((session) => session.isElevated),
  served: use((session) => session.served),
  handle: use((session) => session.handle),
  set: (data) => use((session) => session.set(data)),
  update: (f) => use((session) => session.update(f)),
  modify: (f) => use((session) => session.modify(f)),
  reset: use((session) => session.reset),
  destroy: use((session) => session.destroy),
  renew: use((session) => session.renew),
  login: (subject, f) => use((session) => session.login(subject, f)),
  elevate: (duration) => use((session) => session.elevate(duration)),
  reauthenticate: use((session) => session.reauthenticate),
  touch: use((session) => session.touch),
  setLifetime: (options) => use((session) => session.setLifetime(options)),
  commit: use((session) => session.commit),
  readonly: tell((session) => session.readonly),
  flash: {
    add: (kind, message) => use(({ flash }) => flash.add(kind, message)),
    notice: (message) => use(({ flash }) => flash.notice(message)),
    alert: (message) => use(({ flash }) => flash.alert(message)),
    error: (message) => use(({ flash }) => flash.error(message)),
    success: (message) => use(({ flash }) => flash.success(message)),
    warning: (message) => use(({ flash }) => flash.warning(message)),
    info: (message) => use(({ flash }) => flash.info(message)),
    now: (kind, message) => tell(({ flash }) => flash.now(kind, message)),
    get: (kind) => use(({ flash }) => flash.get(kind)),
    all: use(({ flash }) => flash.all),
    peek: use(({ flash }) => flash.peek),
    keep: (kind) => use(({ flash }) => flash.keep(kind)),
    keepAll: use(({ flash }) => flash.keepAll),
    discard: (kind) => use(({ flash }) => flash.discard(kind)),
    discardAll: use(({ flash }) => flash.discardAll),
    clear: use(({ flash }) => flash.clear)
  }
})

/** The operations of a session as effects that take the session from the context. */
export const accessors = <Self, A>(tag: Context.Service<Self, Session<A>>): Session<A, Self> =>
  operations((f) => tag.use(f), (f) => tag.use(f))
