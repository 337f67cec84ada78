/**
 * What the nodes of an application tell each other about sessions, and how it
 * is written on the wire.
 *
 * A frame is JSON with a format version, the sender, and the sender's sequence
 * number, so that a receiver notices what it missed and drops what it has seen.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

const Hash = Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(256))

const SequenceNumber = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

/**
 * A change of sessions.
 *
 * **Details**
 *
 * - `SessionChanged`: the record under `key` now has this version.
 * - `SessionEnded`: there is no record under `key` any more.
 * - `SubjectRevoked`: the sessions of a subject have ended.
 * - `Flush`: forget everything.
 *
 * **Gotchas**
 *
 * `key` is the store's key, a keyed hash of the id. Give the subject as a keyed
 * hash too: whoever can listen on the channel sees both.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Message =
  | { readonly _tag: "SessionChanged"; readonly key: string; readonly version: number }
  | { readonly _tag: "SessionEnded"; readonly key: string }
  | { readonly _tag: "SubjectRevoked"; readonly subject: string }
  | { readonly _tag: "Flush" }

/**
 * A message with its sender and its place in the order of the sender.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Envelope {
  readonly node: string
  /** Starts at 1 and grows by one with every message of the node. */
  readonly sequence: number
  readonly message: Message
}

/**
 * Schema of `Message`: keys and subjects have 1 to 256 characters.
 *
 * @stability unstable
 * @category schemas
 * @since 0.1.0
 */
export const Message: Schema.Codec<Message> = Schema.Union([
  Schema.TaggedStruct("SessionChanged", { key: Hash, version: SequenceNumber }),
  Schema.TaggedStruct("SessionEnded", { key: Hash }),
  Schema.TaggedStruct("SubjectRevoked", { subject: Hash }),
  Schema.TaggedStruct("Flush", {})
])

const formatVersion = 1

const Frame = Schema.Struct({
  v: Schema.Literal(formatVersion),
  node: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(64)),
  sequence: SequenceNumber,
  message: Message
})

const Version = Schema.Struct({ v: Schema.Int })

/**
 * Characters a frame may have; longer ones are not even parsed.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const maxFrameLength = 2048

/**
 * Why a frame was not understood.
 *
 * **Details**
 *
 * - `oversized`: longer than {@link maxFrameLength}.
 * - `version`: of a format this release does not know.
 * - `malformed`: anything else.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Rejection = "oversized" | "version" | "malformed"

const encodeFrame = Schema.encodeResult(Schema.fromJsonString(Frame))
const decodeFrame = Schema.decodeUnknownResult(Frame)
const decodeVersion = Schema.decodeUnknownResult(Version)

/**
 * Writes a frame. Fails on a message that no receiver would accept.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const encode = (envelope: Envelope): Result.Result<string, Rejection> =>
  Result.flatMap(
    Result.mapError(encodeFrame({ v: formatVersion, ...envelope }), (): Rejection => "malformed"),
    (frame) => frame.length > maxFrameLength ? Result.fail("oversized") : Result.succeed(frame)
  )

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * Reads a frame. Never throws, whatever the text is.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const decode = (frame: string): Result.Result<Envelope, Rejection> => {
  if (frame.length > maxFrameLength) return Result.fail("oversized")
  const value = parseJson(frame)
  const version = decodeVersion(value)
  if (Result.isSuccess(version) && version.success.v !== formatVersion) return Result.fail("version")
  return Result.match(decodeFrame(value), {
    onFailure: () => Result.fail("malformed"),
    onSuccess: ({ message, node, sequence }) => Result.succeed({ node, sequence, message })
  })
}
