/**
 * What is measured: the memory store, and the least that could hold sessions at
 * all, a bare Map of objects.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as MemoryStore from "../../packages/core/src/MemoryStore.ts"
import type { SessionRecord } from "../../packages/core/src/SessionStore.ts"
import { another, makeKey, makePayload } from "./data.ts"

/** Sessions to add. */
export interface Addition {
  readonly from: number
  readonly to: number
  /** How long each lives, in milliseconds. */
  readonly lifetime: number
  /** Sessions added before the event loop gets its turn. */
  readonly turn: number
  /** Every how many sessions the key is returned. */
  readonly sample: number
}

/** Something that holds sessions. */
export interface Contender {
  readonly add: (addition: Addition) => Promise<Array<string>>
  /** Loads every key and returns how many were live. */
  readonly load: (keys: ReadonlyArray<string>) => Promise<number>
  readonly sweep: () => Promise<void>
  readonly size: () => number
}

const loadAll = <A>(
  keys: ReadonlyArray<string>,
  load: (key: string) => Effect.Effect<A>,
  isLive: (result: A) => boolean
): Promise<number> => {
  let i = 0
  let live = 0
  return Effect.runPromise(Effect.map(
    Effect.whileLoop({
      while: () => i < keys.length,
      body: () => load(keys[i++]),
      step: (result) => {
        if (isLive(result)) live++
      }
    }),
    () => live
  ))
}

const bareMap = (capacity: number, inEffect: boolean): Contender => {
  const sessions = new Map<string, SessionRecord>()
  const isLive = (key: string): boolean => {
    const record = sessions.get(key)
    return record !== undefined && record.expiresAt > Date.now()
  }
  return {
    add: async ({ from, lifetime, sample, to, turn }) => {
      const keys: Array<string> = []
      for (let i = from; i < to; i++) {
        if (i % turn === 0) await new Promise(setImmediate)
        const key = makeKey()
        const now = Date.now()
        if (sessions.size >= capacity) sessions.delete(sessions.keys().next().value ?? "")
        sessions.set(key, {
          version: 1,
          createdAt: now,
          issuedAt: now,
          authenticatedAt: undefined,
          lastSeenAt: now,
          idleTimeout: lifetime,
          expiresAt: now + lifetime,
          subject: undefined,
          format: 1,
          payload: makePayload(i)
        })
        if (i % sample === 0) keys.push(another(key))
      }
      return keys
    },
    load: async (keys) => {
      if (inEffect) return loadAll(keys, (key) => Effect.sync(() => isLive(key)), (live) => live)
      let live = 0
      for (const key of keys) if (isLive(key)) live++
      return live
    },
    sweep: async () => {
      const now = Date.now()
      for (const [key, record] of sessions) if (record.expiresAt <= now) sessions.delete(key)
    },
    size: () => sessions.size
  }
}

const memoryStore = async (capacity: number): Promise<Contender> => {
  const { query, stats, store } = await Effect.runPromise(
    Scope.provide(MemoryStore.make({ capacity, sweepInterval: "1 day" }), Scope.makeUnsafe())
  )
  return {
    add: ({ from, lifetime, sample, to, turn }) => {
      const keys: Array<string> = []
      const create = (i: number) => {
        const key = makeKey()
        if (i % sample === 0) keys.push(another(key))
        return store.create({
          key,
          idleTimeout: lifetime,
          lifetime,
          subject: undefined,
          format: 1,
          payload: makePayload(i)
        })
      }
      let i = from
      return Effect.runPromise(Effect.map(
        Effect.whileLoop({
          while: () => i < to,
          body: () => i % turn === 0 ? Effect.flatMap(Effect.yieldNow, () => create(i)) : create(i),
          step: () => {
            i++
          }
        }),
        () => keys
      ))
    },
    load: (keys) => loadAll(keys, (key) => Effect.orDie(store.load(key)), (lookup) => lookup._tag === "Live"),
    sweep: () => Effect.runPromise(Stream.runDrain(query.purgeExpired)),
    size: () => Effect.runSync(stats).total
  }
}

export const contenders = {
  "bare Map": async (capacity: number) => bareMap(capacity, false),
  "Map in Effect": async (capacity: number) => bareMap(capacity, true),
  MemoryStore: memoryStore
}

export type Name = keyof typeof contenders
