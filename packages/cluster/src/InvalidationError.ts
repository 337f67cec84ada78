/**
 * Why the channel between the nodes of a cluster did not do what it was asked.
 *
 * Neither keys nor messages are part of an error.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * Error reason for a channel that did not take a message, or not surely. Other
 * nodes may go on serving what changed.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class ChannelUnavailable
  extends Schema.Error<ChannelUnavailable>("@effect-session/cluster/InvalidationError/ChannelUnavailable")({
    _tag: Schema.tag("ChannelUnavailable"),
    cause: Schema.optional(Schema.Defect())
  })
{
  override get message(): string {
    return "The invalidation channel cannot be reached; other nodes were not told of the change"
  }
}

/**
 * Error reason for a message that breaks its schema, with an empty or overlong
 * key for example.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class InvalidMessage
  extends Schema.Error<InvalidMessage>("@effect-session/cluster/InvalidationError/InvalidMessage")({
    _tag: Schema.tag("InvalidMessage")
  })
{
  override get message(): string {
    return "The invalidation message does not fit its schema and was not published"
  }
}

/**
 * Error reason for a channel that could not be heard in time at start.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class SubscribeTimeout
  extends Schema.Error<SubscribeTimeout>("@effect-session/cluster/InvalidationError/SubscribeTimeout")({
    _tag: Schema.tag("SubscribeTimeout")
  })
{
  override get message(): string {
    return "The invalidation channel could not be subscribed to within subscribeTimeout"
  }
}

/**
 * Error of the invalidation channel, wrapping a concrete failure `reason`.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class InvalidationError extends Schema.Error<InvalidationError>("@effect-session/cluster/InvalidationError")({
  _tag: Schema.tag("InvalidationError"),
  reason: Schema.Union([ChannelUnavailable, InvalidMessage, SubscribeTimeout])
}) {
  override get message(): string {
    return this.reason.message
  }
}
