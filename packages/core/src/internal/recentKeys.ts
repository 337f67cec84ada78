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

/** @internal */
export class RecentKeys {
  // Octets, because a text cut out of a header would keep the whole header.
  private tokens: Uint8Array | undefined = undefined
  private readonly keys: Array<Effect.Effect<string> | undefined> = Array.from({ length: places }, () => undefined)

  /** The key that stands for a text, if it is a token that is remembered. */
  get(token: string): Effect.Effect<string> | undefined {
    const { tokens } = this
    if (tokens === undefined || token.length !== length) return undefined
    const place = placeOf(token)
    const start = place * length
    let difference = 0
    for (let i = 0; i < length; i++) difference |= tokens[start + i] ^ token.charCodeAt(i)
    return difference === 0 ? this.keys[place] : undefined
  }

  /** Remembers and returns the key of a token. */
  set(token: string, key: string): string {
    const tokens = this.tokens ??= new Uint8Array(places * length)
    const place = placeOf(token)
    const start = place * length
    for (let i = 0; i < length; i++) tokens[start + i] = token.charCodeAt(i)
    this.keys[place] = Effect.succeed(key)
    return key
  }
}
