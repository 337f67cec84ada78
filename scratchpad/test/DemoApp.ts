import {
  CookieStore,
  type Crypto,
  MemoryStore,
  Resilience,
  Revocations,
  SessionBackend,
  SessionConfig,
  SessionQuery,
  SessionStore
} from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { RedisClient, RedisStore } from "@effect-session/redis"
import { SqlStore } from "@effect-session/sql"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert } from "@effect/vitest"
import { Clock, Context, Effect, Fiber, Layer, Logger, Redacted } from "effect"
import { HttpRouter } from "effect/http"
import { TestClock } from "effect/testing"
import { setTimeout } from "node:timers/promises"
import * as Accounts from "../demo/Accounts.ts"
import * as Api from "../demo/Api.ts"

/** The demo in this process, on the clock of the test. */
export interface App {
  readonly handler: (request: Request) => Promise<Response>
}

const outage = new SessionStore.SessionStoreError({
  reason: new SessionStore.StoreUnavailable({ description: "it was turned off", retryAfter: 2000 })
})

// As the processes of one application have it.
const secrets = Redacted.make("Kq3_vTz8-Wm5.Rd1+Yh7/Pc9=Jx4~Nb6^")

const serve = Effect.fnUntraced(function*<E>(
  accounts: Layer.Layer<
    Accounts.Accounts | SessionBackend.SessionBackend,
    E,
    SessionConfig.SessionConfig | Crypto.Crypto
  >
) {
  const clock = yield* Clock.Clock
  const services = accounts.pipe(
    Layer.provideMerge(CryptoNode.layer),
    Layer.provideMerge(SessionConfig.layer({ preset: "development", secrets, conflictRetries: 200 })),
    Layer.provideMerge(Layer.succeed(Clock.Clock, clock)),
    Layer.provideMerge(Logger.layer([]))
  )
  const { dispose, handler } = HttpRouter.toWebHandler(Layer.provideMerge(Api.layer, services), {
    disableLogger: true,
    routerConfig: Api.routerConfig
  })
  yield* Effect.addFinalizer(() => Effect.promise(dispose))
  return handler
})

/** The demo over a store. */
export interface DemoApp extends App {
  /** Calls of the store so far, by method. */
  readonly calls: Record<"load" | "create" | "save" | "touch" | "renew" | "destroy", number>
  /** Number of sessions in the store. */
  readonly sessions: Effect.Effect<number>
  /** Whether the store serves. */
  up: boolean
}

const overStore = Effect.fnUntraced(function*(
  backend: Layer.Layer<
    SessionBackend.SessionBackend,
    never,
    SessionStore.SessionStore | SessionConfig.SessionConfig | Crypto.Crypto
  >,
  services: Context.Context<SessionStore.SessionStore | SessionQuery.SessionQuery>
) {
  const store = Context.get(services, SessionStore.SessionStore)
  const query = Context.get(services, SessionQuery.SessionQuery)
  const calls: DemoApp["calls"] = { load: 0, create: 0, save: 0, touch: 0, renew: 0, destroy: 0 }
  const watch = <A>(method: keyof typeof calls, call: Effect.Effect<A, SessionStore.SessionStoreError>) =>
    Effect.suspend(() => {
      calls[method]++
      return app.up ? call : Effect.fail(outage)
    })
  const watched = SessionStore.SessionStore.of({
    load: (key, options) => watch("load", store.load(key, options)),
    create: (record, limit) => watch("create", store.create(record, limit)),
    save: (key, version, change) => watch("save", store.save(key, version, change)),
    touch: (key) => watch("touch", store.touch(key)),
    renew: (key, version, replacement, options) => watch("renew", store.renew(key, version, replacement, options)),
    destroy: (key) => watch("destroy", store.destroy(key))
  })
  const handler = yield* serve(Accounts.layerStore.pipe(
    Layer.provideMerge(backend),
    Layer.provideMerge(Layer.succeedContext(Context.add(services, SessionStore.SessionStore, watched)))
  ))
  const app: DemoApp = { handler, calls, sessions: Effect.orDie(query.count), up: true }
  return app
})

export const make = Effect.gen(function*() {
  const { query, store } = yield* MemoryStore.make()
  return yield* overStore(
    SessionBackend.layer("memory"),
    Context.make(SessionStore.SessionStore, store).pipe(Context.add(SessionQuery.SessionQuery, query))
  )
})

let spaces = 0

