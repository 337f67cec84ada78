/**
 * This library with its memory store and the production preset.
 */
import { listenOn } from "../effectApp.ts"
import { inMemory } from "../userSession.ts"

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => listenOn(inMemory())
