/** What of libsodium a benchmark uses by hand. */
declare module "sodium-native" {
  const sodium: {
    readonly crypto_aead_xchacha20poly1305_ietf_encrypt: (
      ciphertext: Uint8Array,
      message: Uint8Array,
      additionalData: Uint8Array | null,
      secretNonce: null,
      nonce: Uint8Array,
      key: Uint8Array
    ) => number
    readonly crypto_aead_xchacha20poly1305_ietf_decrypt: (
      message: Uint8Array,
      secretNonce: null,
      ciphertext: Uint8Array,
      additionalData: Uint8Array | null,
      nonce: Uint8Array,
      key: Uint8Array
    ) => number
  }
  export default sodium
}
