/**
 * Sessions for handlers of fetch requests, `(request) => Response`, as Hono, Bun,
 * Deno, Workers and React Router have them: cookie in, cookie out, operations
 * that return promises.
 *
 * The session is committed when the handler has returned its response, before
 * that is handed on: also before the first byte of a streamed body. A commit that
 * fails puts an error in the place of the response.
 *
 * If the request was aborted by then, or the handler is rejected with anything but
 * a session error, which nobody answers here, data changes, a new id and a sign-in
 * are discarded. Only the end of a session stands.
 *
 * **Example** (A counter)
 *
 * ```ts
 * import { Session } from "@effect-session/core"
 * import { SessionTest } from "@effect-session/core/testing"
 * import { SessionFetch } from "@effect-session/http"
 * import { Schema } from "effect"
 *
 * class UserSession extends Session.Service<UserSession>()("app/UserSession", {
 *   data: Schema.Struct({ visits: Schema.Int }),
 *   initial: { visits: 0 }
 * }) {}
 *
 * const sessions = await SessionFetch.make(UserSession, SessionTest.layer())
 *
 * const handler = sessions.handler(async (request) => {
 *   const { visits } = await sessions.of(request).update(({ visits }) => ({ visits: visits + 1 }))
 *   return new Response(`visit ${visits}`)
 * })
 *
 * const first = await handler(new Request("http://localhost"))
 * const cookie = first.headers.getSetCookie()[0].split(";")[0]
 * const second = await handler(new Request("http://localhost", { headers: { cookie } }))
 * console.log(await first.text(), await second.text()) // => visit 1 visit 2
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
import * as Prefetch from "./internal/prefetch.ts"
import * as RequestSession from "./internal/requestSession.ts"
import * as Head from "./internal/responseHead.ts"
import type * as PromiseSession from "./PromiseSession.ts"

/**
 * The sessions of one service for handlers of fetch requests.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionFetch<in out A, in Services = never> {
  /**
   * Gives the requests of a handler their session. What else the handler gets is
   * handed on. Session errors that it is rejected with are answered.
   */
  readonly handler: <Args extends ReadonlyArray<unknown>>(
    handler: (request: Request, ...args: Args) => Response | Promise<Response>
  ) => (request: Request, ...args: Args) => Promise<Response>
  /** Like `handler` for one request, for frameworks that make requests of their own from it. */
  readonly run: (
    request: Request,
    handler: (session: PromiseSession.PromiseSession<A>) => Response | Promise<Response>
  ) => Promise<Response>
  /** The session of a request, and what its route says about it. Throws for a request that has none. */
  readonly of: PromiseSession.SessionOf<Request, A>
  /**
   * Runs an effect in the session of a request: with that session as its service,
   * and whatever else the layer has. For what the library offers besides the
   * operations of a session, such as `SessionDevices.list(UserSession)`.
   */
  readonly runEffect: <B, E>(
    request: Request,
    effect: Effect.Effect<B, E, Services>
  ) => Promise<B>
  /**
   * The request has failed, whatever its response looks like: its data changes are
   * discarded. For frameworks that turn errors into responses themselves.
   */
  readonly fail: (request: Request) => void
  /** The response to an error of a session; `undefined` for other errors. */
  readonly answer: (error: unknown) => Response | undefined
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
export type Options = PromiseSession.Options<Request>

const exchange: unique symbol = Symbol("@effect-session/http/SessionFetch")

/** A request with its session; of several services each has a handler around the next. */
interface Opened {
  readonly other: Opened | undefined
}

/** What the sessions of one request know of each other. */
interface Exchange {
  failed: boolean
  cookies: ReadonlyArray<string>
  opened: Opened | undefined
}

// Upon the request: a `WeakMap` would cost more than the session.
interface Attached {
  [exchange]?: Exchange | undefined
}

