/**
 * Bare `node:http` without sessions: the baseline of what runs on it.
 */
import { answers, counted, dataOf, guest } from "../data.ts"
import { listenNode, plain } from "../nodeServer.ts"

const { count, userId } = counted(dataOf(0))

/** Starts the server and returns its port. */
export const listen = (): Promise<number> =>
  listenNode((request, response) => {
    switch (request.url) {
      case "/anonymous":
        return plain(response, answers.anonymous(guest))
      case "/read":
        return plain(response, answers.read(userId))
      default:
        return plain(response, answers.write(count))
    }
  })
