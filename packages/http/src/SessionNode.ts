/**
 * Sessions for `node:http`, `node:http2`, Express 5 and whatever else speaks
 * Connect's `(request, response, next)`, without a rewrite of the application:
 * cookie in, cookie out, operations that return promises.
 *
 * The session is committed when the first byte of the response is about to
 * leave, whoever writes it and however: `res.send`, `writeHead`, `write`, `end`,
 * `flushHeaders`, a pipe. If the store has to be asked, the response waits, and
 * its writers are held up as by a slow client. What the client is told is what is
 * stored: a commit that fails puts an error in the place of the response.
 *
 * Once the client has left, data changes, a new id and a sign-in are discarded.
 * Only the end of a session stands. What the handler writes afterwards is refused.
 *
 * The module is an entry point for Node. See `SessionFastify` for Fastify, and
 * `SessionFetch` for handlers of fetch requests.
 *
 * **Example** (A counter on `node:http`)
 *
 * ```ts
 * import { MemoryStore, Session, SessionConfig } from "@effect-session/core"
 * import * as CryptoNode from "@effect-session/core/CryptoNode"
 * import * as SessionNode from "@effect-session/http/SessionNode"
 * import { Layer, Schema } from "effect"
 * import { once } from "node:events"
 * import { createServer } from "node:http"
 *
 * class UserSession extends Session.Service<UserSession>()("app/UserSession", {
 *   data: Schema.Struct({ visits: Schema.Int }),
 *   initial: { visits: 0 }
 * }) {}
 *
 * const Live = MemoryStore.layer().pipe(
 *   Layer.provideMerge(CryptoNode.layer),
 *   Layer.provideMerge(SessionConfig.layer({ preset: "development" }))
 * )
 * const sessions = await SessionNode.make(UserSession, Live)
 *
 * const server = createServer(sessions.listener(async (request, response) => {
 *   const { visits } = await sessions.of(request).update(({ visits }) => ({ visits: visits + 1 }))
 *   response.end(`visit ${visits}`)
 * }))
 * await once(server.listen(0), "listening")
 *
 * const address = server.address()
 * const port = typeof address === "object" ? address?.port : undefined
 * const first = await fetch(`http://localhost:${port}`)
 * const cookie = first.headers.getSetCookie()[0].split(";")[0]
 * const second = await fetch(`http://localhost:${port}`, { headers: { cookie } })
 * console.log(await first.text(), await second.text()) // => visit 1 visit 2
 *
 * server.close()
 * server.closeAllConnections()
 * await sessions.close()
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { Crypto } from "@effect-session/core/Crypto"
import type { Tag } from "@effect-session/core/Session"
import type { SessionBackend } from "@effect-session/core/SessionBackend"
import type { SessionConfig } from "@effect-session/core/SessionConfig"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2"
import * as RequestSession from "./internal/requestSession.ts"
import { type Ending, type Hook, past, ResponseGate } from "./internal/responseGate.ts"
import type * as PromiseSession from "./PromiseSession.ts"
import * as RequestClass from "./RequestClass.ts"

/**
 * Hands a request on, or an error.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Next = (error?: unknown) => void

/**
 * A request of `node:http`, or of `node:http2` with its compatibility API.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type NodeRequest = IncomingMessage | Http2ServerRequest

/**
 * A response of `node:http`, or of `node:http2` with its compatibility API.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type NodeResponse = ServerResponse | Http2ServerResponse

/**
 * The sessions of one service for a Node server.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionNode<in out A, in Services = never> {
  /** Gives each request its session. Comes before the routes. */
  readonly middleware: (request: NodeRequest, response: NodeResponse, next: Next) => void
  /**
   * Comes after the routes, before other handlers of errors: the request has
   * failed, so its data changes are discarded; session errors are answered, other
   * errors are handed on.
   */
  readonly errors: (error: unknown, request: NodeRequest, response: NodeResponse, next: Next) => void
  /**
   * A listener for `createServer` whose requests have a session. A session
   * error that it throws, or is rejected with, is answered; another error is
   * logged, and answered by a 500.
   */
  readonly listener: <Request extends NodeRequest = IncomingMessage, Response extends NodeResponse = ServerResponse>(
    handler: (request: Request, response: Response) => unknown
  ) => (request: Request, response: Response) => void
  /**
   * The session of a request, or of what has one as its `raw`, and what its route
   * says about it. Throws for a request that has none.
   */
  readonly of: PromiseSession.SessionOf<NodeRequest | { readonly raw: NodeRequest }, A>
  /**
   * Runs an effect in the session of a request: with that session as its service,
   * and whatever else the layer has. For what the library offers besides the
   * operations of a session, such as `SessionDevices.list(UserSession)`.
   */
  readonly runEffect: <B, E>(
    request: NodeRequest | { readonly raw: NodeRequest },
    effect: Effect.Effect<B, E, Services>
  ) => Promise<B>
  /** The request has failed, whatever its response looks like: its data changes are discarded. */
  readonly fail: (response: NodeResponse) => void
  /** The response to an error of a session; `undefined` for other errors. */
  readonly answer: (error: unknown) => PromiseSession.ErrorResponse | undefined
  /** Closes the layer, once no request needs it any more. */
  readonly close: () => Promise<void>
}

