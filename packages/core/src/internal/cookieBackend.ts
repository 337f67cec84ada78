/**
 * Carries out the steps of sessions whose record is their token.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Current, Step } from "../CommitPlan.ts"
import type { Options } from "../CookieStore.ts"
import { Crypto } from "../Crypto.ts"
import * as Lifetime from "../Lifetime.ts"
import type { Revocations } from "../Revocations.ts"
import { type Applied, type Found, SessionBackend } from "../SessionBackend.ts"
import { SessionConfig, SessionConfigError } from "../SessionConfig.ts"
import type { Lookup, RecordChange, SessionRecord, SessionStoreError } from "../SessionStore.ts"
import * as AtOnce from "./atOnce.ts"
import * as canonicalBase64 from "./canonicalBase64.ts"
import { Generations } from "./generations.ts"
import * as recordCodec from "./recordCodec.ts"
import { Ring, tagLength } from "./ring.ts"
import * as SealedToken from "./sealedToken.ts"

// Characters of the tokens of one memory.
const maxCharacters = 8 * 1024 * 1024

// Of the tokens that were given out last.
const rememberedIssues = 512

// Longest that a session can live: where a deadline is not known, it is not later than this.
const longest = 400 * 24 * 60 * 60 * 1000

const rejected: Found = Object.freeze({ _tag: "Rejected" })
const gone: Applied = Object.freeze({ _tag: "Gone" })
const absent: Lookup = Object.freeze({ _tag: "Absent" })
const expired: Lookup = Object.freeze({ _tag: "Expired" })
const untouched: Applied = Object.freeze({ _tag: "Touched", live: false })
// The authentication tag: a shorter text to find a token by, which no two of them share.
const tail = (token: string): string => token.slice(-tagLength)

const noEvictions: ReadonlyArray<string> = Object.freeze([])

// What a caller does to its octets must not change what is remembered.
const own = (record: SessionRecord): SessionRecord =>
  typeof record.payload === "string" ? record : { ...record, payload: new Uint8Array(record.payload) }

/** @internal */
export const make: (
  revocations: Revocations["Service"],
  options?: Options
) => Effect.Effect<SessionBackend["Service"], SessionConfigError, Crypto | SessionConfig> = Effect.fnUntraced(function*(
  revocations: Revocations["Service"],
  options: Options = {}
) {
  const { limit, name } = yield* SessionConfig
  const crypto = yield* Crypto
  const clock = yield* Clock.Clock
  const maxToken = options.maxToken ?? 4000
  const remembered = options.remembered ?? 4096
  const tokens = SealedToken.make(crypto, options.place ?? name)
  const isRevokedNow = AtOnce.of(revocations.isRevoked)

  const problems: Array<string> = []
  if (limit !== undefined) {
    problems.push("maxSessions: sessions that their clients keep cannot be counted; leave it out, or take a store")
  }
  if (!Number.isSafeInteger(maxToken) || maxToken < 256) {
    problems.push("maxToken: must be an integer of at least 256")
  }
  if (!Number.isSafeInteger(remembered) || remembered < 0) {
    problems.push("remembered: must be an integer of at least 0")
  }
  if (problems.length > 0) return yield* new SessionConfigError({ problems })

  // What a client has sent it sends again. What it was given is mostly replaced soon, or not heard of for a while: of
  // that only the last is kept, else all of it would be garbage by the time it is dropped, and old.
  const presented = new Generations<SealedToken.Opened>(remembered, maxCharacters)
  const issued = new Ring<recordCodec.Held>(Math.min(remembered, rememberedIssues), maxCharacters / rememberedIssues)

  // An epoch is remembered for so long: a session that lived longer could outlive its revocation.
  const bounded = (record: SessionRecord): SessionRecord => {
    const { authenticatedAt, expiresAt } = record
    const latest = authenticatedAt === undefined ? expiresAt : authenticatedAt + revocations.subjectLifetime
    return latest < expiresAt ? { ...record, expiresAt: latest } : record
  }

  const recall = (token: string): recordCodec.Held | undefined => {
    const held = issued.get(token)
    if (held !== undefined) return held
    const entry = presented.get(tail(token))
    return entry !== undefined && entry.token === token ? entry.held : undefined
  }

  const open = (token: string): Effect.Effect<recordCodec.Held | undefined> => {
    if (token.length === 0 || token.length > maxToken) return Effect.undefined
    const known = recall(token)
    if (known !== undefined) return Effect.succeed(known)
    return Effect.mapEager(tokens.open(token), (opened) => {
      if (opened === undefined) return undefined
      presented.set(tail(opened.token), opened, opened.token.length)
      return opened.held
    })
  }

  const give = (key: string, record: SessionRecord, sealed: Uint8Array): Applied => {
    const actual = canonicalBase64.encodedLength(sealed.length)
    if (actual > maxToken) return { _tag: "TooLarge", actual, maximum: maxToken }
    const token = canonicalBase64.encode(sealed)
    issued.set(token, new recordCodec.Held(key, own(record)))
    return { _tag: "Stored", token, key, record, evicted: noEvictions }
  }

  const issue = (key: string, unbounded: SessionRecord): Effect.Effect<Applied> => {
    const record = bounded(unbounded)
    return Effect.map(tokens.seal({ key, record }), (sealed) => give(key, record, sealed))
  }

  const issueNow = (key: string, unbounded: SessionRecord): Applied | undefined => {
    const record = bounded(unbounded)
    const sealed = tokens.sealNow({ key, record })
    return sealed && give(key, record, sealed)
  }

  // The id itself is not kept anywhere: nobody needs it again.
  const newKey = (subject: string | undefined): Effect.Effect<string> =>
    Effect.flatMap(
      Effect.flatMap(crypto.newToken(subject), crypto.hashId),
      (key) =>
        key === undefined
          ? Effect.die(new Error("CookieStore: Crypto does not know its own token"))
          : Effect.succeed(key)
    )

  // Dated after the last epoch of the subject: otherwise a sign-in right after it would be over when it begins.
  const signInTime = (subject: string | undefined, now: number) =>
    subject === undefined
      ? Effect.undefined
      : Effect.map(revocations.epoch(subject), (epoch) => epoch === undefined ? now : Math.max(now, epoch + 1))

  const revocable = ({ key, record: { authenticatedAt, issuedAt, subject } }: recordCodec.Held) => ({
    key,
    subject,
    authenticatedAt,
    issuedAt
  })

  const isLive = (held: recordCodec.Held, now: number): Effect.Effect<boolean, SessionStoreError> =>
    Lifetime.isLive(held.record, now)
      ? Effect.mapEager(revocations.isRevoked(revocable(held)), (revoked) => !revoked)
      : Effect.succeed(false)

  const whileLive = (
    current: Current,
    now: number,
    step: (record: SessionRecord) => Effect.Effect<Applied, SessionStoreError>
  ): Effect.Effect<Applied, SessionStoreError> =>
    Effect.flatMap(isLive(current, now), (live) => live ? step(current.record) : Effect.succeed(gone))

  // Puts a session under a new key. The new token is ready before the old key ends, and whoever ends it goes on alone.
  const replace = (current: Current, record: SessionRecord): Effect.Effect<Applied, SessionStoreError> =>
    Effect.flatMap(newKey(record.subject), (key) => issue(key, record)).pipe(
      Effect.flatMap((applied) =>
        applied._tag === "Stored"
          ? Effect.map(
            revocations.revoke(current.key, current.record.expiresAt, {
              anonymous: current.record.subject === undefined
            }),
            (ended): Applied => ended ? applied : gone
          )
          : Effect.succeed(applied)
      )
    )

  const changed = (
    record: SessionRecord,
    { active, format, idleTimeout, payload }: RecordChange,
    now: number
  ): SessionRecord => ({
    ...record,
    version: record.version + 1,
    lastSeenAt: active ? Math.max(record.lastSeenAt, now) : record.lastSeenAt,
    idleTimeout,
    format,
    payload
  })

  const applyNow = (step: Step): Applied | undefined => {
    if (step._tag !== "Save" || step.change.lifetime !== undefined) return undefined
    if (isRevokedNow === undefined) return undefined
    const { change, current } = step
    const now = clock.currentTimeMillisUnsafe()
    return Lifetime.isLive(current.record, now) && !isRevokedNow(revocable(current))
      ? issueNow(current.key, changed(current.record, change, now))
      : gone
  }

  const apply = (step: Step): Effect.Effect<Applied, SessionStoreError> => {
    const now = clock.currentTimeMillisUnsafe()
    switch (step._tag) {
      case "Create": {
        const { format, idleTimeout, lifetime, payload, subject } = step.record
        return Effect.flatMap(
          signInTime(subject, now),
          (authenticatedAt) =>
            Effect.flatMap(newKey(subject), (key) =>
              issue(key, {
                version: 1,
                createdAt: now,
                issuedAt: now,
                authenticatedAt,
                lastSeenAt: now,
                idleTimeout,
                expiresAt: now + lifetime,
                subject,
                format,
                payload
              }))
        )
      }
      case "Save": {
        const { change, current } = step
        const { lifetime } = change
        return whileLive(current, now, (record) => {
          const next = changed(record, change, now)
          // All tokens of one key have one deadline: when that has passed, the list may forget the key.
          return lifetime === undefined
            ? issue(current.key, next)
            : replace(current, { ...next, issuedAt: now, expiresAt: now + lifetime })
        })
      }
      case "Touch": {
        const { current } = step
        return Effect.map(
          whileLive(
            current,
            now,
            (record) => issue(current.key, { ...record, lastSeenAt: Math.max(record.lastSeenAt, now) })
          ),
          // A suite that makes longer tokens may leave no room for one that was written before.
          (applied) => applied._tag === "Stored" ? applied : untouched
        )
      }
      case "Renew": {
        const { current, replacement } = step
        const { authenticated, format, idleTimeout, lifetime, payload, subject } = replacement
        return whileLive(current, now, (record) =>
          Effect.flatMap(
            authenticated
              ? signInTime(subject, now)
              : Effect.succeed(subject === undefined ? undefined : record.authenticatedAt),
            (authenticatedAt) =>
              replace(current, {
                version: 1,
                createdAt: record.createdAt,
                issuedAt: now,
                authenticatedAt,
                lastSeenAt: now,
                idleTimeout,
                expiresAt: lifetime === undefined ? record.expiresAt : now + lifetime,
                subject,
                format,
                payload
              })
          ))
      }
      case "Destroy":
        return Effect.map(
          revocations.revoke(step.key, step.until ?? now + longest, { anonymous: step.anonymous }),
          (live): Applied => ({ _tag: "Ended", live })
        )
    }
  }

  const load = (token: string): Effect.Effect<Found, SessionStoreError> =>
    Effect.flatMapEager(open(token), (held): Effect.Effect<Found, SessionStoreError> => {
      if (held === undefined) return Effect.succeed(rejected)
      const { key } = held
      const record = bounded(held.record)
      const now = clock.currentTimeMillisUnsafe()
      return Lifetime.isLive(record, now)
        ? Effect.mapEager(
          revocations.isRevoked(revocable({ key, record })),
          (revoked) => found(key, record, !revoked, now)
        )
        : Effect.succeed(over(key))
    })

  const loadNow = (token: string): Found | undefined => {
    if (isRevokedNow === undefined) return undefined
    const held = recall(token)
    if (held === undefined) return undefined
    const { key } = held
    const record = bounded(held.record)
    const now = clock.currentTimeMillisUnsafe()
    return Lifetime.isLive(record, now)
      ? found(key, record, !isRevokedNow(revocable({ key, record })), now)
      : over(key)
  }

  return SessionBackend.of({
    name: "cookie",
    maxToken,
    load: AtOnce.make((token) => Effect.suspend(() => load(token)), loadNow),
    apply: AtOnce.make((step) => Effect.suspend(() => apply(step)), applyNow)
  })
})

const over = (key: string): Found => ({ _tag: "Found", key, lookup: expired })

const found = (key: string, record: SessionRecord, live: boolean, now: number): Found => ({
  _tag: "Found",
  key,
  lookup: live ? { _tag: "Live", record: own(record), alias: undefined, now } : absent
})
