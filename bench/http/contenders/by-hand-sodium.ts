/**
 * Sessions by hand, as JSON in a cookie: XChaCha20-Poly1305 of libsodium.
 */
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import sodium from "sodium-native"
import { listenWith } from "../handApp.ts"
import * as Nonces from "../nonces.ts"

const nonceLength = 24
const tagLength = 16

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => {
  const key = randomBytes(32)
  const nextNonce = Nonces.make(nonceLength)
  return listenWith({
    load: (value) =>
      Effect.sync(() => {
        const sealed = Buffer.from(value, "base64url")
        const text = Buffer.allocUnsafe(sealed.length - nonceLength - tagLength)
        sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
          text,
          null,
          sealed.subarray(nonceLength),
          null,
          sealed.subarray(0, nonceLength),
          key
        )
        return JSON.parse(text.toString())
      }),
    save: (_, data) =>
      Effect.sync(() => {
        const text = Buffer.from(JSON.stringify(data))
        const sealed = Buffer.allocUnsafe(nonceLength + text.length + tagLength)
        const nonce = nextNonce()
        sealed.set(nonce)
        sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(sealed.subarray(nonceLength), text, null, null, nonce, key)
        return sealed.toString("base64url")
      })
  })
}
