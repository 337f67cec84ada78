/**
 * The peers, which need not be installed: what is used of them, and how to find them.
 */

// In variables, so that the compiler does not look for packages that need not be there.
const clientPackage: string = "redis"
const storePackage: string = "connect-redis"

type Callback = (error: unknown) => void

/** What is used of a store of `connect-redis`. */
export interface ConnectRedis {
  readonly get: (id: string, callback?: (error: unknown, session?: never) => void) => Promise<unknown>
  readonly set: (id: string, session: object, callback?: Callback) => Promise<void>
  readonly touch: (id: string, session: object, callback?: Callback) => Promise<void>
  readonly destroy: (id: string, callback?: Callback) => Promise<void>
}

/** A store of `connect-redis` on a connected client of `redis`. */
export const connectRedis = async (port: number): Promise<ConnectRedis> => {
  const { createClient } = await import(clientPackage)
  const { RedisStore } = await import(storePackage)
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect()
  return new RedisStore({ client, prefix: "connect:" })
}

/** Whether the peers are installed. */
export const areThere = (): Promise<boolean> =>
  Promise.all([import(clientPackage), import(storePackage)]).then(() => true, () => false)
