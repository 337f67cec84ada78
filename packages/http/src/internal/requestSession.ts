import type { Crypto } from "@effect-session/core/Crypto"
import * as OutagePolicy from "@effect-session/core/OutagePolicy"
import type { Session, Tag } from "@effect-session/core/Session"
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
import * as LegacySession from "../LegacySession.ts"
import type {
  ErrorResponse,
  Options,
  PromiseSession,
  ReadonlyPromiseSession,
  ReadonlyRouteOptions,
  RouteOptions,
  SessionOf,
  WritableRouteOptions
} from "../PromiseSession.ts"
import * as SessionMiddleware from "../SessionMiddleware.ts"
import { type Failure, Operation } from "./operation.ts"
import { Presented } from "./presented.ts"
import { PromiseHandle, readonlyOf } from "./promiseSession.ts"
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
export interface Sessions<in out A, in Services = never> {
  readonly open: (incoming: Incoming) => RequestSession<A>
  /** Runs an effect with the session of a request, and what the layer has. */
  readonly runEffect: <B, E>(session: RequestSession<A>, effect: Effect.Effect<B, E, Services>) => Promise<B>
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
  readonly report: (message: string, error: unknown) => void
}

export const defaultResponse = (error: SessionError): ErrorResponse => {
  const { headers, status } = SessionMiddleware.toResponse(error)
  return { status, headers: { ...headers } }
}

/** What a request of an adapter brings to its session, and what its route says of it. */
class Routed extends Presented {
  access: SessionManager.Access = "full"
  passive = false
  readonly #incoming: Incoming
  #active: boolean | undefined = undefined

  constructor(
    incoming: Incoming,
    cookie: RequestCookie.RequestCookie,
    client: SessionManager.Request["client"],
    binding: SessionManager.Request["binding"]
  ) {
    super(cookie, client, binding)
    this.#incoming = incoming
  }

  protected get header(): string | undefined {
    return this.#incoming.cookie
  }

  get active(): boolean {
    return !this.passive && (this.#active ??= this.#incoming.active())
  }
}

const shortened = ({ address, agent }: ReturnType<Incoming["client"]>) => ({ address, agent: agent?.slice(0, 256) })

/** Builds the layer, and what serves its requests. The promise is rejected with what stops the start. */
export const make = async <Self, A, E, Request, Services>(
  tag: Tag<Self, A>,
  layer: Layer.Layer<Services | Needs, E>,
  options: Options<Request>
): Promise<Sessions<A, Self | Services | Needs>> => {
  const scope = Scope.makeUnsafe()
  const build = Effect.flatMap(Layer.buildWithScope(layer, scope), (context) =>
    Effect.gen(function*() {
      const settings = yield* SessionConfig
      const { maxToken } = yield* SessionBackend
      const clock = yield* Clock.Clock
      const mover = yield* LegacySession.mover(tag)
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
        report,
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
        const request = new Routed(
          incoming,
          cookie,
          remembersClient ? () => shortened(incoming.client()) : undefined,
          isBound ? () => incoming.client() : undefined
        )
        const session = manager.open(request)
        return new RequestSession(runtime, request, session, mover?.(session, incoming.cookie), incoming.cookie)
      }
      return {
        open,
        report,
        runEffect: (session, effect) =>
          session.run(Effect.provideContext(Effect.provideService(effect, tag, session.session), context)),
        answer: (error) => isSessionError(error) ? respond(error) : undefined,
        close: () => Effect.runPromise(Scope.close(scope, Exit.void))
      } satisfies Sessions<A, Self | Services | Needs>
    }).pipe(Effect.provide(context)))
  const exit = await Effect.runPromiseExit(build)
  if (Exit.isSuccess(exit)) return exit.value
  await Effect.runPromise(Scope.close(scope, exit))
  throw Cause.squash(exit.cause)
}

