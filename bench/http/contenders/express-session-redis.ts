/**
 * Express with `express-session`, and `connect-redis` on the client that it asks for.
 */
import { connectRedis } from "../../redis/peers.ts"
import { listenWith } from "./express-session.ts"

/** Starts the server and returns its port. */
export const listen = async (redis: number): Promise<number> => listenWith(await connectRedis(redis))
