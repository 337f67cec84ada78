/**
 * Generates calls of a store, and makes them.
 *
 * A command names its keys and versions by how they relate to what the caller
 * knows ("the last key but one", "one version behind"), so that a shrunk
 * sequence still makes sense. `resolve` turns it into an operation.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import type { SessionQuery } from "../SessionQuery.ts"
import type { Payload, SessionLimit, SessionRecord, SessionStore, SessionStoreError } from "../SessionStore.ts"
import type { Call, Operation } from "./StoreOperation.ts"

interface Times {
  readonly idle: number
  readonly lifetime: number | undefined
}

/** @internal */
export type Command =
  & { readonly yields: number }
  & (
    | { readonly _tag: "Load" | "Touch" | "Destroy"; readonly key: number }
    | (Times & {
      readonly _tag: "Create"
      readonly key: number | undefined
      readonly subject: number | undefined
      readonly limit: SessionLimit | undefined
    })
    | (Times & { readonly _tag: "Save"; readonly key: number; readonly behind: number; readonly active: boolean })
    | (Times & {
      readonly _tag: "Renew"
      readonly key: number
      readonly to: number | undefined
      readonly behind: number
      readonly subject: number | "keep" | undefined
      readonly authenticated: boolean
      readonly grace: number | undefined
      readonly limit: SessionLimit | undefined
    })
    | { readonly _tag: "BySubject"; readonly subject: number }
    | { readonly _tag: "DestroyBySubject"; readonly subject: number; readonly except: number | undefined }
    | { readonly _tag: "Advance"; readonly millis: number }
  )

/** Number of subjects that a sequence works with. */
const subjects = 2

/** Stands for a key that never held a session, or not yet. */
const unknownKey = 8

const sometimes = <A>(arbitrary: fc.Arbitrary<A>): fc.Arbitrary<A | undefined> =>
  fc.option(arbitrary, { nil: undefined, freq: 2 })

const tagged = <Tag extends string>(tag: Tag): fc.Arbitrary<Tag> => fc.constant(tag)

/** @internal */
export const commands = (unit: number, exactTime: boolean): {
  /** Any command. */
  readonly sequential: fc.Arbitrary<Command>
  /** Commands that may run at once: all but those that move time. */
  readonly parallel: fc.Arbitrary<Command>
  /** The same, with a read every other time. */
  readonly reading: fc.Arbitrary<Command>
} => {
  // Without an exact clock no session of a sequence may expire by itself.
  const duration = (...units: ReadonlyArray<number>): fc.Arbitrary<number> =>
    fc.constantFrom(...units.map((n) => n * unit * (exactTime ? 1 : 10_000)))
  const yields = fc.nat(3)
  // Counted from the newest key.
  const key = fc.oneof({ weight: 4, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.nat(unknownKey) })
  const subject = fc.nat(subjects - 1)
  const limit = sometimes(fc.record({
    max: fc.integer({ min: 1, max: 3 }),
    onLimit: fc.constantFrom("evict" as const, "refuse" as const)
  }))
  const behind = fc.oneof(
    { weight: 5, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.constantFrom(1, -1) }
  )
  const idle = duration(4, 8, 8)
  const optionalLifetime = fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, {
    weight: 1,
    arbitrary: duration(5, 12)
  })
  const freshKey = fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: key })
  const load: fc.Arbitrary<Command> = fc.record({ _tag: tagged("Load"), yields, key })
  const still: ReadonlyArray<fc.WeightedArbitrary<Command>> = [
    { weight: 4, arbitrary: load },
    { weight: 2, arbitrary: fc.record({ _tag: tagged("Touch"), yields, key }) },
    { weight: 1, arbitrary: fc.record({ _tag: tagged("Destroy"), yields, key }) },
    {
      weight: 6,
      arbitrary: fc.record({
        _tag: tagged("Create"),
        yields,
        key: freshKey,
        subject: sometimes(subject),
        limit,
        idle,
        lifetime: duration(6, 15)
      })
    },
    {
      weight: 4,
      arbitrary: fc.record({
        _tag: tagged("Save"),
        yields,
        key,
        behind,
        active: fc.boolean(),
        idle,
        lifetime: optionalLifetime
      })
    },
    {
      weight: 5,
      arbitrary: fc.record({
        _tag: tagged("Renew"),
        yields,
        key,
        to: freshKey,
        behind,
        subject: fc.oneof({ weight: 2, arbitrary: fc.constant("keep" as const) }, {
          weight: 1,
          arbitrary: sometimes(subject)
        }),
        authenticated: fc.boolean(),
        idle,
        lifetime: optionalLifetime,
        grace: sometimes(duration(1, 2, 8)),
        limit
      })
    },
    { weight: 1, arbitrary: fc.record({ _tag: tagged("BySubject"), yields, subject }) },
    {
      weight: 1,
      arbitrary: fc.record({ _tag: tagged("DestroyBySubject"), yields, subject, except: sometimes(key) })
    }
  ]
  const advance = fc.record({
    _tag: tagged("Advance"),
    yields: fc.constant(0),
    millis: fc.constantFrom(1, unit - 1, unit, unit, 2 * unit, 3 * unit, 4 * unit)
  })
  return {
    sequential: fc.oneof(...still, ...(exactTime ? [{ weight: 4, arbitrary: advance }] : [])),
    parallel: fc.oneof(...still),
    reading: fc.oneof(load, fc.oneof(...still))
  }
}

/**
 * What the callers of a run know: the keys they have made, and the last record
 * seen under each.
 *
 * @internal
 */