/** The session of one request, with what was started of it and is not over yet. */
export class RequestSession<in out A> {
  readonly #runtime: Runtime
  readonly #request: Routed
  readonly #session: SessionManager.OpenSession<A>
  readonly #move: LegacySession.Move<A> | undefined
  readonly #cookie: string | undefined
  #running: Set<Operation<unknown>> | undefined = undefined
  #failed: Array<readonly [operation: Operation<unknown>, failure: Failure]> | undefined = undefined
  #over = false
  #promises: PromiseSession<A> | undefined = undefined
  #outage: OutagePolicy.OutagePolicy | undefined = undefined

  constructor(
    runtime: Runtime,
    request: Routed,
    session: SessionManager.OpenSession<A>,
    move: LegacySession.Move<A> | undefined,
    cookie: string | undefined
  ) {
    this.#runtime = runtime
    this.#request = request
    this.#session = session
    this.#move = move
    this.#cookie = cookie
  }

  /** What handlers get to work with, which first moves in what is old. */
  get session(): Session<A> {
    return this.#move?.session ?? this.#session
  }

  get promises(): PromiseSession<A> {
    return this.#promises ??= new PromiseHandle(this.session, this)
  }

  /** Without operations that write. */
  get reader(): ReadonlyPromiseSession<A> {
    return readonlyOf(this.promises)
  }

  /** What a route says of the whole request. What was read before is read already. */
  configure({ access, outage, passive }: RouteOptions): void {
    if (access !== undefined) this.#request.access = access
    if (passive !== undefined) this.#request.passive = passive
    if (outage !== undefined) this.#outage = outage
  }

