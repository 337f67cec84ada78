/**
 * Starts bare `node:http` on a free port of this machine.
 */
import { createServer, type RequestListener, type ServerResponse } from "node:http"

/** Answers as every contender does. */
export const plain = (response: ServerResponse, text: string): void => {
  response.setHeader("content-type", "text/plain")
  response.end(text)
}

/** Starts a server on a free port of this machine, and returns the port. */
export const listenNode = (listener: RequestListener): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer(listener)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      if (typeof address === "object" && address !== null) resolve(address.port)
      else reject(new Error("the server has no port"))
    })
  })
