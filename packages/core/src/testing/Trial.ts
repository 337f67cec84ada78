/**
 * The bench a law runs on: keys, time, races and expectations.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import { SessionQuery } from "../SessionQuery.ts"
import type { Lookup, NewRecord, Payload, RecordChange, Replacement, SessionRecord } from "../SessionStore.ts"
import { SessionStore, type SessionStoreError } from "../SessionStore.ts"
import { ConformanceError, type Law, type Options, type Timing } from "./Law.ts"

/** The errors a law may end with. */
export type TrialError = ConformanceError | SessionStoreError

/** A live lookup. */
export type Live = Extract<Lookup, { readonly _tag: "Live" }>

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/** A deterministic stream of 32-bit numbers (mulberry32) seeded by a text. */
export const random = (seed: string): () => number => {
  let state = 0x811c9dc5
  for (let i = 0; i < seed.length; i++) state = Math.imul(state ^ seed.charCodeAt(i), 0x01000193)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (t ^ (t >>> 14)) >>> 0
  }
}

/** A key as the library makes them: 43 characters of base64url, the same ones for the same text. */
export const keyOf = (text: string): string => {
  const next = random(text)
  return Array.from({ length: 43 }, () => alphabet[next() % 64]).join("")
}

/** A subject, the same one for the same text. */
export const subjectOf = (text: string): string => `subject-${keyOf(text).slice(0, 12)}`

/** Structural equality; a property that is missing equals one that is `undefined`. */
export const isSame = (a: unknown, b: unknown): boolean => {
  if (Object.is(a, b)) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return a instanceof Uint8Array && b instanceof Uint8Array && a.length === b.length && a.every((x, i) => x === b[i])
  }
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const keys = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...keys].every((key) => isSame(Reflect.get(a, key), Reflect.get(b, key)))
}

/** A value as it stands in an error. */
export const show = (value: unknown): string => {
  const text = typeof value === "string" ? value : Formatter.format(value)
  return text.length > 2000 ? `${text.slice(0, 2000)}... (${text.length} characters)` : text
}

/** What the laws work with. */
export interface Trial extends Expectations, Time {
  readonly store: SessionStore["Service"]
  readonly races: number
  /** A duration no law lives to see the end of. */
  readonly long: number
  readonly key: (label: string) => string
  readonly subject: (label: string) => string
  /** The store's time, as a read tells it. */
  readonly now: Effect.Effect<number, TrialError>
  /** Whether an instant can lie between two that reads have told. */
  readonly isBetween: (from: number, at: number, to: number) => boolean
  /** Runs effects at once, each after a few turns of the scheduler. */
  readonly race: <A, E, R>(effects: ReadonlyArray<Effect.Effect<A, E, R>>) => Effect.Effect<Array<A>, E, R>
  /** Lets other fibers run for a few turns. */
  readonly pause: Effect.Effect<void>
  /** Creates a session and returns its record. */
  readonly create: (key: string, fields?: Partial<NewRecord>) => Effect.Effect<SessionRecord, TrialError>
  readonly save: (
    key: string,
    version: number,
    change?: Partial<RecordChange>
  ) => Effect.Effect<SessionRecord, TrialError>
  /** Renews a session with version 1 from one key to another. */
  readonly renew: (
    from: string,
    to: string,
    fields?: Partial<Replacement>,
    grace?: number
  ) => Effect.Effect<SessionRecord, TrialError>
  readonly live: (what: string, key: string) => Effect.Effect<Live, TrialError>
  /** Expects that a key is not live, whatever the store still knows of it. */
  readonly ended: (what: string, key: string) => Effect.Effect<void, TrialError>
}

/** The bench of a law that looks across sessions. */
export interface QueryTrial extends Trial {
  readonly query: SessionQuery["Service"]
}

/** A record to insert, anonymous and long-lived unless told otherwise. */
export const newRecord = (key: string, lifetime: number, fields?: Partial<NewRecord>): NewRecord => ({
  key,
  idleTimeout: lifetime,
  lifetime,
  subject: undefined,
  format: 1,
  payload: "first",
  ...fields
})

/** A change that writes a payload and nothing else. */
export const change = (idleTimeout: number, fields?: Partial<RecordChange>): RecordChange => ({
  format: 1,
  payload: "second",
  idleTimeout,
  lifetime: undefined,
  active: true,
  ...fields
})

