import * as Clock from "effect/Clock"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import { KeyRing } from "../KeyRing.ts"
import * as SealedFormat from "../SealedFormat.ts"
import { SessionConfig } from "../SessionConfig.ts"
import * as AtOnce from "./atOnce.ts"
import type { Allocate, Hkdf, MessageCipher, Primitives } from "./primitives.ts"
import { Slab } from "./slab.ts"

/**
 * What a sealed value held.
 *
 * @internal
 */
export interface Opened {
  readonly plaintext: Uint8Array
  /** Id of the ring key it was sealed under. */
  readonly keyId: string
  /** Whether it was sealed as it would be now: under the newest key, by the configured suite. */
  readonly current: boolean
}

/** @internal */
export interface Sealer {
  readonly seal: (context: SealedFormat.SealContext, plaintext: Uint8Array) => Effect.Effect<Uint8Array>
  readonly open: (context: SealedFormat.SealContext, sealed: Uint8Array) => Effect.Effect<Opened | undefined>
}

/** A message key, and what its values begin with. */
interface MessageKey {
  readonly prefix: Uint8Array
  readonly cipher: MessageCipher
  seals: number
}

/** What was authenticated last. */
interface Bound extends SealedFormat.SealContext {
  readonly prefix: Uint8Array
  readonly data: Uint8Array
}

interface Root {
  readonly id: string
  readonly hkdf: { readonly [S in SealedFormat.Suite]: Hkdf }
}

const utf8 = new TextEncoder()
const infos: { readonly [S in SealedFormat.Suite]: Uint8Array } = {
  aes256Gcm: utf8.encode("effect-session/1/message/aes256Gcm"),
  aes256CbcHmacSha256: utf8.encode("effect-session/1/message/aes256CbcHmacSha256"),
  xchacha20Poly1305: utf8.encode("effect-session/1/message/xchacha20Poly1305")
}

// With random nonces of 96 bits, two of so many are equal with a probability of 2^-41.
const sealsPerSalt = 2 ** 28

// One for each process whose values come back, within reason.
const rememberedKeys = 256

// One draw from the system costs as much as the seal of a short value, however many octets it is. Seals that follow
// each other at once share a draw. What is left over is not kept: a process that goes on twice from one snapshot of its
// memory would use it twice.
const noncesPerDraw = 64
const drawAge = 5

const samePrefix = (a: Uint8Array, b: Uint8Array): boolean => {
  for (let i = 0; i < SealedFormat.prefixLength; i++) {
    if (a[i] !== b[i]) return false
  }
  return true
}

const nameOf = (sealed: Uint8Array): string => String.fromCharCode(...sealed.subarray(0, SealedFormat.prefixLength))

const die = (message: string) => Effect.die(new TypeError(message))

