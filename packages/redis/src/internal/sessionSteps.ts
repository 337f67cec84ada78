/** The six steps of `SessionStore` on Redis. */
import { isLive } from "@effect-session/core/Lifetime"
import type {
  Created,
  Lookup,
  NewRecord,
  Payload,
  RecordChange,
  Renewed,
  Replacement,
  Saved,
  SessionLimit,
  SessionRecord,
  SessionStore,
  SessionStoreError
} from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import type { Reply } from "../RedisClient.ts"
import type { CrossBucket } from "./crossBucket.ts"
import * as Layout from "./layout.ts"
import { Recent } from "./recent.ts"
import type { Answer, Runner } from "./runner.ts"
import * as Scripts from "./scripts.ts"
import { unreadable } from "./storeFault.ts"

const absent: Lookup = Object.freeze({ _tag: "Absent" })
const expired: Lookup = Object.freeze({ _tag: "Expired" })
const gone = Object.freeze({ _tag: "Gone" })
const conflict = Object.freeze({ _tag: "Conflict" })

// More links than a session has make sense to nobody.
const maxLinks = 64

const damaged = Effect.suspend(() => Effect.fail(unreadable("damaged")))

/** A record as scripts reply it. */
export const recordIn = (
  header: Reply | undefined,
  payload: Reply | undefined
): Effect.Effect<SessionRecord, SessionStoreError> => {
  const record = Buffer.isBuffer(header) && Buffer.isBuffer(payload) ? Layout.recordOf(header, payload) : undefined
  return record === undefined ? damaged : Effect.succeed(record)
}

// A record whose header came back and whose payload the caller has sent.
const recordWith = (header: Reply | undefined, sent: Payload): SessionRecord | undefined =>
  Buffer.isBuffer(header)
    ? Layout.recordOf(header, undefined, typeof sent === "string" ? sent : new Uint8Array(sent))
    : undefined

const liveAt = (record: SessionRecord, now: number): Extract<Lookup, { readonly _tag: "Live" }> => ({
  _tag: "Live",
  record,
  alias: undefined,
  now: Math.max(now, record.lastSeenAt)
})

const nothingElse = () => undefined

export interface Options {
  /** Whether events are written. */
  readonly events: boolean
  /** How many sessions' activity is remembered. */
  readonly remembered: number
}

