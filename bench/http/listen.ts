/**
 * Starts an `HttpRouter` on a free port of this machine.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Effect, Layer, Scope } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"

/** Serves routes and returns the port. */
export const listenEffect = <E>(routes: Layer.Layer<never, E, HttpRouter.HttpRouter>): Promise<number> =>
  Effect.runPromise(Effect.gen(function*() {
    const app = HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
      Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
    )
    const { address } = Context.get(
      yield* Layer.buildWithScope(app, Scope.makeUnsafe()),
      HttpServer.HttpServer
    )
    if (address._tag === "UnixPathAddress") return yield* Effect.die(new Error("the server has no port"))
    return address.port
  }))
