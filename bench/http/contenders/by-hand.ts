/**
 * Sessions by hand, as JSON in a `Map`.
 */
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { listenWith } from "../handApp.ts"

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => {
  const texts = new Map<string, string>()
  return listenWith({
    load: (value) => Effect.sync(() => JSON.parse(texts.get(value) ?? "null")),
    save: (value, data) =>
      Effect.sync(() => {
        const key = value ?? randomBytes(32).toString("base64url")
        texts.set(key, JSON.stringify(data))
        return value === undefined ? key : undefined
      })
  })
}