/** @internal */
export const make: (
  primitives: Primitives,
  limit?: number
) => Effect.Effect<Sealer, never, SessionConfig | KeyRing | SecureRandom.SecureRandom> = Effect.fnUntraced(
  function*(primitives: Primitives, limit: number = sealsPerSalt) {
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= sealsPerSalt)) {
      return yield* Effect.die(new RangeError(`sealsPerSalt: must be an integer from 1 to ${sealsPerSalt}`))
    }
    const { suite } = yield* SessionConfig
    const { keys, newest } = yield* KeyRing
    const random = yield* SecureRandom.SecureRandom
    const clock = yield* Clock.Clock
    const { nonceLength } = SealedFormat.layouts[suite]

    const roots = new Map<number, Root>()
    for (const key of keys) {
      const hkdf = (suite: SealedFormat.Suite) => Effect.map(key.derive(`seal/${suite}`, 32), primitives.hkdf)
      roots.set(key.number, {
        id: key.id,
        hkdf: {
          aes256Gcm: yield* hkdf("aes256Gcm"),
          aes256CbcHmacSha256: yield* hkdf("aes256CbcHmacSha256"),
          xchacha20Poly1305: yield* hkdf("xchacha20Poly1305")
        }
      })
    }

    const derive = (root: Root, layout: SealedFormat.Layout, keyId: number, salt: Uint8Array) =>
      Effect.flatMapEager(
        root.hkdf[layout.suite](salt, infos[layout.suite], layout.keyLength + SealedFormat.commitmentLength),
        (bytes) =>
          Effect.mapEager(
            primitives.cipher(layout.suite, bytes.subarray(0, layout.keyLength)),
            (cipher): MessageKey => ({
              prefix: SealedFormat.makePrefix(layout.suite, keyId, salt, bytes.subarray(layout.keyLength)),
              cipher,
              seals: 0
            })
          )
      )

    // Made at the first seal: who never seals draws no salt.
    let sealing: MessageKey | undefined
    const nextKey = Effect.suspend(() => {
      const root = roots.get(newest.number)
      if (root === undefined) return die("the newest key is not in the ring")
      return Effect.flatMap(
        random.randomBytes(SealedFormat.saltLength),
        (salt) =>
          Effect.map(derive(root, SealedFormat.layouts[suite], newest.number, salt), (key) => {
            sealing = key
          })
      )
    })

    // A cookie has the same context each time, and a record that is read is often written next. Ciphers only read it.
    let last: Bound | undefined
    const bind = (
      prefix: Uint8Array,
      { key, place, purpose, subject }: SealedFormat.SealContext
    ): Uint8Array | undefined => {
      if (
        last !== undefined && last.prefix === prefix && last.key === key && last.place === place &&
        last.purpose === purpose && last.subject === subject
      ) return last.data
      const data = SealedFormat.additionalData(prefix, { key, place, purpose, subject })
      if (data !== undefined) last = { prefix, key, place, purpose, subject, data }
      return data
    }

    const sealWith = (
      nonce: Uint8Array,
      context: SealedFormat.SealContext,
      plaintext: Uint8Array,
      allocate?: Allocate
    ): Effect.Effect<Uint8Array> => {
      if (sealing === undefined || sealing.seals >= limit) {
        return Effect.flatMap(nextKey, () => sealWith(nonce, context, plaintext, allocate))
      }
      if (plaintext.length > SealedFormat.maxPlaintext) {
        return die(`a value of ${plaintext.length} octets is too large to be sealed`)
      }
      const { cipher, prefix } = sealing
      const additionalData = bind(prefix, context)
      if (additionalData === undefined) return die("a seal context has half a surrogate pair")
      sealing.seals++
      return Effect.mapEager(
        cipher.encrypt(nonce, additionalData, plaintext),
        (body) => SealedFormat.write(prefix, nonce, body, allocate)
      )
    }

    let nonces: Uint8Array = new Uint8Array(0)
    let used = 0
    let drawnAt = 0
    const draw = Effect.flatMap(random.randomBytes(nonceLength * noncesPerDraw), (bytes) => {
      if (bytes.length !== nonceLength * noncesPerDraw) return die("SecureRandom gave another number of octets")
      nonces = bytes
      used = nonceLength
      drawnAt = clock.currentTimeMillisUnsafe()
      return Effect.succeed(bytes.subarray(0, nonceLength))
    })
    const nextOfDraw = (): Uint8Array | undefined => {
      if (used >= nonces.length) return undefined
      const age = clock.currentTimeMillisUnsafe() - drawnAt
      return age >= 0 && age <= drawAge ? nonces.subarray(used, used += nonceLength) : undefined
    }
    const seal: Sealer["seal"] = (context, plaintext) =>
      Effect.suspend(() => {
        const nonce = nextOfDraw()
        return nonce === undefined
          ? Effect.flatMap(draw, (nonce) => sealWith(nonce, context, plaintext))
          : sealWith(nonce, context, plaintext)
      })

    // At once, what is sealed or opened comes out of a slab: it is for whoever uses it up at once, as cookies are.
    const slab = new Slab()
    const allocate = (length: number) => slab.allocate(length)
    const sealNow = (context: SealedFormat.SealContext, plaintext: Uint8Array): Uint8Array | undefined => {
      if (sealing === undefined || sealing.seals >= limit) return undefined
      const nonce = nextOfDraw()
      return nonce && AtOnce.valueOf(sealWith(nonce, context, plaintext, allocate))
    }

    // Keys of other salts that opened something, the most recently used last. A hostile salt gets no entry.
    const opening = new Map<string, MessageKey>()
    const remember = (key: MessageKey) => {
      const name = nameOf(key.prefix)
      opening.delete(name)
      if (opening.size >= rememberedKeys) {
        for (const oldest of opening.keys()) {
          opening.delete(oldest)
          break
        }
      }
      opening.set(name, key)
    }
    const known = (sealed: Uint8Array): MessageKey | undefined =>
      sealing !== undefined && samePrefix(sealing.prefix, sealed) ? sealing : opening.get(nameOf(sealed))

    const openWith = (
      context: SealedFormat.SealContext,
      sealed: Uint8Array,
      allocate?: Allocate
    ): Effect.Effect<Opened | undefined> => {
      const parsed = SealedFormat.parse(sealed)
      if (parsed === undefined) return Effect.undefined
      const { body, keyId, layout, nonce } = parsed
      const root = roots.get(keyId)
      if (root === undefined) return Effect.undefined

      const decrypt = (key: MessageKey): Effect.Effect<Opened | undefined> => {
        const additionalData = bind(key.prefix, context)
        if (additionalData === undefined) return Effect.undefined
        return Effect.mapEager(
          key.cipher.decrypt(nonce, additionalData, body, allocate),
          (plaintext): Opened | undefined => {
            if (plaintext === undefined) return undefined
            if (key !== sealing) remember(key)
            return { plaintext, keyId: root.id, current: keyId === newest.number && layout.suite === suite }
          }
        )
      }

      // A prefix that is known was derived here: its commitment holds.
      const key = known(sealed)
      if (key !== undefined) return decrypt(key)
      // At once, nothing is derived: a hostile salt is derived from once.
      if (allocate !== undefined) return Effect.undefined
      return Effect.flatMapEager(
        derive(root, layout, keyId, SealedFormat.saltOf(sealed)),
        (key) =>
          Mac.timingSafeEqual(SealedFormat.commitmentOf(key.prefix), SealedFormat.commitmentOf(sealed))
            ? decrypt(key)
            : Effect.undefined
      )
    }

    const open: Sealer["open"] = (context, sealed) => openWith(context, sealed)
    const openNow = (context: SealedFormat.SealContext, sealed: Uint8Array): Opened | undefined =>
      AtOnce.valueOf(openWith(context, sealed, allocate))

    return {
      seal: AtOnce.make(seal, primitives.synchronous ? sealNow : undefined),
      open: AtOnce.make(open, primitives.synchronous ? openNow : undefined)
    }
  }
)
