/**
 * Remembers numbers by text, the recent ones: when the young generation is full, the old one is dropped.
 */
export class Recent {
  private young = new Map<string, number>()
  private old = new Map<string, number>()
  private readonly half: number

  constructor(capacity: number) {
    this.half = Math.floor(capacity / 2)
  }

  get(text: string): number | undefined {
    return this.young.get(text) ?? this.old.get(text)
  }

  set(text: string, value: number): void {
    if (this.half === 0 || this.young.get(text) === value) return
    if (this.young.size >= this.half && !this.young.has(text)) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(text, value)
  }

  delete(text: string): void {
    this.young.delete(text)
    this.old.delete(text)
  }
}
