/**
 * How a session is written inside the seal of its token: one line of JSON about it, then the payload as it is.
 *
 * ```text
 * [1,"key",version,createdAt,issued,authenticated,lastSeenAt,idle,lifetime,"subject",format,kind]\n
 * {"t":"app/UserSession",...}
 * ```
 *
 * The first number is the version of this form. `issued`, `authenticated` and `lifetime` count from `createdAt`.
 * `lastSeenAt` does not: with as many digits at all times, a touch makes no token longer. `kind` says whether the
 * payload is text or octets.
 *
 * @internal
 */
import type { SessionRecord } from "../SessionStore.ts"
import * as JsonLine from "./jsonLine.ts"
import { Slab } from "./slab.ts"

/**
 * A session as its token holds it. A class, as entries of `Generations` are.
 *
 * @internal
 */
export class Held {
  readonly key: string
  readonly record: SessionRecord

  constructor(key: string, record: SessionRecord) {
    this.key = key
    this.record = record
  }
}

const version = 1
const text = 0
const octets = 1

const lineEnd = 10
const textDigit = 48
const plaintexts = new Slab()
const utf8 = new TextEncoder()
// A payload may begin with a byte order mark.
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const elementsOf = ({ key, record }: Held): ReadonlyArray<JsonLine.Element> => {
  const { authenticatedAt, createdAt, payload } = record
  return [
    version,
    key,
    record.version,
    createdAt,
    record.issuedAt - createdAt,
    authenticatedAt === undefined ? null : authenticatedAt - createdAt,
    record.lastSeenAt,
    record.idleTimeout,
    record.expiresAt - createdAt,
    record.subject ?? null,
    record.format,
    typeof payload === "string" ? text : octets
  ]
}

// The whole where it is ASCII, as most are. `undefined` for all others.
const encodePlain = (elements: ReadonlyArray<JsonLine.Element>, payload: string): Uint8Array | undefined => {
  const whole = plaintexts.allocate(JsonLine.maxLength(elements) + 1 + payload.length)
  const end = JsonLine.write(whole, elements)
  if (end === undefined) return undefined
  whole[end] = lineEnd
  const start = end + 1
  const { read } = utf8.encodeInto(payload, whole.subarray(start, start + payload.length))
  return read === payload.length ? whole.subarray(0, start + payload.length) : undefined
}

/** @internal */
export const encode = (held: Held): Uint8Array => {
  const { payload } = held.record
  const elements = elementsOf(held)
  const plain = typeof payload === "string" ? encodePlain(elements, payload) : undefined
  if (plain !== undefined) return plain
  const line = `${JSON.stringify(elements)}\n`
  if (typeof payload === "string") return plaintexts.encode(line + payload)
  const head = plaintexts.encode(line)
  const whole = plaintexts.allocate(head.length + payload.length)
  whole.set(head)
  whole.set(payload, head.length)
  return whole
}

const parse = (line: string): unknown => {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

const decodeText = (bytes: Uint8Array): string | undefined => {
  try {
    return strictUtf8.decode(bytes)
  } catch {
    return undefined
  }
}

const isInteger = (value: unknown): value is number => Number.isSafeInteger(value)
const isPositive = (value: unknown): value is number => isInteger(value) && value > 0

/**
 * Reads what {@link encode} wrote. `undefined` for anything else, and for a session that no list of subjects could end.
 *
 * @internal
 */
export const decode = (plaintext: Uint8Array): Held | undefined => {
  const end = plaintext.indexOf(lineEnd)
  if (end < 2) return undefined
  // The last number of the line: of text, all is decoded at once.
  const isText = plaintext[end - 2] === textDigit
  const decoded = decodeText(isText ? plaintext : plaintext.subarray(0, end))
  const line = decoded === undefined || !isText ? decoded : decoded.slice(0, decoded.indexOf("\n"))
  const head = line === undefined ? undefined : parse(line)
  if (!Array.isArray(head) || head.length !== 12 || head[0] !== version) return undefined
  const [, key, revision, createdAt, issued, authenticated, lastSeenAt, idleTimeout, lifetime, subject, format, kind] =
    head as ReadonlyArray<unknown>
  if (typeof key !== "string" || key.length === 0 || !isPositive(revision) || !isInteger(createdAt)) return undefined
  if (!isInteger(issued) || !isInteger(lastSeenAt) || !isPositive(idleTimeout) || !isInteger(lifetime)) return undefined
  if (authenticated !== null && !isInteger(authenticated)) return undefined
  if (subject !== null && (typeof subject !== "string" || subject.length === 0)) return undefined
  if ((subject === null) !== (authenticated === null) || !isInteger(format)) return undefined
  const payload = kind === text && isText
    ? decoded?.slice((line?.length ?? 0) + 1)
    : kind === octets
    ? new Uint8Array(plaintext.subarray(end + 1))
    : undefined
  if (payload === undefined) return undefined
  return new Held(key, {
    version: revision,
    createdAt,
    issuedAt: createdAt + issued,
    authenticatedAt: authenticated === null ? undefined : createdAt + authenticated,
    lastSeenAt,
    idleTimeout,
    expiresAt: createdAt + lifetime,
    subject: subject === null ? undefined : subject,
    format,
    payload
  })
}
