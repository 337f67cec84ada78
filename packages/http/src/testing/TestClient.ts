/**
 * A client for tests of applications with sessions: keeps cookies like a
 * browser, puts a session into its requests, and reads session, flash messages
 * and cookies back.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { Crypto } from "@effect-session/core/Crypto"
import type { SessionClass } from "@effect-session/core/Session"
import type { SessionBackend } from "@effect-session/core/SessionBackend"
import type { SessionConfig } from "@effect-session/core/SessionConfig"
import type { SessionError } from "@effect-session/core/SessionError"
import { SessionTest } from "@effect-session/core/testing"
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import * as CookieChunks from "../CookieChunks.ts"
import * as SessionCookie from "../SessionCookie.ts"

/**
 * A web handler, such as the `handler` of `HttpRouter.toWebHandler`.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Handler = (request: Request) => Promise<Response>

/**
 * Options of {@link make}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Name of the session cookie, `session` by default as under the preset `testing`. */
  readonly cookieName?: string | undefined
  /** Origin of the requests, `https://app.test` by default. */
  readonly origin?: string | undefined
}

type Services = SessionBackend | SessionConfig | Crypto

/**
 * A test client.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface TestClient<A> {
  /** Sends a request with the client's cookies, and keeps what the response sets. */
  readonly request: (path: string, init?: RequestInit) => Effect.Effect<Response>
  readonly get: (path: string) => Effect.Effect<Response>
  /** Sends a `POST` with a JSON body, or without one. */
  readonly post: (path: string, body?: unknown) => Effect.Effect<Response>
  /** The client's cookies by name. Changing the map changes what is sent. */
  readonly cookies: Map<string, string>
  /** Stores a session and puts its token into the client's cookie. */
  readonly start: (
    options: { readonly subject?: string | undefined; readonly data: A }
  ) => Effect.Effect<void, SessionError, Services>
  /** Status, data, subject and waiting flash messages of the client's session. Delivers nothing. */
  readonly session: Effect.Effect<SessionTest.Inspected<A>, SessionError, Services>
}

/**
 * Creates a client for an application's web handler. The services that `start`
 * and `session` need are the ones the application runs on.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = <Self, Id extends string, A>(
  session: SessionClass<Self, Id, A>,
  handler: Handler,
  options: Options = {}
): TestClient<A> => {
  const cookieName = options.cookieName ?? "session"
  const origin = options.origin ?? "https://app.test"
  const cookies = new Map<string, string>()
  // Whatever the application allows: a session in one cookie is read and written as such.
  const sessionCookie = SessionCookie.make({ name: cookieName, chunks: SessionCookie.maximumChunks })
  const header = () => Array.from(cookies, ([name, value]) => `${name}=${value}`).join("; ")

  const keep = (lines: ReadonlyArray<string>) => {
    const set = Cookies.fromSetCookie(lines)
    for (const cookie of Object.values(set.cookies)) {
      if (cookie.options?.maxAge === 0 || cookie.valueEncoded === "") cookies.delete(cookie.name)
      else cookies.set(cookie.name, cookie.valueEncoded)
    }
  }
  const request = (path: string, init?: RequestInit) =>
    Effect.promise(async () => {
      const headers = new Headers(init?.headers)
      if (cookies.size > 0) headers.set("cookie", header())
      const response = await handler(new Request(new URL(path, origin), { ...init, headers }))
      keep(response.headers.getSetCookie())
      return response
    })

  return {
    request,
    get: (path) => request(path),
    post: (path, body) =>
      request(
        path,
        body === undefined
          ? { method: "POST" }
          : { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } }
      ),
    cookies,
    start: (options) =>
      Effect.map(
        SessionTest.start(session, options),
        (token) => keep(CookieChunks.set(sessionCookie, token, undefined, header()))
      ),
    session: Effect.suspend(() => {
      const token = CookieChunks.read(sessionCookie, header())
      return SessionTest.inspect(session, typeof token === "string" ? token : undefined)
    })
  }
}
