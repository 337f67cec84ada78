/**
 * What the store is measured against.
 */
import type { RedisStore } from "connect-redis"

/** A store of `connect-redis` on a connected client of `redis`. Loaded by the process that measures it alone. */
export const connectRedis = async (port: number): Promise<RedisStore> => {
  const { RedisStore } = await import("connect-redis")
  const { createClient } = await import("redis")
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect()
  return new RedisStore({ client, prefix: "connect:" })
}
