/**
 * Child process that fills a store, reads from it, and scans it.
 */
import { Effect, Stream } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { serve } from "../http/child.ts"
import * as Sessions from "./sessions.ts"

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc")

type Store = Awaited<ReturnType<typeof Sessions.open>>

let opened: Store | undefined
const store = (): Store => {
  if (opened === undefined) throw new Error("there is no store")
  return opened
}

/** Bytes that are in use, buffers outside of the heap included. */
const used = (): number => {
  collect()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const commands = {
  open: async ({ events, port }: { readonly port: number; readonly events: boolean }): Promise<void> => {
    opened = await Sessions.open(port, { events })
  },

  /** Creates sessions, so many for each subject, or for nobody. */
  create: async ({ count, perSubject }: { readonly count: number; readonly perSubject: number }): Promise<void> => {
    const one = (index: number) => {
      const of = perSubject === 0 ? undefined : Math.floor(index / perSubject)
      return store().store.create(Sessions.newRecord(index, of === undefined ? undefined : Sessions.subjectOf(of)))
    }
    for (let index = 0; index < count; index += 10_000) {
      const indices = Array.from({ length: Math.min(10_000, count - index) }, (_, i) => index + i)
      await Effect.runPromise(Effect.forEach(indices, one, { concurrency: 256, discard: true }))
    }
  },

  read: async ({ count, touchAfter }: {
    readonly count: number
    readonly touchAfter: number | undefined
  }): Promise<void> => {
    // Activity of the same millisecond is not recorded again.
    await new Promise((resolve) => setTimeout(resolve, 5))
    const options = touchAfter === undefined ? {} : { touchAfter }
    for (let index = 0; index < count; index++) {
      const found = await Effect.runPromise(store().store.load(Sessions.keyOf(index), options))
      if (found._tag !== "Live") throw new Error(`a session is ${found._tag}`)
    }
  },

  /** Scans all sessions; says how much memory that took at the most. */
  scan: async () => {
    const before = used()
    const residentBefore = process.memoryUsage().rss
    let scanned = 0
    let heap = 0
    let resident = 0
    const start = performance.now()
    await Effect.runPromise(Stream.runForEach(store().query.scan, () =>
      Effect.sync(() => {
        scanned++
        if (scanned % 50_000 !== 0) return
        resident = Math.max(resident, process.memoryUsage().rss - residentBefore)
        heap = Math.max(heap, used() - before)
      })))
    return { scanned, heap, resident, millis: performance.now() - start }
  }
}

/** Commands of the process. */
export type ScaleCommands = typeof commands

serve(commands)
