/**
 * Remembers what the sealed payloads of the last records held, so that one that is still the same need not be opened
 * again. Found by key, subject and every octet of the seal, which is all that opening depends on.
 *
 * @internal
 */
import * as Mac from "effect/crypto/Mac"
import { Generations } from "./generations.ts"

interface Opened {
  readonly subject: string | undefined
  readonly sealed: Uint8Array
  readonly payload: string
}

// As many as decoded ones: who reads the one needs the other.
const remembered = 2048
const maxCharacters = 8 * 1024 * 1024

/** @internal */
export class OpenedPayloads {
  private readonly recent = new Generations<Opened>(remembered, maxCharacters)

  get(key: string, subject: string | undefined, sealed: Uint8Array): string | undefined {
    const opened = this.recent.get(key)
    return opened !== undefined && opened.subject === subject && Mac.timingSafeEqual(opened.sealed, sealed)
      ? opened.payload
      : undefined
  }

  /** The octets must be nobody's who may change them. */
  set(key: string, subject: string | undefined, sealed: Uint8Array, payload: string): void {
    this.recent.set(key, { subject, sealed, payload }, key.length + sealed.length + payload.length)
  }
}
