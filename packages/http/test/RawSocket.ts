import { Effect } from "effect"
import * as Net from "node:net"

/** Sends octets, one for each character, and returns all that comes back until the connection ends. */
export const exchange = (port: number, text: string, afterwards: (socket: Net.Socket) => void = () => {}) =>
  Effect.callback<string>((resume) => {
    const socket = Net.connect({ port, host: "127.0.0.1", noDelay: true })
    const received: Array<Buffer> = []
    socket.on("data", (bytes) => received.push(bytes))
    // A server may refuse to read on: what it has said until then is what counts.
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(Buffer.concat(received).toString("latin1"))))
    socket.write(Buffer.from(text, "latin1"), () => afterwards(socket))
    return Effect.sync(() => socket.destroy())
  })
