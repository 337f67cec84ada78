/**
 * This library around Hono, with its memory store.
 */
import * as HonoApp from "../honoApp.ts"
import { inMemory } from "../userSession.ts"

/** The handler alone. */
export const handler = (): Promise<HonoApp.Handler> => HonoApp.own(inMemory())

/** Starts the server and returns its port. */
export const listen = async (): Promise<number> => HonoApp.listen(await handler())