/**
 * Options of {@link make}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export type Options = PromiseSession.Options<NodeRequest>

const exchange: unique symbol = Symbol("@effect-session/http/SessionNode")

/** What a request remembers of its sessions: the last service's, which knows of the one before. */
interface Attached {
  [exchange]?: { readonly other: Attached[typeof exchange] } | undefined
}

/**
 * Builds a layer, and serves a session service from it.
 *
 * **Gotchas**
 *
 * The promise is rejected with what stops the start: settings that are wrong, a
 * store that cannot be reached, a cookie that browsers would refuse.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = async <Self, A, E, Services = never>(
  tag: Tag<Self, A>,
  layer: Layer.Layer<Services | SessionBackend | SessionConfig | Crypto, E>,
  options: Options = {}
): Promise<SessionNode<A, Self | Services | SessionBackend | SessionConfig | Crypto>> => {
  const sessions = await RequestSession.make(tag, layer, options)
  const addressOf = options.address ?? ((request: NodeRequest) => request.socket.remoteAddress)

  /** A request with its session. One object for all that others call back, as there is one for every request. */
  class Exchange implements RequestSession.Incoming, Hook {
    readonly #request: NodeRequest
    readonly #cookie: string | undefined
    readonly session: RequestSession.RequestSession<A>
    /** That of another service. */
    readonly other: Attached[typeof exchange]

    constructor(request: NodeRequest & Attached) {
      this.#request = request
      this.#cookie = request.headers.cookie
      this.session = sessions.open(this)
      this.other = request[exchange]
      request[exchange] = this
    }

    get cookie() {
      return this.#cookie
    }

    active() {
      return !RequestClass.isPrefetch(headersOf(this.#request))
    }

    client() {
      return { agent: this.#request.headers["user-agent"], address: addressOf(this.#request) }
    }

    settle(ending: Ending) {
      return ending === "late"
        ? this.settleLate()
        : this.session.settle(this.#request.socket.destroyed ? "aborted" : ending)
    }

    private async settleLate() {
      const settled = await this.session.settleLate()
      if (settled.failure !== undefined) sessions.report(past, new Error(past))
      return settled
    }
  }

  const sessionOf = (request: object & Attached): RequestSession.RequestSession<A> | undefined => {
    for (let one = request[exchange]; one !== undefined; one = one.other) {
      if (one instanceof Exchange) return one.session
    }
    return undefined
  }

  const known = (request: NodeRequest | { readonly raw: NodeRequest }): RequestSession.RequestSession<A> => {
    const session = sessionOf(request) ?? ("raw" in request ? sessionOf(request.raw) : undefined)
    if (session !== undefined) return session
    throw new Error(`${tag.key}: the request has no session; the session middleware comes before what uses it`)
  }

  const attach = (request: NodeRequest, response: NodeResponse): void => {
    if (sessionOf(request) === undefined) ResponseGate.of(response).add(new Exchange(request))
  }

  const errors: SessionNode<A>["errors"] = (error, _request, response, next) => {
    const gate = ResponseGate.of(response)
    gate.fail()
    const answer = sessions.answer(error)
    if (answer === undefined || gate.begun) next(error)
    else gate.answer(answer)
  }

  const broken = (error: unknown, response: NodeResponse): void => {
    sessions.report("A request has failed", error)
    const gate = ResponseGate.of(response)
    if (gate.begun) response.destroy()
    else gate.answer({ status: 500 })
  }

  return {
    middleware: (request, response, next) => {
      attach(request, response)
      next()
    },
    errors,
    listener: (handler) => (request, response) => {
      const fail = (error: unknown) => errors(error, request, response, () => broken(error, response))
      try {
        attach(request, response)
        const result = handler(request, response)
        if (result instanceof Promise) result.catch(fail)
      } catch (error) {
        fail(error)
      }
    },
    of: RequestSession.sessionOf(known),
    runEffect: (request, effect) => sessions.runEffect(known(request), effect),
    fail: (response) => ResponseGate.of(response).fail(),
    answer: sessions.answer,
    close: sessions.close
  }
}

// Node joins the lines of every header that this is about.
const headersOf = ({ headers }: NodeRequest) => headers as Readonly<Record<string, string | undefined>>
