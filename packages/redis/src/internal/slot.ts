/** Hash slots of a Redis Cluster. */

export const count = 16_384

const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021
  return crc
})

const open = 0x7b
const close = 0x7d

/** The slot of a key: of what stands in its first braces, if anything does, else of all of it. */
export const of = (key: string | Buffer): number => {
  const bytes = typeof key === "string" ? Buffer.from(key) : key
  let from = 0
  let to = bytes.length
  const start = bytes.indexOf(open)
  const end = start < 0 ? -1 : bytes.indexOf(close, start + 1)
  if (end > start + 1) {
    from = start + 1
    to = end
  }
  let crc = 0
  for (let index = from; index < to; index++) {
    crc = ((crc << 8) & 0xffff) ^ table[(crc >> 8) ^ bytes[index]]
  }
  return crc % count
}