export const make = (runner: Runner, crossing: CrossBucket, options: Options): SessionStore["Service"] => {
  const { clock, layout, read, run } = runner
  const seen = new Recent(options.remembered)

  const eventsOf = (key: string) => layout.events(Layout.bucketOf(key))
  const keysOf = (key: string, index?: string) => [
    layout.session(key),
    eventsOf(key),
    ...index === undefined ? [] : [layout.index(index)]
  ]

  // All sessions of a subject live in its bucket: else no script could see to all of them at once.
  const indexFor = (key: string, subject: string | undefined): string | undefined => {
    if (subject === undefined) return undefined
    const index = layout.indexName(subject)
    if (layout.clustered && Layout.bucketOf(key) !== Layout.bucketOf(index)) {
      throw new RangeError(
        "RedisStore: in a cluster the key of a signed-in session begins with the bucket of its subject"
      )
    }
    return index
  }

  // Runs a step again if it met a record that was pending and is live now.
  const settled = <A>(
    key: string,
    step: Effect.Effect<Answer, SessionStoreError>,
    otherwise: A,
    use: (answer: Answer) => Effect.Effect<A, SessionStoreError>
  ): Effect.Effect<A, SessionStoreError> =>
    Effect.flatMap(step, (answer) => {
      if (answer.tag !== "Pending") return use(answer)
      const [from] = String(answer.rest[0]).split(" ", 1)
      const pending = Layout.textOf(answer.rest[1]) ?? key
      return Effect.flatMap(
        crossing.settle(pending, from),
        (active) => active === undefined ? Effect.succeed(otherwise) : settled(key, step, otherwise, use)
      )
    })

  const live = (key: string, record: SessionRecord, now: number) => {
    seen.set(key, record.lastSeenAt)
    return liveAt(record, now)
  }

  // Asks the server about one key: it drops what has expired, and records activity where it is due.
  const examine = (key: string, touchAfter: number): Effect.Effect<Lookup | undefined, SessionStoreError> =>
    settled<Lookup | undefined>(
      key,
      Effect.suspend(() => run(Scripts.read, keysOf(key), [key, String(touchAfter)])),
      absent,
      ({ now, rest, tag }) => {
        switch (tag) {
          case "Live":
            return Effect.map(recordIn(rest[0], rest[1]), (record): Lookup => {
              const lookup = live(key, record, now)
              return String(rest[2]) === "1" ? { ...lookup, touched: true } : lookup
            })
          case "Expired":
            return Effect.succeed(expired)
          case "Absent":
            return Effect.succeed(absent)
          default:
            return Effect.undefined
        }
      }
    )

  const report = (name: string, key: string, subject: string | undefined) =>
    options.events
      ? Effect.asVoid(
        run(Scripts.report, [eventsOf(key)], [name, key, subject === undefined ? "0" : "1", subject ?? ""])
      )
      : Effect.void

  // Follows a key that was renewed away to the session as it is now.
  const follow = Effect.fnUntraced(function*(key: string, successor: string, until: number) {
    let at = successor
    for (let links = 0; links < maxLinks; links++) {
      const found = yield* read(at)
      switch (found._tag) {
        case "Bad":
          return yield* unreadable(found.problem)
        case "Absent":
          return absent
        case "Alias":
          at = found.successor
          continue
        case "Record": {
          let { record } = found
          if (!found.aliases.split(" ").includes(key)) return absent
          if (found.from !== undefined) {
            const active = yield* crossing.settle(at, found.from)
            if (active === undefined) return absent
            record = active.record
          }
          const now = clock.now()
          if (!isLive(record, now)) return absent
          if (now < until) {
            return { _tag: "Live", record, alias: at, now: Math.max(now, record.lastSeenAt) } satisfies Lookup
          }
          yield* report("theftSuspected", at, record.subject)
          return { _tag: "Superseded", successor: at } satisfies Lookup
        }
      }
    }
    return absent
  })

  const judge = (key: string, found: Layout.Read): Effect.Effect<Lookup, SessionStoreError> => {
    switch (found._tag) {
      case "Absent":
        return Effect.succeed(absent)
      case "Bad":
        return Effect.fail(unreadable(found.problem))
      case "Alias":
        return follow(key, found.successor, found.until)
      case "Record": {
        const now = clock.now()
        if (found.from === undefined && isLive(found.record, now)) {
          return Effect.succeed(live(key, found.record, now))
        }
        seen.delete(key)
        return Effect.flatMap(
          examine(key, -1),
          (lookup) =>
            lookup === undefined ? Effect.flatMap(read(key), (found) => judge(key, found)) : Effect.succeed(lookup)
        )
      }
    }
  }

  // Nearly always a record that is live; whatever else it is takes longer.
  const judgeReply = (key: string, reply: Reply, remember: boolean): Effect.Effect<Lookup, SessionStoreError> => {
    if (clock.isStale()) {
      return Effect.andThen(runner.synchronize, Effect.suspend(() => judge(key, Layout.readOf(reply))))
    }
    const record = Layout.settledIn(reply)
    const now = clock.now()
    if (record === undefined || !isLive(record, now)) return judge(key, Layout.readOf(reply))
    return Effect.succeed(remember ? live(key, record, now) : liveAt(record, now))
  }

  const readAndJudge = (key: string): Effect.Effect<Lookup, SessionStoreError> =>
    runner.lookUp(key, (reply) => judgeReply(key, reply, false), nothingElse)

  const readAndTouch = (key: string, touchAfter: number): Effect.Effect<Lookup, SessionStoreError> =>
    runner.runShort(runner.hot.read, key, () => [String(touchAfter)], (reply, sentAt) => {
      const record = Layout.settledIn(reply)
      if (record === undefined) {
        return Effect.flatMap(
          examine(key, touchAfter),
          (lookup) => lookup === undefined ? readAndJudge(key) : Effect.succeed(lookup)
        )
      }
      if (!Array.isArray(reply) || reply.length === 2) return Effect.succeed(live(key, record, clock.now()))
      const { lastSeenAt } = record
      clock.learn(lastSeenAt, sentAt)
      seen.set(key, lastSeenAt)
      return Effect.succeed<Lookup>({ _tag: "Live", record, alias: undefined, now: lastSeenAt, touched: true })
    })

  // Activity is remembered for those who ask when it is due.
  const load: SessionStore["Service"]["load"] = (key, loadOptions) => {
    const touchAfter = loadOptions?.touchAfter
    if (touchAfter === undefined) return readAndJudge(key)
    return runner.lookUp(key, (reply) => judgeReply(key, reply, true), () => {
      const lastSeenAt = seen.get(key)
      return lastSeenAt !== undefined && clock.now() - lastSeenAt >= touchAfter
        ? readAndTouch(key, touchAfter)
        : undefined
    })
  }

  const create = (record: NewRecord, limit?: SessionLimit): Effect.Effect<Created, SessionStoreError> =>
    Effect.suspend(() => {
      const { key, payload, subject } = record
      const index = indexFor(key, subject)
      const args = [
        key,
        String(record.idleTimeout),
        String(record.lifetime),
        Layout.formatOf(record.format),
        Layout.kindOf(payload),
        subject === undefined ? "0" : "1",
        subject ?? "",
        index ?? "",
        String(limit?.max ?? 0),
        limit?.onLimit ?? "",
        payload
      ]
      return Effect.flatMap(run(Scripts.create, keysOf(key, index), args), ({ rest, tag }) => {
        if (tag !== "Created") return Effect.succeed<Created>({ _tag: tag === "KeyTaken" ? tag : "LimitReached" })
        const record = recordWith(rest[0], payload)
        if (record === undefined) return damaged
        seen.set(key, record.lastSeenAt)
        return Effect.succeed<Created>({ _tag: "Created", record, evicted: rest.slice(1).map(String) })
      })
    })

  const save = (key: string, version: number, change: RecordChange): Effect.Effect<Saved, SessionStoreError> =>
    change.lifetime !== undefined ? saveWhole(key, version, change) : runner.runShort(
      change.active ? runner.hot.save : runner.hot.saveQuietly,
      key,
      () => [
        String(version),
        `1${Layout.kindOf(change.payload)}`,
        String(change.idleTimeout),
        Layout.formatOf(change.format),
        change.payload
      ],
      (reply, sentAt) => {
        if (reply === 1) return Effect.succeed(conflict)
        if (!Buffer.isBuffer(reply)) return saveWhole(key, version, change)
        const record = recordWith(reply, change.payload)
        if (record === undefined) return damaged
        if (change.active) clock.learn(record.lastSeenAt, sentAt)
        seen.set(key, record.lastSeenAt)
        return Effect.succeed<Saved>({ _tag: "Saved", record })
      }
    )

  const saveWhole = (key: string, version: number, change: RecordChange): Effect.Effect<Saved, SessionStoreError> =>
    settled<Saved>(
      key,
      Effect.suspend(() =>
        run(Scripts.save, keysOf(key), [
          key,
          String(version),
          Layout.formatOf(change.format),
          Layout.kindOf(change.payload),
          String(change.idleTimeout),
          String(change.lifetime ?? ""),
          change.active ? "1" : "0",
          change.payload
        ])
      ),
      gone,
      ({ rest, tag }) => {
        if (tag !== "Saved") return Effect.succeed(tag === "Conflict" ? conflict : gone)
        const record = recordWith(rest[0], change.payload)
        if (record === undefined) return damaged
        seen.set(key, record.lastSeenAt)
        return Effect.succeed<Saved>({ _tag: "Saved", record })
      }
    )

  const touch = (key: string): Effect.Effect<boolean, SessionStoreError> =>
    settled(
      key,
      Effect.suspend(() => run(Scripts.touch, keysOf(key), [key])),
      false,
      ({ rest, tag }) =>
        Effect.sync(() => {
          if (tag === "Touched") seen.set(key, Number(rest[0]))
          return tag === "Touched"
        })
    )

  const renew: SessionStore["Service"]["renew"] = (oldKey, version, replacement, renewOptions) =>
    Effect.suspend(() => {
      const grace = renewOptions?.grace ?? 0
      const limit = renewOptions?.limit
      const { key, subject } = replacement
      const index = indexFor(key, subject)
      seen.delete(oldKey)
      return layout.clustered && Layout.bucketOf(oldKey) !== Layout.bucketOf(key)
        ? crossing.renew({ oldKey, version, replacement, grace, limit, index })
        : renewAtOnce(oldKey, version, replacement, grace, limit, index)
    })

  const renewAtOnce = (
    oldKey: string,
    version: number,
    replacement: Replacement,
    grace: number,
    limit: SessionLimit | undefined,
    index: string | undefined
  ): Effect.Effect<Renewed, SessionStoreError> => {
    const { key, payload, subject } = replacement
    return settled<Renewed>(
      oldKey,
      Effect.suspend(() =>
        run(
          Scripts.renew,
          [layout.session(oldKey), ...keysOf(key, index)],
          [
            oldKey,
            String(version),
            key,
            String(replacement.idleTimeout),
            String(replacement.lifetime ?? ""),
            Layout.formatOf(replacement.format),
            Layout.kindOf(payload),
            subject === undefined ? "0" : "1",
            subject ?? "",
            index ?? "",
            replacement.authenticated ? "1" : "0",
            String(grace),
            String(limit?.max ?? 0),
            limit?.onLimit ?? "",
            payload
          ]
        )
      ),
      gone,
      ({ rest, tag }) => {
        switch (tag) {
          case "Renewed": {
            const record = recordWith(rest[0], payload)
            if (record === undefined) return damaged
            seen.set(key, record.lastSeenAt)
            return Effect.succeed<Renewed>({ _tag: "Renewed", record, evicted: rest.slice(1).map(String) })
          }
          case "Conflict":
          case "KeyTaken":
          case "LimitReached":
            return Effect.succeed<Renewed>({ _tag: tag })
          default:
            return Effect.succeed<Renewed>(gone)
        }
      }
    )
  }

  return {
    load,
    create,
    save,
    touch,
    renew,
    destroy: (key) =>
      Effect.suspend(() => {
        seen.delete(key)
        return destroyWith(runner, crossing, key, "destroyed")
      })
  }
}

/** Ends a session, through whatever key it is reached, and says whether it was live. */
export const destroyWith = (
  { layout, run }: Runner,
  crossing: CrossBucket,
  key: string,
  event: "destroyed" | "revoked",
  reason = ""
): Effect.Effect<boolean, SessionStoreError> => {
  const step = (at: string, links: number): Effect.Effect<boolean, SessionStoreError> =>
    Effect.flatMap(
      run(
        Scripts.destroy,
        [layout.session(at), layout.events(Layout.bucketOf(at))],
        [at, at === key ? "" : key, event, reason]
      ),
      ({ rest, tag }) => {
        if (tag === "Moved" && links < maxLinks) return step(String(rest[0]), links + 1)
        if (tag === "Pending") {
          const [from] = String(rest[0]).split(" ", 1)
          return Effect.flatMap(
            crossing.settle(String(rest[1]), from),
            (active) => active === undefined ? Effect.succeed(false) : step(at, links)
          )
        }
        return Effect.succeed(tag === "Ended")
      }
    )
  return step(key, 0)
}
