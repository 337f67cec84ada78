/**
 * Hono on its server for Node, without sessions.
 */
import * as HonoApp from "../honoApp.ts"

/** The handler alone. */
export const handler = HonoApp.bare

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => HonoApp.listen(handler())
