/**
 * This library on bare `node:http`, with its Redis store, sealed as in production.
 */
import { listenOn } from "../nodeApp.ts"
import { inRedis } from "../userSession.ts"

/** Starts the server and returns its port. */
export const listen = (redis: number): Promise<number> => listenOn(inRedis(redis))
