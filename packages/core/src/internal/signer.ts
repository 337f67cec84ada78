import * as Mac from "effect/crypto/Mac"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import { KeyRing } from "../KeyRing.ts"
import { encodeText } from "../SealedFormat.ts"
import type { Hkdf, Hmac, Primitives } from "./primitives.ts"

/** @internal */
export interface Signer {
  readonly sign: (purpose: string, text: string) => Effect.Effect<string>
  readonly verify: (purpose: string, text: string, signature: string) => Effect.Effect<boolean>
  readonly fingerprint: (text: string, like?: string) => Effect.Effect<string>
}

interface SigningKey {
  readonly id: string
  readonly hkdf: Hkdf
  readonly purposes: Map<string, Hmac>
  readonly fingerprint: Hmac
}

const utf8 = new TextEncoder()
const noSalt = new Uint8Array(0)
const signatureForm = /^[\w-]{45}$/

// Purposes are words in the source of an application; one that makes them up at run time must not fill the memory.
const rememberedPurposes = 64

/** @internal */
export const make: (primitives: Primitives) => Effect.Effect<Signer, never, KeyRing> = Effect.fnUntraced(
  function*(primitives: Primitives) {
    const ring = yield* KeyRing
    const keys = new Map<string, SigningKey>()
    for (const key of ring.keys) {
      keys.set(key.id, {
        id: key.id,
        hkdf: primitives.hkdf(yield* key.derive("sign", 32)),
        purposes: new Map(),
        fingerprint: yield* primitives.hmac(yield* key.derive("fingerprint", 32))
      })
    }
    const newest = keys.get(ring.newest.id)
    if (newest === undefined) return yield* Effect.die(new TypeError("the newest key is not in the ring"))

    const hmacOf = (key: SigningKey, purpose: string, info: Uint8Array): Effect.Effect<Hmac> => {
      const known = key.purposes.get(purpose)
      if (known !== undefined) return Effect.succeed(known)
      return Effect.flatMapEager(
        key.hkdf(noSalt, info, 32),
        (bytes) =>
          Effect.mapEager(primitives.hmac(bytes), (hmac) => {
            if (key.purposes.size >= rememberedPurposes) key.purposes.clear()
            key.purposes.set(purpose, hmac)
            return hmac
          })
      )
    }

    const signWith = (key: SigningKey, purpose: string, text: string): Effect.Effect<string> | undefined => {
      const info = encodeText(purpose)
      const data = encodeText(text)
      if (info === undefined || data === undefined) return undefined
      return Effect.flatMapEager(
        hmacOf(key, purpose, info),
        (hmac) => Effect.mapEager(hmac(data), (tag) => key.id + Base64Url.encode(tag))
      )
    }

    const signer: Signer = {
      sign: (purpose, text) =>
        signWith(newest, purpose, text) ?? Effect.die(new TypeError("a text to be signed has half a surrogate pair")),
      verify: (purpose, text, signature) => {
        if (!signatureForm.test(signature)) return Effect.succeed(false)
        const key = keys.get(signature.slice(0, 2))
        const expected = key === undefined ? undefined : signWith(key, purpose, text)
        // The text is compared, not what it decodes to: a signature has one form only.
        return expected === undefined
          ? Effect.succeed(false)
          : Effect.mapEager(
            expected,
            (expected) => Mac.timingSafeEqual(utf8.encode(expected), utf8.encode(signature))
          )
      },
      fingerprint: (text, like) => {
        const key = (like === undefined ? undefined : keys.get(like.slice(0, 2))) ?? newest
        return Effect.mapEager(
          key.fingerprint(utf8.encode(text)),
          (tag) => key.id + Base64Url.encode(tag).slice(0, 22)
        )
      }
    }
    return signer
  }
)
