/**
 * The demonstration: `npm run demo`, or
 * `node scratchpad/demo/main.ts --port 8080 --store memory`.
 */
import {
  CookieStore,
  MemoryStore,
  Resilience,
  Revocations,
  type SessionBackend,
  SessionConfig,
  SessionStore
} from "@effect-session/core"
import type { Crypto } from "@effect-session/core/Crypto"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { RedisClient, RedisError, RedisStore } from "@effect-session/redis"
import { SqlStore } from "@effect-session/sql"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerError from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { SqlError } from "effect/sql/SqlError"
import { parseArgs } from "node:util"
import * as Accounts from "./Accounts.ts"
import * as ClusterProgram from "./ClusterProgram.ts"
import * as OwnServer from "./OwnServer.ts"
import * as PostgresProcess from "./PostgresProcess.ts"
import * as RedisProcess from "./RedisProcess.ts"
import * as Server from "./Server.ts"

const stores = ["memory", "cookie", "redis", "sql", "cluster"] as const

const usage = `Usage: npm run demo -- [--port N] [--store ${stores.join("|")}] [--nodes N]

  --port   port to listen on, 3000 by default; 0 takes any free one
  --store  where sessions live: memory, of this process; cookie, of each browser; redis; sql, a
           table of PostgreSQL; cluster, which is redis with several nodes in front of it, each with
           copies in its memory
  --nodes  how many nodes the cluster has, 3 by default; they listen on the ports from --port on
  --redis-url  address of a Redis server, such as redis://localhost:6379; by default the demo starts its own
  --database-url  address of a PostgreSQL database, such as postgres://user@localhost/demo, in which a table
           "sessions" is made; by default the demo starts a server of its own`

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
        "redis-url": { type: "string" },
        "database-url": { type: "string" },
        nodes: { type: "string" },
        help: { type: "boolean", short: "h", default: false }
      }
    }).values
  } catch (error) {
    return stop(`${error instanceof Error ? error.message : error}\n\n${usage}`)
  }
}

const options = readArguments()
if (options.help) {
  console.log(usage)
  process.exit(0)
}
const port = /^\d{1,5}$/.test(options.port) && Number(options.port) <= 65_535
  ? Number(options.port)
  : stop(`There is no port "${options.port}": give a number from 0 to 65535.`)
const name = stores.find((name) => name === options.store) ??
  stop(`There is no store "${options.store}". There is: ${stores.join(", ")}.`)

const nodes = Number(options.nodes ?? "3")
if (options.nodes !== undefined && name !== "cluster") {
  stop(`There are several nodes with --store cluster only.`)
}
if (!Number.isInteger(nodes) || nodes < 1 || nodes > ClusterProgram.maxNodes) {
  stop(`There cannot be "${options.nodes}" nodes: give a number from 1 to ${ClusterProgram.maxNodes}.`)
}
if (name === "cluster" && port + nodes - 1 > 65_535) stop(`There are no ${nodes} ports from ${port} on.`)

// Shorter than the default: whoever waits in front of the page wants it back at once.
const maxReconnectDelay = "500 millis"

const given = (url: string | undefined) => url === undefined ? undefined : Redacted.make(url)
const redisUrl = given(options["redis-url"])
const databaseUrl = given(options["database-url"])

// Of a server that is given, or of one of our own.
const redisClient = Layer.unwrap(
  Effect.gen(function*() {
    const url = redisUrl ?? (yield* RedisProcess.make)
    return RedisClient.layer({ url, maxReconnectDelay })
  })
)

const sqlClient = Layer.unwrap(
  Effect.gen(function*() {
    const url = databaseUrl ?? (yield* PostgresProcess.make)
    return PgClient.layer({ url })
  })
)

// Short times, so that one sees it happen.
const guarded = (name: string) => Resilience.over({ name, openDuration: "2 seconds" })

type Store = Layer.Layer<
  Accounts.Accounts | SessionBackend.SessionBackend,
  | OwnServer.ServerMissing
  | RedisError.RedisError
  | SessionConfig.SessionConfigError
  | SessionStore.SessionStoreError
  | SqlError,
  Crypto | SessionConfig.SessionConfig
>

const layers: { readonly [name in Exclude<typeof stores[number], "cluster">]: Store } = {
  memory: Accounts.layerStore.pipe(Layer.provideMerge(MemoryStore.layer())),
  cookie: Accounts.layerCookie.pipe(
    Layer.provideMerge(CookieStore.layer()),
    Layer.provide(Revocations.layerMemory())
  ),
  redis: Accounts.layerStore.pipe(
    Layer.provideMerge(RedisStore.layerBackend),
    Layer.provideMerge(RedisStore.layerStore().pipe(guarded("redis"), Layer.provide(redisClient)))
  ),
  sql: Accounts.layerStore.pipe(
    Layer.provideMerge(SqlStore.layerBackend),
    Layer.provideMerge(SqlStore.layerStore().pipe(guarded("sql"), Layer.provide(sqlClient)))
  )
}

const Announcement = Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  const at = address._tag === "UnixPathAddress" ? address.path : `http://localhost:${address.port}`
  yield* Console.log(`Demo with the ${options.store} store: ${at} (sign in with any name and the password "demo")`)
}))

const server = (store: Store) =>
  Announcement.pipe(
    Layer.provide(Server.layerApi),
    Layer.provide(store),
    Layer.provide(CryptoNode.layer),
    Layer.provide(SessionConfig.layer({
      preset: "development",
      // A hundred requests at once on one session all get through, also where a store needs a round trip for each.
      conflictRetries: 200
    })),
    Layer.provide(Server.layer(port))
  )

const program = Effect.gen(function*() {
  if (name !== "cluster") return yield* Layer.launch(server(layers[name]))
  return yield* ClusterProgram.run({ port, nodes, redis: redisUrl })
})

Effect.scoped(program).pipe(
  Effect.catchIf(
    (error) => error instanceof HttpServerError.ServeError,
    (error) =>
      Effect.sync(() =>
        stop(
          Server.isTaken(error)
            ? `Port ${port} is taken. Take another one: npm run demo -- --port ${port + 1}`
            : `The demo cannot listen on port ${port}: ${
              error.cause instanceof Error ? error.cause.message : error.cause
            }`
        )
      )
  ),
  Effect.catchIf(
    (error) =>
      error instanceof OwnServer.ServerMissing || error instanceof RedisError.RedisError ||
      error instanceof SessionStore.SessionStoreError || error instanceof SqlError ||
      error instanceof ClusterProgram.NodeFailed,
    (error) => Effect.sync(() => stop(error.message))
  ),
  NodeRuntime.runMain({
    // Ctrl-C is how one leaves, and no failure.
    teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1)
  })
)
