/**
 * What the nodes of an application tell each other about sessions, and how it
 * is written on the wire.
 *
 * The body of a frame is JSON with a format version, the sender, and the sender's
 * sequence number, so that a receiver notices what it missed and drops what it
 * has seen. The authentication code stands in front of it: 45 characters, from
 * `Crypto.sign`.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

const Hash = Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(256))

const Positive = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

/**
 * A change of sessions.
 *
 * **Details**
 *
 * - `SessionChanged`: the record under `key` now has this version, or an unknown
 *   one.
 * - `SessionEnded`: there is no record under `key` any more. With a `successor`
 *   the session goes on under that key.
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
  | { readonly _tag: "SessionChanged"; readonly key: string; readonly version?: number }
  | { readonly _tag: "SessionEnded"; readonly key: string; readonly successor?: string }
  | { readonly _tag: "SubjectRevoked"; readonly subject: string }
  | { readonly _tag: "Flush" }

/**
 * What nodes say of themselves.
 *
 * **Details**
 *
 * - `Beat`: the node is there, and its last message had the sequence number of
 *   the envelope. The node that sent it knows by its return that it hears the
 *   channel.
 * - `Leave`: the node is closed and will say nothing more.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Signal =
  | { readonly _tag: "Beat"; readonly beat: number }
  | { readonly _tag: "Leave" }

/**
 * A message or signal with its sender and its place in the order of the sender.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Envelope {
  readonly node: string
  /** Of a message, 1 and one more with every other; of a signal, that of the last message. */
  readonly sequence: number
  readonly message: Message | Signal
}

/**
 * Schema of `Message`: keys and subjects have 1 to 256 characters.
 *
 * @stability unstable
 * @category schemas
 * @since 0.1.0
 */
export const Message: Schema.Codec<Message> = Schema.Union([
  Schema.TaggedStruct("SessionChanged", { key: Hash, version: Schema.optionalKey(Positive) }),
  Schema.TaggedStruct("SessionEnded", { key: Hash, successor: Schema.optionalKey(Hash) }),
  Schema.TaggedStruct("SubjectRevoked", { subject: Hash }),
  Schema.TaggedStruct("Flush", {})
])

/**
 * Schema of `Signal`.
 *
 * @stability unstable
 * @category schemas
 * @since 0.1.0
 */
export const Signal: Schema.Codec<Signal> = Schema.Union([
  Schema.TaggedStruct("Beat", { beat: Positive }),
  Schema.TaggedStruct("Leave", {})
])

const formatVersion = 1

const Body = Schema.Struct({
  v: Schema.Literal(formatVersion),
  node: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(64)),
  sequence: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  message: Schema.Union([Message, Signal])
}).check(
  Schema.makeFilter(({ message, sequence }) => sequence > 0 || message._tag === "Beat" || message._tag === "Leave")
)

const Version = Schema.Struct({ v: Schema.Int })

/**
 * Characters a frame may have, its authentication code included; longer ones are
 * not even looked at.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const maxFrameLength = 2048

/**
 * Characters of an authentication code.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const codeLength = 45

/**
 * Why a frame was not understood.
 *
 * **Details**
 *
 * - `oversized`: longer than {@link maxFrameLength}.
 * - `forged`: not made by a node with a secret of this application.
 * - `version`: of a format this release does not know.
 * - `malformed`: anything else.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Rejection = "oversized" | "forged" | "version" | "malformed"

const encodeBody = Schema.encodeResult(Schema.fromJsonString(Body))
const decodeBody = Schema.decodeUnknownResult(Body)
const decodeVersion = Schema.decodeUnknownResult(Version)

/**
 * Writes the body of a frame. Fails on a message that no receiver would accept.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const encode = (envelope: Envelope): Result.Result<string, Rejection> =>
  Result.flatMap(
    Result.mapError(encodeBody({ v: formatVersion, ...envelope }), (): Rejection => "malformed"),
    (body) => body.length > maxFrameLength - codeLength ? Result.fail("oversized") : Result.succeed(body)
  )

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * Reads the body of a frame. Never throws, whatever the text is.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const decode = (body: string): Result.Result<Envelope, Rejection> => {
  if (body.length > maxFrameLength - codeLength) return Result.fail("oversized")
  const value = parseJson(body)
  const version = decodeVersion(value)
  if (Result.isSuccess(version) && version.success.v !== formatVersion) return Result.fail("version")
  return Result.match(decodeBody(value), {
    onFailure: () => Result.fail("malformed"),
    onSuccess: ({ message, node, sequence }) => Result.succeed({ node, sequence, message })
  })
}
