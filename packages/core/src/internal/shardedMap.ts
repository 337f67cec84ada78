/**
 * A `Map` from strings in many small parts.
 *
 * A `Map` that grows copies its whole table at once, which stops the process
 * for tens of milliseconds at a million entries. Parts of some thousand entries
 * each do it in a fraction of one.
 *
 * @internal
 */
import { charCode } from "./charCode.ts"

const shardCount = 256

// Looks at eight to fifteen characters, spread over the key: in a hash they all vary, and in any other key those
// that vary are unlikely to lie between them.
const shardOf = (key: string): number => {
  const step = 1 + (key.length >> 3)
  let hash = key.length
  for (let i = key.length - 1; i >= 0; i -= step) hash = (Math.imul(hash, 31) + charCode(key, i)) | 0
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) & (shardCount - 1)
}

/** @internal */
export class ShardedMap<V> {
  size = 0
  private readonly shards: Array<Map<string, V> | undefined> = Array.from({ length: shardCount }, () => undefined)

  get(key: string): V | undefined {
    return this.shards[shardOf(key)]?.get(key)
  }

  set(key: string, value: V): void {
    const index = shardOf(key)
    const shard = this.shards[index] ??= new Map()
    const before = shard.size
    shard.set(key, value)
    this.size += shard.size - before
  }

  delete(key: string): void {
    if (this.shards[shardOf(key)]?.delete(key) === true) this.size--
  }
}
