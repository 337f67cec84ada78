/**
 * This library on bare `node:http`, with its memory store.
 */
import { listenOn } from "../nodeApp.ts"
import { inMemory } from "../userSession.ts"

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => listenOn(inMemory())
