import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "fast-check"
import * as RecordCodec from "../src/internal/recordCodec.ts"

const integer = FastCheck.oneof(
  FastCheck.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  FastCheck.integer({ min: 0, max: 2_000_000_000 }),
  FastCheck.constantFrom(0, 9, 10, 999_999_999, 1e9, 1e9 + 1, 4_294_967_296, 9_999_999_999, Number.MAX_SAFE_INTEGER)
)
const text = FastCheck.oneof(
  FastCheck.stringMatching(/^[\w-]{1,40}$/),
  FastCheck.string({ unit: "binary", minLength: 1, maxLength: 20 }),
  FastCheck.constantFrom("\"", "\\", "\n", "\u007f", "é", "a\"b", "~", " ", "\ud83d", "😀")
)
const payload = FastCheck.oneof(
  FastCheck.json(),
  FastCheck.string({ unit: "binary", maxLength: 3_000 }),
  FastCheck.uint8Array({ maxLength: 300 })
)

const held = FastCheck.record({
  key: text,
  version: FastCheck.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  createdAt: FastCheck.integer({ min: 0, max: 4_000_000_000_000 }),
  issued: FastCheck.integer({ min: -10, max: 10_000_000_000 }),
  authenticated: FastCheck.option(integer.map((n) => n % 1e12), { nil: undefined }),
  lastSeenAt: integer,
  idleTimeout: FastCheck.integer({ min: 1, max: 1e13 }),
  lifetime: FastCheck.integer({ min: -10, max: 1e12 }),
  subject: text,
  format: FastCheck.constantFrom(1, 2, 12),
  payload
}).map(({ authenticated, createdAt, issued, key, lifetime, subject, ...rest }) =>
  new RecordCodec.Held(key, {
    ...rest,
    createdAt,
    issuedAt: createdAt + issued,
    authenticatedAt: authenticated === undefined ? undefined : createdAt + authenticated,
    expiresAt: createdAt + lifetime,
    subject: authenticated === undefined ? undefined : subject
  })
)

// What the module says that it writes, by other means.
const documented = ({ key, record }: RecordCodec.Held): Uint8Array => {
  const { authenticatedAt, createdAt, payload, subject } = record
  const line = JSON.stringify([
    1,
    key,
    record.version,
    createdAt,
    record.issuedAt - createdAt,
    authenticatedAt === undefined ? null : authenticatedAt - createdAt,
    record.lastSeenAt,
    record.idleTimeout,
    record.expiresAt - createdAt,
    subject ?? null,
    record.format,
    typeof payload === "string" ? 0 : 1
  ])
  return Buffer.concat([Buffer.from(`${line}\n`), Buffer.from(payload)])
}

const isWellFormed = ({ record: { payload } }: RecordCodec.Held) =>
  typeof payload !== "string" || payload.isWellFormed()

describe("RecordCodec", () => {
  it("writes every record as documented, and reads what it wrote", () => {
    FastCheck.assert(
      FastCheck.property(held, (held) => {
        const encoded = RecordCodec.encode(held)
        assert.deepStrictEqual(Buffer.from(encoded), Buffer.from(documented(held)))
        if (isWellFormed(held)) assert.deepStrictEqual(RecordCodec.decode(encoded), held)
      }),
      { numRuns: 5_000 }
    )
  })

  it("writes each record into octets of its own", () => {
    const all = FastCheck.sample(held, 500)
    const encoded = all.map(RecordCodec.encode)
    for (const [i, held] of all.entries()) {
      assert.deepStrictEqual(Buffer.from(encoded[i]), Buffer.from(documented(held)))
    }
  })
})
