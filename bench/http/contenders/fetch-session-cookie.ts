/**
 * This library around Hono, in cookie mode.
 */
import * as HonoApp from "../honoApp.ts"
import { inCookies } from "../userSession.ts"

/** The handler alone. */
export const handler = (): Promise<HonoApp.Handler> => HonoApp.own(inCookies("aes256Gcm"))

/** Starts the server and returns its port. */
export const listen = async (): Promise<number> => HonoApp.listen(await handler())
