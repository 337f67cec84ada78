import type { SessionConfig } from "@effect-session/core/SessionConfig"
import type { TokenChange } from "@effect-session/core/SessionManager"
import type * as Clock from "effect/Clock"
import * as CookieChunks from "../CookieChunks.ts"
import * as SessionCookie from "../SessionCookie.ts"
import { CookieConfigError } from "../SessionCookieError.ts"

/** The cookie of one session service. */
export interface RequestCookie {
  /** What a request offers as its session. */
  readonly read: (header: string | undefined) => SessionCookie.Candidate
  /** The `Set-Cookie` lines that tell the client what to do about its token. `sent` is the `Cookie` header it has sent. */
  readonly lines: (change: TokenChange, sent: string | undefined) => ReadonlyArray<string>
}

const none: ReadonlyArray<string> = []

/** Throws a `CookieConfigError` for attributes that browsers would refuse, and for a cookie too small for the longest token. */
export const make = (
  { secureTransport }: SessionConfig["Service"],
  maxToken: number | undefined,
  options: SessionCookie.Options | undefined,
  clock: Clock.Clock
): RequestCookie => {
  const cookie = SessionCookie.make({ ...(secureTransport ? {} : { name: "session", secure: false }), ...options })
  const capacity = CookieChunks.capacity(cookie)
  if (maxToken !== undefined && maxToken > capacity) {
    throw new CookieConfigError({
      problems: [
        `chunks: the cookie carries tokens of at most ${capacity} characters, and the sessions need ${maxToken}; ` +
        "raise it, or lower maxToken"
      ]
    })
  }
  return {
    read: (header) => CookieChunks.read(cookie, header),
    lines: (change, sent) => {
      if (change._tag === "Keep") return none
      if (change._tag === "Revoke" || change.expiresIn === 0) return CookieChunks.clear(cookie, sent)
      const lifetime = change.expiresIn === undefined
        ? undefined
        : { maxAge: Math.min(change.expiresIn, SessionCookie.maximumLifetime), now: clock.currentTimeMillisUnsafe() }
      return CookieChunks.set(cookie, change.token, lifetime, sent)
    }
  }
}
