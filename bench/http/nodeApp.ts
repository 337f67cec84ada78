/**
 * The application of this library's contenders on bare `node:http`, wherever sessions are.
 */
import * as SessionNode from "@effect-session/http/SessionNode"
import { answers, counted, dataOf } from "./data.ts"
import { listenNode, plain } from "./nodeServer.ts"
import { cookie, type Live, UserSession } from "./userSession.ts"

/** Starts the server, and returns its port. */
export const listenOn = async <E>(live: Live<E>): Promise<number> => {
  const sessions = await SessionNode.make(UserSession, live, { cookie })
  return listenNode(sessions.listener(async (request, response) => {
    const session = sessions.of(request)
    switch (request.url) {
      case "/anonymous":
        return plain(response, answers.anonymous((await session.get()).role))
      case "/read":
        return plain(response, answers.read((await session.get()).userId))
      case "/write":
        return plain(response, answers.write((await session.update(counted)).count))
      default: {
        const data = dataOf(Number(request.url?.split("=")[1]))
        await session.login(data.userId, () => data)
        return plain(response, "ok")
      }
    }
  }))
}
