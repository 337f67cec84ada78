/** A shorter way through a client, for what is sent with every request. */
import type * as Effect from "effect/Effect"
import type { Argument, Reply, Server } from "../RedisClient.ts"
import type { RedisError } from "../RedisError.ts"

/**
 * Sends one command whose first key is this one: of `onReply` and `otherwise` one is called, once, and neither may throw.
 * The name is in lower case, as the driver keeps it, and the command none that changes the connection.
 */
export type Direct = (
  name: string,
  key: string,
  args: ReadonlyArray<Argument>,
  onReply: (reply: Reply) => void,
  otherwise: (effect: Effect.Effect<Reply, RedisError>) => void
) => void

// By its `send`, so that whoever puts another one in its place is asked for everything.
const ways = new WeakMap<Server["send"], Direct>()

/** Makes known that there is a shorter way to do what `send` does. */
export const provide = (send: Server["send"], direct: Direct): void => void ways.set(send, direct)

/** The shorter way to do what `send` does, if there is one. */
export const of = (send: Server["send"]): Direct | undefined => ways.get(send)
