/**
 * This library with its memory store and the production preset.
 */
import { MemoryStore } from "@effect-session/core"
import { listenOn } from "../userSession.ts"

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => listenOn(MemoryStore.layer())
