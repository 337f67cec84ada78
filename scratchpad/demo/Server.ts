/** How the demo listens, alone or as a node of its cluster. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerError from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import { createServer } from "node:http"
import * as Api from "./Api.ts"

/** Serves the demo. */
export const layerApi = HttpRouter.serve(Api.layer, {
  disableLogger: true,
  disableListenLog: true,
  routerConfig: Api.routerConfig
})

/** Listens on a port of this machine, and says on the error output what goes wrong, nothing else. */
export const layer = (port: number) =>
  NodeHttpServer.layer(() => createServer({ requestTimeout: 30_000 }), {
    port,
    host: "127.0.0.1",
    gracefulShutdownTimeout: "1 second"
  }).pipe(
    Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "Warn")),
    Layer.provideMerge(Logger.layer([Logger.withConsoleError(Logger.formatSimple)]))
  )

/** Whether a server cannot listen because another program does. */
export const isTaken = (error: unknown): boolean =>
  error instanceof HttpServerError.ServeError && error.cause instanceof Error && "code" in error.cause &&
  error.cause.code === "EADDRINUSE"
