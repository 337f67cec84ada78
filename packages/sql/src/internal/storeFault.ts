/** Turns errors of SQL into errors of the store, and knows those the store finds itself. */
import { SessionStoreError, StoreUnavailable } from "@effect-session/core/SessionStore"
import type { SqlError, SqlErrorReason } from "effect/sql/SqlError"

interface Row {
  readonly description: string
  /** When the database, the lock or the operator may be done, in milliseconds. */
  readonly retryAfter?: number
  readonly transient?: true
  readonly infrastructure?: true
  readonly outcomeUnknown?: true
}

const table: { readonly [T in SqlErrorReason["_tag"]]: Row } = {
  ConnectionError: {
    description: "there is no connection, or it was lost before the answer",
    transient: true,
    infrastructure: true,
    outcomeUnknown: true,
    retryAfter: 1000
  },
  AuthenticationError: { description: "the database refused the user name or the password" },
  AuthorizationError: { description: "the user may not do that to the table of sessions" },
  SqlSyntaxError: { description: "the table of sessions is missing, or not what this version expects" },
  UniqueViolation: { description: "a key was taken twice" },
  ConstraintError: { description: "the table of sessions has a constraint of somebody else's" },
  DeadlockError: { description: "the transaction was the victim of a deadlock", transient: true, retryAfter: 100 },
  SerializationError: {
    description: "the transaction met other ones again and again",
    transient: true,
    retryAfter: 100
  },
  LockTimeoutError: { description: "the row was locked for too long", transient: true, retryAfter: 1000 },
  StatementTimeoutError: {
    description: "the database cancelled the statement",
    transient: true,
    infrastructure: true,
    retryAfter: 1000
  },
  UnknownError: {
    description: "the statement failed",
    transient: true,
    infrastructure: true,
    outcomeUnknown: true,
    retryAfter: 1000
  }
}

// Classes of SQLSTATE that the errors of Effect do not tell apart. Each of them is an answer: nothing was written.
const states: ReadonlyArray<readonly [RegExp, Row]> = [
  [/^25006$/, {
    description: "the database is a replica, or read-only",
    transient: true,
    infrastructure: true,
    retryAfter: 2000
  }],
  [/^53/, {
    description: "the database has no room for more connections, memory or data",
    transient: true,
    infrastructure: true,
    retryAfter: 2000
  }],
  [/^57P0[1-5]$/, {
    description: "the database is starting, or shutting down",
    transient: true,
    infrastructure: true,
    outcomeUnknown: true,
    retryAfter: 2000
  }],
  [/^(?:22|54)/, { description: "the database cannot keep such a value" }],
  [/^26000$/, {
    description: "the database, or a pooler before it, has forgotten a prepared statement",
    transient: true,
    retryAfter: 100
  }],
  // Of a class that tells nothing else.
  [/^(?!08|23|28|40|42|55P03|57014)/, {
    description: "the database refused the statement",
    transient: true,
    infrastructure: true,
    retryAfter: 1000
  }]
]

/** What the database calls its error. */
export const sqlState = ({ cause }: SqlErrorReason): string | undefined => {
  if (typeof cause !== "object" || cause === null || !("code" in cause)) return undefined
  return typeof cause.code === "string" && /^[0-9A-Z]{5}$/.test(cause.code) ? cause.code : undefined
}

/**
 * The error of the store for an error of SQL. It does not name its cause: databases quote the values of a row in what
 * they say.
 */
export const fromSql = ({ reason }: SqlError): SessionStoreError => {
  const code = sqlState(reason)
  const row = (code === undefined ? undefined : states.find(([state]) => state.test(code))?.[1]) ?? table[reason._tag]
  return new SessionStoreError({
    reason: new StoreUnavailable({
      description: `${row.description}${code === undefined ? "" : ` (${code})`}`,
      applied: row.outcomeUnknown === true && reason.operation !== "connect" ? "unknown" : "no",
      transient: row.transient ?? false,
      infrastructure: row.infrastructure ?? false,
      ...row.retryAfter === undefined ? {} : { retryAfter: row.retryAfter }
    })
  })
}

/** Whether the database has answered that it did nothing of a statement. */
export const wasRefused = (error: SqlError): boolean =>
  error.reason.operation !== "connect" && fromSql(error).reason.applied === "no"

/** The error for an answer that did not come in time. */
export const timedOut = (limit: number): SessionStoreError =>
  new SessionStoreError({
    reason: new StoreUnavailable({
      description: `there was no answer within ${limit} ms`,
      applied: "unknown",
      transient: true,
      infrastructure: true,
      retryAfter: 1000,
      problem: "timeout"
    })
  })

/** The error for a store whose layer is closed. */
export const closing = new SessionStoreError({
  reason: new StoreUnavailable({
    description: "the store is closed",
    applied: "unknown",
    transient: false,
    infrastructure: false,
    problem: "closing"
  })
})

/** The error for a step that others were faster than each time. */
export const contended = new SessionStoreError({
  reason: new StoreUnavailable({
    description: "the session was changed again and again meanwhile",
    applied: "no",
    transient: true,
    infrastructure: false,
    retryAfter: 100
  })
})

/** An error that lasts, and says nothing of the health of the database. */
export const refused = (description: string): SessionStoreError =>
  new SessionStoreError({
    reason: new StoreUnavailable({ description, applied: "no", transient: false, infrastructure: false })
  })
