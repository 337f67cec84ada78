/** Stores over real servers, and what the tests of faults say again and again. */
import {
  Resilience,
  SessionBackend,
  SessionConfig,
  SessionQuery,
  SessionStore,
  SessionToken
} from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { assert } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Redacted } from "effect"
import { randomBytes } from "node:crypto"
import * as RedisClient from "../src/RedisClient.ts"
import * as RedisStore from "../src/RedisStore.ts"
import type { RedisCluster } from "../test/RedisCluster.ts"
import type { RedisSentinel } from "../test/RedisSentinel.ts"
import type { RedisServer, ServerError } from "../test/RedisServer.ts"

/** `CHAOS=long` runs every test with its full number of rounds. */
export const long = process.env.CHAOS === "long"

export const rounds = (short: number, inFull: number): number => long ? inFull : short

/** What was measured belongs to the result of the run. */
export const report = (line: string): Effect.Effect<void> =>
  Effect.sync(() => void process.stdout.write(`  measured: ${line}\n`))

/** Longest wait for one command. */
export const commandTimeout = 400

/** What a machine that does other work at the same time may add to a time limit. */
export const slack = 600

export const clientOptions = {
  commandTimeout,
  connectTimeout: 400,
  maxReconnectDelay: 100,
  onUnavailableAtStart: "wait"
} as const

export const secret = Redacted.make("Wd5-Qm9_Ye3.Jk8+Rn2/Tz6=Hb4~Pc7^Fs1?")

export const configLayer = (options?: SessionConfig.Options) =>
  SessionConfig.layer({ preset: "development", secrets: secret, ...options })

export const storeOver = <E>(client: Layer.Layer<RedisClient.RedisClient, E>, options?: SessionConfig.Options) =>
  Layer.fresh(
    RedisStore.layer().pipe(
      Layer.provideMerge(client),
      Layer.provideMerge(CryptoNode.layer),
      Layer.provideMerge(configLayer(options))
    )
  )

/** Sessions over a store that is decorated, as an application has them. */
export const resilientOver = <E>(
  client: Layer.Layer<RedisClient.RedisClient, E>,
  options?: Resilience.Options & { readonly config?: SessionConfig.Options | undefined }
) =>
  SessionBackend.layer("redis").pipe(
    Layer.provideMerge(RedisStore.layerStore().pipe(Resilience.over(options), Layer.provide(client))),
    Layer.provideMerge(CryptoNode.layer),
    Layer.provideMerge(configLayer(options?.config))
  )

/** What the closing scene of an outage needs of its server: nothing that was confirmed is lost with the process. */
export const durable = ["--appendonly", "yes", "--appendfsync", "always"] as const

export interface Outage {
  readonly name: string
  readonly begin: (server: RedisServer) => Effect.Effect<unknown, ServerError>
  readonly end: (server: RedisServer) => Effect.Effect<unknown, ServerError>
  /** Whether the server still reads. */
  readonly reads: boolean
}

export const outages: ReadonlyArray<Outage> = [
  { name: "stopped", begin: ({ kill }) => kill, end: ({ start }) => start(), reads: false },
  { name: "frozen", begin: ({ pause }) => pause, end: ({ resume }) => resume, reads: false },
  {
    name: "refusing writes",
    begin: ({ admin }) => admin("CONFIG", "SET", "min-replicas-to-write", 1),
    end: ({ admin }) => admin("CONFIG", "SET", "min-replicas-to-write", 0),
    reads: true
  }
]

/** A store with a client of its own, as another process has it. */
export const open = <E>(client: Layer.Layer<RedisClient.RedisClient, E>) =>
  Effect.map(Layer.build(storeOver(client)), (services) => ({
    redis: Context.get(services, RedisClient.RedisClient),
    store: Context.get(services, SessionStore.SessionStore),
    query: Context.get(services, SessionQuery.SessionQuery)
  }))

export type Opened = Effect.Success<ReturnType<typeof open>>

export const openUrl = (url: Redacted.Redacted<string>) => open(RedisClient.layer({ ...clientOptions, url }))

export const urlOf = ({ host, port }: { readonly host: string; readonly port: number }) =>
  Redacted.make(`redis://${host}:${port}`)

export const openSentinel = ({ addresses, name }: RedisSentinel) =>
  open(
    RedisClient.layerSentinel({
      ...clientOptions,
      url: Redacted.make(`redis://${name}`),
      sentinels: addresses.map(urlOf)
    })
  )

export const openCluster = ({ addresses }: RedisCluster) =>
  open(RedisClient.layerCluster({ ...clientOptions, nodes: addresses.map(urlOf) }))

/** A store key: the bucket of a subject, then 256 random bits. */
export const newKey = (subject = ""): string =>
  SessionToken.bucketOfSubject(subject) + randomBytes(32).toString("base64url")

const hour = 3_600_000

/** Long enough to notice a half-written one. */
export const payloadOf = (word: string): string => `${word}:${word.repeat(20)}`

export const newRecord = (key: string, subject?: string): SessionStore.NewRecord => ({
  key,
  idleTimeout: hour,
  lifetime: 24 * hour,
  subject,
  format: 1,
  payload: payloadOf("old")
})

export const change = (word: string): SessionStore.RecordChange => ({
  format: 1,
  payload: payloadOf(word),
  idleTimeout: hour,
  lifetime: undefined,
  active: true
})

export const replacement = (key: string, subject?: string): SessionStore.Replacement => ({
  key,
  format: 1,
  payload: payloadOf("new"),
  subject,
  idleTimeout: hour,
  lifetime: undefined,
  authenticated: false
})

export interface Timed<A> {
  readonly exit: Exit.Exit<A, SessionStore.SessionStoreError>
  readonly millis: number
}

export const timed = <A, R>(
  effect: Effect.Effect<A, SessionStore.SessionStoreError, R>
): Effect.Effect<Timed<A>, never, R> =>
  Effect.suspend(() => {
    const start = performance.now()
    return Effect.map(Effect.exit(effect), (exit) => ({ exit, millis: performance.now() - start }))
  })

/** A failure is a typed one, and says nothing of keys and payloads. */
export const assertTyped = (
  exit: Exit.Exit<unknown, SessionStore.SessionStoreError>,
  ...hidden: ReadonlyArray<string>
) => {
  if (Exit.isSuccess(exit)) return
  for (const reason of exit.cause.reasons) {
    assert.strictEqual(reason._tag, "Fail", Cause.pretty(exit.cause))
    if (reason._tag !== "Fail") continue
    assert.strictEqual(reason.error._tag, "SessionStoreError")
    for (const text of hidden) assert.notInclude(Cause.pretty(exit.cause) + JSON.stringify(reason.error), text)
  }
}

/** Tries again until it succeeds: what a caller does who must be sure. */
export const confirmed = <A, R>(
  effect: Effect.Effect<A, SessionStore.SessionStoreError, R>
): Effect.Effect<A, never, R> => Effect.catch(effect, () => Effect.delay(Effect.suspend(() => confirmed(effect)), 20))

/** Milliseconds until an operation succeeds again. */
export const untilWorks = <A, R>(effect: Effect.Effect<A, SessionStore.SessionStoreError, R>) =>
  Effect.suspend(() => {
    const start = performance.now()
    return Effect.map(confirmed(effect), () => performance.now() - start)
  })

export const isLive = (lookup: SessionStore.Lookup): boolean => lookup._tag === "Live" && lookup.alias === undefined

export const percentile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)
}
