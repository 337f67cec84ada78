/**
 * Short arrays of octets out of longer ones, for what is used up at once: the input of a cipher, a seal that becomes text.
 * An array of its own costs the process more than what is done with it: it is allocated outside the heap, and each has to
 * be freed again.
 *
 * Octets are handed out once and never again. What others get is never a part of a slab: they could keep all of it alive,
 * or send it elsewhere with what belongs to somebody else.
 *
 * @internal
 */
const utf8 = new TextEncoder()

/** @internal */
export class Slab {
  private static readonly size = 16_384

  // Longer ones would waste the rest of a slab too often.
  private static readonly longest = Slab.size >> 3

  private octets = new Uint8Array(0)
  private used = 0

  /** An array of zeros. */
  allocate(length: number): Uint8Array {
    // Nor what is no length, as that of a subject that is no text: it would spoil the slab for everybody.
    if (!(length >= 0 && length <= Slab.longest)) return new Uint8Array(length)
    if (this.used + length > this.octets.length) {
      this.octets = new Uint8Array(Slab.size)
      this.used = 0
    }
    return this.octets.subarray(this.used, this.used += length)
  }

  /** A text as UTF-8, after some zeros. */
  encode(text: string, before: number = 0): Uint8Array {
    const { length } = text
    if (before + length <= Slab.longest) {
      const octets = this.allocate(before + length)
      // There is room for all of it only if it is ASCII, and most of it is.
      const { read } = utf8.encodeInto(text, before === 0 ? octets : octets.subarray(before))
      if (read === length) return octets
    }
    const encoded = utf8.encode(text)
    if (before === 0) return encoded
    const octets = this.allocate(before + encoded.length)
    octets.set(encoded, before)
    return octets
  }
}
