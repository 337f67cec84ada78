import type * as SessionManager from "@effect-session/core/SessionManager"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as RequestClass from "../RequestClass.ts"
import * as SessionCookie from "../SessionCookie.ts"
import type * as RequestCookie from "./requestCookie.ts"
import * as RouteMarks from "./routeMarks.ts"
import * as Upgradable from "./upgradable.ts"

/** What a request brings to its session: looked at when it is asked for, which is after its route has had its say. */
export class Incoming implements SessionManager.Request {
  readonly client: SessionManager.Request["client"]
  readonly binding: SessionManager.Request["binding"]
  readonly #request: HttpServerRequest.HttpServerRequest
  readonly #cookie: RequestCookie.RequestCookie
  #candidate: SessionCookie.Candidate | null = null
  #prefetch: boolean | undefined = undefined
  #settled: RouteMarks.RouteMarks | undefined = undefined
  delivers = true

  constructor(
    request: HttpServerRequest.HttpServerRequest,
    cookie: RequestCookie.RequestCookie,
    client: SessionManager.Request["client"],
    binding: SessionManager.Request["binding"]
  ) {
    this.client = client
    this.binding = binding
    this.#request = request
    this.#cookie = cookie
  }

  get token(): string | undefined {
    const { candidate } = this
    return candidate === SessionCookie.Duplicate ? undefined : candidate
  }

  get rejected(): "duplicate" | undefined {
    return this.candidate === SessionCookie.Duplicate ? "duplicate" : undefined
  }

  get active(): boolean {
    this.#prefetch ??= RequestClass.isPrefetch(this.#request.headers)
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

  private get candidate(): SessionCookie.Candidate {
    return this.#candidate === null
      ? this.#candidate = this.#cookie.read(this.#request.headers["cookie"])
      : this.#candidate
  }
}
