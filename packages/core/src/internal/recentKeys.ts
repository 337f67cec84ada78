/**
 * The store keys of the tokens that were used last, so that a busy session pays for its hash once.
 *
 * A place is found by 12 bits of the token and compared in constant time, all of it: who guesses learns nothing from how
 * long a guess took. A later token takes the place of an earlier one, so memory is bounded by the number of places.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { length } from "../SessionToken.ts"

const places = 1 << 12

// The last characters belong to the random id. The very last one has fewer values than the others.
const placeOf = (token: string): number =>
  (token.charCodeAt(length - 2) ^ (token.charCodeAt(length - 3) << 3) ^ (token.charCodeAt(length - 4) << 6)) &
  (places - 1)

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
    const { presented, tokens } = this
    if (tokens === undefined || token.length !== length || !this.present(token)) return undefined
    const place = placeOf(token)
    const start = place * words
    let difference = 0
    for (let i = 0; i < words; i++) difference |= tokens[start + i] ^ presented[i]
    return difference === 0 ? this.keys[place] : undefined
  }

  /** Remembers and returns the key of a token. */
  set(token: string, key: string): string {
    const tokens = this.tokens ??= new Uint32Array(places * words)
    const place = placeOf(token)
    this.present(token)
    tokens.set(this.presented, place * words)
    this.keys[place] = Effect.succeed(key)
    return key
  }

  // Only ASCII has as many octets as characters.
  private present(token: string): boolean {
    return encoder.encodeInto(token, this.octets).read === length
  }
}
