import { Session } from "@effect-session/core"
import type { SessionCookie } from "@effect-session/http"
import * as Schema from "effect/Schema"

/**
 * The session of the demo. Who is signed in is the session's subject; this is
 * the data beside it.
 */
export class UserSession extends Session.Service<UserSession>()("demo/UserSession", {
  data: Schema.Struct({
    role: Schema.Literals(["guest", "user", "admin"]),
    counter: Schema.Int,
    /** The shopping list. */
    items: Schema.Array(Schema.String),
    /** A map, so that every text is a key like any other, `__proto__` too. */
    data: Schema.ReadonlyMap(Schema.String, Schema.Json),
    /** A `Date` here, an ISO text where it is stored. */
    loginAt: Schema.optionalKey(Schema.Date)
  }),
  initial: () => ({ role: "guest" as const, counter: 0, items: [], data: new Map() }),
  keepOnLogin: ["counter", "items"]
}) {}

/** The cookie of the demo, which has no HTTPS. */
export const cookie: SessionCookie.Options = { name: "session", secure: false }