  /** Reads, without a fiber where nothing has to be waited for. */
  get(): Promise<A> {
    const session = this.#session
    return this.run(this.#move === undefined ? attempt(() => session.getEager()) : this.#move.session.get)
  }

  update(f: (data: A) => A): Promise<A> {
    const session = this.#session
    return this.run(this.#move === undefined ? attempt(() => session.updateEager(f)) : this.#move.session.update(f))
  }

  /** The response can bring no cookie: the id is not renewed by age. */
  withhold(): void {
    this.#request.delivers = false
  }

  /** Starts an operation at once. Most of them are over by then. */
  run<B, E>(effect: Effect.Effect<B, E>): Promise<B> {
    if (isOver(effect)) return this.promiseOf(effect)
    const fiber = this.fork(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.promiseOf(exit)
    const running = this.#running ??= new Set()
    const operation = new Operation<B>((resolve, reject) => {
      fiber.addObserver((exit) => {
        running.delete(operation)
        if (Exit.isSuccess(exit)) return resolve(exit.value)
        const error = Cause.squash(exit.cause)
        reject(error)
        this.remember(operation, { error })
      })
    })
    running.add(operation)
    return operation
  }

  /**
   * Ends the request. What was started is waited for: its writes belong to the request. If one has failed, and nobody has
   * seen it, so has the request. Returns a value, not a promise, where nothing has to be waited for.
   */
  settle(outcome: SessionManager.Outcome): Settled | Promise<Settled> {
    const running = this.#running
    return (running === undefined || running.size === 0) && this.unseen === undefined
      ? this.commit(outcome)
      : this.settleLater(outcome)
  }

  /** Ends a request whose response has left already: only the end of the session stands, and other changes are lost. */
  async settleLate(): Promise<Settled> {
    const failure = await this.idle()
    const { pending, tokenChange } = this.#session
    // What is stored already, and the client cannot learn of, is lost as well.
    const lost = failure !== undefined || pending || tokenChange._tag !== "Keep"
    const settled = await this.commit("aborted")
    return lost ? { ...settled, failure: settled.failure ?? internalError } : untouched
  }

  private async settleLater(outcome: SessionManager.Outcome): Promise<Settled> {
    const failure = await this.idle()
    if (failure === undefined) return this.commit(outcome)
    const settled = await this.commit(outcome === "success" ? "failure" : outcome)
    return { ...settled, failure: settled.failure ?? this.#runtime.failureOf(Cause.fail(failure.error)) }
  }

  /** Waits for what is under way, and tells what has failed unseen. What is still under way, nobody has seen fail. */
  private async idle(): Promise<Failure | undefined> {
    let failed: Failure | undefined
    while (this.#running !== undefined && this.#running.size > 0) {
      const failures = await Promise.all(Array.from(this.#running, (operation) => operation.failure()))
      failed ??= failures.find((failure) => failure !== undefined)
    }
    return failed ?? this.unseen
  }

  private get unseen(): Failure | undefined {
    return this.#failed?.find(([operation]) => !operation.awaited)?.[1]
  }

  private promiseOf<B, E>(exit: Exit.Exit<B, E>): Promise<B> {
    if (Exit.isSuccess(exit)) return Promise.resolve(exit.value)
    const error = Cause.squash(exit.cause)
    const operation = new Operation<B>((_, reject) => reject(error))
    this.remember(operation, { error })
    return operation
  }

  // The failure of an operation that nobody waits for ends the request, or is logged: it must not end the process.
  private remember(operation: Operation<unknown>, failure: Failure): void {
    const told = operation.failure()
    if (!this.#over) (this.#failed ??= []).push([operation, failure])
    else {
      void told.then(() => {
        if (!operation.awaited) {
          this.#runtime.report("An operation came too late, and nobody waited for it", failure.error)
        }
      })
    }
  }

  private commit(outcome: SessionManager.Outcome): Settled | Promise<Settled> {
    this.#over = true
    const session = this.#session
    const move = this.#move
    const unused = !session.accessed && session.tokenChange._tag === "Keep"
    // Most requests only read. What brings an old session may have to end it.
    if (move === undefined && session.finishUnsafe(outcome)?._tag === "Keep") return unused ? untouched : read
    const finished = attempt(() =>
      Effect.mapEager(
        session.finishEager(outcome),
        (change) => unused ? [] : this.#runtime.cookiesOf(change, this.#cookie)
      )
    )
    if (isOver(finished) && (move === undefined || unused)) return this.settled(finished, unused)
    const fiber = this.fork(
      move === undefined || unused
        ? finished
        : Effect.flatMap(finished, (cookies) => Effect.map(move.finish, (others) => [...cookies, ...others]))
    )
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.settled(exit, unused)
    return new Promise((resolve) => {
      fiber.addObserver((exit) => resolve(this.settled(exit, unused)))
    })
  }

  private settled(exit: Exit.Exit<ReadonlyArray<string>, SessionError>, unused: boolean): Settled {
    if (Exit.isSuccess(exit)) return unused ? untouched : { ...read, cookies: exit.value }
    const failure = this.#runtime.failureOf(exit.cause)
    try {
      // A token that an explicit commit has issued is delivered also with an error.
      return { vary: true, cookies: this.#runtime.cookiesOf(this.#session.tokenChange, this.#cookie), failure }
    } catch {
      return { ...read, failure }
    }
  }

  private fork<B, E>(effect: Effect.Effect<B, E>): Fiber.Fiber<B, E> {
    const outage = this.#outage
    return this.#runtime.fork(
      outage === undefined ? effect : Effect.provideService(effect, OutagePolicy.Current, outage)
    )
  }
}

/** How a transport that finds the session of a request hands it to its routes. */
export const sessionOf = <Request, A>(find: (request: Request) => RequestSession<A>): SessionOf<Request, A> => {
  function of(request: Request, options: ReadonlyRouteOptions): ReadonlyPromiseSession<A>
  function of(request: Request, options?: WritableRouteOptions): PromiseSession<A>
  function of(request: Request, options?: RouteOptions): ReadonlyPromiseSession<A> {
    const session = find(request)
    if (options === undefined) return session.promises
    session.configure(options)
    return options.access === "read" || options.access === "none" ? session.reader : session.promises
  }
  return of
}

// Outside of a fiber, what is thrown has to be caught.
const attempt = <B>(begin: () => Effect.Effect<B, SessionError>): Effect.Effect<B, SessionError> => {
  try {
    return begin()
  } catch (error) {
    return Effect.die(error)
  }
}

const isOver = <B, E>(effect: Effect.Effect<B, E>): effect is Exit.Exit<B, E> => Exit.isExit(effect)
