import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as FastCheck from "fast-check"
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Zlib from "node:zlib"
import * as Compression from "../src/Compression.ts"
import * as CompressionNode from "../src/CompressionNode.ts"

const services = { portable: Compression.make, node: CompressionNode.make }

const bytesOf = (text: string) => new TextEncoder().encode(text)
const repetitive = (length: number) => bytesOf("session data, ".repeat(Math.ceil(length / 14)).slice(0, length))
// The same octets for every run.
const noise = (length: number) => {
  let state = 1
  return Uint8Array.from({ length }, () => {
    state = Math.imul(state, 1_103_515_245) + 12_345 >>> 0
    return state >>> 24
  })
}

// Text of eight letters: compresses to about 40 percent.
const mixed = (length: number) => noise(length).map((octet) => 65 + (octet & 7))

const roundTrip = Effect.fnUntraced(function*(
  service: Compression.Service,
  bytes: Uint8Array,
  algorithm?: Compression.Algorithm
) {
  const compressed = yield* service.compress(bytes, { algorithm })
  if (compressed === undefined) return undefined
  const back = yield* service.decompress(compressed.algorithm, compressed.bytes)
  assert.deepStrictEqual(back, bytes)
  return compressed
})

// 100 MiB of zeros: 102 KB of gzip, 165 octets of brotli.
const bombs = (() => {
  const zeros = Buffer.alloc(100 * 1024 * 1024)
  const quality = { params: { [Zlib.constants.BROTLI_PARAM_QUALITY]: 5 } }
  return { gzip: Zlib.gzipSync(zeros), brotli: Zlib.brotliCompressSync(zeros, quality) }
})()

for (const [name, make] of Object.entries(services)) {
  describe(`Compression (${name})`, () => {
    const service = make()

    it.effect("brings back what it has compressed", () =>
      Effect.gen(function*() {
        for (const algorithm of service.algorithms) {
          for (const size of [256, 1000, 16_384, 65_536]) {
            const compressed = yield* roundTrip(service, mixed(size), algorithm)
            assert.isDefined(compressed, `${algorithm} ${size}`)
            assert.strictEqual(compressed!.algorithm, algorithm)
            assert.isBelow(compressed!.bytes.length, size)
          }
        }
      }))

    it.effect("brings back random octets, compressed or not", () =>
      Effect.promise(() =>
        FastCheck.assert(FastCheck.asyncProperty(
          FastCheck.uint8Array({ maxLength: 64 }),
          FastCheck.integer({ min: 1, max: 40 }),
          async (part, times) => {
            const bytes = new Uint8Array(part.length * times)
            for (let i = 0; i < times; i++) bytes.set(part, i * part.length)
            for (const algorithm of service.algorithms) await Effect.runPromise(roundTrip(service, bytes, algorithm))
          }
        ))
      ))

    it.effect("starts at its threshold", () =>
      Effect.gen(function*() {
        assert.isUndefined(yield* service.compress(repetitive(255)))
        assert.isDefined(yield* service.compress(repetitive(256)))
        assert.isDefined(yield* service.compress(repetitive(100), { threshold: 100 }))
        assert.isUndefined(yield* make({ threshold: 1000 }).compress(repetitive(999)))
      }))

    it.effect("keeps only what is smaller", () =>
      Effect.gen(function*() {
        assert.isUndefined(yield* service.compress(noise(4096)))
      }))

    it.effect("leaves alone what it would not take back", () =>
      Effect.gen(function*() {
        // Larger than the bound, and better compressed than the ratio allows.
        assert.isUndefined(yield* service.compress(mixed(65_537)))
        assert.isUndefined(yield* service.compress(new Uint8Array(65_536)))
        assert.isDefined(yield* make({ maxSize: 65_537 }).compress(mixed(65_537)))
        assert.isDefined(yield* roundTrip(make({ maxRatio: 10_000 }), new Uint8Array(65_536)))
      }))

    it.effect("works beyond the sizes of most payloads", () =>
      Effect.gen(function*() {
        const large = make({ maxSize: 1_048_576 })
        for (const algorithm of service.algorithms) {
          assert.isDefined(yield* roundTrip(large, mixed(1_048_576), algorithm))
        }
        const damaged = Zlib.gzipSync(mixed(200_000)).subarray(0, 5000)
        assert.isUndefined(yield* large.decompress("gzip", damaged))
      }))

    it.effect("takes back up to its bounds and nothing more", () =>
      Effect.gen(function*() {
        const bounded = make({ maxSize: 1000, maxRatio: 1_000 })
        assert.strictEqual((yield* bounded.decompress("gzip", Zlib.gzipSync(repetitive(1000))))?.length, 1000)
        assert.isUndefined(yield* bounded.decompress("gzip", Zlib.gzipSync(repetitive(1001))))
        const ten = make({ maxRatio: 10 })
        const compressed = Zlib.gzipSync(repetitive(10_000))
        assert.isUndefined(yield* ten.decompress("gzip", compressed))
        const enough = make({ maxRatio: Math.ceil(10_000 / compressed.length) })
        assert.isDefined(yield* enough.decompress("gzip", compressed))
      }))

    it.effect("refuses everything that it has not made", () =>
      Effect.gen(function*() {
        const compressed = new Uint8Array(Zlib.gzipSync(mixed(1000)))
        assert.isDefined(yield* service.decompress("gzip", compressed))
        for (let length = 0; length < compressed.length; length += 7) {
          assert.isUndefined(yield* service.decompress("gzip", compressed.subarray(0, length)), `${length}`)
        }
        for (const position of [0, 1, 2, 30, compressed.length - 8, compressed.length - 1]) {
          const damaged = compressed.slice()
          damaged[position] ^= 0x55
          assert.isUndefined(yield* service.decompress("gzip", damaged), `${position}`)
        }
        for (const bytes of [noise(300), bytesOf("{\"t\":\"app\"}"), Uint8Array.of(0x1f, 0x8b)]) {
          for (const algorithm of ["gzip", "brotli"] as const) {
            assert.isUndefined(yield* service.decompress(algorithm, bytes))
          }
        }
        const packed = { gzip: compressed, brotli: Zlib.brotliCompressSync(mixed(1000)) }
        for (const algorithm of service.algorithms) {
          assert.isDefined(yield* service.decompress(algorithm, packed[algorithm]))
          const more = Buffer.concat([packed[algorithm], Buffer.from("more")])
          assert.isUndefined(yield* service.decompress(algorithm, more), algorithm)
        }
      }))

    it.effect("does not guess: what looks like gzip is text if it was text", () =>
      Effect.gen(function*() {
        const looks = Buffer.concat([Zlib.gzipSync(mixed(700)), Buffer.from(repetitive(700))])
        const bytes = new Uint8Array(looks)
        assert.deepStrictEqual([...bytes.subarray(0, 2)], [0x1f, 0x8b])
        assert.isDefined(yield* roundTrip(service, bytes))
      }))

    it.effect("gives back what is nested as it is", () =>
      Effect.gen(function*() {
        const inner = new Uint8Array(Zlib.gzipSync(Zlib.gzipSync(Buffer.alloc(50_000_000))))
        const outer = new Uint8Array(Zlib.gzipSync(inner))
        assert.deepStrictEqual(yield* service.decompress("gzip", outer), inner)
      }))

    it.effect("refuses a bomb", () =>
      Effect.gen(function*() {
        const permissive = make({ maxSize: 1_048_576, maxRatio: 1_048_576 })
        for (const algorithm of service.algorithms) {
          const bomb = bombs[algorithm]
          assert.isBelow(bomb.length, 110_000)
          assert.isUndefined(yield* service.decompress(algorithm, bomb))
          assert.isUndefined(yield* permissive.decompress(algorithm, bomb))
        }
      }))

    it("refuses bounds that are none", () => {
      const wrong: ReadonlyArray<Compression.Options> = [
        { maxSize: 1_048_577 },
        { maxSize: 0 },
        { maxSize: 1.5 },
        { maxRatio: 0 },
        { maxRatio: NaN },
        { threshold: -1 },
        { threshold: Infinity }
      ]
      for (const options of wrong) assert.throws(() => make(options), RangeError)
      assert.doesNotThrow(() => make({ maxSize: 1_048_576, maxRatio: 1, threshold: 0 }))
    })
  })
}

