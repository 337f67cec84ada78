/**
 * The six steps of a session on the table of the memory store, each of them
 * synchronous and therefore atomic.
 *
 * @internal
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type {
  Created,
  Lookup,
  RecordChange,
  Renewed,
  Saved,
  SessionLimit,
  SessionRecord,
  SessionStore
} from "../SessionStore.ts"
import * as AtOnce from "./atOnce.ts"
import type { SessionTable } from "./sessionTable.ts"

const absent: Lookup = Object.freeze({ _tag: "Absent" })
const expired: Lookup = Object.freeze({ _tag: "Expired" })

/** @internal */
export const make = (table: SessionTable, clock: Clock.Clock): SessionStore["Service"] => {
  const liveSlot = (key: string, now: number): number | undefined => {
    const slot = table.find(key)
    return slot !== undefined && table.isLive(slot, now) ? slot : undefined
  }

  // What holds a key, live or not, directly or as one that was renewed away.
  const holder = (key: string): number | undefined => table.find(key) ?? table.findAlias(key)?.slot

  // The sessions that have to end so that the subject may have one more; `undefined` if it may not.
  const surplus = (
    subject: string | undefined,
    limit: SessionLimit | undefined,
    now: number,
    self?: number
  ): ReadonlyArray<number> | undefined => {
    if (subject === undefined || limit === undefined) return []
    const others = table.ofSubject(subject, now).filter((slot) => slot !== self)
    const over = others.length + 1 - limit.max
    if (over <= 0) return []
    return limit.onLimit === "evict" ? others.slice(0, over) : undefined
  }

  const end = (slots: ReadonlyArray<number>): ReadonlyArray<string> =>
    slots.map((slot) => {
      const key = table.keyOf(slot)
      table.remove(slot)
      return key
    })

  const load = (key: string): Lookup => {
    const now = clock.currentTimeMillisUnsafe()
    const slot = table.find(key)
    if (slot !== undefined) {
      if (!table.isLive(slot, now)) {
        table.expire(slot)
        return expired
      }
      table.use(slot)
      return { _tag: "Live", record: table.read(slot), alias: undefined, now }
    }
    const alias = table.findAlias(key)
    if (alias === undefined || !table.isLive(alias.slot, now)) return absent
    const successor = table.keyOf(alias.slot)
    if (now >= alias.until) return { _tag: "Superseded", successor }
    table.use(alias.slot)
    return { _tag: "Live", record: table.read(alias.slot), alias: successor, now }
  }

  const save = (key: string, expectedVersion: number, change: RecordChange): Saved => {
    const now = clock.currentTimeMillisUnsafe()
    const slot = liveSlot(key, now)
    if (slot === undefined) return { _tag: "Gone" }
    if (table.versionOf(slot) !== expectedVersion) return { _tag: "Conflict" }
    const before = table.read(slot)
    const record: SessionRecord = {
      version: before.version + 1,
      createdAt: before.createdAt,
      issuedAt: before.issuedAt,
      authenticatedAt: before.authenticatedAt,
      lastSeenAt: change.active ? Math.max(before.lastSeenAt, now) : before.lastSeenAt,
      idleTimeout: change.idleTimeout,
      expiresAt: change.lifetime === undefined ? before.expiresAt : now + change.lifetime,
      subject: before.subject,
      format: change.format,
      payload: change.payload
    }
    table.write(slot, record)
    table.use(slot)
    return { _tag: "Saved", record: typeof record.payload === "string" ? record : table.read(slot) }
  }

  return {
    load: AtOnce.make((key) => Effect.sync(() => load(key)), load),

    create: (record, limit) =>
      Effect.sync((): Created => {
        const now = clock.currentTimeMillisUnsafe()
        const held = holder(record.key)
        if (held !== undefined && table.isLive(held, now)) return { _tag: "KeyTaken" }
        const over = surplus(record.subject, limit, now)
        if (over === undefined) return { _tag: "LimitReached" }
        if (held !== undefined) table.expire(held)
        const evicted = end(over)
        table.makeRoom(now)
        const slot = table.insert(record.key, {
          version: 1,
          createdAt: now,
          issuedAt: now,
          authenticatedAt: record.subject === undefined ? undefined : now,
          lastSeenAt: now,
          idleTimeout: record.idleTimeout,
          expiresAt: now + record.lifetime,
          subject: record.subject,
          format: record.format,
          payload: record.payload
        })
        return { _tag: "Created", record: table.read(slot), evicted }
      }),

    save: AtOnce.make(
      (key, expectedVersion, change) => Effect.sync(() => save(key, expectedVersion, change)),
      save
    ),

    touch: (key) =>
      Effect.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        const slot = liveSlot(key, now)
        if (slot === undefined) return false
        table.touch(slot, now)
        table.use(slot)
        return true
      }),

    renew: (oldKey, expectedVersion, replacement, options) =>
      Effect.sync((): Renewed => {
        const now = clock.currentTimeMillisUnsafe()
        const slot = liveSlot(oldKey, now)
        if (slot === undefined) return { _tag: "Gone" }
        if (table.versionOf(slot) !== expectedVersion) return { _tag: "Conflict" }
        const held = holder(replacement.key)
        if (held !== undefined && table.isLive(held, now)) return { _tag: "KeyTaken" }
        const over = surplus(replacement.subject, options?.limit, now, slot)
        if (over === undefined) return { _tag: "LimitReached" }
        if (held !== undefined) table.expire(held)
        const evicted = end(over)
        const record = table.read(slot)
        const authenticatedAt = replacement.authenticated ? now : record.authenticatedAt
        const grace = options?.grace ?? 0
        table.move(
          slot,
          replacement.key,
          {
            version: 1,
            createdAt: record.createdAt,
            issuedAt: now,
            authenticatedAt: replacement.subject === undefined ? undefined : authenticatedAt,
            lastSeenAt: now,
            idleTimeout: replacement.idleTimeout,
            expiresAt: replacement.lifetime === undefined ? record.expiresAt : now + replacement.lifetime,
            subject: replacement.subject,
            format: replacement.format,
            payload: replacement.payload
          },
          grace > 0 ? now + grace : undefined
        )
        return { _tag: "Renewed", record: table.read(slot), evicted }
      }),

    destroy: (key) =>
      Effect.sync(() => {
        const slot = holder(key)
        if (slot === undefined) return false
        const live = table.isLive(slot, clock.currentTimeMillisUnsafe())
        if (live) table.remove(slot)
        else table.expire(slot)
        return live
      })
  }
}
