/** Replies taken apart. */
import type { Reply } from "../RedisClient.ts"

/** The elements of a reply; none where it is no array. */
export const listOf = (reply: Reply | undefined): ReadonlyArray<Reply> => Array.isArray(reply) ? reply : []