describe("Compression", () => {
  it.effect("has brotli on Node and gzip everywhere, and each reads the other", () =>
    Effect.gen(function*() {
      const [portable, node] = [Compression.make(), CompressionNode.make()]
      assert.deepStrictEqual(portable.algorithms, ["gzip"])
      assert.deepStrictEqual(node.algorithms, ["gzip", "brotli"])
      assert.isUndefined(yield* portable.compress(mixed(1000), { algorithm: "brotli" }))
      for (const [writer, reader] of [[portable, node], [node, portable]] as const) {
        const compressed = yield* writer.compress(mixed(5000))
        assert.deepStrictEqual(yield* reader.decompress("gzip", compressed!.bytes), mixed(5000))
      }
    }))

  it.effect("is the portable one unless a layer says otherwise", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* Compression.Compression).algorithms, ["gzip"])
      const node = yield* Effect.provide(Compression.Compression, CompressionNode.layer())
      assert.deepStrictEqual(node.algorithms, ["gzip", "brotli"])
      const bounded = yield* Effect.provide(Compression.Compression, Compression.layer({ maxSize: 500 }))
      assert.isUndefined(yield* bounded.compress(mixed(501)))
    }))

  it("holds no more memory for a bomb than its bound", () => {
    // In a process of its own, where nothing else takes memory.
    const module = (name: string) => JSON.stringify(new URL(`../src/${name}.ts`, import.meta.url).href)
    const script = `
      import * as Effect from "effect/Effect"
      const Compression = await import(${module("Compression")})
      const CompressionNode = await import(${module("CompressionNode")})
      const [gzip, brotli] = JSON.parse(process.argv[1]).map((text) => new Uint8Array(Buffer.from(text, "base64")))
      const options = { maxSize: 1_048_576, maxRatio: 1_048_576 }
      const attempts = [
        CompressionNode.make(options).decompress("gzip", gzip),
        CompressionNode.make(options).decompress("brotli", brotli),
        Compression.make(options).decompress("gzip", gzip)
      ]
      for (const attempt of attempts) await Effect.runPromise(attempt)
      const before = process.memoryUsage().rss
      let most = 0
      for (let i = 0; i < 5; i++) {
        for (const attempt of attempts) {
          if (await Effect.runPromise(attempt) !== undefined) throw new Error("accepted")
          most = Math.max(most, process.memoryUsage().rss - before)
        }
        globalThis.gc()
      }
      process.stdout.write(String(most))
    `
    // An argument of a process has at most 128 KiB. The first 60 KB are a bomb too.
    const args = JSON.stringify([bombs.gzip.subarray(0, 60_000), bombs.brotli].map((bomb) => bomb.toString("base64")))
    const grown = execFileSync(process.execPath, ["--expose-gc", "--input-type=module", "-e", script, args], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      encoding: "utf8"
    })
    assert.isBelow(Number(grown), 24 * 1024 * 1024)
  })
})
