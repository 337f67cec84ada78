/**
 * How payloads are written at rest: between sessions, which always see the text
 * of `SessionData`, and stores, which see what this module makes of it.
 *
 * | format | what the store keeps | read |
 * | --- | --- | --- |
 * | 1 | the text itself | unless payloads are sealed |
 * | 2 | sealed octets | always |
 * | 3 | compressed octets | unless payloads are sealed |
 *
 * A sealed payload is encrypted and authenticated for the key and the subject of
 * its record: moved to another key, to another store or to another user, it does
 * not open. What is compressed says so, and by which algorithm, in an octet of its own; inside a seal that octet is
 * authenticated, and the compressed octets are padded to a multiple of 64.
 *
 * A record that cannot be read is handed on as {@link unreadable}: the session is
 * `invalid`, with the problem `sealed`. Nothing is ever read in some other way
 * instead. Once payloads are sealed, plain ones are unreadable too; for a migration,
 * `acceptPlainUntil` takes them until a date.
 *
 * Without a layer, `SessionBackend` keeps payloads as they are, or seals them where
 * the store asks for it and the preset says so.
 *
 * **Gotchas**
 *
 * Key, subject, times and version of a record are not sealed: stores work with
 * them. Of these, times and version can be changed by whoever can write to the
 * store.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type Algorithm, Compression, type Service as CompressionService } from "./Compression.ts"
import type { Crypto } from "./Crypto.ts"
import * as AtOnce from "./internal/atOnce.ts"
import { OpenedPayloads } from "./internal/openedPayloads.ts"
import * as PayloadContent from "./internal/payloadContent.ts"
import type { SealContext } from "./SealedFormat.ts"
import { compressed as compressedFormat, format as plainFormat, sealed as sealedFormat } from "./SessionData.ts"
import type {
  Lookup,
  Payload,
  RecordChange,
  Saved,
  SessionRecord,
  SessionStore,
  SessionStoreError
} from "./SessionStore.ts"

/**
 * A payload as a store keeps it.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Written {
  readonly format: number
  readonly payload: Payload
}

/**
 * Writes and reads the payloads of one store.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Codec {
  /** What a store keeps for a payload, in the record of a key and a subject. */
  readonly encode: (key: string, subject: string | undefined, written: Written) => Effect.Effect<Written>
  /** The record that a store keeps under a key, with the payload as sessions see it. */
  readonly decode: (key: string, record: SessionRecord) => Effect.Effect<SessionRecord>
}

/**
 * What a codec is made for.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Place {
  /** Name of the store: part of what a seal is bound to. */
  readonly name: string
  /** Whether payloads are sealed where the options do not say it; `undefined` where they stay in the process. */
  readonly sealByDefault: boolean | undefined
  readonly crypto: Crypto["Service"]
}

/**
 * Options of {@link layer}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Whether payloads are sealed. By default they are under the presets
   * `production`, `highSecurity` and `clustered`, except in the memory of the
   * process.
   */
  readonly seal?: boolean | undefined
  /** Algorithm that payloads are compressed with. None by default. */
  readonly compress?: Algorithm | undefined
  /** Fewest octets that are compressed; that of `Compression` by default. */
  readonly threshold?: number | undefined
  /**
   * Until when sealed stores still read payloads that are not sealed, for a
   * migration. They are sealed at their next write.
   */
  readonly acceptPlainUntil?: DateTime.DateTime.Input | undefined
}

