/**
 * What the store is measured against.
 */
import type { Session } from "connect-pg-simple"
import { connections, database, host, username } from "./sessions.ts"

const asked = <A>(ask: (done: (error: unknown, value?: A) => void) => void): Promise<A | undefined> =>
  new Promise((resolve, reject) => ask((error, value) => error ? reject(error) : resolve(value)))

/** A store of `connect-pg-simple` on a pool of `pg`. Loaded by the process that measures it alone. */
export const connectPgSimple = async (port: number) => {
  const { default: pg } = await import("pg")
  const { default: session } = await import("express-session")
  const { default: connect } = await import("connect-pg-simple")
  const pool = new pg.Pool({ host, port, user: username, database, max: connections, idleTimeoutMillis: 0 })
  const store = new (connect(session))({ pool, createTableIfMissing: true, pruneSessionInterval: false })
  return {
    get: (id: string) => asked<Session | null>((done) => store.get(id, done)),
    set: (id: string, session: Session) => asked((done) => store.set(id, session, done)),
    touch: (id: string, session: Session) => asked((done) => store.touch(id, session, done))
  }
}
