import * as Context from "effect/Context"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"

/**
 * What the sessions of one request know of each other. The outermost of them makes it; the others find it in the context,
 * where a request that is answered within another one may find that one's, and makes its own.
 */
export class Siblings {
  /** The cookies they have decided on. */
  readonly cookies: Array<string> = []
  /** Whether one of them could not be committed. */
  failed = false
  readonly #source: object

  constructor({ source }: HttpServerRequest.HttpServerRequest) {
    this.#source = source
  }

  /** Routes below a prefix see a request of their own, with the same source. */
  belongsTo({ source }: HttpServerRequest.HttpServerRequest): boolean {
    return this.#source === source
  }
}

/** Those of the request that is being handled. */
export const Current: Context.Service<Siblings, Siblings> = Context.Service<Siblings>(
  "@effect-session/http/SessionMiddleware/Siblings"
)
