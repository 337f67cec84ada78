/**
 * What seals and opens, by name. The ones of the group `octets` take octets to octets, the ones of `cookie` the data of
 * a session to the text of a cookie.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from "node:crypto"
import * as Crypto from "../../packages/core/src/Crypto.ts"
import * as CryptoNode from "../../packages/core/src/CryptoNode.ts"
import * as canonicalBase64 from "../../packages/core/src/internal/canonicalBase64.ts"
import { loadSodium } from "../../packages/core/src/internal/primitivesNode.ts"
import * as SealedToken from "../../packages/core/src/internal/sealedToken.ts"
import * as SealedFormat from "../../packages/core/src/SealedFormat.ts"
import * as SessionConfig from "../../packages/core/src/SessionConfig.ts"
import { dataOf } from "../http/data.ts"

export const operations = ["seal", "open"] as const
export type Operation = typeof operations[number]

/** Does one operation that many times, one after the other, on so many octets. */
export interface Contender {
  readonly run: (operation: Operation, size: number, times: number) => Promise<void>
}

type Suite = SealedFormat.Suite

/** The service of a suite, on the Node layer or on the portable one. */
export const service = (layer: typeof CryptoNode.layer, suite: Suite): Promise<Crypto.Crypto["Service"]> =>
  Effect.runPromise(Effect.provide(
    Crypto.Crypto,
    layer.pipe(Layer.provide(SessionConfig.layer({
      preset: "testing",
      secrets: Redacted.make(randomBytes(48).toString("base64")),
      suite
    }))),
    { local: true }
  ))

/** What the seals of octets are bound to. */
export const context: SealedFormat.SealContext = {
  purpose: "session",
  place: "__Host-session",
  key: randomBytes(33).toString("base64url")
}

const bare = (): Contender => {
  const key = createSecretKey(randomBytes(32))
  const options = { authTagLength: 16 }
  const header = randomBytes(SealedFormat.prefixLength)
  const aad = SealedFormat.additionalData(header, context) ?? header
  const seal = (plaintext: Uint8Array) => {
    const nonce = randomBytes(12)
    const cipher = createCipheriv("aes-256-gcm", key, nonce, options)
    cipher.setAAD(aad)
    const ciphertext = cipher.update(plaintext)
    cipher.final()
    return Buffer.concat([header, nonce, ciphertext, cipher.getAuthTag()])
  }
  const open = (sealed: Uint8Array) => {
    const start = SealedFormat.prefixLength + 12
    const end = sealed.length - 16
    const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(SealedFormat.prefixLength, start), options)
    decipher.setAAD(aad)
    decipher.setAuthTag(sealed.subarray(end))
    const plaintext = decipher.update(sealed.subarray(start, end))
    decipher.final()
    return plaintext
  }
  return {
    run: async (operation, size, times) => {
      const plaintext = randomBytes(size)
      const sealed = seal(plaintext)
      if (operation === "seal") { for (let i = 0; i < times; i++) seal(plaintext) }
      else for (let i = 0; i < times; i++) open(sealed)
    }
  }
}

const octets = (crypto: Crypto.Crypto["Service"]): Contender => ({
  run: (operation, size, times) =>
    Effect.runPromise(Effect.gen(function*() {
      const plaintext = randomBytes(size)
      const sealed = yield* crypto.seal(context, plaintext)
      if (operation === "seal") { for (let i = 0; i < times; i++) yield* crypto.seal(context, plaintext) }
      else for (let i = 0; i < times; i++) yield* crypto.open(context, sealed)
    }))
})

/** Data that have so many octets as JSON. */
const dataOfSize = (size: number) => {
  const data = dataOf(1)
  const missing = size - JSON.stringify(data).length
  // A list, as a basket would be, and not one long text.
  const extra = Array.from(
    { length: Math.max(0, Math.floor(missing / 25)) },
    (_, i) => `item-${String(i).padStart(16, "0")}`
  )
  return extra.length === 0 ? data : { ...data, extra }
}

const place = "__Host-session"
const now = 1_760_000_000_000

