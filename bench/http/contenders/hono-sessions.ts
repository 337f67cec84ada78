/**
 * Hono with `hono-sessions` and its memory store.
 */
import { MemoryStore } from "hono-sessions"
import * as HonoApp from "../honoApp.ts"

/** The handler alone. */
export const handler = (): HonoApp.Handler => HonoApp.honoSessions(new MemoryStore())

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => HonoApp.listen(handler())
