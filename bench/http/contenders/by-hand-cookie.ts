/**
 * Sessions by hand, as JSON in a cookie: AES-256-GCM of `node:crypto` with a prepared key.
 */
import { Effect } from "effect"
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from "node:crypto"
import { listenWith } from "../handApp.ts"
import * as Nonces from "../nonces.ts"

const nonceLength = 12
const tagLength = 16

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => {
  const key = createSecretKey(randomBytes(32))
  const nextNonce = Nonces.make(nonceLength)
  return listenWith({
    load: (value) =>
      Effect.sync(() => {
        const sealed = Buffer.from(value, "base64url")
        const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, nonceLength))
        decipher.setAuthTag(sealed.subarray(sealed.length - tagLength))
        const text = decipher.update(sealed.subarray(nonceLength, sealed.length - tagLength), undefined, "utf8")
        return JSON.parse(text + decipher.final("utf8"))
      }),
    save: (_, data) =>
      Effect.sync(() => {
        const nonce = nextNonce()
        const cipher = createCipheriv("aes-256-gcm", key, nonce)
        const body = cipher.update(JSON.stringify(data), "utf8")
        cipher.final()
        return Buffer.concat([nonce, body, cipher.getAuthTag()]).toString("base64url")
      })
  })
}
