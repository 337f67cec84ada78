/**
 * Hono with `hono-sessions`, which keeps sessions in cookies with this store.
 */
import { CookieStore } from "hono-sessions"
import * as HonoApp from "../honoApp.ts"

/** The handler alone. */
export const handler = (): HonoApp.Handler => HonoApp.honoSessions(new CookieStore())

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => HonoApp.listen(handler())
