/**
 * Writes a JSON array into octets, without a text in between: faster than `JSON.stringify` and an encoder, for what is
 * mostly numbers. It knows plain ASCII and no negative numbers.
 *
 * @internal
 */
import { charCode } from "./charCode.ts"

export type Element = string | number | null

const quote = 34
const comma = 44
const zero = 48
const start = 91
const backslash = 92
const end = 93

const nothing = Uint8Array.of(110, 117, 108, 108)

// Of the greatest integer that a number can say exactly.
const maxDigits = 16

/** The most octets that an array can take. */
export const maxLength = (elements: ReadonlyArray<Element>): number => {
  let length = 2
  // With quotes or digits, and a comma.
  for (const element of elements) length += 1 + (typeof element === "string" ? element.length + 2 : maxDigits)
  return length
}

const digitsOf = (integer: number): number => {
  let digits = 1
  for (let power = 10; integer >= power; power *= 10) digits++
  return digits
}

const writeDigits = (octets: Uint8Array, at: number, integer: number, length: number): number => {
  let rest = integer | 0
  for (let i = at + length - 1; i >= at; i--) {
    const tens = rest / 10 | 0
    octets[i] = zero + rest - tens * 10
    rest = tens
  }
  return at + length
}

const writeInteger = (octets: Uint8Array, at: number, integer: number): number | undefined => {
  if (!(Number.isSafeInteger(integer) && integer >= 0)) return undefined
  if (integer < 1e9) return writeDigits(octets, at, integer, digitsOf(integer))
  // Halves of 32 bits are divided several times faster.
  const high = Math.floor(integer / 1e9)
  return writeDigits(octets, writeDigits(octets, at, high, digitsOf(high)), integer - high * 1e9, 9)
}

const writeText = (octets: Uint8Array, at: number, text: string): number | undefined => {
  octets[at++] = quote
  for (let i = 0; i < text.length; i++) {
    const code = charCode(text, i)
    if (code < 32 || code > 126 || code === quote || code === backslash) return undefined
    octets[at++] = code
  }
  octets[at++] = quote
  return at
}

const writeElement = (octets: Uint8Array, at: number, element: Element): number | undefined => {
  if (typeof element === "number") return writeInteger(octets, at, element)
  if (typeof element === "string") return writeText(octets, at, element)
  octets.set(nothing, at)
  return at + nothing.length
}

/** Returns where the array ends, or `undefined` for one that it cannot write. */
export const write = (octets: Uint8Array, elements: ReadonlyArray<Element>): number | undefined => {
  octets[0] = start
  let at = 1
  for (let i = 0; i < elements.length; i++) {
    if (i > 0) octets[at++] = comma
    const next = writeElement(octets, at, elements[i])
    if (next === undefined) return undefined
    at = next
  }
  octets[at] = end
  return at + 1
}
