import type * as SessionManager from "@effect-session/core/SessionManager"
import * as SessionCookie from "../SessionCookie.ts"
import type * as RequestCookie from "./requestCookie.ts"

/** What a request brings to its session: looked at when it is asked for, which is after its route has had its say. */
export abstract class Presented implements SessionManager.Request {
  readonly client: SessionManager.Request["client"]
  readonly binding: SessionManager.Request["binding"]
  delivers = true
  readonly #cookie: RequestCookie.RequestCookie
  #candidate: SessionCookie.Candidate | null = null

  constructor(
    cookie: RequestCookie.RequestCookie,
    client: SessionManager.Request["client"],
    binding: SessionManager.Request["binding"]
  ) {
    this.#cookie = cookie
    this.client = client
    this.binding = binding
  }

  /** The raw `Cookie` header. */
  protected abstract get header(): string | undefined

  get token(): string | undefined {
    const { candidate } = this
    return candidate === SessionCookie.Duplicate ? undefined : candidate
  }

  get rejected(): "duplicate" | undefined {
    return this.candidate === SessionCookie.Duplicate ? "duplicate" : undefined
  }

  private get candidate(): SessionCookie.Candidate {
    return this.#candidate === null ? this.#candidate = this.#cookie.read(this.header) : this.#candidate
  }
}
