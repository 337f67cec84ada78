/**
 * This library with its Redis store, whose payloads are not sealed: as those of its peers.
 */
import { listenOn } from "../effectApp.ts"
import { inRedisPlain } from "../userSession.ts"

/** Starts the server and returns its port. */
export const listen = (redis: number): Promise<number> => listenOn(inRedisPlain(redis))
