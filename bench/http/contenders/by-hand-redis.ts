/**
 * Sessions by hand, as JSON in Redis: a bare `GET` and `SET` of ioredis.
 */
import { Effect } from "effect"
import { Redis } from "ioredis"
import { randomBytes } from "node:crypto"
import { listenWith } from "../handApp.ts"

const lifetime = 3_600_000

/** Starts the server and returns its port. */
export const listen = (port: number): Promise<number> => {
  const redis = new Redis(port, "127.0.0.1")
  return listenWith({
    load: (value) => Effect.promise(() => redis.get(`hand:${value}`).then((text) => JSON.parse(text ?? "null"))),
    save: (value, data) =>
      Effect.promise(async () => {
        const key = value ?? randomBytes(32).toString("base64url")
        await redis.set(`hand:${key}`, JSON.stringify(data), "PX", lifetime)
        return value === undefined ? key : undefined
      })
  })
}
