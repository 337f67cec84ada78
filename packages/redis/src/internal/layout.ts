/**
 * How sessions lie in Redis.
 *
 * ```text
 * <prefix>{bb}<rest of the key>   hash: a session or an alias; bb is the bucket, the first two characters of the key
 * <prefix>{bb}@<22 characters>    sorted set: the sessions of a subject by sign-in, its name a hash of the subject
 * <prefix>!events                 stream of events; in a cluster <prefix>{bb}!events
 * ```
 *
 * Fields of a session: `h` header, `p` payload, `o` the keys it was renewed away from, `q` the key it comes from and its
 * limit while a renewal across buckets is under way. An alias has `h` only.
 *
 * The header begins with the version of this layout, `1`, and a letter: `t` for a payload of text, `b` for one of bytes,
 * in capitals while the session is pending, and `a` for an alias. Numbers follow, little-endian: of a session version and
 * format as four bytes each, then as doubles lastSeenAt, idleTimeout, expiresAt, createdAt, issuedAt and
 * authenticatedAt, of an alias the end of its grace window. What is left are the index, 24 characters, and the subject of
 * a session that is signed in, and the successor of an alias. A sign-in that never was is no number.
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
  const opening = `${prefix}{`
  return {
    prefix,
    clustered,
    session: (key) => {
      if (!plain.test(key)) throw new RangeError("RedisStore: a key is not base64url text")
      return `${opening}${key.slice(0, 2)}}${key.slice(2)}`
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
    /** The key it comes from while it is pending; empty where that was not read. */
    readonly from: string | undefined
  }
  | { readonly _tag: "Bad"; readonly problem: string }

/** All there is of a record. */
export const fields = ["h", "p", "o", "q"] as const

/** What says whether a session is live, and where else to look. */
export const lookupFields = ["h", "p"] as const

const bad = (problem: string): Read => ({ _tag: "Bad", problem })
const damaged = bad("damaged")
const newer = bad("newer")
const absent: Read = { _tag: "Absent" }

const layoutVersion = 0x31
const numbersEnd = 58
const subjectAt = 82
const letters = { alias: 0x61, text: 0x74, bytes: 0x62, pendingText: 0x54, pendingBytes: 0x42 } as const

export const textOf = (reply: Reply | undefined): string | undefined =>
  Buffer.isBuffer(reply) ? reply.toString("utf8") : undefined

/** The record of a header that is one; `undefined` if it is damaged. */
export const recordOf = (
  header: Buffer,
  payload: Buffer | undefined,
  /** The payload where it is known already. */
  known?: Payload
): SessionRecord | undefined => {
  const size = header.length
  if (size < numbersEnd || header[0] !== layoutVersion) return undefined
  const letter = header[1]
  const isText = letter === letters.text || letter === letters.pendingText
  if (!isText && letter !== letters.bytes && letter !== letters.pendingBytes) return undefined
  if (size > numbersEnd && size < subjectAt) return undefined
  const lastSeenAt = header.readDoubleLE(10)
  const idleTimeout = header.readDoubleLE(18)
  const expiresAt = header.readDoubleLE(26)
  const createdAt = header.readDoubleLE(34)
  const issuedAt = header.readDoubleLE(42)
  const authenticatedAt = header.readDoubleLE(50)
  if (!Number.isFinite(lastSeenAt + idleTimeout + expiresAt + createdAt + issuedAt)) return undefined
  let own = known
  if (own === undefined) {
    if (payload === undefined) return undefined
    // The driver cuts replies out of a larger buffer, which a record would keep alive.
    own = isText ? payload.toString("utf8") : new Uint8Array(payload)
  }
  return {
    version: header.readUInt32LE(2),
    createdAt,
    issuedAt,
    authenticatedAt: Number.isNaN(authenticatedAt) ? undefined : authenticatedAt,
    lastSeenAt,
    idleTimeout,
    expiresAt,
    subject: size > numbersEnd ? header.toString("utf8", subjectAt) : undefined,
    format: header.readUInt32LE(6),
    payload: own
  }
}

const aliasOf = (header: Buffer): Read => {
  if (header.length < 13) return damaged
  const until = header.readDoubleLE(2)
  const successor = header.toString("latin1", 10)
  return plain.test(successor) && Number.isFinite(until) ? { _tag: "Alias", successor, until } : damaged
}

/** The record in a reply to HMGET of header and payload, if it is one that stands for itself. */
export const settledIn = (reply: Reply): SessionRecord | undefined => {
  if (!Array.isArray(reply)) return undefined
  const values: ReadonlyArray<Reply> = reply
  const header = values[0]
  const payload = values[1]
  if (!Buffer.isBuffer(header) || !Buffer.isBuffer(payload)) return undefined
  const letter = header[1]
  return letter === letters.text || letter === letters.bytes ? recordOf(header, payload) : undefined
}

/** Understands the reply to HMGET of `fields`, or of `lookupFields`. */
export const readOf = (reply: Reply): Read => {
  if (!Array.isArray(reply)) return damaged
  const values: ReadonlyArray<Reply> = reply
  const [header, payload, aliases, from] = values
  if (!Buffer.isBuffer(header)) return absent
  if (header[0] !== layoutVersion) return newer
  const letter = header[1]
  if (letter === letters.alias) return aliasOf(header)
  const record = Buffer.isBuffer(payload) ? recordOf(header, payload) : undefined
  if (record === undefined) return damaged
  const pending = letter === letters.pendingText || letter === letters.pendingBytes
  return {
    _tag: "Record",
    record,
    aliases: textOf(aliases) ?? "",
    from: !pending ? undefined : values.length === lookupFields.length ? "" : textOf(from)?.split(" ", 1)[0]
  }
}

/** A format as an argument of scripts. Throws on one that has no place in a header. */
export const formatOf = (format: number): string => {
  if (format !== format >>> 0) throw new RangeError("RedisStore: a format is an integer of 32 bits, and not negative")
  return String(format)
}

export const kindOf = (payload: Payload): "t" | "b" => typeof payload === "string" ? "t" : "b"
