import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Stats } from "../ClusterStore.ts"
import { ageBounds } from "./cacheCounts.ts"

type Update = (stats: Stats) => void

/** Records what has changed since the last time. Hits are too many to be recorded one by one. */
export const make = (name: string, context: Context.Context<never>): Update => {
  const tags = { store: name }
  const updates: Array<Update> = []
  const counter = (
    metric: string,
    description: string,
    value: (stats: Stats) => number,
    attributes: Readonly<Record<string, string>> = tags
  ) => {
    const instance = Metric.counter(metric, { description, incremental: true, attributes })
    let last = 0
    updates.push((stats) => {
      const now = value(stats)
      if (now > last) instance.updateUnsafe(now - last, context)
      last = now
    })
  }
  const gauge = (metric: string, description: string, value: (stats: Stats) => number) => {
    const instance = Metric.gauge(metric, { description, attributes: tags })
    updates.push((stats) => instance.updateUnsafe(value(stats), context))
  }

  for (const [i, bound] of [...ageBounds, "more"].entries()) {
    counter("session.cache.hits", "Reads answered by a copy, by its age in milliseconds", ({ ages }) => ages[i].hits, {
      ...tags,
      age: String(bound)
    })
  }
  counter("session.cache.misses", "Reads that found no copy", (stats) => stats.misses)
  counter("session.cache.bypasses", "Reads that copies must not answer", (stats) => stats.bypasses)
  counter("session.cache.joined", "Reads that waited for another one of the same key", (stats) => stats.joined)
  counter("session.cache.fills", "Copies made", (stats) => stats.fills)
  counter("session.cache.evictions", "Copies dropped for others", (stats) => stats.evictions)
  counter("session.cache.expirations", "Copies dropped because of their age", (stats) => stats.expirations)
  counter("session.cache.flushes", "Times all copies were dropped", (stats) => stats.flushes)
  counter("session.cache.invalidations_in", "Changes heard of", (stats) => stats.invalidationsIn)
  counter("session.cache.invalidations_out", "Changes told", (stats) => stats.invalidationsOut)
  counter("session.cache.publish_failures", "Changes that could not be told", (stats) => stats.publishFailures)
  counter("session.cache.gaps", "Times messages may have been missed", (stats) => stats.channel.gaps)
  counter("session.cache.reconnects", "Times the channel was heard again", (stats) => stats.channel.reconnects)
  counter("session.cache.forged", "Frames that were not from a node", (stats) => stats.channel.forged)
  gauge("session.cache.size", "Copies held", (stats) => stats.size)
  gauge("session.cache.bytes", "Estimated bytes of the copies held", (stats) => stats.bytes)
  gauge("session.cache.trusted", "1 while copies are used without limit, else 0", (stats) => stats.trusted ? 1 : 0)
  return (stats) => {
    for (const update of updates) update(stats)
  }
}
