/**
 * Remembers which keys a scan has met, in some 25 bytes each: a million take less than 40 megabytes.
 *
 * Of a key 96 bits of its SHA-256 are kept. That two of ten million keys share them has a probability of 10^-15.
 */
import { createHash } from "node:crypto"

// Tables that grow one by one never need the memory of all of them twice.
const tables = 64
const words = 3

class Table {
  private entries = new Uint32Array(16 * words)
  private size = 0

  add(a: number, b: number, c: number): boolean {
    if (!this.insert(this.entries, a, b, c)) return false
    this.size++
    if (this.size * words > this.entries.length * 0.75) this.grow()
    return true
  }

  private insert(entries: Uint32Array, a: number, b: number, c: number): boolean {
    const slots = entries.length / words
    for (let slot = b % slots;; slot = (slot + 1) % slots) {
      const at = slot * words
      if (entries[at] === 0) {
        entries[at] = a
        entries[at + 1] = b
        entries[at + 2] = c
        return true
      }
      if (entries[at] === a && entries[at + 1] === b && entries[at + 2] === c) return false
    }
  }

  private grow(): void {
    const old = this.entries
    const entries = new Uint32Array(Math.ceil(old.length / words * 1.5) * words)
    for (let at = 0; at < old.length; at += words) {
      if (old[at] !== 0) this.insert(entries, old[at], old[at + 1], old[at + 2])
    }
    this.entries = entries
  }
}

export class SeenKeys {
  private readonly tables = Array.from({ length: tables }, () => new Table())

  /** Whether it is the first time. */
  add(key: string): boolean {
    const hash = createHash("sha256").update(key).digest()
    // Zero stands for an empty place.
    const a = (hash.readUInt32LE(0) | 1) >>> 0
    return this.tables[hash[12] % tables].add(a, hash.readUInt32LE(4), hash.readUInt32LE(8))
  }
}
