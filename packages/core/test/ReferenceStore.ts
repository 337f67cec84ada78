/**
 * A session store written for plainness, with a switch for every mistake that
 * the conformance kit has to notice.
 */
import { Clock, Context, Effect, Layer, Stream } from "effect"
import * as Lifetime from "../src/Lifetime.ts"
import { type Progress, type SessionEntry, SessionQuery } from "../src/SessionQuery.ts"
import {
  type Created,
  type Lookup,
  type Payload,
  type Renewed,
  type Saved,
  type SessionLimit,
  type SessionRecord,
  SessionStore
} from "../src/SessionStore.ts"
import type { Fault } from "./ReferenceFaults.ts"

interface Alias {
  readonly next: string
  readonly until: number
  readonly forgetAt: number
  readonly record: SessionRecord
}

const copyPayload = (payload: Payload): Payload => typeof payload === "string" ? payload : payload.slice()

export const make = Effect.fnUntraced(function*(fault?: Fault) {
  const clock = yield* Clock.Clock
  const has = (name: Fault) => fault === name
  const yieldIf = (...names: ReadonlyArray<Fault>) =>
    fault !== undefined && names.includes(fault) ? Effect.yieldNow : Effect.void

  const records = new Map<string, SessionRecord>()
  const aliases = new Map<string, Alias>()
  const index = new Map<string, Set<string>>()

  const now = () => clock.currentTimeMillisUnsafe()
  const copyIn = (payload: Payload): Payload => {
    if (has("text is trimmed") && typeof payload === "string") return payload.trim()
    if (has("a view loses its bounds") && typeof payload !== "string") return new Uint8Array(payload.buffer.slice(0))
    return has("bytes shared on the way in") ? payload : copyPayload(payload)
  }
  const out = (record: SessionRecord): SessionRecord => {
    if (has("bytes shared on the way out")) return record
    if (has("bytes returned as text") && typeof record.payload !== "string") {
      return { ...record, payload: new TextDecoder().decode(record.payload) }
    }
    if (has("text returned as bytes") && typeof record.payload === "string") {
      return { ...record, payload: new TextEncoder().encode(record.payload) }
    }
    return { ...record, payload: copyPayload(record.payload) }
  }
  const isLive = (record: SessionRecord) => {
    const at = now()
    if (has("live at the idle deadline")) return at < record.expiresAt && at <= record.lastSeenAt + record.idleTimeout
    if (has("live at the absolute deadline")) {
      return at <= record.expiresAt && at < record.lastSeenAt + record.idleTimeout
    }
    if (has("ended one millisecond early")) return Lifetime.isLive(record, at + 1)
    return Lifetime.isLive(record, at)
  }
  const live = (key: string) => {
    const record = records.get(key)
    return record !== undefined && isLive(record) ? record : undefined
  }
  const follow = (key: string): string => {
    const seen = new Set<string>()
    let at = key
    while (!records.has(at) && aliases.has(at) && !seen.has(at)) {
      seen.add(at)
      at = aliases.get(at)!.next
    }
    return at
  }
  const forget = (key: string) => {
    const record = records.get(key)
    records.delete(key)
    if (record?.subject !== undefined && !has("destroy keeps the index entry")) index.get(record.subject)?.delete(key)
    return record
  }
  const remember = (key: string, record: SessionRecord) => {
    if (!has("index keeps the entry of a key taken again")) forget(key)
    records.set(key, record)
    if (record.subject === undefined) return
    const keys = index.get(record.subject) ?? new Set()
    index.set(record.subject, keys.add(key))
  }
  const ofSubject = (subject: string): Array<SessionEntry> =>
    [...index.get(subject) ?? []]
      .flatMap((key) => {
        const record = records.get(key)
        return record !== undefined && (isLive(record) || has("index keeps expired")) ? [{ key, record }] : []
      })
      .toSorted((a, b) =>
        has("index by creation")
          ? a.record.createdAt - b.record.createdAt
          : (a.record.authenticatedAt ?? 0) - (b.record.authenticatedAt ?? 0)
      )
  const isTaken = (key: string) => {
    if (live(key) !== undefined) return !has("create replaces")
    if (has("create counts expired keys as taken") && records.has(key)) return true
    return aliases.has(key) && records.has(follow(key)) && !has("create ignores aliases")
  }
  // The sessions that a limit ends, or `undefined` when it refuses.
  const admit = (subject: string | undefined, limit: SessionLimit | undefined, except?: string) => {
    if (limit === undefined || (subject === undefined && !has("limit counts anonymous"))) return []
    const others = subject === undefined
      ? [...records].filter(([, record]) => record.subject === undefined).map(([key, record]) => ({ key, record }))
      : has("limit counts expired")
      ? [...records].filter(([, record]) => record.subject === subject).map(([key, record]) => ({ key, record }))
      : ofSubject(subject)
    const counted = others.filter(({ key }) => key !== except || has("limit counts the renewed session twice"))
    const stale = has("destroy keeps the index entry") || has("clear keeps the index")
    const size = stale && subject !== undefined ? index.get(subject)?.size ?? 0 : counted.length
    const excess = size + 1 - limit.max
    if (excess <= 0) return []
    if (limit.onLimit === "refuse") return undefined
    return (has("evict takes the newest") ? counted.toReversed() : counted).slice(0, excess).map(({ key }) => key)
  }
  const evict = (keys: ReadonlyArray<string>) => {
    if (!has("evict leaves the record")) { for (const key of keys) forget(key) }
    return has("evict names nothing") ? [] : keys
  }

  const isDue = ({ lastSeenAt }: SessionRecord, touchAfter: number | undefined) =>
    touchAfter !== undefined && (has("rolling load is always due") || now() - lastSeenAt >= touchAfter)

  const load = (key: string, touchAfter: number | undefined): Lookup => {
    const at = now()
    const record = records.get(key)
    if (record !== undefined) {
      if (!isLive(record) && !has("load shows expired")) {
        if (!has("save revives expired") && !has("touch revives expired") && !has("renew revives expired")) forget(key)
        return { _tag: "Expired" }
      }
      if (has("load is activity")) records.set(key, { ...record, lastSeenAt: at })
      if (isDue(record, touchAfter)) {
        const touched = { ...record, lastSeenAt: at }
        if (!has("rolling load touches its answer only")) records.set(key, touched)
        return {
          _tag: "Live",
          record: out(touched),
          alias: undefined,
          now: at,
          touched: has("rolling load does not say so") ? undefined : true
        }
      }
      return { _tag: "Live", record: out(record), alias: undefined, now: at }
    }
    const alias = aliases.get(key)
    if (alias === undefined) return { _tag: "Absent" }
    const last = follow(key)
    const successor = live(last)
    if (successor === undefined) {
      return has("alias outlives the session") && at < alias.until
        ? { _tag: "Live", record: out(alias.record), alias: alias.next, now: at }
        : has("clear keeps aliases")
        ? { _tag: "Superseded", successor: last }
        : { _tag: "Absent" }
    }
    if (at < alias.until + (has("grace ends one millisecond late") ? 1 : 0) || has("alias never ends")) {
      const shown = has("alias reads the old record") ? alias.record : successor
      if (has("rolling load touches through an alias") && isDue(successor, touchAfter)) {
        records.set(last, { ...successor, lastSeenAt: at })
      }
      return { _tag: "Live", record: out(shown), alias: last, now: at }
    }
    if (has("never superseded") || (has("superseded is forgotten at the idle deadline") && at >= alias.forgetAt)) {
      return { _tag: "Absent" }
    }
    return { _tag: "Superseded", successor: last }
  }

  const store = SessionStore.of({
    load: (key, options) => Effect.sync(() => load(key, options?.touchAfter)),

    create: Effect.fnUntraced(function*(input, limit) {
      if (isTaken(input.key)) return { _tag: "KeyTaken" } satisfies Created
      yield* yieldIf("create races itself")
      const evicted = admit(input.subject, limit)
      yield* yieldIf("limit outside the step")
      if (evicted === undefined) return { _tag: "LimitReached" } satisfies Created
      const at = now()
      const record: SessionRecord = {
        version: 1,
        createdAt: at,
        issuedAt: at,
        authenticatedAt: input.subject === undefined && !has("authenticatedAt without a subject") ? undefined : at,
        lastSeenAt: at,
        idleTimeout: input.idleTimeout,
        expiresAt: at + input.lifetime,
        subject: has("created record has no subject") ? undefined : input.subject,
        format: input.format,
        payload: copyIn(input.payload)
      }
      const gone = evict(evicted)
      aliases.delete(input.key)
      if (has("index entry lost under a race") && input.subject !== undefined) {
        forget(input.key)
        const before = index.get(input.subject) ?? new Set()
        yield* Effect.yieldNow
        records.set(input.key, record)
        index.set(input.subject, new Set(before).add(input.key))
      } else {
        remember(input.key, record)
      }
      return { _tag: "Created", record: out(record), evicted: gone } satisfies Created
    }),

    save: Effect.fnUntraced(function*(given, expected, change) {
      const key = has("save writes through an alias") ? follow(given) : given
      const before = has("save revives expired") ? records.get(key) : live(key)
      if (before === undefined) {
        if (has("save upserts")) {
          yield* store.create({
            ...change,
            key,
            lifetime: change.lifetime ?? 1e9,
            subject: undefined
          })
        }
        return { _tag: "Gone" } satisfies Saved
      }
      yield* yieldIf("save races itself")
      const stale = has("save checks no version")
        ? false
        : has("save on a higher version passes")
        ? expected < before.version
        : before.version !== expected
      if (stale) return { _tag: "Conflict" } satisfies Saved
      const at = now()
      const moves = (change.lifetime !== undefined || has("save always moves the deadline")) &&
        !has("save never moves the deadline")
      const record: SessionRecord = {
        ...before,
        version: before.version + 1,
        lastSeenAt: change.active || has("save is always active") ? at : before.lastSeenAt,
        expiresAt: moves ? at + (change.lifetime ?? 1e9) : before.expiresAt,
        idleTimeout: change.idleTimeout,
        format: change.format,
        payload: copyIn(change.payload)
      }
      if (!has("save changes nothing but says so")) records.set(key, record)
      return { _tag: "Saved", record: out(record) } satisfies Saved
    }),

    touch: (given) =>
      Effect.sync(() => {
        const key = has("touch through an alias") ? follow(given) : given
        const before = has("touch revives expired") ? records.get(key) : live(key)
        const at = now()
        if (before === undefined) {
          if (has("touch creates")) {
            records.set(key, {
              version: 1,
              createdAt: at,
              issuedAt: at,
              authenticatedAt: undefined,
              lastSeenAt: at,
              idleTimeout: 1e9,
              expiresAt: at + 1e9,
              subject: undefined,
              format: 1,
              payload: ""
            })
          }
          return false
        }
        records.set(key, {
          ...before,
          version: has("touch bumps the version") ? before.version + 1 : before.version,
          lastSeenAt: at,
          expiresAt: has("touch moves the absolute deadline")
            ? Math.max(before.expiresAt, at + before.idleTimeout)
            : before.expiresAt
        })
        return true
      }),

    renew: Effect.fnUntraced(function*(oldKey, expected, next, options) {
      const before = has("renew revives expired") ? records.get(oldKey) : live(oldKey)
      if (before === undefined) return { _tag: "Gone" } satisfies Renewed
      if (before.version !== expected && !has("renew checks no version")) {
        if (has("refused renew forgets the old key")) forget(oldKey)
        return { _tag: "Conflict" } satisfies Renewed
      }
      if (isTaken(next.key) && !has("renew overwrites a taken key")) return { _tag: "KeyTaken" } satisfies Renewed
      yield* yieldIf("renew checks the version outside its step")
      const evicted = has("limit is ignored by renew") ? [] : admit(next.subject, options?.limit, oldKey)
      yield* yieldIf("limit outside the step")
      if (evicted === undefined) return { _tag: "LimitReached" } satisfies Renewed
      const at = now()
      const proved = next.authenticated ? at : has("renew loses authenticatedAt") ? undefined : before.authenticatedAt
      const record: SessionRecord = {
        version: has("renew keeps the version") ? before.version : 1,
        createdAt: has("renew restarts createdAt") ? at : before.createdAt,
        issuedAt: at,
        authenticatedAt: next.subject === undefined ? undefined : proved,
        lastSeenAt: at,
        idleTimeout: next.idleTimeout,
        expiresAt: next.lifetime !== undefined
          ? at + next.lifetime
          : has("renew moves the deadline")
          ? before.expiresAt + 1
          : before.expiresAt,
        subject: next.subject,
        format: next.format,
        payload: copyIn(next.payload)
      }
      const gone = evict(evicted)
      if (has("renew in two steps, overlap")) {
        remember(next.key, record)
        yield* Effect.yieldNow
      }
      if (has("index ignores renewals")) {
        records.delete(oldKey)
        records.set(next.key, record)
      } else {
        if (!has("old key of a renewal stays live")) forget(oldKey)
        yield* yieldIf("renew in two steps, gap")
        remember(next.key, record)
      }
      const grace = options?.grace ?? 0
      if (grace === 0 && has("alias survives a renewal without grace")) {
        for (const [key, alias] of aliases) if (alias.next === oldKey) aliases.set(key, { ...alias, next: next.key })
      }
      if (grace > 0 && !has("renew ignores the grace")) {
        const forgetAt = at + next.idleTimeout
        aliases.set(oldKey, { next: next.key, until: at + grace, forgetAt, record: before })
      }
      return { _tag: "Renewed", record: out(record), evicted: gone } satisfies Renewed
    }),

    destroy: (given) =>
      Effect.sync(() => {
        const key = has("destroy ignores aliases")
          ? given
          : has("destroy follows one hop")
          ? records.has(given) ? given : aliases.get(given)?.next ?? given
          : follow(given)
        const record = records.get(key)
        const ended = record !== undefined && (isLive(record) || has("destroy of expired says true"))
        if (has("destroy takes the whole subject") && record?.subject !== undefined) {
          for (const entry of ofSubject(record.subject)) forget(entry.key)
        }
        if (!has("destroy keeps the record")) forget(key)
        return ended || has("destroy always says true")
      })
  })

  const entries = () => [...records].map(([key, record]) => ({ key, record }))
  const liveEntries = () => entries().filter(({ record }) => isLive(record))
  const shown = ({ key, record }: SessionEntry): SessionEntry => ({ key, record: out(record) })
  const totals = (steps: Array<Progress>): Stream.Stream<Progress> =>
    Stream.fromIterable(
      steps.length === 0 && !has("totals are missing when there was nothing to do")
        ? [{ scanned: 0, removed: 0 }]
        : steps
    )
  const counting = (all: ReadonlyArray<SessionEntry>, remove: (entry: SessionEntry) => boolean) => {
    let removed = 0
    return totals(all.map((entry, i) => {
      if (remove(entry)) removed++
      return { scanned: i + 1, removed }
    }))
  }

  const query = SessionQuery.of({
    bySubject: (subject) => Effect.sync(() => ofSubject(subject).map(shown)),
    destroyBySubject: Effect.fnUntraced(function*(subject, options) {
      const all = has("destroyBySubject takes every subject") ? liveEntries() : ofSubject(subject)
      const keys = all
        .map(({ key }) => key)
        .filter((key) => key !== options?.except || has("destroyBySubject ignores except"))
      for (const key of keys) {
        yield* yieldIf("destroyBySubject in many steps")
        forget(key)
      }
      return keys
    }),
    scan: has("scan follows a moving cursor")
      ? Stream.unfold(
        0,
        (i) => Effect.sync(() => i < liveEntries().length ? [shown(liveEntries()[i]), i + 1] : undefined)
      )
      : Stream.suspend(() =>
        Stream.fromIterable([
          ...(has("scan shows expired") ? entries() : liveEntries()),
          ...(has("scan shows aliases") ? [...aliases].map(([key, { record }]) => ({ key, record })) : [])
        ].map(shown))
      ),
    count: Effect.sync(() =>
      (has("count includes expired") ? entries() : liveEntries()).length +
      (has("count includes aliases") ? aliases.size : 0)
    ),
    destroyWhere: (predicate) =>
      Stream.suspend(() =>
        counting(has("destroyWhere shows expired") ? entries() : liveEntries(), (entry) => {
          try {
            if (!predicate(shown(entry))) return false
          } catch (defect) {
            if (has("destroyWhere swallows the defect")) return false
            throw defect
          }
          return has("destroyWhere destroys nothing") || forget(entry.key) !== undefined
        })
      ),
    clear: Stream.suspend(() => {
      const steps = counting(entries(), ({ key }) => {
        if (has("clear keeps the index")) records.delete(key)
        else forget(key)
        return true
      })
      if (!has("clear keeps aliases")) aliases.clear()
      return steps
    }),
    purgeExpired: Stream.suspend(() =>
      counting(entries(), ({ key, record }) => {
        if (isLive(record) && !has("purgeExpired removes live")) return false
        return has("purgeExpired removes nothing and counts") || forget(key) !== undefined
      })
    )
  })

  return Context.make(SessionStore, store).pipe(Context.add(SessionQuery, query))
})

export const layer = (fault?: Fault): Layer.Layer<SessionStore | SessionQuery> => Layer.effectContext(make(fault))
