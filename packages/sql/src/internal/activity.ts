/**
 * Remembers when sessions were last active, those that were seen recently.
 *
 * What it says is a guess, by the time of this process: another one may have
 * recorded activity since, and the row decides. When the young generation is
 * full, the old one is dropped.
 *
 * @internal
 */
import type * as Clock from "effect/Clock"

export interface Activity {
  /** Notes a session that was active so many milliseconds ago. */
  readonly note: (key: string, ago: number) => void
  readonly forget: (key: string) => void
  /** Whether the last activity of a session is known, and at least so many milliseconds old. */
  readonly isOlder: (key: string, millis: number) => boolean
}

/** Remembers so many sessions at most. */
export const make = (clock: Clock.Clock, capacity: number): Activity => {
  let young = new Map<string, number>()
  let old = new Map<string, number>()
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  return {
    note: (key, ago) => {
      if (capacity === 0) return
      young.set(key, now() - ago)
      if (young.size < capacity / 2) return
      old = young
      young = new Map()
    },
    forget: (key) => {
      young.delete(key)
      old.delete(key)
    },
    isOlder: (key, millis) => {
      const since = young.get(key) ?? old.get(key)
      return since !== undefined && now() - since >= millis
    }
  }
}
