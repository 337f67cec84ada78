/** What the store does across its sessions: by index, or by SCAN on every master. */
import { isLive } from "@effect-session/core/Lifetime"
import type { Progress, SessionEntry, SessionQuery } from "@effect-session/core/SessionQuery"
import type { SessionStoreError } from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { RedisClient, Server } from "../RedisClient.ts"
import type { RedisError } from "../RedisError.ts"
import type { CrossBucket } from "./crossBucket.ts"
import * as Layout from "./layout.ts"
import { listOf } from "./reply.ts"
import type { Runner } from "./runner.ts"
import type { Script } from "./scriptPrelude.ts"
import * as Scripts from "./scripts.ts"
import { SeenKeys } from "./seenKeys.ts"
import { destroyWith, recordIn } from "./sessionSteps.ts"
import { fromRedis } from "./storeFault.ts"

// How much a step of SCAN looks at, and how many reads leave at once.
const perStep = "200"

interface Place {
  readonly server: number
  readonly cursor: string
}

// The names of one type that SCAN gives, a step at a time. It may give a name more than once.
const names = (
  client: RedisClient["Service"],
  layout: Layout.Layout,
  type: "hash" | "zset"
): Stream.Stream<ReadonlyArray<string>, SessionStoreError> => {
  const step = (servers: ReadonlyArray<Server>, { cursor, server }: Place) =>
    Effect.map(
      Effect.mapError(
        servers[server].send("SCAN", cursor, "MATCH", layout.pattern, "COUNT", perStep, "TYPE", type),
        fromRedis
      ),
      (reply) => {
        const [next, found] = listOf(reply)
        const place = String(next) === "0" ? { server: server + 1, cursor: "0" } : { server, cursor: String(next) }
        return [
          [listOf(found).map(String)],
          place.server < servers.length ? Option.some(place) : Option.none<Place>()
        ] as const
      }
    )
  return Stream.unwrap(
    Effect.map(
      Effect.mapError(client.masters, fromRedis),
      (servers) => Stream.paginate({ server: 0, cursor: "0" }, (place) => step(servers, place))
    )
  )
}

// Each of them once, however often it comes.
const once = (
  stream: Stream.Stream<ReadonlyArray<string>, SessionStoreError>,
  keyIn: (name: string) => string | undefined
): Stream.Stream<ReadonlyArray<string>, SessionStoreError> =>
  Stream.suspend(() => {
    const seen = new SeenKeys()
    return Stream.map(stream, (names) =>
      names.flatMap((name) => {
        const key = keyIn(name)
        return key !== undefined && seen.add(key) ? [key] : []
      }))
  })

const all = { concurrency: "unbounded" } as const

interface Found {
  readonly key: string
  readonly read: Extract<Layout.Read, { readonly _tag: "Record" }>
}

