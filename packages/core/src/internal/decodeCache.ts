// Two generations: when the young one is full, the old one is dropped. Both bounds hold for each generation.
const maxEntries = 1024
const maxCharacters = 4 * 1024 * 1024

interface Entry<A> {
  readonly payload: string
  readonly value: A
}

/**
 * Remembers what the payload of a key decoded to, for as long as the payload stays the same. Bounded. Its values are
 * shared and must not change.
 */
export class DecodeCache<in out A> {
  private young = new Map<string, Entry<A>>()
  private old = new Map<string, Entry<A>>()
  private characters = 0

  get(key: string, payload: string): A | undefined {
    const entry = this.young.get(key) ?? this.old.get(key)
    return entry !== undefined && entry.payload === payload ? entry.value : undefined
  }

  set(key: string, payload: string, value: A): void {
    if (this.young.size >= maxEntries || this.characters + payload.length > maxCharacters) {
      this.old = this.young
      this.young = new Map()
      this.characters = 0
    }
    this.young.set(key, { payload, value })
    this.characters += payload.length
  }
}

/**
 * Freezes plain data (objects, arrays, primitive values) through and through, and says whether there was nothing else
 * in it. Other objects, dates and maps for instance, can be changed whatever is frozen.
 */
export const freeze = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null) return typeof value !== "function"
  let plain = true
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) plain = freeze(value[i]) && plain
  } else {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null) return false
    for (const key in value) plain = freeze(value[key as keyof typeof value]) && plain
  }
  Object.freeze(value)
  return plain
}
