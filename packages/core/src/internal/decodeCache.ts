// Two generations: when the young one is full, the old one is dropped. Both bounds hold for each generation.
const maxEntries = 1024
const maxCharacters = 4 * 1024 * 1024

/** Remembers what payloads decode to, by their text. Bounded. Its values are shared and must not change. */
export class DecodeCache<in out A> {
  private young = new Map<string, A>()
  private old = new Map<string, A>()
  private characters = 0

  get(payload: string): A | undefined {
    const found = this.young.get(payload)
    if (found !== undefined) return found
    const aged = this.old.get(payload)
    if (aged !== undefined) this.set(payload, aged)
    return aged
  }

  set(payload: string, value: A): void {
    if (this.young.size >= maxEntries || this.characters + payload.length > maxCharacters) {
      this.old = this.young
      this.young = new Map()
      this.characters = 0
    }
    this.young.set(payload, value)
    this.characters += payload.length
  }
}

/** Tells whether a value is plain data through and through: what `freeze` makes unchangeable. */
export const isPlain = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null) return typeof value !== "function"
  if (Array.isArray(value)) return value.every(isPlain)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  for (const key in value) if (!isPlain(value[key as keyof typeof value])) return false
  return true
}

/** Freezes plain data through and through. */
export const freeze = (value: unknown): void => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  for (const key in value) freeze(value[key as keyof typeof value])
}
