/**
 * The store keys of the tokens that were used last, so that a busy session pays for its hash once.
 *
 * A token has two places, found by 11 of its bits, and is compared in constant time, all of it: who guesses learns nothing
 * from how long a guess took. The last one takes the first place, and the one before it the second: memory is bounded by
 * the number of places, and two busy sessions do not push each other out.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { length } from "../SessionToken.ts"
import { charCode } from "./charCode.ts"

const places = 1 << 12

// The first of two. The last characters belong to the random id. The very last one has fewer values than the others.
const placeOf = (token: string): number =>
  (charCode(token, length - 2) << 1 ^ (charCode(token, length - 3) << 4) ^ (charCode(token, length - 4) << 7)) &
  (places - 2)

// A token of 47 octets, and one that is always zero.
const words = 12
const encoder = new TextEncoder()

/** @internal */
export class RecentKeys {
  // Octets, because a text cut out of a header would keep the whole header. Compared by four, which are few steps.
  private tokens: Uint32Array | undefined = undefined
  private readonly presented = new Uint32Array(words)
  // All but the octet that stays zero.
  private readonly octets = new Uint8Array(this.presented.buffer, 0, length)
  private readonly keys: Array<Effect.Effect<string> | undefined> = Array.from({ length: places }, () => undefined)

  /** The key that stands for a text, if it is a token that is remembered. */
  get(token: string): Effect.Effect<string> | undefined {
    if (this.tokens === undefined || token.length !== length || !this.present(token)) return undefined
    const place = placeOf(token)
    return this.keyAt(this.tokens, place) ?? this.keyAt(this.tokens, place + 1)
  }

  /** Remembers and returns the key of a token. */
  set(token: string, key: string): string {
    const tokens = this.tokens ??= new Uint32Array(places * words)
    const place = placeOf(token)
    const start = place * words
    tokens.copyWithin(start + words, start, start + words)
    this.keys[place + 1] = this.keys[place]
    this.present(token)
    tokens.set(this.presented, start)
    this.keys[place] = Effect.succeed(key)
    return key
  }

  private keyAt(tokens: Uint32Array, place: number): Effect.Effect<string> | undefined {
    const { presented } = this
    const start = place * words
    let difference = 0
    for (let i = 0; i < words; i++) difference |= tokens[start + i] ^ presented[i]
    return difference === 0 ? this.keys[place] : undefined
  }

  // Only ASCII has as many octets as characters.
  private present(token: string): boolean {
    return encoder.encodeInto(token, this.octets).read === length
  }
}
