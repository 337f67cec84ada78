/**
 * Remembers numbers by text, the recent ones: when the young generation is full, the old one is dropped.
 */
export class Recent {
  // In boxes, so that a new number for a known text costs one look.
  private young = new Map<string, { value: number }>()
  private old = new Map<string, { value: number }>()
  private readonly half: number

  constructor(capacity: number) {
    this.half = Math.floor(capacity / 2)
  }

  get(text: string): number | undefined {
    return (this.young.get(text) ?? this.old.get(text))?.value
  }

  set(text: string, value: number): void {
    if (this.half === 0) return
    const known = this.young.get(text)
    if (known !== undefined) {
      known.value = value
      return
    }
    if (this.young.size >= this.half) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(text, { value })
  }

  delete(text: string): void {
    this.young.delete(text)
    this.old.delete(text)
  }
}
