import type { Crypto } from "@effect-session/core/Crypto"
import type { Tag } from "@effect-session/core/Session"
import { SessionBackend } from "@effect-session/core/SessionBackend"
import { SessionConfig } from "@effect-session/core/SessionConfig"
import { isSessionError, type SessionError } from "@effect-session/core/SessionError"
import * as SessionManager from "@effect-session/core/SessionManager"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { ErrorResponse, Options, PromiseSession } from "../PromiseSession.ts"
import * as SessionCookie from "../SessionCookie.ts"
import * as SessionMiddleware from "../SessionMiddleware.ts"
import { PromiseHandle } from "./promiseSession.ts"
import * as RequestCookie from "./requestCookie.ts"

/** What a transport has to say about a request. Only the cookie is read at once. */
export interface Incoming {
  readonly cookie: string | undefined
  readonly active: () => boolean
  readonly client: () => { readonly agent: string | undefined; readonly address: string | undefined }
}

/** What the end of a request's session means for its response. */
export interface Settled {
  /** Whether the response depends on the cookie. */
  readonly vary: boolean
  /** The `Set-Cookie` lines. */
  readonly cookies: ReadonlyArray<string>
  /** What the client gets in the place of the response. */
  readonly failure: ErrorResponse | undefined
}

const untouched: Settled = { vary: false, cookies: [], failure: undefined }
const read: Settled = { vary: true, cookies: [], failure: undefined }
const internalError: ErrorResponse = { status: 500, headers: { "cache-control": "no-store" } }

/** The services that every adapter needs. */
export type Needs = SessionBackend | SessionConfig | Crypto

/** The sessions of one service outside of Effect: its layer, built, and what to do for a request. */
export interface Sessions<in out A> {
  readonly open: (incoming: Incoming) => RequestSession<A>
  /** The response to an error of a session, `undefined` for other errors. */
  readonly answer: (error: unknown) => ErrorResponse | undefined
  /** Tells the operator of an error that nobody else gets to see. */
  readonly report: (message: string, error: unknown) => void
  readonly close: () => Promise<void>
}

interface Runtime {
  readonly fork: <B, E>(effect: Effect.Effect<B, E>) => Fiber.Fiber<B, E>
  readonly cookiesOf: (change: SessionManager.TokenChange, sent: string | undefined) => ReadonlyArray<string>
  readonly failureOf: (cause: Cause.Cause<unknown>) => ErrorResponse
}

export const defaultResponse = (error: SessionError): ErrorResponse => {
  const { headers, status } = SessionMiddleware.toResponse(error)
  return { status, headers: { ...headers } }
}

const shortened = ({ address, agent }: ReturnType<Incoming["client"]>) => ({ address, agent: agent?.slice(0, 256) })

/** Builds the layer, and what serves its requests. The promise is rejected with what stops the start. */
export const make = async <Self, A, E, Request>(
  tag: Tag<Self, A>,
  layer: Layer.Layer<Needs, E>,
  options: Options<Request>
): Promise<Sessions<A>> => {
  const scope = Scope.makeUnsafe()
  const build = Effect.flatMap(Layer.buildWithScope(layer, scope), (context) =>
    Effect.gen(function*() {
      const settings = yield* SessionConfig
      const { maxToken } = yield* SessionBackend
      const clock = yield* Clock.Clock
      const manager = yield* SessionManager.make(tag)
      const cookie = RequestCookie.make(settings, maxToken, options.cookie, clock)
      const fork = Effect.runForkWith(context)
      const onError = options.onError ?? defaultResponse
      const report = (message: string, error: unknown) => {
        fork(Effect.logError(message, Cause.isCause(error) ? error : Cause.die(error)))
      }
      const respond = (error: SessionError) => {
        try {
          return onError(error)
        } catch (problem) {
          report("A session error could not be answered", problem)
          return internalError
        }
      }
      const runtime: Runtime = {
        fork,
        cookiesOf: cookie.lines,
        failureOf: (cause) => {
          const error = Option.getOrUndefined(Cause.findErrorOption(cause))
          if (isSessionError(error)) return respond(error)
          report("A session could not be committed", cause)
          return internalError
        }
      }
      const remembersClient = options.client === true
      const isBound = settings.binding !== undefined
      const open = (incoming: Incoming) => {
        const candidate = cookie.read(incoming.cookie)
        const isDuplicate = candidate === SessionCookie.Duplicate
        const session = manager.open({
          token: isDuplicate ? undefined : candidate,
          rejected: isDuplicate ? "duplicate" : undefined,
          active: candidate === undefined || incoming.active(),
          client: remembersClient ? () => shortened(incoming.client()) : undefined,
          binding: isBound ? incoming.client : undefined
        })
        return new RequestSession(runtime, session, incoming.cookie)
      }
      return {
        open,
        report,
        answer: (error) => isSessionError(error) ? respond(error) : undefined,
        close: () => Effect.runPromise(Scope.close(scope, Exit.void))
      } satisfies Sessions<A>
    }).pipe(Effect.provide(context)))
  const exit = await Effect.runPromiseExit(build)
  if (Exit.isSuccess(exit)) return exit.value
  await Effect.runPromise(Scope.close(scope, exit))
  throw Cause.squash(exit.cause)
}

