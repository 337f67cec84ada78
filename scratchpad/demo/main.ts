/**
 * The demonstration: `npm run demo`, or
 * `node scratchpad/demo/main.ts --port 8080 --store memory`.
 */
import { CookieStore, MemoryStore, Revocations, SessionConfig } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerError from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import { createServer } from "node:http"
import { parseArgs } from "node:util"
import * as Accounts from "./Accounts.ts"
import * as Api from "./Api.ts"

const stores = {
  memory: Accounts.layerStore.pipe(Layer.provideMerge(MemoryStore.layer())),
  cookie: Accounts.layerCookie.pipe(
    Layer.provideMerge(CookieStore.layer()),
    Layer.provide(Revocations.layerMemory())
  )
}

const usage = `Usage: npm run demo -- [--port N] [--store ${Object.keys(stores).join("|")}]

  --port   port to listen on, 3000 by default; 0 takes any free one
  --store  where sessions live: memory, of this process; cookie, of each browser`

const stop = (reason: string): never => {
  console.error(reason)
  process.exit(1)
}

const readArguments = () => {
  try {
    return parseArgs({
      options: {
        port: { type: "string", default: "3000" },
        store: { type: "string", default: "memory" },
        help: { type: "boolean", short: "h", default: false }
      }
    }).values
  } catch (error) {
    return stop(`${error instanceof Error ? error.message : error}\n\n${usage}`)
  }
}

const isStore = (name: string): name is keyof typeof stores => Object.hasOwn(stores, name)

const options = readArguments()
if (options.help) {
  console.log(usage)
  process.exit(0)
}
const port = /^\d{1,5}$/.test(options.port) && Number(options.port) <= 65_535
  ? Number(options.port)
  : stop(`There is no port "${options.port}": give a number from 0 to 65535.`)
const store = isStore(options.store)
  ? stores[options.store]
  : stop(`There is no store "${options.store}". There is: ${Object.keys(stores).join(", ")}.`)

const Announcement = Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  const at = address._tag === "UnixPathAddress" ? address.path : `http://localhost:${address.port}`
  yield* Console.log(`Demo with the ${options.store} store: ${at} (sign in with any name and the password "demo")`)
}))

const Server = Announcement.pipe(
  Layer.provide(
    HttpRouter.serve(Api.layer, { disableLogger: true, disableListenLog: true, routerConfig: Api.routerConfig })
  ),
  Layer.provide(store),
  Layer.provide(CryptoNode.layer),
  Layer.provide(SessionConfig.layer({
    preset: "development",
    // A hundred requests at once on one session all get through, also where a store needs a round trip for each.
    conflictRetries: 200
  })),
  Layer.provide(
    NodeHttpServer.layer(() => createServer({ requestTimeout: 30_000 }), {
      port,
      host: "127.0.0.1",
      gracefulShutdownTimeout: "1 second"
    })
  ),
  Layer.provide(Layer.succeed(References.MinimumLogLevel, "Warn")),
  Layer.provide(Logger.layer([Logger.withConsoleError(Logger.formatSimple)]))
)

const isTaken = (cause: unknown): boolean => cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE"

Layer.launch(Server).pipe(
  Effect.catchIf(
    (error) => error instanceof HttpServerError.ServeError,
    ({ cause }) =>
      Effect.sync(() =>
        stop(
          isTaken(cause)
            ? `Port ${port} is taken. Take another one: npm run demo -- --port ${port + 1}`
            : `The demo cannot listen on port ${port}: ${cause instanceof Error ? cause.message : cause}`
        )
      )
  ),
  NodeRuntime.runMain({
    // Ctrl-C is how one leaves, and no failure.
    teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1)
  })
)
