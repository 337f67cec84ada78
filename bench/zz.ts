import * as SealedFormat from "../packages/core/src/SealedFormat.ts"
import * as primitivesNode from "../packages/core/src/internal/primitivesNode.ts"
import * as Effect from "effect/Effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { createCipheriv, createSecretKey, randomBytes } from "node:crypto"
const key = createSecretKey(randomBytes(32)), header = randomBytes(36), m = randomBytes(200)
const context = { purpose: "session", place: "__Host-session", key: randomBytes(33).toString("base64url") }
const aad = SealedFormat.additionalData(header, context)!
const g = primitivesNode.gcm(randomBytes(32))
const r = await Effect.runPromise(Effect.provide(SecureRandom.SecureRandom, SecureRandom.layerWebCrypto))
const n12 = new Uint8Array(12)
const fs: Record<string, () => unknown> = {
  bare() { const nonce = randomBytes(12); const c = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: 16 }); c.setAAD(aad); const ct = c.update(m); c.final(); return Buffer.concat([header, nonce, ct, c.getAuthTag()]) },
  bareU8nonce() { const nonce = globalThis.crypto.getRandomValues(new Uint8Array(12)); const c = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: 16 }); c.setAAD(aad); const ct = c.update(m); c.final(); return Buffer.concat([header, nonce, ct, c.getAuthTag()]) },
  rb() { return randomBytes(12) },
  grv() { return globalThis.crypto.getRandomValues(new Uint8Array(12)) },
  eff() { return Effect.runSync(r.randomBytes(12)) },
  effmap() { return Effect.runSync(Effect.flatMap(r.randomBytes(12), (n) => Effect.succeed(n))) },
  gcm() { return g.encrypt(n12, aad, m) },
  aad() { return SealedFormat.additionalData(header, context) },
  write() { return SealedFormat.write(header, n12, [m, header]) }
}
const med = (v: number[]) => v.sort((a, b) => a - b)[v.length >> 1]
const res: Record<string, number[]> = {}
for (const k in fs) { res[k] = []; for (let i = 0; i < 8000; i++) fs[k]() }
for (let q = 0; q < 31; q++) for (const k in fs) { const c = process.cpuUsage(); for (let i = 0; i < 2000; i++) fs[k](); const d = process.cpuUsage(c); res[k].push((d.user + d.system) / 2000) }
for (const k in res) console.log(k, med(res[k]).toFixed(2))
