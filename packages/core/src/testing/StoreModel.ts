/**
 * The contract of `SessionStore` and `SessionQuery` as a pure function: given
 * what was known before and one call with its result, either what is known
 * afterwards, or what should have come instead.
 *
 * Where the contract leaves a choice to the store, the model takes the choice
 * from the result: whether an expired session is still reported as `Expired`,
 * which of two sessions with the same sign-in time is evicted, whether the key
 * of an ended session may be taken again.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Lifetime from "../Lifetime.ts"
import type { SessionEntry } from "../SessionQuery.ts"
import type { Created, Lookup, Renewed, SessionLimit, SessionRecord } from "../SessionStore.ts"
import type { Call, Operation } from "./StoreOperation.ts"
import { isSame, show } from "./Trial.ts"

/**
 * A key that was renewed away.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Link {
  readonly next: string
  /** End of the grace window; `undefined` for a key that was forgotten at once. */
  readonly until: number | undefined
  /** How long the store has to remember the key: the session's deadline at the renewal. */
  readonly rememberUntil: number
}

/**
 * What is known of a store.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface State {
  readonly now: number
  /** Whether instants are compared; without, only their order within a list. */
  readonly exactTime: boolean
  readonly records: ReadonlyMap<string, SessionRecord>
  readonly links: ReadonlyMap<string, Link>
  /** Keys that ever named a session. */
  readonly used: ReadonlySet<string>
  /**
   * The key of a renewed session was taken again, which real keys never are.
   * The contract says nothing of what its aliases mean then.
   */
  readonly unspecified: boolean
}