export const make = (
  client: RedisClient["Service"],
  runner: Runner,
  crossing: CrossBucket
): SessionQuery["Service"] => {
  const { clock, layout, run } = runner
  const sessions = once(names(client, layout, "hash"), layout.keyIn)

  const foreign = (error: RedisError) => error.reason._tag === "WrongType"
  const readable = (key: string): Effect.Effect<Layout.Read, SessionStoreError> =>
    client.send("HMGET", layout.session(key), ...Layout.fields).pipe(
      Effect.map(Layout.readOf),
      Effect.catchIf(foreign, () => Effect.succeed<Layout.Read>({ _tag: "Bad", problem: "foreign" })),
      Effect.catchTag("RedisError", (error) => Effect.fail(fromRedis(error)))
    )

  // The records of a step, whatever their age. What cannot be read is said, not hidden.
  const recordsOf = (keys: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Found>, SessionStoreError> =>
    Effect.flatMap(Effect.forEach(keys, readable, all), (reads) => {
      const found = keys.flatMap((key, i): ReadonlyArray<Found> => {
        const read = reads[i]
        return read._tag === "Record" ? [{ key, read }] : []
      })
      const unreadable = reads.filter((read) => read._tag === "Bad").length
      return unreadable === 0
        ? Effect.succeed(found)
        : Effect.as(Effect.logWarning(`Redis session store: ${unreadable} records were skipped, unreadable`), found)
    })

  const entryOf = ({ key, read: { from, record } }: Found): Effect.Effect<
    ReadonlyArray<SessionEntry>,
    SessionStoreError
  > => {
    if (!isLive(record, clock.now())) return Effect.succeed([])
    if (from === undefined) return Effect.succeed([{ key, record }])
    return Effect.map(
      crossing.settle(key, from),
      (active) => active === undefined ? [] : [{ key, record: active.record }]
    )
  }

  const liveOf = (found: ReadonlyArray<Found>): Effect.Effect<ReadonlyArray<SessionEntry>, SessionStoreError> =>
    Effect.map(Effect.forEach(found, entryOf, all), (entries) => entries.flat())

  const synchronized = <A>(stream: Stream.Stream<A, SessionStoreError>) =>
    Stream.unwrap(Effect.as(Effect.suspend(() => clock.isStale() ? runner.synchronize : Effect.void), stream))

  // Works through all records, and says after each step how far it is.
  const working = (
    step: (keys: ReadonlyArray<string>) => Effect.Effect<Progress, SessionStoreError>
  ): Stream.Stream<Progress, SessionStoreError> =>
    synchronized(Stream.suspend(() => {
      let scanned = 0
      let removed = 0
      return Stream.mapEffect(sessions, (keys) =>
        Effect.map(step(keys), (progress): Progress => {
          scanned += progress.scanned
          removed += progress.removed
          return { scanned, removed }
        }))
    }))

  const count = (results: ReadonlyArray<boolean>): number => results.filter(Boolean).length

  const expire = (key: string) =>
    Effect.map(
      run(Scripts.read, [layout.session(key), layout.events(Layout.bucketOf(key))], [key, "-1"]),
      ({ tag }) => tag === "Expired"
    )

  const forEachIndex = (
    script: Script,
    removed: (name: string) => ReadonlyArray<string>
  ): Stream.Stream<never, SessionStoreError> =>
    once(names(client, layout, "zset"), layout.indexIn).pipe(
      Stream.mapEffect((found) =>
        Effect.forEach(
          found,
          (name) => run(script, [layout.index(name), layout.events(Layout.bucketOf(name))], removed(name)),
          { ...all, discard: true }
        )
      ),
      Stream.drain
    )

  const scan = synchronized(
    Stream.mapEffect(sessions, (keys) => Effect.flatMap(recordsOf(keys), liveOf)).pipe(
      Stream.flatMap((entries) => Stream.fromIterable(entries))
    )
  )

  return {
    bySubject: (subject) =>
      Effect.gen(function*() {
        const name = layout.indexName(subject)
        const { rest } = yield* run(
          Scripts.bySubject,
          [layout.index(name), layout.events(Layout.bucketOf(name))],
          [name]
        )
        const entries = yield* Effect.forEach(
          listOf(rest[0]),
          Effect.fnUntraced(function*(found) {
            const [member, header, payload, pending] = listOf(found)
            const key = String(member)
            if (!Buffer.isBuffer(pending)) return [{ key, record: yield* recordIn(header, payload) }]
            const active = yield* crossing.settle(key, pending.toString("latin1").split(" ", 1)[0])
            return active === undefined ? [] : [{ key, record: active.record }]
          }),
          all
        )
        return entries.flat()
      }),

    destroyBySubject: (subject, options) =>
      Effect.gen(function*() {
        const name = layout.indexName(subject)
        const { rest } = yield* run(
          Scripts.destroyBySubject,
          [layout.index(name), layout.events(Layout.bucketOf(name))],
          [name, options?.except ?? ""]
        )
        // A session that was pending has ended if it had begun.
        const begun = yield* Effect.forEach(
          listOf(rest[1]),
          (pair) => {
            const [key, from] = listOf(pair).map(String)
            return Effect.map(
              runner.read(from.split(" ", 1)[0]),
              (origin) => origin._tag === "Alias" && origin.successor === key ? [key] : []
            )
          },
          all
        )
        return [...listOf(rest[0]).map(String), ...begun.flat()]
      }),

    scan,

    count: Stream.runFold(scan, () => 0, (count) => count + 1),

    destroyWhere: (predicate) =>
      working(Effect.fnUntraced(function*(keys) {
        const found = yield* recordsOf(keys)
        const chosen = (yield* liveOf(found)).filter(predicate)
        const ended = yield* Effect.forEach(
          chosen,
          ({ key }) => destroyWith(runner, crossing, key, "revoked", "predicate"),
          all
        )
        return { scanned: found.length, removed: count(ended) }
      })),

    clear: Stream.concat(
      working(Effect.fnUntraced(function*(keys) {
        const tags = yield* Effect.forEach(
          keys,
          (key) =>
            Effect.map(
              run(Scripts.clear, [layout.session(key)], []),
              ({ tag }) => tag
            ),
          all
        )
        const records = count(tags.map((tag) => tag === "Record"))
        return { scanned: records, removed: records }
      })),
      forEachIndex(Scripts.clearIndex, () => [])
    ),

    purgeExpired: Stream.concat(
      working(Effect.fnUntraced(function*(keys) {
        const found = yield* recordsOf(keys)
        const over = found.filter(({ read }) => !isLive(read.record, clock.now()))
        const removed = yield* Effect.forEach(over, ({ key }) => expire(key), all)
        return { scanned: found.length, removed: count(removed) }
      })),
      forEachIndex(Scripts.prune, (name) => [name])
    )
  }
}
