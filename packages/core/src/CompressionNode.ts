/**
 * `Compression` on `node:zlib`: gzip and brotli for Node servers.
 *
 * Small payloads, which nearly all are, are compressed and decompressed
 * synchronously; larger ones in the thread pool. Reads what `Compression.layer`
 * wrote, and the other way round.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Zlib from "node:zlib"
import * as Compression from "./Compression.ts"

// What takes longer than a thread of the pool takes to start.
const synchronous = 65_536

// Brotli's own default takes a hundred times longer, for a few octets.
const quality = { params: { [Zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }

// A Buffer's `slice` shares memory and a Uint8Array's does not: callers get what the type says.
const octets = (buffer: Buffer): Uint8Array => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)

/** With `info`, zlib tells what it did besides the result. */
interface Inflated {
  readonly buffer: Buffer
  readonly engine: { readonly bytesWritten: number }
}

const isInflated = (result: unknown): result is Inflated =>
  typeof result === "object" && result !== null && "buffer" in result && "engine" in result

// Octets after the end would be ignored.
const whole = (result: unknown, bytes: Uint8Array): Uint8Array | undefined =>
  isInflated(result) && result.engine.bytesWritten === bytes.length ? octets(result.buffer) : undefined

interface Method<Options> {
  readonly options: Options
  readonly compressSync: (bytes: Uint8Array, options: Options) => Buffer
  readonly compress: (
    bytes: Uint8Array,
    options: Options,
    callback: (error: Error | null, result: Buffer) => void
  ) => void
  readonly decompressSync: (
    bytes: Uint8Array,
    options: { readonly maxOutputLength: number; readonly info: boolean }
  ) => unknown
  readonly decompress: (
    bytes: Uint8Array,
    options: { readonly maxOutputLength: number; readonly info: boolean },
    callback: (error: Error | null, result: unknown) => void
  ) => void
}

const codec = <Options>(method: Method<Options>): Compression.Codec => ({
  compress: (bytes) =>
    bytes.length <= synchronous
      ? Effect.sync(() => octets(method.compressSync(bytes, method.options)))
      : Effect.callback<Uint8Array>((resume) =>
        method.compress(bytes, method.options, (error, result) =>
          // What cannot be compressed is not smaller than it was.
          resume(Effect.succeed(error === null ? octets(result) : bytes)))
      ),
  decompress: (bytes, maximum) => {
    const options = { maxOutputLength: maximum, info: true }
    if (maximum > synchronous) {
      return Effect.callback<Uint8Array | undefined>((resume) =>
        method.decompress(
          bytes,
          options,
          (error, result) => resume(Effect.succeed(error === null ? whole(result, bytes) : undefined))
        )
      )
    }
    return Effect.sync(() => {
      try {
        return whole(method.decompressSync(bytes, options), bytes)
      } catch {
        return undefined
      }
    })
  }
})

const gzip = codec<Zlib.ZlibOptions>({
  options: {},
  compressSync: Zlib.gzipSync,
  compress: Zlib.gzip,
  decompressSync: Zlib.gunzipSync,
  decompress: Zlib.gunzip
})

const brotli = codec<Zlib.BrotliOptions>({
  options: quality,
  compressSync: Zlib.brotliCompressSync,
  compress: Zlib.brotliCompress,
  decompressSync: Zlib.brotliDecompressSync,
  decompress: Zlib.brotliDecompress
})

/**
 * Creates the service of Node.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for bounds that `Compression.makeWith` refuses.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Compression.Options): Compression.Service =>
  Compression.makeWith({ gzip, brotli }, options)

/**
 * Provides the service of Node.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for bounds that `Compression.makeWith` refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Compression.Options): Layer.Layer<never> =>
  Layer.succeed(Compression.Compression, make(options))
