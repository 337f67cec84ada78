import type * as SessionManager from "@effect-session/core/SessionManager"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Prefetch from "./prefetch.ts"
import { Presented } from "./presented.ts"
import type * as RequestCookie from "./requestCookie.ts"
import * as RequestHeader from "./requestHeader.ts"
import * as RouteMarks from "./routeMarks.ts"
import * as Upgradable from "./upgradable.ts"

/** What a request of Effect's server brings to its session. */
export class Incoming extends Presented {
  readonly #request: HttpServerRequest.HttpServerRequest
  #prefetch: boolean | undefined = undefined
  #settled: RouteMarks.RouteMarks | undefined = undefined

  constructor(
    request: HttpServerRequest.HttpServerRequest,
    cookie: RequestCookie.RequestCookie,
    client: SessionManager.Request["client"],
    binding: SessionManager.Request["binding"]
  ) {
    super(cookie, client, binding)
    this.#request = request
  }

  protected get header(): string | undefined {
    return RequestHeader.of(this.#request, "cookie")
  }

  get active(): boolean {
    this.#prefetch ??= Prefetch.isPrefetch((name) => RequestHeader.of(this.#request, name))
    return !this.#prefetch && !this.marks.passive
  }

  get access(): SessionManager.Access | undefined {
    return this.marks.access
  }

  /** The request, for what may take its connection over: the response then brings no cookie. */
  upgradable(): HttpServerRequest.HttpServerRequest {
    return Upgradable.make(this.#request, () => {
      this.delivers = false
    })
  }

  /** What the route has said of the request. From now on it is no longer asked; what goes on after the request may ask. */
  settle(): RouteMarks.RouteMarks {
    return this.#settled ??= RouteMarks.take(this.#request, this)
  }

  private get marks(): RouteMarks.RouteMarks {
    return this.#settled ?? RouteMarks.of(this.#request)
  }
}
