/**
 * Turns a session into the token that is the session, and back: written as octets, sealed for one place, as text.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { Crypto } from "../Crypto.ts"
import * as AtOnce from "./atOnce.ts"
import * as canonicalBase64 from "./canonicalBase64.ts"
import * as RecordCodec from "./recordCodec.ts"

/** A token that was opened. */
export interface Opened {
  /** As it is written, and nothing else: a text cut out of a header would keep the whole header. */
  readonly token: string
  readonly held: RecordCodec.Held
}

/** Seals and opens the tokens of one place. */
export interface SealedToken {
  readonly seal: (held: RecordCodec.Held) => Effect.Effect<Uint8Array>
  /** `undefined` where it has to wait. */
  readonly sealNow: (held: RecordCodec.Held) => Uint8Array | undefined
  /** `undefined` for what was not sealed here. */
  readonly open: (text: string) => Effect.Effect<Opened | undefined>
}

export const make = (crypto: Crypto["Service"], place: string): SealedToken => {
  const context = { purpose: "cookie", place, key: "" }
  const sealNow = AtOnce.of(crypto.seal)
  const open = AtOnce.eager(crypto.open)
  return {
    seal: (held) => crypto.seal(context, RecordCodec.encode(held)),
    sealNow: (held) => sealNow?.(context, RecordCodec.encode(held)),
    open: (text) => {
      const decoded = canonicalBase64.decode(text)
      if (decoded === undefined) return Effect.undefined
      return Effect.mapEager(open(context, decoded.octets), (opened) => {
        const held = opened && RecordCodec.decode(opened.plaintext)
        return held && { token: decoded.text, held }
      })
    }
  }
}
