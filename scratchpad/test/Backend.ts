/** The demo on real servers of its own, which a test can stop. */
import type { Resilience } from "@effect-session/core"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Redacted, type Scope } from "effect"
import * as Lab from "../../packages/redis/chaos/Lab.ts"
import * as RedisServer from "../../packages/redis/test/RedisServer.ts"
import * as PostgresServer from "../../packages/sql/test/PostgresServer.ts"
import * as Demo from "./Demo.ts"
import * as DemoApp from "./DemoApp.ts"
import * as DemoCluster from "./DemoCluster.ts"

/** A server that a test can stop. */
export interface Server {
  readonly url: Redacted.Redacted<string>
  readonly kill: Effect.Effect<void>
  readonly start: Effect.Effect<void, unknown>
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  readonly writes: (value: "refused" | "accepted") => Effect.Effect<unknown, unknown>
  /** Ends every connection, and forgets what was prepared on them. */
  readonly disconnect: Effect.Effect<unknown, unknown>
}

/** One process of the demo. */
export interface Node {
  readonly url: string
  readonly pid: number
}

/** The demo as a program, in one process or in several that have the same sessions. */
export interface Program {
  readonly name: string
  /** Nothing that was confirmed is lost when it is killed. */
  readonly server: Effect.Effect<Server, unknown, Scope.Scope>
  /** How many connections a process has to it at most. */
  readonly connections: number
  /** Starts it on a server, or on what stands before one. `modules` are loaded into its processes first. */
  readonly start: (
    url: Redacted.Redacted<string>,
    modules: ReadonlyArray<string>
  ) => Promise<{ readonly demo: Demo.Demo; readonly nodes: ReadonlyArray<Node> }>
  /** Milliseconds until every process knows of what has happened at another one, at the latest. */
  readonly staleness: number
}

export interface Backend extends Program {
  /** The demo in this process; several on one server have the same sessions. */
  readonly open: (
    url: Redacted.Redacted<string>,
    options?: Resilience.Options
  ) => Effect.Effect<DemoApp.DemoApp, unknown, Scope.Scope>
}

const single = (...args: ReadonlyArray<string>): Program["start"] => async (url, modules) => {
  const demo = Demo.runWith(modules, "--port", "0", ...args, Redacted.value(url))
  return { demo, nodes: [{ url: await Demo.address(demo), pid: demo.child.pid ?? 0 }] }
}

/** Sessions in Redis. */
export const redis: Backend = {
  name: "Redis",
  server: Effect.map(RedisServer.make(...Lab.durable), (server) => ({
    ...server,
    start: server.start(),
    writes: (value) => server.admin("CONFIG", "SET", "min-replicas-to-write", value === "refused" ? 1 : 0),
    disconnect: Effect.andThen(server.admin("SCRIPT", "FLUSH"), server.admin("CLIENT", "KILL", "TYPE", "normal"))
  })),
  connections: 1,
  start: single("--store", "redis", "--redis-url"),
  staleness: 0,
  open: (url, options) => DemoApp.makeRedis(url, options, "outage:")
}

// Of an operator, who may write when others may not.
const told = (url: Redacted.Redacted<string>, ...statements: ReadonlyArray<string>) =>
  PgClient.PgClient.pipe(
    Effect.flatMap((sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement))),
    Effect.provide(PgClient.layer({ url, startupParameters: { default_transaction_read_only: "off" } }))
  )

/** Sessions in PostgreSQL. */
export const postgres: Backend = {
  name: "PostgreSQL",
  server: Effect.map(PostgresServer.make(), (server) => ({
    ...server,
    writes: (value) =>
      told(
        server.url,
        `ALTER SYSTEM SET default_transaction_read_only = ${value === "refused"}`,
        "SELECT pg_reload_conf()"
      ),
    disconnect: told(
      server.url,
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL"
    )
  })),
  connections: 10,
  start: single("--store", "sql", "--database-url"),
  staleness: 0,
  open: (url, options) => DemoApp.makeSql(url, options, "outage")
}

/** All of them. */
export const backends: ReadonlyArray<Backend> = [redis, postgres]

/** Three nodes with copies of what is in one Redis, which tell each other what has become stale. */
export const cluster: Program = {
  name: "cluster",
  server: redis.server,
  // The other one listens to the nodes.
  connections: 2,
  start: (url, modules) => DemoCluster.startWith(modules, "--nodes", "3", "--redis-url", Redacted.value(url)),
  // As long as a copy is used when nobody can be told.
  staleness: 30_000
}

/** Starts a program, and ends it. */
export const started = (
  { start }: Program,
  { url }: Pick<Server, "url">,
  modules: ReadonlyArray<string> = []
) =>
  Effect.acquireRelease(Effect.promise(() => start(url, modules)), ({ demo }) => Effect.promise(() => Demo.end(demo)))
