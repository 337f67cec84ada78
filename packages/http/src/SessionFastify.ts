/**
 * A Fastify plugin for the sessions of `SessionNode`.
 *
 * Register it before the routes. A handler that fails discards its data changes,
 * and the session errors that it leaves unhandled are answered.
 *
 * **Gotchas**
 *
 * A failure before the handler, such as one of a `preHandler` hook, counts as one
 * unless a custom error handler turns it into a reply of its own: call
 * `sessions.fail` there.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { ErrorResponse } from "./PromiseSession.ts"

/**
 * What the plugin uses of a `SessionNode`.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Sessions<in Request, in Response> {
  readonly middleware: (request: Request, response: Response, next: () => void) => void
  readonly fail: (response: Response) => void
  readonly answer: (error: unknown) => ErrorResponse | undefined
}

/**
 * What the plugin uses of a Fastify instance.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Instance {
  addHook(name: string, hook: (...args: Array<never>) => unknown): unknown
}

interface Reply<Response> {
  readonly raw: Response
  readonly sent: boolean
  code(status: number): Reply<Response>
  headers(headers: Readonly<Record<string, string>>): Reply<Response>
  send(body?: string): unknown
}

interface Route<Request, Response> {
  handler: (this: unknown, request: { readonly raw: Request }, reply: Reply<Response>) => unknown
}

/**
 * A plugin for `app.register`.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export type Plugin = (instance: Instance, options: object, done: () => void) => void

/**
 * Makes the plugin that gives each request of a Fastify application its session:
 * `app.register(SessionFastify.plugin(sessions))`, then `sessions.of(request)`.
 *
 * **Details**
 *
 * It covers the instance it is registered with, and what is registered within
 * that one, for routes that come after it.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const plugin = <Request, Response>(sessions: Sessions<Request, Response>): Plugin => {
  const refuse = (error: unknown, reply: Reply<Response>): unknown => {
    sessions.fail(reply.raw)
    const answer = sessions.answer(error)
    if (answer === undefined || reply.sent) throw error
    return reply.code(answer.status).headers(answer.headers ?? {}).send(answer.body)
  }
  const register: Plugin = (instance, _options, done) => {
    instance.addHook(
      "onRequest",
      (request: { readonly raw: Request }, reply: Reply<Response>, next: () => void) =>
        sessions.middleware(request.raw, reply.raw, next)
    )
    instance.addHook("onError", (_request: unknown, reply: Reply<Response>, _error: unknown, next: () => void) => {
      sessions.fail(reply.raw)
      next()
    })
    instance.addHook("onRoute", (route: Route<Request, Response>) => {
      const { handler } = route
      route.handler = function(request, reply) {
        try {
          const result = handler.call(this, request, reply)
          return result instanceof Promise ? result.catch((error: unknown) => refuse(error, reply)) : result
        } catch (error) {
          return refuse(error, reply)
        }
      }
    })
    done()
  }
  // The hooks are for the instance that registers the plugin, not for a scope of its own.
  return Object.assign(register, { [Symbol.for("skip-override")]: true })
}
