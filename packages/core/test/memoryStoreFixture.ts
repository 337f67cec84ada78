import { Effect, Stream } from "effect"
import * as MemoryStore from "../src/MemoryStore.ts"
import type { NewRecord, Payload, RecordChange, Replacement } from "../src/SessionStore.ts"

export const hour = 3_600_000

export const newRecord = (key: string, fields?: Partial<NewRecord>): NewRecord => ({
  key,
  idleTimeout: hour,
  lifetime: 24 * hour,
  subject: undefined,
  format: 1,
  payload: `payload of ${key}`,
  ...fields
})

export const replacement = (key: string, fields?: Partial<Replacement>): Replacement => ({
  key,
  format: 1,
  payload: `payload of ${key}`,
  subject: undefined,
  idleTimeout: hour,
  lifetime: undefined,
  authenticated: false,
  ...fields
})

export const change = (payload: Payload): RecordChange => ({
  format: 2,
  payload,
  idleTimeout: hour,
  lifetime: undefined,
  active: true
})

export const open = Effect.fnUntraced(function*(options?: MemoryStore.Options, hooks?: MemoryStore.Hooks) {
  const services = yield* MemoryStore.make(options, hooks)
  const { query, store } = services
  return {
    ...services,
    tag: (key: string) => Effect.map(store.load(key), (lookup) => lookup._tag),
    keys: Effect.map(Stream.runCollect(query.scan), (entries) => entries.map(({ key }) => key).toSorted()),
    create: (...keys: ReadonlyArray<string>) =>
      Effect.forEach(keys, (key) => store.create(newRecord(key)), { discard: true }),
    signIn: (subject: string, ...keys: ReadonlyArray<string>) =>
      Effect.forEach(keys, (key) => store.create(newRecord(key, { subject })), { discard: true }),
    renew: (from: string, to: string, grace?: number, subject?: string) =>
      store.renew(from, 1, replacement(to, { subject }), { grace })
  }
})

export const numbers = (n: number) => Array.from({ length: n }, (_, i) => `${i}`)
