import { charCode } from "./charCode.ts"

const quote = 34
const comma = 44
const zero = 48
const backslash = 92

const nullElement = Uint8Array.of(comma, 110, 117, 108, 108)

const digitsOf = (integer: number): number => {
  let digits = 1
  for (let power = 10; integer >= power; power *= 10) digits++
  return digits
}

/**
 * Writes the elements of a JSON array into octets, each after a comma, without a text in between: several times faster than
 * `JSON.stringify` and an encoder, for what is mostly numbers. It can write plain ASCII and no negative numbers.
 *
 * @internal
 */
export class JsonLine {
  /** Most octets of a number, with its comma. */
  static readonly maxNumber = 17

  readonly octets: Uint8Array
  /** Where the next octet goes. */
  at: number
  /** Whether everything could be written. What stands in the octets is of no use otherwise. */
  complete = true

  constructor(octets: Uint8Array, at: number) {
    this.octets = octets
    this.at = at
  }

  octet(code: number): void {
    this.octets[this.at++] = code
  }

  text(text: string): void {
    this.octet(comma)
    this.octet(quote)
    const { at, octets } = this
    const { length } = text
    for (let i = 0; i < length; i++) {
      const code = charCode(text, i)
      if (code < 32 || code > 126 || code === quote || code === backslash) this.complete = false
      octets[at + i] = code
    }
    this.at = at + length
    this.octet(quote)
  }

  integer(integer: number): void {
    this.octet(comma)
    if (!(Number.isSafeInteger(integer) && integer >= 0)) {
      this.complete = false
    } else if (integer < 1e9) {
      this.digits(integer, digitsOf(integer))
    } else {
      // Halves of 32 bits are divided several times faster.
      const high = Math.floor(integer / 1e9)
      this.digits(high, digitsOf(high))
      this.digits(integer - high * 1e9, 9)
    }
  }

  nothing(): void {
    this.octets.set(nullElement, this.at)
    this.at += nullElement.length
  }

  private digits(integer: number, length: number): void {
    const { at, octets } = this
    let rest = integer | 0
    for (let i = at + length - 1; i >= at; i--) {
      const tens = rest / 10 | 0
      octets[i] = zero + rest - tens * 10
      rest = tens
    }
    this.at = at + length
  }
}
