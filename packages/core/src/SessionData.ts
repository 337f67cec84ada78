/**
 * What a session's payload says, and how it is written.
 *
 * A payload is one JSON text:
 *
 * ```text
 * {"t":"app/UserSession","v":2,"d":{...},"f":[["notice","Saved."]],"e":1767225600000,
 *  "o":{"i":600000,"l":86400000,"p":true},"c":{"a":"Mozilla/5.0 ...","n":"192.0.2.7"}}
 * ```
 *
 * `t` is the session service it belongs to, `v` the version of the application's
 * data, `d` the data through its schema, `f` queued flash messages, `e` until
 * when the session is elevated, `o` its own lifetimes, `c` the client it was
 * created for, `b` what it is bound to. All but the first three are left out when
 * unset. The token of one service is not a session of another, whatever the
 * shapes of their data. Data of an older version runs through the migrations, one
 * step at a time; what cannot be decoded is an outcome, never an exception.
 *
 * Decoded data is shared by the requests that read the same payload, and is
 * therefore frozen where it is plain (objects, arrays and primitive values).
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as DataText from "./internal/dataText.ts"
import { freeze } from "./internal/freeze.ts"
import { Generations } from "./internal/generations.ts"
import type { Payload } from "./SessionStore.ts"

/**
 * A flash message waiting for delivery.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface FlashMessage {
  readonly kind: string
  readonly message: string
}

/**
 * Lifetimes of one session that differ from the settings, in milliseconds.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface LifetimeOverride {
  readonly idleTimeout: number | undefined
  readonly lifetime: number | undefined
  readonly persistent: boolean | undefined
}

/**
 * What a session remembers of the client it was created for, for lists of
 * devices.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Client {
  readonly agent: string | undefined
  readonly address: string | undefined
}

/**
 * What a session is bound to: keyed hashes of the network and the `User-Agent`
 * of its client, see `ClientBinding`.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Binding {
  readonly address: string | undefined
  readonly agent: string | undefined
}

/**
 * The fields of a session's data as they were written last, frozen through and
 * through, with the text of each.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface WrittenFields<out A> {
  readonly data: A
  /** In the order of the schema; `undefined` for a field that is not there. */
  readonly texts: ReadonlyArray<string | undefined>
}

/**
 * A decoded payload.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Envelope<A> {
  readonly data: A
  readonly flash: ReadonlyArray<FlashMessage>
  /** Until when the session is elevated, in UTC milliseconds. */
  readonly elevatedUntil: number | undefined
  readonly override: LifetimeOverride | undefined
  readonly client: Client | undefined
  readonly binding: Binding | undefined
  /** How the fields of the data were written last; of those that stay as they are, the text stays as well. Not stored. */
  readonly fields: WrittenFields<A> | undefined
}

/**
 * Why a payload could not be decoded: it is not JSON of the right form
 * (`syntax`), the data does not fit the schema (`shape`), a later version of the
 * application wrote it (`newer`), a migration is missing or threw (`migration`),
 * or it is not written as `PayloadCodec` would have it, or does not open there
 * (`sealed`).
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Undecodable = "syntax" | "shape" | "newer" | "migration" | "sealed"

/**
 * Result of decoding. `Foreign` is a session of another service: it is none of
 * this one, and nothing of this one's business.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Decoded<A> =
  | { readonly _tag: "Decoded"; readonly envelope: Envelope<A> }
  | { readonly _tag: "Undecodable"; readonly problem: Undecodable }
  | { readonly _tag: "Foreign" }

/**
 * Steps from one version of the data to the next: the function under `n` turns
 * the JSON of version `n` into the JSON of version `n + 1`.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export type Migrations = { readonly [version: number]: (data: Schema.Json) => Schema.Json }

/**
 * Options of {@link make}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options<A> {
  /**
   * Schema of the data. Dates, maps, sets and big integers survive through it.
   * Checks must be pure: what has not changed is not checked again. Members of a
   * union must differ in their JSON, else a member comes back as another one.
   */
  readonly data: Schema.Codec<A, unknown>
  /**
   * Data of a new session, or a function that makes it. A value is frozen where it
   * is plain, and copied through the schema for each new session where it is not.
   */
  readonly initial: NoInfer<A> | (() => NoInfer<A>)
  /** Version of the data's shape, 1 by default. Raise it with every incompatible change. */
  readonly version?: number | undefined
  readonly migrations?: Migrations | undefined
}

