/**
 * This library in cookie mode, with the production preset.
 */
import { listenOn } from "../effectApp.ts"
import { inCookies } from "../userSession.ts"

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => listenOn(inCookies("aes256Gcm"))