const exchangeOf = (request: Request & Attached): Exchange =>
  request[exchange] ??= { failed: false, cookies: [], opened: undefined }

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
): Promise<SessionFetch<A, Self | Services | SessionBackend | SessionConfig | Crypto>> => {
  const sessions = await RequestSession.make(tag, layer, options)

  class OpenedRequest implements RequestSession.Incoming, Opened {
    readonly #request: Request
    readonly #cookie: string | undefined
    readonly session: RequestSession.RequestSession<A>
    readonly other: Opened | undefined

    constructor(request: Request, other: Opened | undefined) {
      this.#request = request
      this.#cookie = request.headers.get("cookie") ?? undefined
      this.session = sessions.open(this)
      this.other = other
    }

    get cookie() {
      return this.#cookie
    }

    active() {
      const { headers } = this.#request
      return !Prefetch.isPrefetch((name) => headers.get(name))
    }

    client() {
      return {
        agent: this.#request.headers.get("user-agent") ?? undefined,
        address: options.address?.(this.#request)
      }
    }
  }

  const sessionOf = (request: Request & Attached): RequestSession.RequestSession<A> | undefined => {
    for (let one = request[exchange]?.opened; one !== undefined; one = one.other) {
      if (one instanceof OpenedRequest) return one.session
    }
    return undefined
  }

  const serve = async (
    request: Request,
    handler: (session: RequestSession.RequestSession<A>) => Response | Promise<Response>
  ): Promise<Response> => {
    const present = sessionOf(request)
    if (present !== undefined) return handler(present)
    const exchange = exchangeOf(request)
    const opened = new OpenedRequest(request, exchange.opened)
    const { session } = opened
    exchange.opened = opened
    let response: Response
    try {
      response = await handler(session)
    } catch (error) {
      exchange.failed = true
      const answer = sessions.answer(error)
      if (answer === undefined) {
        // Whoever answers instead has no cookie to give.
        await session.settle("aborted")
        throw error
      }
      response = responseOf(answer)
    }
    if (response.status === 101) session.withhold()
    const { cookies, failure, vary } = await session.settle(
      request.signal.aborted ? "aborted" : exchange.failed ? "failure" : "success"
    )
    exchange.failed ||= failure !== undefined
    exchange.cookies = [...exchange.cookies, ...cookies]
    return failure === undefined
      ? dressed(response, { vary, cookies })
      : dressed(responseOf(failure), { vary, cookies: exchange.cookies })
  }

  const known = (request: Request): RequestSession.RequestSession<A> => {
    const session = sessionOf(request)
    if (session !== undefined) return session
    throw new Error(`${tag.key}: the request has no session; wrap what handles it in the handler of SessionFetch`)
  }

  return {
    handler: (handler) => (request, ...args) => serve(request, () => handler(request, ...args)),
    run: (request, handler) => serve(request, ({ promises }) => handler(promises)),
    of: RequestSession.sessionOf(known),
    runEffect: (request, effect) => sessions.runEffect(known(request), effect),
    fail: (request) => {
      exchangeOf(request).failed = true
    },
    answer: (error) => {
      const answer = sessions.answer(error)
      return answer === undefined ? undefined : responseOf(answer)
    },
    close: sessions.close
  }
}

const responseOf = ({ body, headers, status }: PromiseSession.ErrorResponse): Response =>
  new Response(body ?? null, { status, headers: headers ?? {} })

const dressed = (response: Response, settled: Omit<RequestSession.Settled, "failure">): Response => {
  if (!settled.vary) return response
  try {
    write(response.headers, settled)
    return response
  } catch {
    // Headers of a redirect, or of a response that was fetched, cannot be changed.
    const { headers, status, statusText } = response
    if (status < 200) {
      if (settled.cookies.length === 0) return response
      throw new Error(`A response with status ${status} cannot be given the cookie of its session`)
    }
    const copy = new Headers(headers)
    write(copy, settled)
    return new Response(response.body, { status, statusText, headers: copy })
  }
}

const write = (headers: Headers, { cookies }: Omit<RequestSession.Settled, "failure">): void => {
  headers.set("vary", Head.varied(headers.get("vary") ?? undefined))
  if (cookies.length === 0) return
  if (!Head.isNeverStored(headers.get("cache-control") ?? "")) headers.set("cache-control", "no-store")
  const lines = Head.withCookies(headers.getSetCookie(), cookies)
  headers.delete("set-cookie")
  for (const line of lines) headers.append("set-cookie", line)
}
