/**
 * What can be wrong with a session cookie: its configuration, or one value of it.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * Error of a cookie that browsers would drop or that would not be the cookie
 * meant, with every problem found.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class CookieConfigError
  extends Schema.Error<CookieConfigError>("@effect-session/http/SessionCookieError/CookieConfigError")({
    _tag: Schema.tag("CookieConfigError"),
    problems: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    return `The session cookie has ${this.problems.length} problem(s):\n- ${this.problems.join("\n- ")}`
  }
}

/**
 * Name and value are too large for a cookie.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class TooLarge extends Schema.Error<TooLarge>("@effect-session/http/SessionCookieError/TooLarge")({
  _tag: Schema.tag("TooLarge"),
  /** Octets of name and value. */
  actual: Schema.Finite,
  /** Octets. */
  maximum: Schema.Finite
}) {
  override get message(): string {
    return `The cookie's name and value have ${this.actual} octets; at most ${this.maximum} are kept`
  }
}

/**
 * The value is empty or holds a character that no cookie value may have.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class InvalidValue extends Schema.Error<InvalidValue>("@effect-session/http/SessionCookieError/InvalidValue")({
  _tag: Schema.tag("InvalidValue")
}) {
  override get message(): string {
    return "The cookie's value is empty or holds a character that cookies cannot carry; encode it as base64url"
  }
}

/**
 * The lifetime is not more than 0 and at most 400 days, or does not end in a
 * year of four digits.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class InvalidLifetime
  extends Schema.Error<InvalidLifetime>("@effect-session/http/SessionCookieError/InvalidLifetime")({
    _tag: Schema.tag("InvalidLifetime"),
    maxAge: Schema.Number,
    now: Schema.Number
  })
{
  override get message(): string {
    return `A cookie cannot live for ${this.maxAge} ms from ${this.now}: it may live for more than 0 ms and at most ` +
      "400 days; delete the cookie of a session that has ended"
  }
}

/**
 * Union of the reasons carried by `SessionCookieError`.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export type SessionCookieErrorReason = TooLarge | InvalidValue | InvalidLifetime

/**
 * Error of a cookie that cannot be sent, wrapping a concrete failure `reason`.
 * It never shows the value.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class SessionCookieError
  extends Schema.Error<SessionCookieError>("@effect-session/http/SessionCookieError/SessionCookieError")({
    _tag: Schema.tag("SessionCookieError"),
    reason: Schema.Union([TooLarge, InvalidValue, InvalidLifetime])
  })
{
  override get message(): string {
    return this.reason.message
  }
}
