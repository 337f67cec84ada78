/**
 * This library with its Redis store and the production preset, which seals what it stores.
 */
import { listenOn } from "../effectApp.ts"
import { inRedis } from "../userSession.ts"

/** Starts the server and returns its port. */
export const listen = (redis: number): Promise<number> => listenOn(inRedis(redis))
