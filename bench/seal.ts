/**
 * Sealing and opening against bare `node:crypto`: CPU time for each operation,
 * of every suite, on the Node layer and on the portable one.
 *
 *     node bench/seal.ts [--rounds=41] [--unique=1000000]
 *
 * The bare twin is AES-256-GCM under a prepared KeyObject, with a random nonce
 * and associated data of the same length. Contenders take turns in each round;
 * what is printed is the median of the rounds, in microseconds, and the ratio of
 * the medians. `--unique` also seals that many values and looks for a salt and
 * nonce that come twice.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from "node:crypto"
import * as Crypto from "../packages/core/src/Crypto.ts"
import * as CryptoNode from "../packages/core/src/CryptoNode.ts"
import * as SealedFormat from "../packages/core/src/SealedFormat.ts"
import * as SessionConfig from "../packages/core/src/SessionConfig.ts"

const option = (name: string, or: number): number => {
  const given = process.argv.find((argument) => argument.startsWith(`--${name}=`))
  return given === undefined ? or : Number(given.slice(name.length + 3))
}
const rounds = option("rounds", 41)
const unique = option("unique", 0)

const suites = ["aes256Gcm", "aes256CbcHmacSha256", "xchacha20Poly1305"] as const
type Suite = typeof suites[number]

const secrets = Redacted.make(randomBytes(48).toString("base64"))
const context = { purpose: "session", place: "__Host-session", key: randomBytes(33).toString("base64url") }

const service = (layer: typeof CryptoNode.layer, suite: Suite) =>
  Effect.runPromise(Effect.provide(
    Crypto.Crypto,
    layer.pipe(Layer.provide(SessionConfig.layer({ preset: "testing", secrets, suite }))),
    { local: true }
  ))

interface Contender {
  readonly name: string
  /** Runs an operation that many times, one after the other. */
  readonly seal: (plaintext: Uint8Array, times: number) => Promise<void>
  readonly open: (plaintext: Uint8Array, times: number) => Promise<void>
  readonly share: number
}

const key = createSecretKey(randomBytes(32))
const options = { authTagLength: 16 }
const header = randomBytes(SealedFormat.prefixLength)
const aad = SealedFormat.additionalData(header, context) ?? header

const bareSeal = (plaintext: Uint8Array) => {
  const nonce = randomBytes(12)
  const cipher = createCipheriv("aes-256-gcm", key, nonce, options)
  cipher.setAAD(aad)
  const ciphertext = cipher.update(plaintext)
  cipher.final()
  return Buffer.concat([header, nonce, ciphertext, cipher.getAuthTag()])
}

const bareOpen = (sealed: Uint8Array) => {
  const start = SealedFormat.prefixLength + 12
  const end = sealed.length - 16
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(SealedFormat.prefixLength, start), options)
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(end))
  const plaintext = decipher.update(sealed.subarray(start, end))
  decipher.final()
  return plaintext
}

const bare: Contender = {
  name: "bare node:crypto, AES-256-GCM",
  seal: async (plaintext, times) => {
    for (let i = 0; i < times; i++) bareSeal(plaintext)
  },
  open: async (plaintext, times) => {
    const sealed = bareSeal(plaintext)
    for (let i = 0; i < times; i++) bareOpen(sealed)
  },
  share: 1
}

const contender = (name: string, crypto: Crypto.Crypto["Service"], share: number): Contender => ({
  name,
  seal: (plaintext, times) =>
    Effect.runPromise(Effect.gen(function*() {
      for (let i = 0; i < times; i++) yield* crypto.seal(context, plaintext)
    })),
  open: (plaintext, times) =>
    Effect.runPromise(Effect.gen(function*() {
      const sealed = yield* crypto.seal(context, plaintext)
      for (let i = 0; i < times; i++) yield* crypto.open(context, sealed)
    })),
  share
})

const contenders: Array<Contender> = [bare]
for (const suite of suites) contenders.push(contender(`node, ${suite}`, await service(CryptoNode.layer, suite), 1))
// The portable layer waits for the thread pool each time: fewer of them are enough.
for (const suite of suites) contenders.push(contender(`portable, ${suite}`, await service(Crypto.layer, suite), 0.2))

const cpu = async (run: (times: number) => Promise<void>, times: number) => {
  const start = process.cpuUsage()
  await run(times)
  const { system, user } = process.cpuUsage(start)
  return (system + user) / times
}

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >>> 1]

const print = (...cells: ReadonlyArray<string>) =>
  process.stdout.write(`${cells.map((cell, i) => i === 0 ? cell.padEnd(34) : cell.padStart(12)).join("")}\n`)

for (const operation of ["seal", "open"] as const) {
  for (const size of [200, 2048]) {
    const plaintext = randomBytes(size)
    const times = 1_000
    for (const contender of contenders) {
      await cpu((times) => contender[operation](plaintext, times), times * contender.share * 5)
    }
    const results = new Map<Contender, Array<number>>(contenders.map((contender) => [contender, []]))
    for (let round = 0; round < rounds; round++) {
      for (const [contender, values] of results) {
        values.push(await cpu((times) => contender[operation](plaintext, times), times * contender.share))
      }
    }
    const base = median(results.get(bare) ?? [])
    print(`\n${operation}, ${size} octets`, "us CPU", "ratio")
    for (const [{ name }, values] of results) {
      print(name, median(values).toFixed(2), (median(values) / base).toFixed(2))
    }
  }
}

if (unique > 0) {
  const crypto = await service(CryptoNode.layer, "aes256Gcm")
  // One salt for all of them: the nonce alone must differ. Numbers of 48 bits go into sets without their text.
  const seen = new Map<number, Set<number>>()
  let count = 0
  const empty = new Uint8Array(0)
  await Effect.runPromise(Effect.gen(function*() {
    for (let i = 0; i < unique; i++) {
      const sealed = Buffer.from(yield* crypto.seal(context, empty))
      const [first, second] = [sealed.readUIntBE(36, 6), sealed.readUIntBE(42, 6)]
      let others = seen.get(first)
      if (others === undefined) seen.set(first, others = new Set())
      if (!others.has(second)) count++
      others.add(second)
    }
  }))
  print(`\n${unique} seals under one salt`, `${count} nonces`)
}