/** The demo over a Redis server, with keys of its own, decorated as in the program. On real time. */
export const makeRedis = (
  url: Redacted.Redacted<string>,
  options?: Resilience.Options,
  prefix = `demo${++spaces}:`
) =>
  Effect.flatMap(
    Layer.build(
      RedisStore.layerStore().pipe(
        Resilience.over(options),
        Layer.provide(RedisClient.layer({ url, prefix, maxReconnectDelay: "100 millis" }))
      )
    ),
    (services) => overStore(RedisStore.layerBackend, services)
  )

/** The demo over a PostgreSQL server, with a table of its own, decorated as in the program. On real time. */
export const makeSql = (
  url: Redacted.Redacted<string>,
  options?: Resilience.Options,
  table = `demo${++spaces}`
) =>
  Effect.flatMap(
    Layer.build(
      SqlStore.layerStore({ table }).pipe(Resilience.over(options), Layer.provide(PgClient.layer({ url })))
    ),
    (services) => overStore(SqlStore.layerBackend, services)
  )

/** The demo in cookie mode. */
export interface CookieApp extends App {
  /** Number of times that the list of revocations was asked about a session. */
  asked: number
  /** Whether the list answers. */
  up: boolean
}

export const makeCookie = Effect.gen(function*() {
  const list = yield* Revocations.makeMemory()
  const watch = <A>(call: Effect.Effect<A, SessionStore.SessionStoreError>) =>
    Effect.suspend(() => app.up ? call : Effect.fail(outage))
  const watched = Revocations.Revocations.of({
    subjectLifetime: list.subjectLifetime,
    revoke: (...given) => watch(list.revoke(...given)),
    revokeSubject: (subject) => watch(list.revokeSubject(subject)),
    epoch: (subject) => watch(list.epoch(subject)),
    isRevoked: (session) =>
      Effect.suspend(() => {
        app.asked++
        return watch(list.isRevoked(session))
      })
  })
  const handler = yield* serve(Accounts.layerCookie.pipe(
    Layer.provideMerge(CookieStore.layer()),
    Layer.provide(Layer.succeed(Revocations.Revocations, watched))
  ))
  const app: CookieApp = { handler, asked: 0, up: true }
  return app
})

/** An answer of the API. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The body as JSON; fails the test if it is none. */
  readonly json: () => Record<string, unknown>
}

export interface Send {
  readonly headers?: Record<string, string> | undefined
  /** Sent as JSON. */
  readonly json?: unknown
  /** Sent as it is. */
  readonly body?: BodyInit | undefined
}

/** A client with a cookie jar for one cookie. */
export const client = (app: App, agent = "test") => {
  const jar: { cookie: string | undefined } = { cookie: undefined }
  const send = (method: string, path: string, { body, headers, json }: Send = {}): Effect.Effect<Answer> =>
    Effect.promise(async () => {
      const request = new Request(`http://localhost:3000${path}`, {
        method,
        headers: {
          "user-agent": agent,
          ...(jar.cookie === undefined ? {} : { cookie: jar.cookie }),
          ...(json === undefined ? {} : { "content-type": "application/json" }),
          ...headers
        },
        body: json === undefined ? body ?? null : JSON.stringify(json)
      })
      const response = await app.handler(request)
      for (const line of response.headers.getSetCookie()) {
        jar.cookie = /max-age=0/i.test(line) ? undefined : line.slice(0, line.indexOf(";"))
      }
      const text = await response.text()
      return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) }
    })
  const login = (username: string) => send("POST", "/api/login", { json: { username, password: "demo" } })
  const me = Effect.map(send("GET", "/api/me"), (answer) => answer.json())
  return { jar, send, login, me }
}

// Requests cross from fibers to promises and back; letting real time pass is how they get there.
const moment = Effect.promise(() => setTimeout(1))

/** Waits for what requests on their way have to bring about. */
export const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => condition() ? Effect.void : Effect.andThen(moment, until(condition)))

/** Lets the delay of a request pass, and returns its answer. */
export const afterDelay = <A>(fiber: Fiber.Fiber<A>): Effect.Effect<A> =>
  Effect.suspend(() =>
    fiber.pollUnsafe() !== undefined
      ? Fiber.join(fiber)
      : TestClock.adjust("1 second").pipe(Effect.andThen(moment), Effect.andThen(afterDelay(fiber)))
  )

export const assertAnswer = (answer: Answer, status: number, json?: unknown): void => {
  assert.strictEqual(answer.status, status, answer.text)
  if (json === undefined) assert.strictEqual(answer.text, "")
  else assert.deepStrictEqual(answer.json(), json)
}

/** An error answers with its status and a reason in words. */
export const assertRefused = (answer: Answer, status: number): void => {
  assert.strictEqual(answer.status, status, answer.text)
  const { error } = answer.json()
  assert.isTrue(typeof error === "string" && error.length > 0, answer.text)
}
