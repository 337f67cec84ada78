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
import type * as Layer from "effect/Layer"
import * as RequestSession from "./internal/requestSession.ts"
import * as Head from "./internal/responseHead.ts"
import type * as PromiseSession from "./PromiseSession.ts"
import * as RequestClass from "./RequestClass.ts"

/**
 * The sessions of one service for handlers of fetch requests.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionFetch<in out A> {
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
  /** The session of a request. Throws for a request that has none. */
  readonly of: (request: Request) => PromiseSession.PromiseSession<A>
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

/** What the sessions of one request know of each other. */
interface Exchange {
  failed: boolean
  cookies: ReadonlyArray<string>
}

// Several session services may serve one request, each with a handler around the next.
const exchanges = new WeakMap<Request, Exchange>()

const exchangeOf = (request: Request): Exchange => {
  const known = exchanges.get(request)
  if (known !== undefined) return known
  const exchange: Exchange = { failed: false, cookies: [] }
  exchanges.set(request, exchange)
  return exchange
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
export const make = async <Self, A, E>(
  tag: Tag<Self, A>,
  layer: Layer.Layer<SessionBackend | SessionConfig | Crypto, E>,
  options: Options = {}
): Promise<SessionFetch<A>> => {
  const sessions = await RequestSession.make(tag, layer, options)
  const open = new WeakMap<Request, RequestSession.RequestSession<A>>()

  const run: SessionFetch<A>["run"] = async (request, handler) => {
    const present = open.get(request)
    if (present !== undefined) return handler(present.promises)
    const session = sessions.open({
      cookie: request.headers.get("cookie") ?? undefined,
      active: () => !RequestClass.isPrefetch(Object.fromEntries(request.headers)),
      client: () => ({
        agent: request.headers.get("user-agent") ?? undefined,
        address: options.address?.(request)
      })
    })
    open.set(request, session)
    const exchange = exchangeOf(request)
    const outcome = () => request.signal.aborted ? "aborted" : exchange.failed ? "failure" : "success"
    let response: Response
    try {
      response = await handler(session.promises)
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
    const { cookies, failure, vary } = await session.settle(outcome())
    exchange.failed ||= failure !== undefined
    exchange.cookies = [...exchange.cookies, ...cookies]
    return failure === undefined
      ? dressed(response, { vary, cookies })
      : dressed(responseOf(failure), { vary, cookies: exchange.cookies })
  }

  const of: SessionFetch<A>["of"] = (request) => {
    const session = open.get(request)
    if (session === undefined) {
      throw new Error(`${tag.key}: the request has no session; wrap what handles it in the handler of SessionFetch`)
    }
    return session.promises
  }

  return {
    handler: (handler) => (request, ...args) => run(request, () => handler(request, ...args)),
    run,
    of,
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
