/**
 * `iron-session` on bare `node:http`, which keeps sessions in cookies.
 */
import { getIronSession } from "iron-session"
import { randomBytes } from "node:crypto"
import { answers, counted, type Data, dataOf, guest } from "../data.ts"
import { listenNode, plain } from "../nodeServer.ts"

const options = {
  password: randomBytes(32).toString("base64url"),
  cookieName: "session",
  ttl: 86_400,
  cookieOptions: { secure: false }
}

/** Starts the server and returns its port. */
export const listen = (): Promise<number> =>
  listenNode(async (request, response) => {
    const session = await getIronSession<{ user?: Data }>(request, response, options)
    switch (request.url) {
      case "/anonymous":
        return plain(response, answers.anonymous(session.user?.role ?? guest))
      case "/read":
        return plain(response, answers.read(session.user!.userId))
      case "/write": {
        session.user = counted(session.user!)
        await session.save()
        return plain(response, answers.write(session.user.count))
      }
      default: {
        session.user = dataOf(Number(request.url?.split("=")[1]))
        await session.save()
        return plain(response, "ok")
      }
    }
  })