export class Knowledge {
  /** Every key that was handed out. */
  readonly keys: Array<string> = []
  /** The keys that have held a session, newest last. */
  private readonly held: Array<string> = []
  readonly subjects: ReadonlyArray<string>
  private readonly namespace: string
  private readonly records = new Map<string, SessionRecord>()
  private writes = 0

  constructor(namespace: string, keyOf: (text: string) => string, subjectOf: (text: string) => string) {
    this.namespace = namespace
    this.keyOf = keyOf
    this.subjects = Array.from({ length: subjects }, (_, i) => subjectOf(`${namespace}/s${i}`))
    this.freshKey()
  }

  private readonly keyOf: (text: string) => string

  private freshKey(): string {
    const key = this.keyOf(`${this.namespace}/k${this.keys.length}`)
    this.keys.push(key)
    return key
  }

  private key(back: number | undefined): string {
    if (back === undefined) return this.freshKey()
    const known = back < unknownKey && this.held.length > 0
    return known ? this.held[this.held.length - 1 - back % this.held.length] : this.keys[0]
  }

  private payload(): Payload {
    const n = ++this.writes
    return n % 2 === 0 ? `p${n}` : Uint8Array.of(n, 255)
  }

  resolve(command: Command): Operation {
    switch (command._tag) {
      case "Load":
      case "Touch":
      case "Destroy":
        return { _tag: command._tag, key: this.key(command.key) }
      case "Create": {
        const { idle: idleTimeout, key, lifetime = idleTimeout, limit, subject } = command
        const record = {
          key: this.key(key),
          idleTimeout,
          lifetime,
          subject: subject === undefined ? undefined : this.subjects[subject],
          format: this.writes,
          payload: this.payload()
        }
        return { _tag: "Create", record, limit }
      }
      case "Save": {
        const key = this.key(command.key)
        const version = (this.records.get(key)?.version ?? 1) - command.behind
        const { active, idle: idleTimeout, lifetime } = command
        const change = { format: this.writes, payload: this.payload(), idleTimeout, lifetime, active }
        return { _tag: "Save", key, version, change }
      }
      case "Renew": {
        const key = this.key(command.key)
        const known = this.records.get(key)
        const { grace, idle: idleTimeout, lifetime, limit } = command
        const subject = command.subject === "keep"
          ? known?.subject
          : command.subject === undefined
          ? undefined
          : this.subjects[command.subject]
        const replacement = {
          key: this.key(command.to),
          format: this.writes,
          payload: this.payload(),
          subject,
          idleTimeout,
          lifetime,
          // A change of subject is a sign-in.
          authenticated: subject !== undefined && (command.authenticated || subject !== known?.subject)
        }
        return { _tag: "Renew", key, version: (known?.version ?? 1) - command.behind, replacement, grace, limit }
      }
      case "BySubject":
        return { _tag: "BySubject", subject: this.subjects[command.subject] }
      case "DestroyBySubject": {
        const except = command.except === undefined ? undefined : this.key(command.except)
        return { _tag: "DestroyBySubject", subject: this.subjects[command.subject], except }
      }
      case "Advance":
        return { _tag: "Advance", millis: command.millis }
    }
  }

  private hold(key: string, record: SessionRecord): void {
    this.held.push(key)
    this.records.set(key, record)
  }

  learn(call: Call): void {
    switch (call._tag) {
      case "Load":
        if (call.result._tag === "Live") this.records.set(call.operation.key, call.result.record)
        return
      case "Create":
        if (call.result._tag === "Created") this.hold(call.operation.record.key, call.result.record)
        return
      case "Save":
        if (call.result._tag === "Saved") this.records.set(call.operation.key, call.result.record)
        return
      case "Renew":
        if (call.result._tag === "Renewed") this.hold(call.operation.replacement.key, call.result.record)
        return
      case "BySubject":
        for (const { key, record } of call.result) this.records.set(key, record)
    }
  }
}

/** @internal */
export interface Target {
  readonly store: SessionStore["Service"]
  readonly query: SessionQuery["Service"]
  readonly elapse: (duration: Duration.Input) => Effect.Effect<void>
}

/** @internal */
export const execute = (target: Target, operation: Operation): Effect.Effect<Call, SessionStoreError> => {
  const { query, store } = target
  switch (operation._tag) {
    case "Load":
      return Effect.map(store.load(operation.key), (result) => ({ _tag: "Load", operation, result }))
    case "Create":
      return Effect.map(
        store.create(operation.record, operation.limit),
        (result) => ({ _tag: "Create", operation, result })
      )
    case "Save":
      return Effect.map(
        store.save(operation.key, operation.version, operation.change),
        (result) => ({ _tag: "Save", operation, result })
      )
    case "Touch":
      return Effect.map(store.touch(operation.key), (result) => ({ _tag: "Touch", operation, result }))
    case "Renew": {
      const { grace, key, limit, replacement, version } = operation
      return Effect.map(
        store.renew(key, version, replacement, { grace, limit }),
        (result) => ({ _tag: "Renew", operation, result })
      )
    }
    case "Destroy":
      return Effect.map(store.destroy(operation.key), (result) => ({ _tag: "Destroy", operation, result }))
    case "BySubject":
      return Effect.map(query.bySubject(operation.subject), (result) => ({ _tag: "BySubject", operation, result }))
    case "DestroyBySubject":
      return Effect.map(
        query.destroyBySubject(operation.subject, { except: operation.except }),
        (result) => ({ _tag: "DestroyBySubject", operation, result })
      )
    case "Advance":
      return Effect.map(target.elapse(operation.millis), (result) => ({ _tag: "Advance", operation, result }))
  }
}
