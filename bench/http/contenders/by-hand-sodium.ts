/**
 * Sessions by hand, as JSON in a cookie: XChaCha20-Poly1305 of libsodium.
 */
import { Effect } from "effect"
import { randomBytes, randomFillSync } from "node:crypto"
import sodium from "sodium-native"
import { listenWith } from "../handApp.ts"

const nonceLength = 24
const tagLength = 16

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => {
  const key = randomBytes(32)
  const nonces = Buffer.alloc(256 * nonceLength)
  let used = nonces.length
  const nextNonce = () => {
    if (used === nonces.length) used = randomFillSync(nonces).length - nonces.length
    return nonces.subarray(used, used += nonceLength)
  }
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
