// A process of its own that reads one key again and again, and tells how long that took when it is asked.
import { Redis } from "ioredis"

export interface Latency {
  readonly reads: number
  readonly p50: number
  readonly p99: number
}

const client = new Redis({ port: Number(process.argv[2]), protocol: 2 })
let times: Array<number> = []
process.on("message", () => {
  const sorted = times.toSorted((a, b) => a - b)
  times = []
  const at = (share: number) => Math.round(1000 * (sorted[Math.floor(sorted.length * share)] ?? 0))
  process.send?.({ reads: sorted.length, p50: at(0.5), p99: at(0.99) } satisfies Latency)
})
while (process.connected) {
  const start = performance.now()
  await client.get("nothing")
  times.push(performance.now() - start)
  await new Promise((resume) => setTimeout(resume, 1))
}
client.disconnect()
