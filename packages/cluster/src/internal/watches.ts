import type { Ended } from "../SessionEnd.ts"

/** Somebody who wants to know when a session ends. */
export interface Watch {
  key: string
  subjectHash: string | undefined
  /** Asks to look at the session again. */
  readonly wake: () => void
}

/** Who waits for the end of which session on this node. */
export class Watches {
  private readonly byKey = new Map<string, Set<Watch>>()
  private readonly all = new Set<Watch>()
  private readonly onEnded: (ended: Ended) => void

  constructor(onEnded: (ended: Ended) => void) {
    this.onEnded = onEnded
  }

  get size(): number {
    return this.all.size
  }

  add(watch: Watch): void {
    this.all.add(watch)
    const others = this.byKey.get(watch.key)
    if (others === undefined) this.byKey.set(watch.key, new Set([watch]))
    else others.add(watch)
  }

  remove(watch: Watch): void {
    this.all.delete(watch)
    const others = this.byKey.get(watch.key)
    others?.delete(watch)
    if (others?.size === 0) this.byKey.delete(watch.key)
  }

  /** The session goes on under another key. */
  move(watch: Watch, key: string): void {
    this.remove(watch)
    watch.key = key
    this.add(watch)
  }

  /** Something happened to a key. */
  wake(key: string): void {
    for (const watch of this.byKey.get(key) ?? []) watch.wake()
  }

  /** The session of a key has ended. */
  ended(key: string): void {
    this.onEnded({ _tag: "Session", key })
    this.wake(key)
  }

  /** The sessions of a subject have ended. */
  endedSubject(subjectHash: string): void {
    this.onEnded({ _tag: "Subject", subjectHash })
    for (const watch of this.all) if (watch.subjectHash === subjectHash) watch.wake()
  }

  wakeAll(): void {
    for (const watch of this.all) watch.wake()
  }
}
