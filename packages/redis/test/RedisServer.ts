import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { Redis } from "ioredis"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

export class ServerError extends Data.TaggedError("ServerError")<{ readonly message: string }> {}

/** A real server on a free loopback port, with a directory of its own. For tests on real time. */
export interface RedisServer {
  readonly port: number
  readonly directory: string
  readonly url: Redacted.Redacted<string>
  /** One command on a connection of its own. */
  readonly admin: (command: string, ...args: ReadonlyArray<string | number>) => Effect.Effect<unknown, ServerError>
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  readonly kill: Effect.Effect<void>
  readonly start: (...args: ReadonlyArray<string>) => Effect.Effect<void, ServerError>
}

export interface Options {
  readonly port?: number | undefined
  readonly password?: string | undefined
  /** Arguments of every start, after those of the test server. */
  readonly args?: ReadonlyArray<string> | undefined
  /** Arguments instead of those of the test server, made from its directory. */
  readonly only?: ((directory: string, port: number) => ReadonlyArray<string>) | undefined
}

const loopback = "127.0.0.1"

// A worker that ends without closing its scopes leaves no server behind, a stopped one neither.
const running = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL")
})

const listenOn = (port: number): Effect.Effect<number | undefined> =>
  Effect.callback((resume) => {
    const server = createServer()
    server.once("error", () => resume(Effect.succeed(undefined)))
    server.listen(port, loopback, () => {
      const address = server.address()
      const bound = typeof address === "object" && address !== null ? address.port : undefined
      server.close(() => resume(Effect.succeed(bound)))
    })
  })

export const freePort: Effect.Effect<number> = Effect.map(listenOn(0), (port) => port ?? 0)

/** A port whose cluster bus port, 10000 above, is free as well. Both are below the range that systems hand out. */
export const freePortPair: Effect.Effect<number> = Effect.suspend(() => {
  const port = 12_000 + Math.floor(Math.random() * 10_000)
  return Effect.all([listenOn(port), listenOn(port + 10_000)]).pipe(
    Effect.flatMap((free) => free.includes(undefined) ? freePortPair : Effect.succeed(port))
  )
})

const connected = <A>(port: number, password: string | undefined, use: (client: Redis) => Promise<A>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const client = new Redis({
        host: loopback,
        port,
        protocol: 2,
        lazyConnect: true,
        disableClientInfo: true,
        enableReadyCheck: false,
        retryStrategy: null,
        ...(password === undefined ? {} : { password })
      })
      client.on("error", () => {})
      return client
    }),
    (client) =>
      Effect.tryPromise({
        try: () => client.connect().then(() => use(client)),
        catch: (cause) => new ServerError({ message: String(cause) })
      }),
    (client) => Effect.sync(() => client.disconnect())
  )

export const makeWith: (options: Options) => Effect.Effect<RedisServer, ServerError, Scope.Scope> = Effect.fnUntraced(
  function*(options) {
    const port = options.port ?? (yield* freePort)
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "redis-test-"))),
      (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
    )
    const own = options.only?.(directory, port) ?? [
      "--port",
      String(port),
      "--bind",
      loopback,
      "--dir",
      directory,
      "--save",
      "",
      "--appendonly",
      "no",
      "--enable-debug-command",
      "yes"
    ]
    let child: ChildProcess | undefined

    const admin = (command: string, ...args: ReadonlyArray<string | number>) =>
      connected<unknown>(port, options.password, (client) => client.call(command, ...args))

    const signal = (name: NodeJS.Signals) => Effect.sync(() => void child?.kill(name))
    const kill = Effect.callback<void>((resume) => {
      const ending = child
      child = undefined
      if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return resume(Effect.void)
      ending.once("exit", () => resume(Effect.void))
      ending.kill("SIGKILL")
    })
    const start = (...args: ReadonlyArray<string>) =>
      Effect.suspend(() => {
        const started = spawn("redis-server", [...own, ...options.args ?? [], ...args], { stdio: "ignore" })
        running.add(started)
        started.once("exit", () => running.delete(started))
        // The program may be missing; the attempts to connect tell.
        started.once("error", () => {})
        child = started
        return admin("PING").pipe(
          Effect.catchIf((error) => /NOAUTH|LOADING/.test(error.message), () => Effect.void),
          Effect.retry({
            schedule: Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(250)]),
            while: () => started.exitCode === null
          }),
          // Another program may have taken the port: its answer is not that of this child.
          Effect.andThen(
            Effect.suspend(() =>
              started.exitCode === null
                ? Effect.void
                : Effect.fail(new ServerError({ message: `redis-server ended with code ${started.exitCode}` }))
            )
          )
        )
      })

    yield* Effect.addFinalizer(() => kill)
    yield* start()
    return {
      port,
      directory,
      url: Redacted.make(`redis://${loopback}:${port}`),
      admin,
      pause: signal("SIGSTOP"),
      resume: signal("SIGCONT"),
      kill,
      start
    }
  }
)

export const make = (...args: ReadonlyArray<string>): Effect.Effect<RedisServer, ServerError, Scope.Scope> =>
  makeWith({ args })

/** Fails after `attempts` times 50 milliseconds, with what was still missing. */
export const waitUntil = (what: string, attempts: number, holds: Effect.Effect<boolean, ServerError>) =>
  holds.pipe(
    Effect.timeout("1 second"),
    Effect.catch(() => Effect.succeed(false)),
    Effect.flatMap((held) => held ? Effect.void : Effect.fail(new ServerError({ message: `still not so: ${what}` }))),
    Effect.retry(Schedule.max([Schedule.spaced("50 millis"), Schedule.recurs(attempts)]))
  )

/** The lines `name:value` of `INFO` and `CLUSTER INFO`. */
export const fieldsOf = (info: unknown): ReadonlyMap<string, string> =>
  new Map(
    String(info).split("\r\n").flatMap((line) => {
      const colon = line.indexOf(":")
      return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1)] as const]
    })
  )

/**
 * Whether a replica has the whole data set of one of the servers, and gets every write from now on. The replica alone
 * does not know: its master holds writes back, up to a second, until it has heard of the end of the transfer.
 */
export const inSync = (
  replica: RedisServer,
  servers: ReadonlyArray<RedisServer>
): Effect.Effect<boolean, ServerError> =>
  Effect.gen(function*() {
    const own = fieldsOf(yield* replica.admin("INFO", "replication"))
    const master = servers.find(({ port }) => String(port) === own.get("master_port"))
    if (own.get("role") !== "slave" || own.get("master_link_status") !== "up" || master === undefined) return false
    const fields = fieldsOf(yield* master.admin("INFO", "replication"))
    return [...fields].some(([name, value]) =>
      /^slave\d+$/.test(name) && value.includes(`,port=${replica.port},state=online,`)
    )
  })
