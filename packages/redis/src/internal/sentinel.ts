/**
 * Finds the master that sentinels agree on. Each sentinel is asked again and
 * again on a connection of its own, so that one which is frozen, cut off or
 * behind does not hide what the others know.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { type RedisErrorReason, table } from "../RedisError.ts"
import { type Address, at, keyOf } from "./address.ts"
import * as Connection from "./connection.ts"
import type * as Driver from "./driver.ts"
import type { Source } from "./link.ts"

interface Answer {
  readonly host: string
  readonly port: number
  /** Of two answers the one of the later failover counts. */
  readonly epoch: number
}

/** Longest time between two questions, in milliseconds. */
const pollInterval = 750

const toAnswer = (reply: unknown): Answer | undefined => {
  if (!Array.isArray(reply)) return undefined
  const texts = reply.map(String)
  const field = (name: string) => texts[texts.findIndex((text, index) => index % 2 === 0 && text === name) + 1]
  const answer = { host: field("ip"), port: Number(field("port")), epoch: Number(field("config-epoch")) }
  return answer.host !== "" && Number.isInteger(answer.port) && Number.isInteger(answer.epoch) ? answer : undefined
}

const isMaster = (reply: unknown) => Array.isArray(reply) && String(reply[0]) === "master"

/** Watches sentinels as long as the scope is open. The host of `master` is its name. */
export const make: (
  sentinels: ReadonlyArray<Address>,
  master: Address,
  timeouts: Driver.Timeouts
) => Effect.Effect<Source, never, Scope.Scope> = Effect.fnUntraced(function*(sentinels, master, timeouts) {
  const answers = new Map<Address, Answer>()
  const failures = new Map<Address, RedisErrorReason>()
  let news = Deferred.makeUnsafe<void>()
  let tried: string | undefined

  const tell = () => {
    const told = news
    news = Deferred.makeUnsafe()
    Deferred.doneUnsafe(told, Effect.void)
  }
  const until = (holds: () => boolean): Effect.Effect<void> =>
    Effect.suspend(() => holds() ? Effect.void : Effect.andThen(Deferred.await(news), until(holds)))

  const best = (): Answer | undefined => {
    let best: Answer | undefined
    for (const sentinel of sentinels) {
      const answer = answers.get(sentinel)
      if (answer !== undefined && (best === undefined || answer.epoch > best.epoch)) best = answer
    }
    return best
  }
  // Sentinels that are all gone say nothing about the master.
  const moved = until(() => {
    const answer = best()
    return answer !== undefined && keyOf(answer) !== tried
  })

  const question = (connection: Connection.Connection, sentinel: Address) =>
    Effect.gen(function*() {
      const reply = yield* Connection.ask(connection.submit, "SENTINEL", "MASTER", master.host).pipe(
        Effect.mapError((reason) => reason._tag === "Rejected" ? table.NoMaster : reason)
      )
      const answer = toAnswer(reply)
      if (answer === undefined) return yield* Effect.fail(table.Protocol)
      answers.set(sentinel, answer)
      failures.delete(sentinel)
      tell()
    })
  const pause = Effect.flatMap(Random.next, (random) => Effect.sleep((1 + random) / 2 * pollInterval))
  const watch = (sentinel: Address) =>
    Effect.gen(function*() {
      const connection = yield* Connection.open(sentinel, timeouts)
      return yield* Effect.forever(Effect.andThen(question(connection, sentinel), pause))
    }).pipe(
      Effect.scoped,
      Effect.catch((reason) =>
        Effect.sync(() => {
          answers.delete(sentinel)
          failures.set(sentinel, reason)
          tell()
        })
      ),
      Effect.andThen(pause),
      Effect.forever
    )
  yield* Effect.forEach(sentinels, (sentinel) => Effect.forkScoped(watch(sentinel)), { discard: true })

  const openMaster = Effect.fnUntraced(function*(address: Address) {
    const connection = yield* Connection.open(address, timeouts)
    yield* Connection.ask(connection.submit, "ROLE").pipe(
      Effect.catchIf((reason) => reason._tag === "NoPermission", () => Effect.succeed(["master"])),
      Effect.filterOrFail(isMaster, () => table.ReadOnly)
    )
    return connection
  })
  /** Connects, unless the master moves meanwhile. */
  const attempt = Effect.gen(function*() {
    yield* until(() => best() !== undefined || failures.size === sentinels.length)
    const answer = best()
    if (answer === undefined) {
      // One that answers knows more than one that does not.
      const reasons = [...failures.values()]
      return yield* Effect.fail(reasons.find(({ infrastructure }) => !infrastructure) ?? reasons[0])
    }
    tried = keyOf(answer)
    const scope = yield* Scope.fork(yield* Effect.scope)
    // A frozen server takes connections, and does not answer.
    const connection = yield* Effect.raceFirst(
      Scope.provide(openMaster(at(master, answer.host, answer.port)), scope),
      Effect.as(moved, undefined)
    )
    if (connection === undefined) yield* Scope.close(scope, Exit.void)
    return connection
  })
  const open = Effect.gen(function*() {
    while (true) {
      const connection = yield* attempt
      if (connection === undefined) continue
      return { ...connection, closed: Effect.raceFirst(connection.closed, Effect.as(moved, table.ConnectionLost)) }
    }
  })
  return { open, changed: moved }
})