/** The session of one request, with what was started of it and is not over yet. */
export class RequestSession<in out A> {
  readonly #runtime: Runtime
  readonly #session: SessionManager.OpenSession<A>
  readonly #cookie: string | undefined
  #running: Set<Promise<unknown>> | undefined = undefined
  #promises: PromiseSession<A> | undefined = undefined

  constructor(runtime: Runtime, session: SessionManager.OpenSession<A>, cookie: string | undefined) {
    this.#runtime = runtime
    this.#session = session
    this.#cookie = cookie
  }

  get promises(): PromiseSession<A> {
    return this.#promises ??= new PromiseHandle(this.#session, this)
  }

  /** Starts an operation at once. Most of them are over by then. */
  run<B>(effect: Effect.Effect<B, SessionError>): Promise<B> {
    const fiber = this.#runtime.fork(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return promiseOf(exit)
    const running = this.#running ??= new Set()
    const promise = new Promise<B>((resolve, reject) => {
      fiber.addObserver((exit) => {
        running.delete(promise)
        if (Exit.isSuccess(exit)) resolve(exit.value)
        else reject(Cause.squash(exit.cause))
      })
    })
    running.add(promise)
    return promise
  }

  /**
   * Ends the request. What was started is waited for: its writes belong to the request, and if one fails, so has the
   * request. Returns a value, not a promise, where nothing has to be waited for.
   */
  settle(outcome: SessionManager.Outcome): Settled | Promise<Settled> {
    const running = this.#running
    return running === undefined || running.size === 0 ? this.commit(outcome) : this.settleLater(outcome, running)
  }

  /** Ends a request whose response has left already: only the end of the session stands, and other changes are lost. */
  async settleLate(): Promise<Settled> {
    await Promise.allSettled(this.#running ?? [])
    if (this.#session.finishUnsafe("success") !== undefined) return untouched
    const settled = await this.commit("aborted")
    return { ...settled, failure: settled.failure ?? internalError }
  }

  private async settleLater(outcome: SessionManager.Outcome, running: Set<Promise<unknown>>): Promise<Settled> {
    let failed: { readonly error: unknown } | undefined
    while (running.size > 0) {
      for (const result of await Promise.allSettled(running)) {
        if (result.status === "rejected") failed ??= { error: result.reason }
      }
    }
    if (failed === undefined) return this.commit(outcome)
    const settled = await this.commit(outcome === "success" ? "failure" : outcome)
    return { ...settled, failure: settled.failure ?? this.#runtime.failureOf(Cause.fail(failed.error)) }
  }

  private commit(outcome: SessionManager.Outcome): Settled | Promise<Settled> {
    const session = this.#session
    const unused = !session.accessed && session.tokenChange._tag === "Keep"
    // Most requests only read.
    if (session.finishUnsafe(outcome)?._tag === "Keep") return unused ? untouched : read
    const fiber = this.#runtime.fork(Effect.suspend(() => session.finish(outcome)))
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.settled(exit, unused)
    return new Promise((resolve) => {
      fiber.addObserver((exit) => resolve(this.settled(exit, unused)))
    })
  }

  private settled(exit: Exit.Exit<SessionManager.TokenChange, SessionError>, unused: boolean): Settled {
    try {
      if (Exit.isSuccess(exit)) {
        return unused ? untouched : { ...read, cookies: this.#runtime.cookiesOf(exit.value, this.#cookie) }
      }
      // A token that an explicit commit has issued is delivered also with an error.
      const cookies = this.#runtime.cookiesOf(this.#session.tokenChange, this.#cookie)
      return { vary: true, cookies, failure: this.#runtime.failureOf(exit.cause) }
    } catch (error) {
      return { ...read, failure: this.#runtime.failureOf(Cause.die(error)) }
    }
  }
}

const promiseOf = <B>(exit: Exit.Exit<B, SessionError>): Promise<B> =>
  Exit.isSuccess(exit) ? Promise.resolve(exit.value) : Promise.reject(Cause.squash(exit.cause))
