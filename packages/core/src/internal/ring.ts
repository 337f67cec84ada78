import { charCode } from "./charCode.ts"

const none = -1

/**
 * Remembers the values of the texts that were set last: each new one takes the place of the oldest.
 *
 * What lives for some hundred requests is old for the garbage collector and then costs most. So nothing is made for an
 * entry, and nothing is left of it: its text and its value stand in places that are there once and for all. A text is
 * found by its last characters, which are those of an authentication tag: nobody chooses them. All of it is compared in
 * constant time, and the rest only after it.
 *
 * @internal
 */
export class Ring<in out A> {
  private readonly texts: Array<string | undefined>
  private readonly values: Array<A | undefined>
  // The places whose texts end alike, one after the other: the first of them, and for each the next.
  private readonly first: Int16Array
  private readonly next: Int16Array
  private readonly maxLength: number
  private oldest = 0

  /** `capacity`: how many texts, at most 32,767. Longer ones than `maxLength` characters are not remembered. */
  constructor(capacity: number, maxLength: number) {
    this.texts = Array.from({ length: capacity }, () => undefined)
    this.values = Array.from({ length: capacity }, () => undefined)
    this.first = new Int16Array(1024).fill(none)
    this.next = new Int16Array(capacity).fill(none)
    this.maxLength = maxLength
  }

  get(text: string): A | undefined {
    let place = this.first[endOf(text)]
    while (place !== none && !isSame(this.texts[place], text)) place = this.next[place]
    return place === none ? undefined : this.values[place]
  }

  set(text: string, value: A): void {
    if (text.length > this.maxLength || this.texts.length === 0) return
    const place = this.oldest
    this.oldest = (place + 1) % this.texts.length
    const replaced = this.texts[place]
    if (replaced !== undefined) this.leave(place, endOf(replaced))
    const end = endOf(text)
    this.texts[place] = text
    this.values[place] = value
    this.next[place] = this.first[end]
    this.first[end] = place
  }

  // The oldest of all is the last of those that end alike.
  private leave(place: number, end: number): void {
    if (this.first[end] === place) {
      this.first[end] = none
      return
    }
    let before = this.first[end]
    while (this.next[before] !== place) before = this.next[before]
    this.next[before] = none
  }
}

/** Characters of an authentication tag at the end of a text. */
export const tagLength = 22

const isSame = (known: string | undefined, text: string): boolean => {
  if (known === undefined || known.length !== text.length) return false
  let difference = 0
  for (let i = Math.max(0, text.length - tagLength); i < text.length; i++) {
    difference |= charCode(known, i) ^ charCode(text, i)
  }
  return difference === 0 && known === text
}

// Ten bits. The very last character has fewer values than the others.
const endOf = (text: string): number => (charCode(text, text.length - 2) ^ charCode(text, text.length - 3) << 4) & 1023
