/**
 * How sessions lie in Redis.
 *
 * ```text
 * <prefix>{bb}<rest of the key>   hash: a session or an alias; bb is the bucket, the first two characters of the key
 * <prefix>{bb}@<22 characters>    sorted set: the sessions of a subject by sign-in, its name a hash of the subject
 * <prefix>!events                 stream of events; in a cluster <prefix>{bb}!events
 * ```
 *
 * Fields of a session: `h` header, `p` payload, `s` subject, `i` its index, `o` the keys it was renewed away from, `q`
 * the key it comes from and its limit while a renewal across buckets is under way. Fields of an alias: `r` successor,
 * `u` end of its grace window.
 *
 * The header is `1 version createdAt issuedAt authenticatedAt lastSeenAt idleTimeout expiresAt format kind`, its first
 * number the version of this layout, `-` a sign-in that never was, and the kind `t` for text, `b` for bytes.
 */
import type { Payload, SessionRecord } from "@effect-session/core/SessionStore"
import * as SessionToken from "@effect-session/core/SessionToken"
import { createHash } from "node:crypto"
import type { Reply } from "../RedisClient.ts"

export const bucketOf = (key: string): string => key.slice(0, 2)

const plain = /^[\w-]{3,100}$/

export interface Layout {
  readonly prefix: string
  readonly clustered: boolean
  readonly session: (key: string) => string
  /** Name of an index inside records: its bucket and a hash of the subject. */
  readonly indexName: (subject: string) => string
  readonly index: (name: string) => string
  readonly events: (bucket: string) => string
  /** Pattern for SCAN. */
  readonly pattern: string
  /** The store key that a Redis key stands for, if it has the form of one. */
  readonly keyIn: (redisKey: string) => string | undefined
  readonly indexIn: (redisKey: string) => string | undefined
}

/** Throws on a prefix that would change which part of a key is hashed. */
export const make = (prefix: string, clustered: boolean): Layout => {
  if (/[{}]/.test(prefix)) throw new RangeError("RedisStore: the prefix must not contain braces")
  const tail = (redisKey: string, pattern: RegExp) => {
    const found = redisKey.startsWith(prefix) ? pattern.exec(redisKey.slice(prefix.length)) : null
    return found === null ? undefined : found[1] + found[2]
  }
  return {
    prefix,
    clustered,
    session: (key) => {
      if (!plain.test(key)) throw new RangeError("RedisStore: a key is not base64url text")
      return `${prefix}{${key.slice(0, 2)}}${key.slice(2)}`
    },
    indexName: (subject) => {
      if (!subject.isWellFormed()) throw new RangeError("RedisStore: a subject is not well-formed Unicode")
      const hash = createHash("sha256").update(subject).digest("base64url").slice(0, 22)
      return SessionToken.bucketOfSubject(subject) + hash
    },
    index: (name) => `${prefix}{${name.slice(0, 2)}}@${name.slice(2)}`,
    events: (bucket) => clustered ? `${prefix}{${bucket}}!events` : `${prefix}!events`,
    pattern: `${prefix.replace(/[\\*?[\]^-]/g, "\\$&")}{??}*`,
    keyIn: (redisKey) => tail(redisKey, /^\{([\w-]{2})\}([\w-]{1,98})$/),
    indexIn: (redisKey) => tail(redisKey, /^\{([\w-]{2})\}@([\w-]{22})$/)
  }
}

/** What can be read at a key. */
export type Read =
  | { readonly _tag: "Absent" }
  | { readonly _tag: "Alias"; readonly successor: string; readonly until: number }
  | {
    readonly _tag: "Record"
    readonly record: SessionRecord
    readonly aliases: string
    /** The key it comes from while it is pending. */
    readonly from: string | undefined
  }
  | { readonly _tag: "Bad"; readonly problem: string }

/** All that a look-up may need; `q` is there in clusters only, and `o` matters to whom an alias has led here. */
export const fields = ["h", "p", "s", "r", "u", "q", "o"] as const
const withoutAliases = fields.slice(0, 6)
const ofOneServer = fields.slice(0, 5)

