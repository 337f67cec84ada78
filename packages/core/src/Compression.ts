/**
 * Compresses payloads, and takes back no more than it would have written.
 *
 * What is compressed is announced by the name of its algorithm, never guessed
 * from its first octets. Compression is kept only where it pays: from a
 * threshold on, and when the result is smaller. The way back is bounded twice,
 * in octets and as a multiple of the compressed size, so that a few octets that
 * stand for a hundred million cost no more than the bound. Whatever is refused is
 * `undefined`, without a reason.
 *
 * Without a layer, gzip on the streams of the platform is used: Node, Bun, Deno,
 * Workers. `CompressionNode.layer` is faster on Node, and knows brotli.
 *
 * **Gotchas**
 *
 * The size of what is compressed tells something about its content, to whoever
 * can see sizes and choose a part of the content. Do not compress secrets
 * together with text that a client chooses.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * Name of an algorithm.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Algorithm = "gzip" | "brotli"

/**
 * What was compressed, and how.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Compressed {
  readonly algorithm: Algorithm
  readonly bytes: Uint8Array
}

/**
 * Bounds of a compression.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Fewest octets that are compressed, 256 by default. */
  readonly threshold?: number | undefined
  /**
   * Most octets that are compressed, and that come back: 65,536 by default, at
   * most 1,048,576.
   */
  readonly maxSize?: number | undefined
  /**
   * Most octets that come back for each compressed one, 100 by default. What
   * would compress better than that is left as it is.
   */
  readonly maxRatio?: number | undefined
}

/**
 * Compresses and decompresses.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Service {
  /** The algorithms there are. */
  readonly algorithms: ReadonlyArray<Algorithm>
  /**
   * Compresses, with gzip unless another algorithm is asked for. `undefined` when
   * it is not worth it, or would not come back within the bounds.
   */
  readonly compress: (
    bytes: Uint8Array,
    options?: {
      readonly algorithm?: Algorithm | undefined
      /** Replaces the threshold of the service. */
      readonly threshold?: number | undefined
    }
  ) => Effect.Effect<Compressed | undefined>
  /**
   * Takes back what `compress` made. `undefined` for everything else: damaged
   * octets, octets after the end, more than the bounds allow, an algorithm that
   * is not there.
   */
  readonly decompress: (algorithm: Algorithm, bytes: Uint8Array) => Effect.Effect<Uint8Array | undefined>
}

/**
 * What a platform compresses with. `decompress` stops at `maximum` octets.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Codec {
  readonly compress: (bytes: Uint8Array) => Effect.Effect<Uint8Array>
  readonly decompress: (bytes: Uint8Array, maximum: number) => Effect.Effect<Uint8Array | undefined>
}

const hardMaximum = 1_048_576

const integer = (name: string, value: number, least: number, most: number): number => {
  if (!(Number.isSafeInteger(value) && value >= least && value <= most)) {
    throw new RangeError(`Compression: ${name} must be an integer from ${least} to ${most}, got ${value}`)
  }
  return value
}

/**
 * Creates a service from the algorithms of a platform.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for bounds that are no integers in their range.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const makeWith = (
  codecs: { readonly [A in Algorithm]?: Codec | undefined },
  options: Options = {}
): Service => {
  const maxSize = integer("maxSize", options.maxSize ?? 65_536, 1, hardMaximum)
  const maxRatio = integer("maxRatio", options.maxRatio ?? 100, 1, hardMaximum)
  const least = integer("threshold", options.threshold ?? 256, 0, hardMaximum)
  const byName = new Map<string, Codec>()
  const algorithms: Array<Algorithm> = []
  for (const algorithm of ["gzip", "brotli"] as const) {
    const codec = codecs[algorithm]
    if (codec === undefined) continue
    algorithms.push(algorithm)
    byName.set(algorithm, codec)
  }
  return {
    algorithms,
    compress: (bytes, options = {}) => {
      const { algorithm = "gzip", threshold = least } = options
      const codec = byName.get(algorithm)
      if (codec === undefined || bytes.length < threshold || bytes.length > maxSize) return Effect.undefined
      return Effect.mapEager(
        codec.compress(bytes),
        (compressed) =>
          compressed.length < bytes.length && bytes.length <= compressed.length * maxRatio
            ? { algorithm, bytes: compressed }
            : undefined
      )
    },
    decompress: (algorithm, bytes) => {
      const codec = byName.get(algorithm)
      return codec === undefined || bytes.length === 0 || bytes.length > maxSize
        ? Effect.undefined
        : codec.decompress(bytes, Math.min(maxSize, bytes.length * maxRatio))
    }
  }
}

// Reads what a stream makes of some octets, and stops it once there is too much.
const through = async (
  stream: CompressionStream | DecompressionStream,
  bytes: Uint8Array<ArrayBuffer>,
  maximum: number,
  signal: AbortSignal
): Promise<Uint8Array | undefined> => {
  const writer = stream.writable.getWriter()
  const reader: ReadableStreamDefaultReader<Uint8Array> = stream.readable.getReader()
  // What goes wrong with writing is seen by the reader.
  const ignore = () => {}
  writer.closed.catch(ignore)
  writer.write(bytes).catch(ignore)
  writer.close().catch(ignore)
  const cancel = () => void reader.cancel().catch(ignore)
  signal.addEventListener("abort", cancel)
  const parts: Array<Uint8Array> = []
  let length = 0
  try {
    while (true) {
      const { done, value } = await reader.read()
      if (done) break
      length += value.length
      if (length > maximum) {
        cancel()
        return undefined
      }
      parts.push(value)
    }
  } catch {
    return undefined
  } finally {
    signal.removeEventListener("abort", cancel)
  }
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

const streams = (format: CompressionFormat): Codec => ({
  compress: (bytes) =>
    Effect.map(
      Effect.promise((signal) => through(new CompressionStream(format), bytes.slice(), Infinity, signal)),
      // What cannot be compressed is not smaller than it was.
      (compressed) => compressed ?? bytes
    ),
  decompress: (bytes, maximum) =>
    Effect.promise((signal) => through(new DecompressionStream(format), bytes.slice(), maximum, signal))
})

/**
 * Creates the portable service: gzip.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): Service => makeWith({ gzip: streams("gzip") }, options)

/**
 * Service that compresses; by default the portable one with its default bounds.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export const Compression: Context.Reference<Service> = Context.Reference<Service>(
  "@effect-session/core/Compression",
  { defaultValue: () => make() }
)

/**
 * Provides the portable service.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for bounds that {@link makeWith} refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<never> => Layer.succeed(Compression, make(options))
