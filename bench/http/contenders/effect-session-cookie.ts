/**
 * This library in cookie mode, with the production preset.
 */
import { CookieStore, Revocations, type SealedFormat } from "@effect-session/core"
import { Layer } from "effect"
import { listenOn } from "../userSession.ts"

/** Starts the server with one of the suites, and returns its port. */
export const listenWith = (suite: SealedFormat.Suite): Promise<number> =>
  listenOn(CookieStore.layer().pipe(Layer.provide(Revocations.layerMemory())), suite)

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => listenWith("aes256Gcm")