/** A replacement that keeps subject, sign-in and deadline of an anonymous session. */
export const replacement = (key: string, idleTimeout: number, fields?: Partial<Replacement>): Replacement => ({
  key,
  format: 1,
  payload: "renewed",
  subject: undefined,
  idleTimeout,
  lifetime: undefined,
  authenticated: false,
  ...fields
})

/** All 256 byte values. */
export const everyByte: Uint8Array = Uint8Array.from({ length: 256 }, (_, i) => i)

/** Payloads that stores have been seen to change. */
export const payloads = (): ReadonlyArray<readonly [string, Payload]> => [
  ["empty text", ""],
  ["text that looks like a number", "007"],
  ["text that looks like JSON", "null"],
  ["text between spaces", " \t a \n"],
  ["text with control characters", "\u0000\u0001\r\n\t\u007f\u0080\u00ff"],
  ["unicode text", "žluťoučký 日本語 العربية e\u0301 \u{1f469}\u200d\u{1f4bb} \u{10ffff}"],
  ["64 KiB of text", "aé€\u{1d11e}".repeat(6554)],
  ["empty bytes", new Uint8Array(0)],
  ["one byte", Uint8Array.of(0)],
  ["every byte value", everyByte.slice()],
  ["bytes that are no UTF-8", Uint8Array.of(0xc3, 0x28, 0xff, 0xfe, 0x80)],
  ["bytes that are text", new TextEncoder().encode("plain")],
  ["a view into a larger buffer", everyByte.slice().subarray(100, 200)],
  ["64 KiB of bytes", Uint8Array.from({ length: 65536 }, (_, i) => (i * 31) ^ (i >>> 8))]
]

/** What a law says of what it sees. */
export interface Expectations {
  readonly same: (what: string, seen: unknown, expected: unknown) => Effect.Effect<void, ConformanceError>
  readonly that: (expected: string, holds: boolean, seen: unknown) => Effect.Effect<void, ConformanceError>
  readonly fail: (expected: string, seen: unknown) => Effect.Effect<never, ConformanceError>
}

export const expectations = (law: string): Expectations => {
  const fail: Expectations["fail"] = (expected, seen) =>
    Effect.fail(new ConformanceError({ law, expected, seen: show(seen) }))
  return {
    fail,
    that: (expected, holds, seen) => holds ? Effect.void : fail(expected, seen),
    same: (what, seen, expected) => isSame(seen, expected) ? Effect.void : fail(`${what}: ${show(expected)}`, seen)
  }
}

/** How a law lets time pass. */
export interface Time {
  readonly unit: number
  readonly elapse: (millis: number) => Effect.Effect<void>
  /** Moves to the last moment at which something `millis` long surely goes on. */
  readonly approach: (millis: number) => Effect.Effect<void>
  /** After `approach`: moves to the first moment at which it surely has ended. */
  readonly reach: (millis: number) => Effect.Effect<void>
}

export const time = ({ elapse, exactTime = true, unit = 1000 }: Timing): Time => ({
  unit,
  elapse,
  approach: (millis) => elapse(exactTime ? millis - 1 : Math.floor(millis / 2)),
  reach: (millis) => elapse(exactTime ? 1 : millis - Math.floor(millis / 2) + unit)
})

