/**
 * This library on bare `node:http`, in cookie mode.
 */
import { listenOn } from "../nodeApp.ts"
import { inCookies } from "../userSession.ts"

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => listenOn(inCookies("aes256Gcm"))
