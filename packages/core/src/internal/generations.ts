/**
 * Remembers values by text, the recent ones: when the young generation is full, the old one is dropped. Bounded by
 * number and by characters of text.
 *
 * @internal
 */
export class Generations<in out A> {
  private young = new Map<string, A>()
  private old = new Map<string, A>()
  private characters = 0
  private readonly maxEntries: number
  private readonly maxCharacters: number

  /** Both generations together hold at most `capacity` values. */
  constructor(capacity: number, maxCharacters: number) {
    this.maxEntries = Math.floor(capacity / 2)
    this.maxCharacters = maxCharacters / 2
  }

  get size(): number {
    return this.young.size + this.old.size
  }

  get(text: string): A | undefined {
    const value = this.young.get(text)
    if (value !== undefined) return value
    const aged = this.old.get(text)
    if (aged !== undefined) {
      this.old.delete(text)
      this.set(text, aged)
    }
    return aged
  }

  set(text: string, value: A): void {
    if (this.maxEntries === 0 || text.length > this.maxCharacters) return
    if (this.young.size >= this.maxEntries || this.characters + text.length > this.maxCharacters) {
      this.old = this.young
      this.young = new Map()
      this.characters = 0
    }
    this.young.set(text, value)
    this.characters += text.length
  }
}
