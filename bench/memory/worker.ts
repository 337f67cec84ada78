/**
 * Measures one thing in a process of its own and prints it as JSON.
 */
import { performance, PerformanceObserver } from "node:perf_hooks"
import { type Contender, contenders, type Name } from "./contenders.ts"
import { median } from "./data.ts"

const day = 86_400_000
const [task, name, sessions] = [process.argv[2], process.argv[3], Number(process.argv[4])]
const collect = () => {
  globalThis.gc?.()
  globalThis.gc?.()
}
const open = (name: string, capacity: number): Promise<Contender> => contenders[name as Name](capacity)
const all = { from: 0, to: sessions, lifetime: day, turn: 256, sample: 1 }

const heap = async () => {
  const contender = await open(name, sessions)
  await contender.add({ ...all, to: 1 })
  collect()
  const before = process.memoryUsage()
  await contender.add({ ...all, from: 1, sample: sessions })
  collect()
  const after = process.memoryUsage()
  if (contender.size() !== sessions) throw new Error(`holds ${contender.size()} sessions`)
  const each = (field: "heapUsed" | "external") => Math.round((after[field] - before[field]) / sessions)
  return { heap: each("heapUsed"), external: each("external") }
}

const shuffle = (keys: Array<string>): Array<string> => {
  for (let i = keys.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[keys[i], keys[j]] = [keys[j], keys[i]]
  }
  return keys
}

// Sixteen rounds load every session once, in random order; as many load the same sixteenth of them again and again,
// of which some stays in the processor's caches.
const load = async () => {
  const names = Object.keys(contenders)
  const runs = await Promise.all(names.map(async (name) => {
    const contender = await open(name, sessions)
    const keys = shuffle(await contender.add(all))
    return { contender, keys, rates: new Array<number>() }
  }))
  collect()
  const each = Math.floor(sessions / 16)
  const measure = async (from: (round: number) => number) => {
    for (const run of runs) run.rates = []
    for (let round = -2; round < 16; round++) {
      for (const offset of runs.keys()) {
        const { contender, keys, rates } = runs[(round + 2 + offset) % runs.length]
        const start = from(Math.max(0, round))
        const slice = keys.slice(start, start + each)
        const begin = performance.now()
        const live = await contender.load(slice)
        const rate = live / (performance.now() - begin) * 1000
        if (live !== each) throw new Error(`${live} of ${each} sessions are live`)
        if (round >= 0) rates.push(rate)
      }
    }
    return runs.map(({ rates }, i) => ({
      name: names[i],
      rate: Math.round(median(rates)),
      ratio: median(rates.map((rate, round) => rate / runs[0].rates[round]))
    }))
  }
  return { every: await measure((round) => round * each), same: await measure(() => 0) }
}

interface Gap {
  readonly start: number
  readonly end: number
}

const length = (gap: Gap): number => gap.end - gap.start

// Times between two turns of the event loop. Other processes of the machine lengthen single ones, so there is also the
// longest that this thread spent working, apart from the garbage collector.
const pauses = async (work: () => Promise<unknown>) => {
  const collections: Array<Gap> = []
  const observer = new PerformanceObserver((list) => {
    for (const { duration, startTime } of list.getEntries()) {
      collections.push({ start: startTime, end: startTime + duration })
    }
  })
  observer.observe({ entryTypes: ["gc"] })
  const gaps: Array<Gap & { readonly cpu: number }> = []
  let ticking = true
  let used = process.threadCpuUsage()
  let last = performance.now()
  const tick = () => {
    const { system, user } = process.threadCpuUsage(used)
    gaps.push({ start: last, end: performance.now(), cpu: (user + system) / 1000 })
    used = process.threadCpuUsage()
    last = performance.now()
    if (ticking) setImmediate(tick)
  }
  setImmediate(tick)
  const start = performance.now()
  await work()
  const total = performance.now() - start
  await new Promise((resolve) => setTimeout(resolve, 20))
  ticking = false
  observer.disconnect()
  const ran = (gap: Gap) =>
    collections.reduce((sum, gc) => sum + Math.max(0, Math.min(gap.end, gc.end) - Math.max(gap.start, gc.start)), 0)
  const longest = (lengths: ReadonlyArray<number>) => lengths.reduce((a, b) => Math.max(a, b), 0)
  const lengths = gaps.map(length).toSorted((a, b) => a - b)
  return {
    p99: lengths[Math.floor(lengths.length * 0.99)],
    longest: longest(lengths),
    own: longest(gaps.map((gap) => Math.min(length(gap) - ran(gap), gap.cpu))),
    collection: longest(collections.map(length)),
    total
  }
}

const sweep = async () => {
  const contender = await open(name, sessions)
  await contender.add({ ...all, lifetime: 1, sample: sessions })
  collect()
  await new Promise((resolve) => setTimeout(resolve, 50))
  const result = await pauses(contender.sweep)
  if (contender.size() !== 0) throw new Error(`${contender.size()} sessions are left`)
  return result
}

const evict = async () => {
  const contender = await open(name, sessions)
  await contender.add({ ...all, sample: sessions })
  collect()
  await new Promise((resolve) => setTimeout(resolve, 50))
  const result = await pauses(() =>
    contender.add({ ...all, from: sessions, to: sessions + 100_000, turn: 16, sample: sessions })
  )
  if (contender.size() !== sessions) throw new Error(`holds ${contender.size()} sessions`)
  return result
}

const tasks: Record<string, () => Promise<unknown>> = { heap, load, sweep, evict }
process.stdout.write(JSON.stringify(await tasks[task]()))
process.exit(0)