/**
 * A payload ready to be stored. `copy` is what reading it back would give, where
 * that is known without reading.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Written<out A> {
  readonly payload: string
  readonly copy: A | undefined
  readonly fields: WrittenFields<A> | undefined
}

/**
 * Reads and writes the payloads of one kind of session.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionData<A> {
  /** The envelope of a new session. */
  readonly initial: () => Envelope<A>
  /** Decodes the payload stored under a key. What a key decoded to is remembered while its payload stays the same. */
  readonly decode: (key: string, format: number, payload: Payload) => Decoded<A>
  /** The payload, or `undefined` when the data does not fit its schema. */
  readonly encode: (envelope: Envelope<A>) => string | undefined
  /** The payload with what it says, or `undefined` when the data does not fit its schema. */
  readonly write: (envelope: Envelope<A>) => Written<A> | undefined
  /** Takes note that a payload was stored under a key, so that the next request need not decode it. */
  readonly remember: (key: string, written: Written<A>, envelope: Envelope<A>) => void
}

/**
 * Format number of the payloads this module writes.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const format = 1

/**
 * Format number of sealed payloads, see `PayloadCodec`.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const sealed = 2

/**
 * Format number of payloads that are compressed and not sealed, see
 * `PayloadCodec`.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const compressed = 3

const foreign: Decoded<never> = { _tag: "Foreign" }
const emptyFlash: ReadonlyArray<FlashMessage> = []

const isObject = (value: unknown): value is { readonly [key: string]: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const optionalNumber = (value: unknown): number | undefined => typeof value === "number" ? value : undefined
const optionalString = (value: unknown): string | undefined => typeof value === "string" ? value : undefined

const decodeFlash = (value: unknown): ReadonlyArray<FlashMessage> => {
  if (!Array.isArray(value)) return emptyFlash
  const messages: Array<FlashMessage> = []
  for (const item of value) {
    if (Array.isArray(item) && typeof item[0] === "string" && typeof item[1] === "string") {
      messages.push({ kind: item[0], message: item[1] })
    }
  }
  return messages
}

/**
 * Compiles options into a reader and writer for the session service `id`.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for a version below 1, and for a migration that starts at
 * the current version or later.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(id: string, options: Options<A>): SessionData<A> => {
  const version = options.version ?? 1
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new RangeError(`SessionData.make: version must be an integer >= 1, got ${version}`)
  }
  const migrations = options.migrations ?? {}
  for (const from of Object.keys(migrations)) {
    if (!(Number(from) >= 1 && Number(from) < version)) {
      throw new RangeError(`SessionData.make: there is a migration from version ${from}, but the version is ${version}`)
    }
  }
  const codec = Schema.toCodecJson(options.data)
  const decodeData = Schema.decodeUnknownExit(codec)
  const writeJson = DataText.make(options.data)
  // What cannot be frozen must not be shared.
  const copies = (data: A) => (): A => {
    const json = writeJson(data)
    const copy = json === undefined ? undefined : decodeData(JSON.parse(json.text))
    return copy !== undefined && Exit.isSuccess(copy) ? copy.value : data
  }
  const initial = options.initial
  const makeInitial = typeof initial === "function"
    ? initial as () => A
    : freeze(initial)
    ? () => initial
    : copies(initial)

  // What the payload of a key decoded to, for as long as the payload stays the same.
  const known = new Generations<{ readonly payload: string; readonly decoded: Decoded<A> }>(2048, 8 * 1024 * 1024)
  const remember = (key: string, payload: string, decoded: Decoded<A>): Decoded<A> => {
    // The texts of its fields are another copy of it.
    const copies = decoded._tag === "Decoded" && decoded.envelope.fields !== undefined ? 2 : 1
    known.set(key, { payload, decoded }, payload.length * copies)
    return decoded
  }
  const head = `{"t":${JSON.stringify(id)},"v":${version},"d":`

  const write = (envelope: Envelope<A>): Written<A> | undefined => {
    const json = writeJson(envelope.data, envelope.fields)
    if (json === undefined) return undefined
    const { binding, client, elevatedUntil, flash, override } = envelope
    const data = head + json.text
    if (
      flash.length === 0 && elevatedUntil === undefined && override === undefined && client === undefined &&
      binding === undefined
    ) {
      return { payload: `${data}}`, copy: json.copy, fields: json.fields }
    }
    const rest = JSON.stringify({
      f: flash.length === 0 ? undefined : flash.map(({ kind, message }) => [kind, message]),
      e: elevatedUntil,
      o: override && { i: override.idleTimeout, l: override.lifetime, p: override.persistent },
      c: client && { a: client.agent, n: client.address },
      b: binding && { n: binding.address, a: binding.agent }
    })
    return { payload: `${data},${rest.slice(1)}`, copy: json.copy, fields: json.fields }
  }

  const undecodable = (problem: Undecodable): Decoded<A> => ({ _tag: "Undecodable", problem })

  return {
    initial: () => ({
      data: makeInitial(),
      flash: emptyFlash,
      elevatedUntil: undefined,
      override: undefined,
      client: undefined,
      binding: undefined,
      fields: undefined
    }),

    decode: (key, writtenFormat, payload) => {
      if (writtenFormat !== format) return undecodable(writtenFormat > compressed ? "newer" : "sealed")
      if (typeof payload !== "string") return undecodable("syntax")
      const last = known.get(key)
      if (last !== undefined && last.payload === payload) return last.decoded
      let json: unknown
      try {
        json = JSON.parse(payload)
      } catch {
        return undecodable("syntax")
      }
      if (!isObject(json) || typeof json.v !== "number" || !Number.isSafeInteger(json.v) || json.v < 1) {
        return undecodable("syntax")
      }
      if (json.t !== id) return typeof json.t === "string" ? foreign : undecodable("shape")
      if (json.v > version) return undecodable("newer")
      let data = json.d
      // Decoding runs the application's code on stored data; whatever it throws is an outcome.
      try {
        for (let from = json.v; from < version; from++) {
          const migrate = Object.hasOwn(migrations, from) ? migrations[from] : undefined
          if (migrate === undefined) return undecodable("migration")
          data = migrate(data as Schema.Json)
        }
      } catch {
        return undecodable("migration")
      }
      try {
        const decoded = decodeData(data)
        if (Exit.isFailure(decoded)) return undecodable("shape")
        const override = isObject(json.o)
          ? {
            idleTimeout: optionalNumber(json.o.i),
            lifetime: optionalNumber(json.o.l),
            persistent: typeof json.o.p === "boolean" ? json.o.p : undefined
          }
          : undefined
        const result: Decoded<A> = {
          _tag: "Decoded",
          envelope: {
            data: decoded.value,
            flash: json.f === undefined ? emptyFlash : decodeFlash(json.f),
            elevatedUntil: optionalNumber(json.e),
            override,
            client: isObject(json.c)
              ? { agent: optionalString(json.c.a), address: optionalString(json.c.n) }
              : undefined,
            binding: isObject(json.b)
              ? { address: optionalString(json.b.n), agent: optionalString(json.b.a) }
              : undefined,
            fields: undefined
          }
        }
        return freeze(decoded.value) ? remember(key, payload, result) : result
      } catch {
        return undecodable("shape")
      }
    },

    encode: (envelope) => write(envelope)?.payload,
    write,

    remember: (key, { copy, fields, payload }, envelope) => {
      if (copy !== undefined) remember(key, payload, { _tag: "Decoded", envelope: { ...envelope, data: copy, fields } })
    }
  }
}