/** What says whether a session is live, and where else to look. */
export const lookupFields = (clustered: boolean): ReadonlyArray<string> => clustered ? withoutAliases : ofOneServer

const bad = (problem: string): Read => ({ _tag: "Bad", problem })
const damaged = bad("damaged")
const absent: Read = { _tag: "Absent" }

export const textOf = (reply: Reply | undefined): string | undefined =>
  Buffer.isBuffer(reply) ? reply.toString("utf8") : undefined

// The numbers of a header of which all are whole and none is out of the ordinary, several times faster than `numbersOf`.
const plainNumbersOf = (header: string): ReadonlyArray<number | undefined> | undefined => {
  const numbers: Array<number | undefined> = []
  let value = 0
  let digits = 0
  const end = header.length - 1
  for (let i = 2; i < end; i++) {
    const code = header.charCodeAt(i)
    if (code >= 48 && code <= 57) {
      value = value * 10 + code - 48
      digits++
    } else if (code === 32 && digits > 0 && digits < 16) {
      numbers.push(value)
      value = 0
      digits = 0
    } else if (code === 45 && numbers.length === 3 && digits === 0 && header.charCodeAt(i + 1) === 32) {
      numbers.push(undefined)
      i++
    } else {
      return undefined
    }
  }
  return numbers.length === 8 && digits === 0 ? numbers : undefined
}

const numbersOf = (header: string): ReadonlyArray<number | undefined> | undefined => {
  const parts = header.split(" ")
  return parts.length !== 10 || parts[9].length !== 1
    ? undefined
    : parts.slice(1, 9).map((part) => part === "-" ? undefined : Number(part))
}

export const recordOf = (
  header: string,
  payload: Buffer,
  subject: string | undefined,
  /** The payload where it is known already. */
  known?: Payload
): SessionRecord | undefined => {
  const numbers = plainNumbersOf(header) ?? numbersOf(header)
  if (numbers === undefined) return undefined
  // By number: to take an array apart costs more than to read it.
  const version = numbers[0]
  const createdAt = numbers[1]
  const issuedAt = numbers[2]
  const authenticatedAt = numbers[3]
  const lastSeenAt = numbers[4]
  const idleTimeout = numbers[5]
  const expiresAt = numbers[6]
  const format = numbers[7]
  const kind = header[header.length - 1]
  if (
    !isNumber(version) || !isNumber(createdAt) || !isNumber(issuedAt) || !isNumber(lastSeenAt) ||
    !isNumber(idleTimeout) || !isNumber(expiresAt) || !isNumber(format) ||
    (authenticatedAt !== undefined && !isNumber(authenticatedAt)) || (kind !== "t" && kind !== "b")
  ) return undefined
  return {
    version,
    createdAt,
    issuedAt,
    authenticatedAt,
    lastSeenAt,
    idleTimeout,
    expiresAt,
    subject,
    format,
    // The driver cuts replies out of a larger buffer, which a record would keep alive.
    payload: known ?? (kind === "t" ? payload.toString("utf8") : new Uint8Array(payload))
  }
}

const isNumber = (value: number | undefined): value is number => value !== undefined && Number.isFinite(value)

/** Understands the reply to HMGET of `fields`. */
export const readOf = (reply: Reply): Read => {
  if (!Array.isArray(reply)) return damaged
  const values: ReadonlyArray<Reply> = reply
  const header = Buffer.isBuffer(values[0]) ? values[0].toString("latin1") : undefined
  if (header === undefined) {
    const successor = textOf(values[3])
    if (successor === undefined) return absent
    const until = textOf(values[4])
    return until === undefined || !plain.test(successor) || !Number.isFinite(Number(until))
      ? damaged
      : { _tag: "Alias", successor, until: Number(until) }
  }
  if (!header.startsWith("1 ")) return bad("newer")
  const payload = values[1]
  const record = Buffer.isBuffer(payload) ? recordOf(header, payload, textOf(values[2])) : undefined
  if (record === undefined) return damaged
  return { _tag: "Record", record, aliases: textOf(values[6]) ?? "", from: textOf(values[5])?.split(" ", 1)[0] }
}

export const kindOf = (payload: Payload): string => typeof payload === "string" ? "t" : "b"
