/**
 * The sessions of the signed-in user: list them, end one, end the others, end
 * all (OWASP ASVS 7.4.3 and 7.5.2).
 *
 * Sessions are named by opaque handles, which open nothing. A handle only works
 * for a session of the user who asks. Only sessions of the same service are
 * listed and ended by handle; ending the others or all ends every session of
 * the subject.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as ClientBinding from "./ClientBinding.ts"
import { Crypto } from "./Crypto.ts"
import * as Observer from "./internal/observer.ts"
import * as Lifetime from "./Lifetime.ts"
import { Metrics } from "./Metrics.ts"
import type { Tag } from "./Session.ts"
import { SessionBackend } from "./SessionBackend.ts"
import { NotAuthenticated, SessionError, Unavailable } from "./SessionError.ts"
import { SessionEvents } from "./SessionEvents.ts"
import { SessionQuery } from "./SessionQuery.ts"
import { SessionStore, type SessionStoreError } from "./SessionStore.ts"
import * as UserAgent from "./UserAgent.ts"

/**
 * One session of a user. Instants are UTC milliseconds.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Device {
  readonly handle: string
  /** Whether it is the session that asks. */
  readonly current: boolean
  readonly createdAt: number
  readonly authenticatedAt: number | undefined
  readonly lastSeenAt: number
  readonly expiresAt: number
  /** `User-Agent` at sign-in, if the transport records clients. */
  readonly agent: string | undefined
  /** Address at sign-in, if the transport records clients. */
  readonly address: string | undefined
  /** Browser and system, as far as the `User-Agent` says. */
  readonly client: UserAgent.UserAgent
  /** About where the address is: the first 24 bits of IPv4, the first 48 of IPv6, such as `192.0.2.0/24`. */
  readonly network: string | undefined
}

// Enough to recognise a provider or an office by, and not a household.
const approximate: ClientBinding.Prefixes = { ipv4: 24, ipv6: 48 }

/**
 * Services that the functions of this module need.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Requirements = SessionQuery | SessionStore | SessionBackend | Crypto

const unavailable = (error: SessionStoreError): SessionError =>
  new SessionError({ reason: new Unavailable({ retryAfter: error.reason.retryAfter, cause: error }) })

const entries = Effect.fnUntraced(function*<Self, A>(tag: Tag<Self, A>) {
  const session = yield* tag
  const subject = yield* session.subject
  if (subject === undefined) return yield* new SessionError({ reason: new NotAuthenticated() })
  const query = yield* SessionQuery
  const crypto = yield* Crypto
  const { open } = yield* SessionBackend
  const own = yield* session.handle
  const found: Array<{ readonly key: string; readonly device: Device }> = []
  for (const { key, record: kept } of yield* Effect.mapError(query.bySubject(subject), unavailable)) {
    const record = open === undefined ? kept : yield* open(key, kept)
    const decoded = tag.definition.data.decode(key, record.format, record.payload)
    if (decoded._tag !== "Decoded") continue
    const handle = yield* crypto.handleOf(key)
    const { client } = decoded.envelope
    found.push({
      key,
      device: {
        handle,
        current: handle === own,
        createdAt: record.createdAt,
        authenticatedAt: record.authenticatedAt,
        lastSeenAt: record.lastSeenAt,
        expiresAt: Lifetime.deadline(record),
        agent: client?.agent,
        address: client?.address,
        client: UserAgent.parse(client?.agent),
        network: ClientBinding.networkOf(client?.address, approximate)
      }
    })
  }
  return { session, subject, found }
})

const reportRevoked = Effect.fnUntraced(function*<Self, A>(
  tag: Tag<Self, A>,
  subject: string,
  keys: ReadonlyArray<string>
) {
  const { name } = yield* SessionBackend
  const at = yield* Clock.currentTimeMillis
  const observer = Observer.make(tag.key, name, yield* Metrics, yield* SessionEvents, yield* Crypto)
  for (const key of keys) yield* observer.observe("revoked", at, { key, subject, reason: "by its user" })
})

/**
 * Lists the user's sessions, oldest sign-in first. Fails with `NotAuthenticated`
 * when nobody is signed in.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const list = <Self, A>(
  tag: Tag<Self, A>
): Effect.Effect<ReadonlyArray<Device>, SessionError, Self | Requirements> =>
  Effect.map(entries(tag), ({ found }) => found.map(({ device }) => device))

/**
 * Ends one of the user's sessions, at once. Returns `false` for a handle that
 * names none of them. The session that asks ends with its request.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const revoke: <Self, A>(
  tag: Tag<Self, A>,
  handle: string
) => Effect.Effect<boolean, SessionError, Self | Requirements> = Effect.fnUntraced(
  function*<Self, A>(tag: Tag<Self, A>, handle: string) {
    const { found, session, subject } = yield* entries(tag)
    const crypto = yield* Crypto
    // The list may come from a node with another newest secret.
    const handles = yield* Effect.forEach(found, ({ key }) => crypto.handleOf(key, handle))
    const entry = found[handles.indexOf(handle)]
    if (entry === undefined) return false
    if (entry.device.current) {
      yield* session.destroy
      return true
    }
    const store = yield* SessionStore
    const live = yield* Effect.mapError(store.destroy(entry.key), unavailable)
    if (live) yield* reportRevoked(tag, subject, [entry.key])
    return live
  }
)

/**
 * Ends every session of the user but the one that asks, at once and in one
 * step, and returns how many.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const revokeOthers: <Self, A>(
  tag: Tag<Self, A>
) => Effect.Effect<number, SessionError, Self | Requirements> = Effect.fnUntraced(
  function*<Self, A>(tag: Tag<Self, A>) {
    const { found, subject } = yield* entries(tag)
    const query = yield* SessionQuery
    const except = found.find(({ device }) => device.current)?.key
    const keys = yield* Effect.mapError(query.destroyBySubject(subject, { except }), unavailable)
    yield* reportRevoked(tag, subject, keys)
    return keys.length
  }
)

/**
 * Ends every session of the user, at once and in one step, and returns how many.
 * The client that asks drops its token with the response.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const revokeAll: <Self, A>(
  tag: Tag<Self, A>
) => Effect.Effect<number, SessionError, Self | Requirements> = Effect.fnUntraced(
  function*<Self, A>(tag: Tag<Self, A>) {
    const session = yield* tag
    const subject = yield* session.subject
    if (subject === undefined) return yield* new SessionError({ reason: new NotAuthenticated() })
    const query = yield* SessionQuery
    const keys = yield* Effect.mapError(query.destroyBySubject(subject), unavailable)
    yield* reportRevoked(tag, subject, keys)
    yield* session.destroy
    return keys.length
  }
)
