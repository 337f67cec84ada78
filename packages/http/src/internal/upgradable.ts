import * as Effect from "effect/Effect"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as Socket from "effect/socket/Socket"

type Request = HttpServerRequest.HttpServerRequest

/** A view of a request that tells when its handler has taken the connection over, through any view made of it. */
export const make = (request: Request, taken: () => void): Request => {
  const watched = <E>(upgrade: Effect.Effect<Socket.Socket, E>) => Effect.tap(upgrade, () => Effect.sync(taken))
  const members: Pick<Request, "upgrade" | "upgradeWith" | "modify"> = {
    get upgrade() {
      return watched(request.upgrade)
    },
    upgradeWith: (options) => watched(request.upgradeWith(options)),
    modify: (options) => make(request.modify(options), taken)
  }
  return new Proxy(request, {
    get: (target, name) => {
      if (Object.hasOwn(members, name)) return Reflect.get(members, name)
      // As if there were no view: platforms may keep what only their own object can reach.
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === "function" ? value.bind(target) : value
    }
  })
}
