import type { FlashKind } from "@effect-session/core/Flash"
import type { LifetimeOptions, Session } from "@effect-session/core/Session"
import type { SessionError } from "@effect-session/core/SessionError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { PromiseFlash, PromiseSession, ReadonlyPromiseSession } from "../PromiseSession.ts"

/** What starts an operation at once. */
export interface Runner<in out A> {
  get(): Promise<A>
  update(f: (data: A) => A): Promise<A>
  run<B>(effect: Effect.Effect<B, SessionError>): Promise<B>
}

/** The operations of a session as promises. What an operation throws, its promise is rejected with. */
export class PromiseHandle<in out A> implements PromiseSession<A> {
  readonly #session: Session<A>
  readonly #runner: Runner<A>

  constructor(session: Session<A>, runner: Runner<A>) {
    this.#session = session
    this.#runner = runner
  }

  get() {
    return this.#runner.get()
  }
  status() {
    return this.#runner.run(this.#session.status)
  }
  isNew() {
    return this.#runner.run(this.#session.isNew)
  }
  subject() {
    return this.#runner.run(this.#session.subject)
  }
  info() {
    return this.#runner.run(this.#session.info)
  }
  expiresAt() {
    return this.#runner.run(this.#session.expiresAt)
  }
  isElevated() {
    return this.#runner.run(this.#session.isElevated)
  }
  served() {
    return this.#runner.run(this.#session.served)
  }
  handle() {
    return this.#runner.run(this.#session.handle)
  }
  set(data: A) {
    return this.#runner.run(this.#session.set(data))
  }
  update(f: (data: A) => A) {
    return this.#runner.update(f)
  }
  modify<B>(f: (data: A) => readonly [B, A]) {
    return this.#runner.run(this.#session.modify(f))
  }
  reset() {
    return this.#runner.run(this.#session.reset)
  }
  destroy() {
    return this.#runner.run(this.#session.destroy)
  }
  renew() {
    return this.#runner.run(this.#session.renew)
  }
  login(subject: string, f?: (data: A, before: A | undefined) => A) {
    return this.#runner.run(this.#session.login(subject, f))
  }
  elevate(duration: Duration.Input) {
    return this.#runner.run(Effect.suspend(() => this.#session.elevate(duration)))
  }
  reauthenticate() {
    return this.#runner.run(this.#session.reauthenticate)
  }
  touch() {
    return this.#runner.run(this.#session.touch)
  }
  setLifetime(options: LifetimeOptions) {
    return this.#runner.run(Effect.suspend(() => this.#session.setLifetime(options)))
  }
  get flash() {
    return flashOf(this.#session, this.#runner)
  }
  commit() {
    return this.#runner.run(this.#session.commit)
  }
}

/** A view without the operations that write. */
export const readonlyOf = <A>(session: ReadonlyPromiseSession<A>): ReadonlyPromiseSession<A> => ({
  get: () => session.get(),
  status: () => session.status(),
  isNew: () => session.isNew(),
  subject: () => session.subject(),
  info: () => session.info(),
  expiresAt: () => session.expiresAt(),
  isElevated: () => session.isElevated(),
  served: () => session.served(),
  handle: () => session.handle()
})

const flashOf = <A>({ flash }: Session<A>, runner: Runner<A>): PromiseFlash => ({
  add: (kind, message) => runner.run(flash.add(kind, message)),
  now: (kind, message) => runner.run(flash.now(kind, message)),
  get: (kind) => runner.run(flash.get(kind)),
  all: () => runner.run(flash.all),
  peek: () => runner.run(flash.peek),
  keep: (kind?: FlashKind) => runner.run(kind === undefined ? flash.keepAll : flash.keep(kind)),
  discard: (kind?: FlashKind) => runner.run(kind === undefined ? flash.discardAll : flash.discard(kind)),
  clear: () => runner.run(flash.clear)
})