/**
 * Keeps payloads as they are.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const identity: Codec = {
  encode: (_key, _subject, written) => Effect.succeed(written),
  decode: (_, record) => Effect.succeed(record)
}

/**
 * Format of a record whose payload could not be read. No store ever keeps it.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const unreadable = 0

const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const textOf = (bytes: Uint8Array): string | undefined => {
  try {
    return fromUtf8.decode(bytes)
  } catch {
    return undefined
  }
}

const dateOf = (input: DateTime.DateTime.Input | undefined): number => {
  if (input === undefined) return -Infinity
  const date = DateTime.make(input)
  if (Option.isNone(date)) throw new RangeError("PayloadCodec: acceptPlainUntil is not a date")
  return DateTime.toEpochMillis(date.value)
}

/**
 * Creates the codec of one store.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for a date that is none and for an algorithm that
 * `compression` does not have.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  { crypto, name, sealByDefault }: Place,
  compression: CompressionService,
  clock: Clock.Clock,
  options: Options = {}
): Codec => {
  const { compress, threshold } = options
  const seals = options.seal ?? sealByDefault ?? false
  const acceptPlainUntil = dateOf(options.acceptPlainUntil)
  if (compress !== undefined && !compression.algorithms.includes(compress)) {
    throw new RangeError(
      `PayloadCodec: there is no ${compress} here, only ${compression.algorithms.join(", ")}; provide CompressionNode`
    )
  }

  const context = (key: string, subject: string | undefined): SealContext => ({
    purpose: "record",
    place: name,
    key,
    subject
  })
  const read = (record: SessionRecord, bytes: Uint8Array | undefined): SessionRecord => {
    const payload = bytes === undefined ? undefined : textOf(bytes)
    return payload === undefined
      ? { ...record, format: unreadable, payload: "" }
      : { ...record, format: plainFormat, payload }
  }
  const unread = (record: SessionRecord) => Effect.succeed(read(record, undefined))

  // Takes the content of a seal, or of format 3, apart.
  const unpack = (record: SessionRecord, content: Uint8Array, sealed: boolean): Effect.Effect<SessionRecord> => {
    const bytes = sealed ? PayloadContent.plainIn(content) : undefined
    if (bytes !== undefined) return Effect.succeed(read(record, bytes))
    const compressed = PayloadContent.compressedIn(content)
    return compressed === undefined
      ? unread(record)
      : Effect.mapEager(
        // In memory of its own: whoever unpacks it may be anybody.
        compression.decompress(compressed.algorithm, new Uint8Array(compressed.bytes)),
        (bytes) => read(record, bytes)
      )
  }

  const opened = new OpenedPayloads()
  const unseal = AtOnce.eager(crypto.open)
  const open = (key: string, record: SessionRecord, sealed: Uint8Array): Effect.Effect<SessionRecord> => {
    const { subject } = record
    const known = opened.get(key, subject, sealed)
    if (known !== undefined) return Effect.succeed({ ...record, format: plainFormat, payload: known })
    // What is remembered is what was opened, whatever becomes of the octets of the store meanwhile.
    const own = new Uint8Array(sealed)
    return Effect.flatMapEager(
      unseal(context(key, subject), own),
      (value) =>
        value === undefined ? unread(record) : Effect.mapEager(unpack(record, value.plaintext, true), (read) => {
          if (typeof read.payload === "string" && read.format === plainFormat) {
            opened.set(key, subject, own, read.payload)
          }
          return read
        })
    )
  }

  const isPlainAccepted = () => !seals || clock.currentTimeMillisUnsafe() < acceptPlainUntil

  return {
    encode: (key, subject, written) => {
      const { payload } = written
      if (!seals && compress === undefined) return Effect.succeed(written)
      const seal = (content: Uint8Array): Effect.Effect<Written> =>
        Effect.mapEager(crypto.seal(context(key, subject), content), (sealed) => {
          // Otherwise what is read back is another text.
          if (typeof payload === "string" && payload.isWellFormed()) opened.set(key, subject, sealed, payload)
          return { format: sealedFormat, payload: sealed }
        })
      if (compress === undefined) return seal(PayloadContent.plain(payload))
      const bytes = typeof payload === "string" ? utf8.encode(payload) : payload
      return Effect.flatMapEager(compression.compress(bytes, { algorithm: compress, threshold }), (smaller) => {
        if (!seals) {
          return Effect.succeed(
            smaller === undefined || PayloadContent.header + smaller.bytes.length >= bytes.length ? written : {
              format: compressedFormat,
              payload: PayloadContent.compressed(
                smaller.algorithm,
                smaller.bytes,
                PayloadContent.header + smaller.bytes.length
              )
            }
          )
        }
        const length = smaller === undefined ? Infinity : PayloadContent.paddedLength(smaller.bytes.length)
        return seal(
          smaller === undefined || length > bytes.length
            ? PayloadContent.plain(bytes)
            : PayloadContent.compressed(smaller.algorithm, smaller.bytes, length)
        )
      })
    },

    decode: (key, record) => {
      const { format, payload } = record
      switch (format) {
        case plainFormat:
          return isPlainAccepted() ? Effect.succeed(record) : unread(record)
        case compressedFormat:
          return isPlainAccepted() && typeof payload !== "string" ? unpack(record, payload, false) : unread(record)
        case sealedFormat:
          return typeof payload === "string" ? unread(record) : open(key, record, payload)
        // Written by a later version, which decoding will say.
        default:
          return Effect.succeed(record)
      }
    }
  }
}

/**
 * Service that makes the codec of each store. By default payloads are kept as they
 * are, or sealed where the store asks for it and the preset says so.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export const PayloadCodec: Context.Reference<(place: Place) => Effect.Effect<Codec>> = Context.Reference<
  (place: Place) => Effect.Effect<Codec>
>("@effect-session/core/PayloadCodec", {
  defaultValue: () => (place) => place.sealByDefault === undefined ? Effect.succeed(identity) : configured(place)
})

const configured = Effect.fnUntraced(function*(place: Place, options?: Options) {
  const codec = make(place, yield* Compression, yield* Clock.Clock, options)
  const until = dateOf(options?.acceptPlainUntil)
  if ((options?.seal ?? place.sealByDefault) === true && (yield* Clock.currentTimeMillis) < until) {
    yield* Effect.logWarning(
      `Payloads that are not sealed are accepted from the store "${place.name}" until ${new Date(until).toISOString()}`
    )
  }
  return codec
})

/**
 * Decides how payloads are written.
 *
 * **Gotchas**
 *
 * Provide it to the layer of the store. Building that layer dies with a
 * `RangeError` for options that {@link make} refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<never> =>
  Layer.succeed(PayloadCodec, (place) => configured(place, options))

/**
 * A store whose payloads are as sessions see them. It has to be told whose record
 * it saves.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface CodedStore extends Omit<SessionStore["Service"], "save"> {
  readonly save: (
    key: string,
    expectedVersion: number,
    change: RecordChange,
    subject: string | undefined
  ) => Effect.Effect<Saved, SessionStoreError>
}

/**
 * Puts a codec in front of a store: payloads are plain above it and written by
 * the codec below. With {@link identity} it is the store itself.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const over = (store: SessionStore["Service"], codec: Codec): CodedStore => {
  if (codec === identity) return store
  // What was written is what was confirmed: it need not be opened again.
  const confirmed = <A extends { readonly _tag: string }>(
    answer: A | (A & { readonly record: SessionRecord }),
    { format, payload }: Written
  ): A => "record" in answer ? { ...answer, record: { ...answer.record, format, payload } } : answer

  return {
    load: (key, options) =>
      Effect.flatMapEager(store.load(key, options), (lookup): Effect.Effect<Lookup> =>
        lookup._tag === "Live"
          // Through a renewed-away key the record of its successor is read.
          ? Effect.mapEager(codec.decode(lookup.alias ?? key, lookup.record), (record) => ({ ...lookup, record }))
          : Effect.succeed(lookup)),
    create: (record, limit) =>
      Effect.flatMapEager(
        codec.encode(record.key, record.subject, record),
        ({ format, payload }) =>
          Effect.map(store.create({ ...record, format, payload }, limit), (created) => confirmed(created, record))
      ),
    save: (key, expectedVersion, change, subject) =>
      Effect.flatMapEager(codec.encode(key, subject, change), ({ format, payload }) =>
        Effect.map(
          store.save(key, expectedVersion, { ...change, format, payload }),
          (saved) => confirmed(saved, change)
        )),
    touch: store.touch,
    renew: (oldKey, expectedVersion, replacement, options) =>
      Effect.flatMapEager(
        codec.encode(replacement.key, replacement.subject, replacement),
        ({ format, payload }) =>
          Effect.map(
            store.renew(oldKey, expectedVersion, { ...replacement, format, payload }, options),
            (renewed) => confirmed(renewed, replacement)
          )
      ),
    destroy: store.destroy
  }
}
