/**
 * The renewal of a session into another bucket of a cluster: three scripts of which the second one decides.
 *
 * The first writes the new record as pending: nobody takes it for a session. The second turns the old record into a link
 * to the new key. From then on the new one is live, whoever gets to the third, which makes it an ordinary record: the
 * one who renews, or the first who reads it. Cut off anywhere, exactly one of the two keys is live.
 */
import type {
  Renewed,
  Replacement,
  SessionLimit,
  SessionRecord,
  SessionStoreError
} from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import * as Scripts from "./crossBucketScripts.ts"
import * as Layout from "./layout.ts"
import type { Runner } from "./runner.ts"
import { unreadable } from "./storeFault.ts"

/** What a pending record has become. */
export interface Active {
  readonly record: SessionRecord
  readonly evicted: ReadonlyArray<string>
}

export interface Renewal {
  readonly oldKey: string
  readonly version: number
  readonly replacement: Replacement
  readonly grace: number
  readonly limit: SessionLimit | undefined
  readonly index: string | undefined
}

export interface CrossBucket {
  readonly renew: (renewal: Renewal) => Effect.Effect<Renewed, SessionStoreError>
  /** Makes a pending record live if its renewal was decided; `undefined` if it was not. */
  readonly settle: (key: string, from: string) => Effect.Effect<Active | undefined, SessionStoreError>
}

const gone: Renewed = { _tag: "Gone" }
const conflict: Renewed = { _tag: "Conflict" }

export const make = ({ clock, layout, read, run, synchronize }: Runner): CrossBucket => {
  const eventsOf = (key: string) => layout.events(Layout.bucketOf(key))

  const activate = Effect.fnUntraced(function*(key: string, from: string) {
    const { rest, tag } = yield* run(Scripts.activate, [layout.session(key), eventsOf(key)], [key, from])
    if (tag === "Gone") return undefined
    const [header, payload, ...evicted] = rest
    const record = Buffer.isBuffer(header) && Buffer.isBuffer(payload) ? Layout.recordOf(header, payload) : undefined
    if (record === undefined) return yield* unreadable("damaged")
    return { record, evicted: evicted.map(String) }
  })

  const settle = Effect.fnUntraced(function*(key: string, from: string) {
    const origin = yield* read(from)
    return origin._tag === "Alias" && origin.successor === key ? yield* activate(key, from) : undefined
  })

  const renew = Effect.fnUntraced(function*(renewal: Renewal) {
    const { grace, index, limit, oldKey, replacement, version } = renewal
    const before = yield* read(oldKey)
    if (before._tag === "Bad") return yield* unreadable(before.problem)
    if (before._tag !== "Record") return gone
    if (before.from !== undefined) {
      if ((yield* settle(oldKey, before.from)) === undefined) return gone
    }
    const old = before.record
    if (old.version !== version) {
      if (clock.isStale()) yield* synchronize
      // The commit would say the same, or that it has expired meanwhile.
      return clock.now() < Math.min(old.expiresAt, old.lastSeenAt + old.idleTimeout) ? conflict : gone
    }
    const aliases = grace > 0 ? [oldKey, ...before.aliases.split(" ").filter(Boolean)].slice(0, 16) : []
    const { key } = replacement
    const prepared = yield* run(
      Scripts.prepare,
      [layout.session(key), eventsOf(key), ...index === undefined ? [] : [layout.index(index)]],
      [
        oldKey,
        key,
        String(old.createdAt),
        String(old.authenticatedAt ?? ""),
        String(old.expiresAt),
        String(replacement.idleTimeout),
        String(replacement.lifetime ?? ""),
        Layout.formatOf(replacement.format),
        Layout.kindOf(replacement.payload),
        replacement.subject === undefined ? "0" : "1",
        replacement.subject ?? "",
        index ?? "",
        replacement.authenticated ? "1" : "0",
        aliases.join(" "),
        String(limit?.max ?? 0),
        limit?.onLimit ?? "",
        replacement.payload
      ]
    )
    if (prepared.tag === "KeyTaken") return { _tag: "KeyTaken" } satisfies Renewed
    if (prepared.tag === "LimitReached") return { _tag: "LimitReached" } satisfies Renewed
    const committed = yield* run(
      Scripts.commit,
      [layout.session(oldKey), eventsOf(oldKey)],
      [oldKey, String(version), key, String(grace), String(prepared.rest[0])]
    )
    if (committed.tag !== "Committed") {
      // Without it the record stays what it is, pending for ever and live for nobody, until its time is over.
      yield* Effect.ignore(run(Scripts.abandon, [layout.session(key), eventsOf(key)], [key, oldKey]))
      return committed.tag === "Conflict" ? conflict : gone
    }
    const active = yield* activate(key, oldKey)
    return active === undefined ? gone : { _tag: "Renewed", ...active } satisfies Renewed
  })

  return { renew, settle }
}