/** What cookie mode does with a session: record, seal and text; and all of it back. */
const cookie = (crypto: Crypto.Crypto["Service"]): Contender => {
  const tokens = SealedToken.make(crypto, place)
  const heldOf = (data: unknown) => ({
    key: context.key,
    record: {
      version: 1,
      createdAt: now,
      issuedAt: now,
      authenticatedAt: now,
      lastSeenAt: now,
      idleTimeout: 1_800_000,
      expiresAt: now + 86_400_000,
      subject: "usr_0000000001",
      format: 1,
      payload: JSON.stringify(data)
    }
  })
  const seal = (data: unknown): string | Effect.Effect<string> => {
    const held = heldOf(data)
    const sealed = tokens.sealNow(held)
    return sealed === undefined
      ? Effect.map(tokens.seal(held), canonicalBase64.encode)
      : canonicalBase64.encode(sealed)
  }
  const open = (text: string) =>
    Effect.mapEager(tokens.open(text), (opened): unknown => {
      if (typeof opened?.held.record.payload !== "string") throw new Error("it did not open")
      return JSON.parse(opened.held.record.payload)
    })
  return {
    run: (operation, size, times) =>
      Effect.runPromise(Effect.gen(function*() {
        const data = dataOfSize(size)
        const first = seal(data)
        const sealed = typeof first === "string" ? first : yield* first
        for (let i = 0; i < times; i++) {
          const step = operation === "seal" ? seal(data) : open(sealed)
          if (typeof step !== "string") yield* step
        }
      }))
  }
}

const ironSession = async (): Promise<Contender> => {
  const { sealData, unsealData } = await import("iron-session")
  const options = { password: randomBytes(32).toString("base64url"), ttl: 86_400 }
  return {
    run: async (operation, size, times) => {
      const data = dataOfSize(size)
      const sealed = await sealData(data, options)
      if (operation === "seal") { for (let i = 0; i < times; i++) await sealData(data, options) }
      else for (let i = 0; i < times; i++) await unsealData(sealed, options)
    }
  }
}

const secureSession = async (): Promise<Contender> => {
  const { default: fastify } = await import("fastify")
  const { default: secure } = await import("@fastify/secure-session")
  const app = fastify()
  await app.register(secure, { key: randomBytes(32) })
  await app.ready()
  return {
    run: async (operation, size, times) => {
      const data = dataOfSize(size)
      const seal = () => app.encodeSecureSession(app.createSecureSession({ ...data }))
      const sealed = seal()
      if (operation === "seal") { for (let i = 0; i < times; i++) seal() }
      else {
        for (let i = 0; i < times; i++) {
          if (app.decodeSecureSession(sealed)?.data() === undefined) throw new Error("it did not open")
        }
      }
    }
  }
}

const withSodium = async (contender: () => Promise<Contender>): Promise<Contender> => {
  if (await Effect.runPromise(loadSodium()) === undefined) throw new Error("sodium-native is not installed")
  return contender()
}
const node = (suite: Suite) => service(CryptoNode.layer, suite)
const portable = (suite: Suite) => service(Crypto.layer, suite)

/** The contenders of each group. The first of a group is what the others are measured against. */
export const groups = {
  octets: {
    "bare node:crypto, AES-256-GCM": async () => bare(),
    "node, aes256Gcm": async () => octets(await node("aes256Gcm")),
    "node, aes256CbcHmacSha256": async () => octets(await node("aes256CbcHmacSha256")),
    "node, xchacha20Poly1305, libsodium": () => withSodium(async () => octets(await node("xchacha20Poly1305"))),
    "portable, aes256Gcm": async () => octets(await portable("aes256Gcm")),
    "portable, aes256CbcHmacSha256": async () => octets(await portable("aes256CbcHmacSha256")),
    "portable, xchacha20Poly1305": async () => octets(await portable("xchacha20Poly1305"))
  },
  cookie: {
    "@fastify/secure-session": secureSession,
    "effect-session, libsodium": () => withSodium(async () => cookie(await node("xchacha20Poly1305"))),
    "effect-session, aes256Gcm": async () => cookie(await node("aes256Gcm")),
    "iron-session": ironSession
  }
} satisfies { readonly [group: string]: { readonly [name: string]: () => Promise<Contender> } }

/** How often a contender does what others do once, where that takes too long. */
export const share = (name: string): number => name === "iron-session" ? 0.03 : name.startsWith("portable") ? 0.15 : 1
