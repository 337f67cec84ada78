// A class: of what a literal makes, V8 notes whether it lives long, and then has all of it old from the start.
class Entry<out A> {
  readonly value: A
  readonly characters: number

  constructor(value: A, characters: number) {
    this.value = value
    this.characters = characters
  }
}

/**
 * Remembers values by text, the recent ones: when the young generation is full, the old one is dropped. Bounded by
 * number and by characters: those of the text, unless another size is given.
 *
 * @internal
 */
export class Generations<in out A> {
  private young = new Map<string, Entry<A>>()
  private old = new Map<string, Entry<A>>()
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
    const entry = this.young.get(text)
    if (entry !== undefined) return entry.value
    const aged = this.old.get(text)
    if (aged !== undefined) {
      this.old.delete(text)
      this.keep(text, aged)
    }
    return aged?.value
  }

  set(text: string, value: A, characters: number = text.length): void {
    if (this.maxEntries > 0 && characters <= this.maxCharacters) this.keep(text, new Entry(value, characters))
  }

  // A name is never deleted from a generation that goes on: its map would be made anew again and again, and each one that
  // has grown old keeps what it held until the whole heap is looked at.
  private keep(text: string, entry: Entry<A>): void {
    const before = this.young.get(text)
    if (before !== undefined) this.characters -= before.characters
    const isFull = before === undefined && this.young.size >= this.maxEntries
    if (isFull || this.characters + entry.characters > this.maxCharacters) {
      this.old = this.young
      this.young = new Map()
      this.characters = 0
    }
    this.young.set(text, entry)
    this.characters += entry.characters
  }
}
