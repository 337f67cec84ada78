/**
 * What reads and writes sessions on PostgreSQL, by name.
 */
import { Effect } from "effect"
import { type Contender as ContenderOf, count, each, type Step } from "../stores/lanes.ts"
import * as Records from "../stores/records.ts"
import * as peers from "./peers.ts"
import * as Sessions from "./sessions.ts"

/**
 * What is measured.
 *
 * - `load`: a session is read.
 * - `save`: a session is written that was read before.
 * - `rolling`: a session is read, and then its expiry moved on.
 * - `login`: a session is created, with a subject.
 */
export const operations = ["load", "save", "rolling", "login"] as const
export type Operation = typeof operations[number]

type Contender = ContenderOf<Operation>

const payloads = each(Records.payloadOf)

// Sessions beyond those that the other operations use.
let created = count

/** The statements an application would write that needs nothing of a session but its octets. */
const sqlPg = (multiplex: boolean) => async (port: number): Promise<Contender> => {
  const sql = await Sessions.connect(port, multiplex)
  const table = multiplex ? "plain_multiplex" : "plain"
  await Effect.runPromise(
    sql.unsafe(`CREATE TABLE ${table} (key text COLLATE "C" PRIMARY KEY, payload text, expires_at bigint)`)
  )
  const keys = each((index) => Records.keyOf(index))
  const expiresAt = () => Date.now() + Records.lifetime
  const insert = (key: string, index: number) =>
    sql.unsafe(`INSERT INTO ${table} (key, payload, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, [
      key,
      payloads[index],
      expiresAt()
    ])
  const load = (index: number) =>
    Effect.map(sql.unsafe(`SELECT payload FROM ${table} WHERE key = $1`, [keys[index]]), ({ length }) => {
      if (length === 0) throw new Error("a session is not there")
    })
  return {
    create: (index) => insert(keys[index], index),
    steps: {
      load,
      save: (index) => sql.unsafe(`UPDATE ${table} SET payload = $2 WHERE key = $1`, [keys[index], payloads[index]]),
      rolling: (index) =>
        Effect.andThen(
          load(index),
          sql.unsafe(`UPDATE ${table} SET expires_at = $2 WHERE key = $1`, [keys[index], expiresAt()])
        ),
      login: (index) => insert(Records.keyOf(created++), index)
    }
  }
}

const effectSession = (multiplex: boolean) => async (port: number): Promise<Contender> => {
  const store = await Sessions.open(port, multiplex, multiplex ? "sessions_multiplex" : "sessions")
  const keys = each(Records.keyOf)
  const changes = each(Records.change)
  const versions = new Map<number, number>()
  const create = (index: number) => store.create(Records.newRecord(index, Records.subjectOf(index)))
  const load = (index: number) =>
    Effect.map(store.load(keys[index]), ({ _tag }) => {
      if (_tag !== "Live") throw new Error(`a session is ${_tag}`)
    })
  return {
    create,
    steps: {
      load,
      save: (index) =>
        Effect.map(store.save(keys[index], versions.get(index) ?? 1, changes[index]), (saved) => {
          if (saved._tag !== "Saved") throw new Error(`a write ended with ${saved._tag}`)
          versions.set(index, saved.record.version)
        }),
      rolling: (index) =>
        Effect.flatMap(store.load(keys[index], { touchAfter: 1 }), (found) => {
          if (found._tag !== "Live") throw new Error(`a session is ${found._tag}`)
          return found.touched === true ? Effect.void : Effect.asVoid(store.touch(keys[index]))
        }),
      login: () =>
        Effect.map(create(created++), ({ _tag }) => {
          if (_tag !== "Created") throw new Error(`a login ended with ${_tag}`)
        })
    }
  }
}

const connectPgSimple = async (port: number): Promise<Contender> => {
  const store = await peers.connectPgSimple(port)
  const keys = each(Records.keyOf)
  const sessions = each((index) => ({
    cookie: { originalMaxAge: Records.lifetime, expires: new Date(Date.now() + Records.lifetime) },
    ...JSON.parse(payloads[index]) as object
  }))
  // Its expiry has seconds: as if no session came twice in one.
  const active = (index: number) => {
    const { cookie } = sessions[index]
    cookie.expires = new Date(cookie.expires.getTime() + 1000)
    return sessions[index]
  }
  const load = async (index: number) => {
    if (await store.get(keys[index]) === undefined) throw new Error("a session is not there")
  }
  const save: Step = (index) => store.set(keys[index], active(index))
  return {
    create: save,
    steps: {
      load,
      save,
      // As express-session does it.
      rolling: async (index) => {
        await load(index)
        await store.touch(keys[index], active(index))
      },
      login: (index) => store.set(Records.keyOf(created++), active(index))
    }
  }
}

/** The first one is what the others are measured against. */
export const contenders = {
  "sql-pg": sqlPg(false),
  "sql-pg-multiplex": sqlPg(true),
  "effect-session": effectSession(false),
  "effect-session-multiplex": effectSession(true),
  "connect-pg-simple": connectPgSimple
} satisfies { readonly [name: string]: (port: number) => Promise<Contender> }

export type Name = keyof typeof contenders
