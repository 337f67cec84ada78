import type { SessionRecord } from "@effect-session/core/SessionStore"

/** What the store has said of a key. */
export interface Copy {
  readonly key: string
  /** `undefined` where there is no session. */
  readonly record: SessionRecord | undefined
  /** Keyed hash of the record's subject. */
  readonly subjectHash: string | undefined
  /** The store's time of the answer. */
  readonly storeTime: number
  /** Passage at which the store was asked. */
  readonly askedAt: number
  /** Passage at which the copy is given up. */
  readonly until: number
}

interface Node {
  copy: Copy
  bytes: number
  newer: Node
  older: Node
}

// A record with its key, instants and place in the cache; text is counted as one byte for a character.
const overhead = 400

const bytesOf = ({ key, record }: Copy): number =>
  overhead + key.length + (record === undefined ? 0 : record.payload.length + (record.subject?.length ?? 0))

/** Copies by key, bounded by number and bytes: the one used longest ago goes first. Every step takes the same time. */
export class NearCache {
  private readonly nodes = new Map<string, Node>()
  private readonly maxEntries: number
  private readonly maxBytes: number
  // A ring: `newest.older` is the one before, `newest.newer` the oldest.
  private newest: Node | undefined
  private held = 0
  evicted = 0

  constructor(maxEntries: number, maxBytes: number) {
    this.maxEntries = maxEntries
    this.maxBytes = maxBytes
  }

  get size(): number {
    return this.nodes.size
  }

  get bytes(): number {
    return this.held
  }

  /** The copy of a key, which counts as its use. */
  use(key: string): Copy | undefined {
    const node = this.nodes.get(key)
    if (node === undefined) return undefined
    if (node !== this.newest) {
      this.unlink(node)
      this.link(node)
    }
    return node.copy
  }

  peek(key: string): Copy | undefined {
    return this.nodes.get(key)?.copy
  }

  set(copy: Copy): void {
    this.delete(copy.key)
    const bytes = bytesOf(copy)
    if (bytes > this.maxBytes) return
    while (this.newest !== undefined && (this.nodes.size >= this.maxEntries || this.held + bytes > this.maxBytes)) {
      this.delete(this.newest.newer.copy.key)
      this.evicted++
    }
    const node = { copy, bytes } as Node
    node.newer = node
    node.older = node
    this.nodes.set(copy.key, node)
    this.held += bytes
    this.link(node)
  }

  /** Removes what was used longest ago if it is given up by now, two copies at most, and returns how many. */
  dropOld(now: number): number {
    let count = 0
    for (let oldest = this.newest?.newer; oldest !== undefined && count < 2; oldest = this.newest?.newer) {
      if (oldest.copy.until > now) break
      this.delete(oldest.copy.key)
      count++
    }
    return count
  }

  delete(key: string): boolean {
    const node = this.nodes.get(key)
    if (node === undefined) return false
    this.nodes.delete(key)
    this.held -= node.bytes
    this.unlink(node)
    return true
  }

  clear(): number {
    const count = this.nodes.size
    this.nodes.clear()
    this.newest = undefined
    this.held = 0
    return count
  }

  /** Removes the copies for which it holds, and returns how many. */
  deleteWhere(predicate: (copy: Copy) => boolean): number {
    let count = 0
    for (const { copy } of this.nodes.values()) {
      if (predicate(copy)) {
        this.delete(copy.key)
        count++
      }
    }
    return count
  }

  private link(node: Node): void {
    const newest = this.newest
    if (newest !== undefined) {
      node.older = newest
      node.newer = newest.newer
      newest.newer.older = node
      newest.newer = node
    }
    this.newest = node
  }

  private unlink(node: Node): void {
    if (node.newer === node) {
      this.newest = undefined
      return
    }
    if (this.newest === node) this.newest = node.older
    node.newer.older = node.older
    node.older.newer = node.newer
    node.newer = node
    node.older = node
  }
}
