/**
 * This library in cookie mode, with the suite that libsodium makes fast.
 */
import { listenWith } from "./effect-session-cookie.ts"

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => listenWith("xchacha20Poly1305")
