/**
 * What reads and writes sessions on Redis, by name.
 */
import { Effect } from "effect"
import { Redis } from "ioredis"
import { type Contender as ContenderOf, each, type Step } from "../stores/lanes.ts"
import * as peers from "./peers.ts"
import * as Sessions from "./sessions.ts"

/**
 * What is measured.
 *
 * - `read`: a session is read.
 * - `write`: a session is written that was read before.
 * - `rolling`: a session is read, and its expiry moved on.
 */
export const operations = ["read", "write", "rolling"] as const
export type Operation = typeof operations[number]

type Contender = ContenderOf<Operation>

const ioredis = async (port: number): Promise<Contender> => {
  const redis = new Redis({ port, host: "127.0.0.1" })
  const keys = each((index) => `plain:${Sessions.keyOf(index)}`)
  const payloads = each(Sessions.payloadOf)
  const write: Step = (index) => redis.set(keys[index], payloads[index], "PX", Sessions.lifetime)
  return {
    create: write,
    steps: {
      read: (index) => redis.get(keys[index]),
      write,
      rolling: (index) => redis.getex(keys[index], "PX", Sessions.lifetime)
    }
  }
}

const effectSession = async (port: number): Promise<Contender> => {
  const { store } = await Sessions.open(port)
  const keys = each(Sessions.keyOf)
  const changes = each(Sessions.change)
  const versions = new Map<number, number>()
  const live = Effect.map((found: { readonly _tag: string }) => {
    if (found._tag !== "Live") throw new Error(`a session is ${found._tag}`)
  })
  // Every turn of 1024 sessions takes longer than that: activity is always due.
  const touchAfter = { touchAfter: 1 }
  return {
    create: (index) =>
      Effect.flatMap(
        store.destroy(keys[index]),
        () => store.create(Sessions.newRecord(index, Sessions.subjectOf(index)))
      ),
    steps: {
      read: (index) => live(store.load(keys[index])),
      write: (index) =>
        Effect.map(store.save(keys[index], versions.get(index) ?? 1, changes[index]), (saved) => {
          if (saved._tag !== "Saved") throw new Error(`a write ended with ${saved._tag}`)
          versions.set(index, saved.record.version)
        }),
      rolling: (index) => live(store.load(keys[index], touchAfter))
    }
  }
}

const connectRedis = async (port: number): Promise<Contender> => {
  const store = await peers.connectRedis(port)
  const keys = each(Sessions.keyOf)
  const sessions = each((index) => ({
    cookie: {
      originalMaxAge: Sessions.lifetime,
      expires: new Date(Date.now() + Sessions.lifetime).toISOString()
    },
    ...JSON.parse(Sessions.payloadOf(index)) as object
  }))
  const write: Step = (index) => store.set(keys[index], sessions[index])
  const read = async (index: number) => {
    const found = await store.get(keys[index])
    if (!found) throw new Error("a read found no session")
    return found
  }
  return {
    create: write,
    steps: {
      read,
      write,
      // As express-session does it.
      rolling: async (index) => {
        const found = await read(index)
        await store.touch(keys[index], sessions[index])
        return found
      }
    }
  }
}

/** The first one is what the others are measured against, the second this library. */
export const contenders = {
  "ioredis": ioredis,
  "effect-session": effectSession,
  "connect-redis": connectRedis
} satisfies { readonly [name: string]: (port: number) => Promise<Contender> }

export type Name = keyof typeof contenders