/**
 * Outcome of a step of the model.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Verdict =
  | { readonly _tag: "Accepted"; readonly state: State }
  | { readonly _tag: "Rejected"; readonly expected: string }

/**
 * A store of which nothing is known yet, at a time of the store's clock.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (now: number, exactTime: boolean): State => ({
  now,
  exactTime,
  records: new Map(),
  links: new Map(),
  used: new Set(),
  unspecified: false
})

/**
 * Returns a text that two states share only if the model treats them alike.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const fingerprint = (state: State): string =>
  JSON.stringify([
    state.now,
    state.unspecified,
    [...state.records].map(([key, record]) => [key, record, show(record.payload)]).toSorted(),
    [...state.links].toSorted(),
    [...state.used].toSorted()
  ])

const accept = (state: State, changes?: Partial<State>): Verdict => ({
  _tag: "Accepted",
  state: changes === undefined ? state : { ...state, ...changes }
})

const reject = (expected: unknown): Verdict => ({ _tag: "Rejected", expected: show(expected) })

const liveRecord = (state: State, key: string): SessionRecord | undefined => {
  const record = state.records.get(key)
  return record !== undefined && Lifetime.isLive(record, state.now) ? record : undefined
}

const chainOf = (state: State, key: string): ReadonlyArray<string> => {
  const chain: Array<string> = []
  for (let at = state.links.get(key); at !== undefined; at = state.links.get(at.next)) chain.push(at.next)
  return chain
}

// Everything the contract says about a key. A `certain` alias or superseded key must be known to the store.
type Standing =
  | { readonly _tag: "Live"; readonly record: SessionRecord }
  | {
    readonly _tag: "Alias" | "Superseded"
    readonly key: string
    readonly record: SessionRecord
    readonly chain: ReadonlyArray<string>
    readonly certain: boolean
  }
  | { readonly _tag: "Orphan"; readonly chain: ReadonlyArray<string> }
  | { readonly _tag: "Expired" | "Ended" | "Fresh" }

const standing = (state: State, key: string): Standing => {
  const record = liveRecord(state, key)
  if (record !== undefined) return { _tag: "Live", record }
  if (state.records.has(key)) return { _tag: "Expired" }
  const link = state.links.get(key)
  if (link === undefined || link.until === undefined) return { _tag: state.used.has(key) ? "Ended" : "Fresh" }
  const chain = chainOf(state, key)
  // A renewal without a grace window ends every earlier key.
  if (chain.some((at) => state.links.has(at) && state.links.get(at)?.until === undefined)) {
    return { _tag: "Orphan", chain }
  }
  const certain = [key, ...chain].every((at) => {
    const link = state.links.get(at)
    return link === undefined || (link.until !== undefined && state.now < link.rememberUntil)
  })
  const last = chain[chain.length - 1]
  const successor = liveRecord(state, last)
  if (successor === undefined) return { _tag: "Orphan", chain }
  return { _tag: state.now < link.until ? "Alias" : "Superseded", key: last, record: successor, chain, certain }
}

const times = ["createdAt", "issuedAt", "authenticatedAt", "lastSeenAt", "expiresAt"] as const

const sameRecord = (state: State, seen: SessionRecord, expected: SessionRecord): boolean => {
  if (state.exactTime) return isSame(seen, expected)
  const adopted: Record<string, number | undefined> = {}
  for (const name of times) {
    if ((seen[name] === undefined) !== (expected[name] === undefined)) return false
    adopted[name] = seen[name]
  }
  return isSame(seen, { ...expected, ...adopted })
}

const without = (state: State, keys: Iterable<string>): ReadonlyMap<string, SessionRecord> => {
  const records = new Map(state.records)
  for (const key of keys) records.delete(key)
  return records
}

const ofSubject = (state: State, subject: string): ReadonlyArray<string> =>
  [...state.records.keys()].filter((key) => liveRecord(state, key)?.subject === subject)

const sameKeys = (seen: ReadonlyArray<string>, expected: ReadonlyArray<string>): boolean =>
  isSame(seen.toSorted(), expected.toSorted())

const load = (state: State, key: string, result: Lookup): Verdict => {
  const known = standing(state, key)
  const absent = result._tag === "Absent"
  switch (known._tag) {
    case "Live":
    case "Alias": {
      const alias = known._tag === "Alias" ? known.key : undefined
      const matches = result._tag === "Live" && result.alias === alias &&
        sameRecord(state, result.record, known.record) && (!state.exactTime || result.now === state.now)
      if (matches) return accept(state)
      if (known._tag === "Alias" && !known.certain && result._tag !== "Live") return accept(state)
      return reject({ _tag: "Live", record: known.record, alias, now: state.now })
    }
    case "Superseded": {
      const named = result._tag === "Superseded" && known.chain.includes(result.successor)
      if (named || (!known.certain && result._tag !== "Live")) return accept(state)
      return reject({ _tag: "Superseded", successor: known.key })
    }
    case "Orphan":
      return result._tag === "Live" ? reject("not Live: the session under its new key has ended") : accept(state)
    case "Expired":
      return absent || result._tag === "Expired" ? accept(state) : reject("Expired or Absent")
    case "Ended":
    case "Fresh":
      return absent ? accept(state) : reject("Absent")
  }
}

// Which outcomes the place for a new session leaves open.
const place = (state: State, key: string) => {
  const known = standing(state, key)
  const aliases = [...state.links].filter(([, link]) => link.until !== undefined)
  const reused = aliases.some(([alias]) => alias === key || chainOf(state, alias).includes(key))
  const certain = known._tag === "Live" || ((known._tag === "Alias" || known._tag === "Superseded") && known.certain)
  return { mayBeTaken: known._tag !== "Fresh", mayBeFree: !certain, reused }
}

// Which outcomes a limit leaves open. A renewal within one subject adds no session to it: beyond a limit that was
// lowered, the contract leaves the choice to the store.
const room = (state: State, subject: string | undefined, limit: SessionLimit | undefined, renewed?: string) => {
  if (subject === undefined || limit === undefined) return { others: [], excess: 0, stays: false }
  const all = ofSubject(state, subject)
  const others = all.filter((key) => key !== renewed)
  return { others, excess: Math.max(0, others.length + 1 - limit.max), stays: others.length < all.length }
}

const evictionIsRight = (state: State, evicted: ReadonlyArray<string>, space: ReturnType<typeof room>): boolean => {
  if (new Set(evicted).size !== evicted.length || !evicted.every((key) => space.others.includes(key))) return false
  if (evicted.length !== space.excess && !(space.stays && evicted.length === 0)) return false
  const signIn = (key: string) => state.records.get(key)?.authenticatedAt ?? state.now
  const kept = space.others.filter((key) => !evicted.includes(key))
  return !state.exactTime || evicted.every((gone) => kept.every((key) => signIn(gone) <= signIn(key)))
}

// The part that `create` and `renew` share: adding a session under a key.
const add = (
  state: State,
  key: string,
  expected: SessionRecord,
  limit: SessionLimit | undefined,
  renewed: string | undefined,
  result: Created | Renewed
): Verdict => {
  const spot = place(state, key)
  const space = room(state, expected.subject, limit, renewed)
  const full = space.excess > 0 && limit?.onLimit === "refuse"
  switch (result._tag) {
    case "KeyTaken":
      return spot.mayBeTaken ? accept(state) : reject("not KeyTaken: the key was never used")
    case "LimitReached":
      return full ? accept(state) : reject("not LimitReached: there is room")
    case "Created":
    case "Renewed": {
      if (!spot.mayBeFree) return reject("KeyTaken")
      if (full && !space.stays) return reject("LimitReached")
      if (!sameRecord(state, result.record, expected)) return reject({ _tag: result._tag, record: expected })
      const evicts = limit?.onLimit === "evict"
      if (evicts ? !evictionIsRight(state, result.evicted, space) : result.evicted.length > 0) {
        return reject(`the oldest ${evicts ? space.excess : 0} evicted of ${show(space.others)}`)
      }
      const records = new Map(without(state, result.evicted))
      if (renewed !== undefined) records.delete(renewed)
      records.set(key, expected)
      // A key that is taken again has no past as a key that was renewed away.
      const links = new Map([...state.links].filter(([old, link]) => old !== key && link.next !== key))
      return accept(state, { records, links, used: new Set(state.used).add(key), unspecified: spot.reused })
    }
    default:
      return reject("an outcome of a live session with this version")
  }
}

const renew = (state: State, operation: Extract<Operation, { _tag: "Renew" }>, result: Renewed): Verdict => {
  const { grace = 0, key, limit, replacement, version } = operation
  const before = liveRecord(state, key)
  const taken = result._tag === "KeyTaken" && place(state, replacement.key).mayBeTaken
  if (before === undefined) return result._tag === "Gone" || taken ? accept(state) : reject({ _tag: "Gone" })
  if (before.version !== version) {
    const space = room(state, replacement.subject, limit, key)
    const refused = result._tag === "LimitReached" && limit?.onLimit === "refuse" && space.excess > 0
    return result._tag === "Conflict" || taken || refused ? accept(state) : reject({ _tag: "Conflict" })
  }
  const moved = replacement.subject !== before.subject && result._tag === "Renewed"
  // A subject that changes without proof: what the sign-in time of another subject is worth is not the store's concern.
  const kept = moved ? result.record.authenticatedAt : before.authenticatedAt
  const expected: SessionRecord = {
    version: 1,
    createdAt: before.createdAt,
    issuedAt: state.now,
    authenticatedAt: replacement.subject === undefined ? undefined : replacement.authenticated ? state.now : kept,
    lastSeenAt: state.now,
    idleTimeout: replacement.idleTimeout,
    expiresAt: replacement.lifetime === undefined ? before.expiresAt : state.now + replacement.lifetime,
    subject: replacement.subject,
    format: replacement.format,
    payload: replacement.payload
  }
  const verdict = add(state, replacement.key, expected, limit, key, result)
  if (verdict._tag === "Rejected" || result._tag !== "Renewed") return verdict
  const until = grace > 0 ? state.now + grace : undefined
  const link: Link = { next: replacement.key, until, rememberUntil: expected.expiresAt }
  return accept(verdict.state, { links: new Map(verdict.state.links).set(key, link) })
}

const bySubject = (state: State, subject: string, result: ReadonlyArray<SessionEntry>): Verdict => {
  const keys = ofSubject(state, subject)
  const signIns = result.map((entry) => entry.record.authenticatedAt)
  const right = sameKeys(result.map((entry) => entry.key), keys) &&
    result.every((entry) => sameRecord(state, entry.record, state.records.get(entry.key)!)) &&
    (signIns.includes(undefined) || isSame(signIns, signIns.toSorted((a, b) => a! - b!)))
  if (right) return accept(state)
  return reject(keys.map((key) => ({ key, record: state.records.get(key) })))
}

/**
 * Checks one call against what is known, and returns what is known afterwards.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const step = (state: State, call: Call): Verdict => {
  if (state.unspecified && call._tag !== "Advance") return accept(state)
  switch (call._tag) {
    case "Load":
      return load(state, call.operation.key, call.result)
    case "Create": {
      const { limit, record } = call.operation
      const expected: SessionRecord = {
        version: 1,
        createdAt: state.now,
        issuedAt: state.now,
        authenticatedAt: record.subject === undefined ? undefined : state.now,
        lastSeenAt: state.now,
        idleTimeout: record.idleTimeout,
        expiresAt: state.now + record.lifetime,
        subject: record.subject,
        format: record.format,
        payload: record.payload
      }
      return add(state, record.key, expected, limit, undefined, call.result)
    }
    case "Save": {
      const { change, key, version } = call.operation
      const before = liveRecord(state, key)
      const tag = before === undefined ? "Gone" : before.version === version ? "Saved" : "Conflict"
      if (before === undefined || tag !== "Saved") {
        return call.result._tag === tag ? accept(state) : reject({ _tag: tag })
      }
      const record: SessionRecord = {
        ...before,
        version: before.version + 1,
        lastSeenAt: change.active ? state.now : before.lastSeenAt,
        idleTimeout: change.idleTimeout,
        expiresAt: change.lifetime === undefined ? before.expiresAt : state.now + change.lifetime,
        format: change.format,
        payload: change.payload
      }
      if (call.result._tag !== "Saved" || !sameRecord(state, call.result.record, record)) {
        return reject({ _tag: "Saved", record })
      }
      return accept(state, { records: new Map(state.records).set(key, record) })
    }
    case "Touch": {
      const before = liveRecord(state, call.operation.key)
      if (call.result !== (before !== undefined)) return reject(before !== undefined)
      if (before === undefined) return accept(state)
      const record = { ...before, lastSeenAt: state.now }
      return accept(state, { records: new Map(state.records).set(call.operation.key, record) })
    }
    case "Renew":
      return renew(state, call.operation, call.result)
    case "Destroy": {
      const known = standing(state, call.operation.key)
      const reached = known._tag === "Alias" || known._tag === "Superseded" ? known : undefined
      const ended = known._tag === "Live" || (reached !== undefined && (reached.certain || call.result))
      if (call.result !== ended) return reject(ended)
      const gone = ended && reached !== undefined ? [call.operation.key, reached.key] : [call.operation.key]
      return accept(state, { records: without(state, gone) })
    }
    case "BySubject":
      return bySubject(state, call.operation.subject, call.result)
    case "DestroyBySubject": {
      const { except, subject } = call.operation
      const keys = ofSubject(state, subject).filter((key) => key !== except)
      const known = except === undefined ? undefined : standing(state, except)
      // The contract does not say whether an alias excepts its session.
      const spared = known?._tag === "Alias" || known?._tag === "Superseded" ? known.key : undefined
      const right = sameKeys(call.result, keys) || sameKeys(call.result, keys.filter((key) => key !== spared))
      return right ? accept(state, { records: without(state, call.result) }) : reject(keys)
    }
    case "Advance":
      return accept(state, { now: state.now + call.operation.millis })
  }
}