const makeTrial = (name: string, options: Options, store: SessionStore["Service"], keys: Set<string>): Trial => {
  const at = time(options)
  const tolerance = options.clockTolerance ?? 0
  const long = Math.max(86_400_000, at.unit * 100_000)
  const root = `${options.namespace ?? ""}/${name}`
  const next = random(root)
  const expect = expectations(name)
  const { fail, that } = expect
  const key = (label: string) => {
    const made = (options.keyOf ?? keyOf)(`${root}/${label}`)
    keys.add(made)
    return made
  }
  const pause = Effect.suspend(() => {
    let turns = next() % 4
    return Effect.whileLoop({ while: () => turns-- > 0, body: () => Effect.yieldNow, step: () => {} })
  })
  const live: Trial["live"] = (what, key) =>
    Effect.flatMap(store.load(key), (lookup) => lookup._tag === "Live" ? Effect.succeed(lookup) : fail(what, lookup))
  const create: Trial["create"] = (key, fields) =>
    Effect.flatMap(
      store.create(newRecord(key, long, fields)),
      (result) => result._tag === "Created" ? Effect.succeed(result.record) : fail("a new key is Created", result)
    )

  const probe = key("the store's time")
  const readNow = Effect.map(live("the probe for the store's time is live", probe), (lookup) => lookup.now)
  let probed = false
  const now = Effect.suspend(() => {
    if (probed) return readNow
    probed = true
    return Effect.andThen(create(probe), readNow)
  })

  return {
    ...at,
    ...expect,
    store,
    races: options.races ?? 20,
    long,
    key,
    subject: (label) => (options.subjectOf ?? subjectOf)(`${root}/subject/${label}`),
    now,
    isBetween: (from, at, to) => from - tolerance <= at && at <= to + tolerance,
    race: (effects) => Effect.all(effects.map((effect) => Effect.andThen(pause, effect)), { concurrency: "unbounded" }),
    pause,
    create,
    save: (key, version, fields) =>
      Effect.flatMap(
        store.save(key, version, change(long, fields)),
        (result) => result._tag === "Saved" ? Effect.succeed(result.record) : fail("the save is Saved", result)
      ),
    renew: (from, to, fields, grace) =>
      Effect.flatMap(
        store.renew(from, 1, replacement(to, long, fields), { grace }),
        (result) => result._tag === "Renewed" ? Effect.succeed(result.record) : fail("the renewal is Renewed", result)
      ),
    live,
    ended: (what, key) =>
      Effect.flatMap(store.load(key), (lookup) => that(`${what}: not Live`, lookup._tag !== "Live", lookup))
  }
}

/** A law before it is bound to the options of a run. */
export interface Definition<in T> {
  readonly name: string
  readonly law: string
  readonly exclusive?: boolean | undefined
  readonly check: (trial: T) => Effect.Effect<void, TrialError>
}

const cleanup = (store: SessionStore["Service"], keys: ReadonlySet<string>) =>
  Effect.ignore(Effect.forEach(keys, (key) => store.destroy(key), { concurrency: 16, discard: true }))

// How often a law starts over, each time with steps of time twice as long.
const attempts = 5

// A law on a clock that nobody holds has seen nothing if it was itself held up, past an instant it meant to be before.
// One that lets no time pass has no such instant: what it has seen is a verdict.
export const inTime = <Options extends Timing, E, R>(
  options: Options,
  run: (options: Options) => Effect.Effect<void, E | ConformanceError, R>,
  left = attempts
): Effect.Effect<void, E | ConformanceError, R> => {
  const { elapse, exactTime = true, namespace = "", unit = 1000 } = options
  if (exactTime) return run(options)
  return Effect.flatMap(Clock.currentTimeMillis, (began) => {
    let asked = 0
    const counted = (duration: Duration.Input) =>
      Effect.suspend(() => {
        asked += Duration.toMillis(Duration.fromInputUnsafe(duration))
        return elapse(duration)
      })
    return Effect.catchTag(
      run({ ...options, elapse: counted }),
      "ConformanceError",
      (error) =>
        Effect.flatMap(Clock.currentTimeMillis, (ended) =>
          left > 0 && asked > 0 && ended - began - asked > unit / 4
            ? inTime({ ...options, namespace: `${namespace}/again`, unit: unit * 2 }, run, left - 1)
            : Effect.fail(error))
    )
  })
}

/** Binds a law that needs a `SessionStore`. */
export const bindStore = (options: Options) => (definition: Definition<Trial>): Law<SessionStore> => ({
  name: definition.name,
  law: definition.law,
  requires: "store",
  exclusive: definition.exclusive ?? false,
  run: inTime(options, (options) =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const keys = new Set<string>()
      const trial = makeTrial(definition.name, options, store, keys)
      yield* Effect.ensuring(definition.check(trial), cleanup(store, keys))
    }))
})

/** Binds a law that needs a `SessionQuery` as well. */
export const bindQuery = (options: Options) => (definition: Definition<QueryTrial>): Law => ({
  name: definition.name,
  law: definition.law,
  requires: "query",
  exclusive: definition.exclusive ?? false,
  run: inTime(options, (options) =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const query = yield* SessionQuery
      const keys = new Set<string>()
      const trial: QueryTrial = { ...makeTrial(definition.name, options, store, keys), query }
      yield* Effect.ensuring(definition.check(trial), cleanup(store, keys))
    }))
})
