/**
 * What the model tests of one store and of several nodes share: generated calls are made, compared with the model, and
 * shrunk to the shortest sequence that fails.
 *
 * @internal
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as fc from "fast-check"
import { SessionQuery } from "../SessionQuery.ts"
import { SessionStore, SessionStoreError } from "../SessionStore.ts"
import { ConformanceError } from "./Law.ts"
import { type Command, commands, execute, Knowledge, type Target } from "./StoreCommand.ts"
import * as StoreModel from "./StoreModel.ts"
import type { Call, Operation } from "./StoreOperation.ts"
import * as Trial from "./Trial.ts"

/**
 * How a model test is run.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Number of generated sequences. */
  readonly runs: number
  /** Repeats the sequences of an earlier run; a random one by default. */
  readonly seed?: number | undefined
  /** Lets the store's time pass, as for the laws. */
  readonly elapse: (duration: Duration.Input) => Effect.Effect<void>
  /** The step of time, in milliseconds: 1,000 by default. */
  readonly unit?: number | undefined
  /**
   * Whether the store's time moves by `elapse` alone. `true` by default. With
   * `false` no sequence moves time, and the instants of records are not compared.
   */
  readonly exactTime?: boolean | undefined
  /** Longest sequence of commands, 40 by default; of one fiber in a parallel run, a tenth of it. */
  readonly size?: number | undefined
  /** Goes into every key, so that runs against one server do not meet. */
  readonly namespace?: string | undefined
  /** Makes keys, as for the laws. */
  readonly keyOf?: ((text: string) => string) | undefined
  /** Makes subjects, as for the laws. */
  readonly subjectOf?: ((text: string) => string) | undefined
}

/**
 * What a model test has done.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface ModelReport {
  readonly runs: number
  readonly seed: number
  /** Calls made, those of the final look at the store included. */
  readonly commands: number
}

/** One generated sequence: what it knows, what it has done, and what the model makes of it. */
export interface Run {
  readonly target: Target
  readonly knowledge: Knowledge
  readonly law: string
  readonly trace: Array<string>
  state: StoreModel.State
}

// Keys as short labels, so that a counterexample can be read.
const describe = (knowledge: Knowledge, text: string): string => {
  let readable = text
  knowledge.keys.forEach((key, i) => readable = readable.replaceAll(key, `k${i}`))
  knowledge.subjects.forEach((subject, i) => readable = readable.replaceAll(subject, `s${i}`))
  return readable
}

/** A call and its result as they stand in an error. */
export const line = (call: Call): string => `${Trial.show(call.operation)} -> ${Trial.show(call.result)}`

/** The error of a run, with all that it has done. */
export const mismatch = (run: Run, expected: string): ConformanceError =>
  new ConformanceError({
    law: run.law,
    expected: describe(run.knowledge, expected),
    seen: describe(run.knowledge, `\n    ${run.trace.join("\n    ")}`)
  })

/** Gives way to other fibers. */
export const turns = (n: number): Effect.Effect<void> => {
  let left = n
  return Effect.whileLoop({ while: () => left-- > 0, body: () => Effect.yieldNow, step: () => {} })
}

/** Makes one call, and compares it with the model at once. */
export const checked: (
  run: Run,
  operation: Operation,
  target?: Target
) => Effect.Effect<void, ConformanceError | SessionStoreError> = Effect.fnUntraced(function*(
  run,
  operation,
  target = run.target
) {
  const call = yield* execute(target, operation)
  run.knowledge.learn(call)
  run.trace.push(line(call))
  const verdict = StoreModel.step(run.state, call)
  if (verdict._tag === "Rejected") return yield* Effect.fail(mismatch(run, verdict.expected))
  run.state = verdict.state
})

/** What can be seen at the end: every key, and every subject's sessions. */
export const finalLook = (knowledge: Knowledge): ReadonlyArray<Operation> => [
  ...knowledge.keys.map((key) => ({ _tag: "Load", key } as const)),
  ...knowledge.subjects.map((subject) => ({ _tag: "BySubject", subject } as const))
]

/** The step of the model, as the search for an order wants it. */
export const next = (state: StoreModel.State, call: Call): StoreModel.State | undefined => {
  const verdict = StoreModel.step(state, call)
  return verdict._tag === "Accepted" ? verdict.state : undefined
}

/** What each fiber does. */
export type Fibers = ReadonlyArray<ReadonlyArray<Command>>

/** Looks at the store for the last time, and returns whether a state explains what was seen. */
export const lookFinally: (
  run: Run
) => Effect.Effect<(state: StoreModel.State) => boolean, SessionStoreError> = Effect.fnUntraced(function*(run) {
  const last: Array<Call> = []
  for (const operation of finalLook(run.knowledge)) {
    const call = yield* execute(run.target, operation)
    last.push(call)
    run.trace.push(`finally: ${line(call)}`)
  }
  return (state: StoreModel.State): boolean => {
    let at: StoreModel.State | undefined = state
    for (const call of last) {
      at = next(at, call)
      if (at === undefined) return false
    }
    return true
  }
})

/** The error of a run whose calls have no sequential explanation. */
export const noOrder = (run: Run): ConformanceError => mismatch(run, "an order of these calls that the model allows")

/** A sequential prefix, and what three fibers do after it. */
export const threeFibers = (
  options: Options,
  kind: "parallel" | "reading"
): fc.Arbitrary<readonly [ReadonlyArray<Command>, Fibers]> => {
  const arbitraries = commands(options.unit ?? 1000, options.exactTime ?? true)
  const size = options.size ?? 40
  const fiber = fc.array(arbitraries[kind], { minLength: 1, maxLength: Math.ceil(size / 10), size: "max" })
  return fc.tuple(
    fc.array(arbitraries.sequential, { maxLength: Math.ceil(size / 4), size: "max" }),
    fc.tuple(fiber, fiber, fiber)
  )
}

/** Runs a law on generated input, and shrinks what breaks it. */
export const check: <A>(
  law: string,
  options: Options,
  arbitrary: fc.Arbitrary<A>,
  body: (run: Run, generated: A) => Effect.Effect<void, ConformanceError | SessionStoreError>
) => Effect.Effect<
  ModelReport,
  ConformanceError | SessionStoreError,
  SessionStore | SessionQuery
> = Effect.fnUntraced(function*(law, options, arbitrary, body) {
  const context = yield* Effect.context<SessionStore | SessionQuery>()
  const target: Target = {
    store: Context.get(context, SessionStore),
    query: Context.get(context, SessionQuery),
    elapse: options.elapse
  }
  const seed = options.seed ?? (yield* Random.nextIntBetween(0, 0x7fffffff))
  const exactTime = options.exactTime ?? true
  const namespace = `${options.namespace ?? ""}/${law}/${seed}`
  let made = 0
  let count = 0

  const { keyOf = Trial.keyOf, subjectOf = Trial.subjectOf } = options
  const probe = keyOf(`${namespace}/probe`)
  const storeTime = Effect.gen(function*() {
    const created = yield* target.store.create(Trial.newRecord(probe, 60_000))
    if (created._tag === "Created") return created.record.createdAt
    return yield* new ConformanceError({ law, expected: "a new key is Created", seen: Trial.show(created) })
  })
  let now = exactTime ? yield* storeTime : 0
  yield* target.store.destroy(probe)

  const property = Effect.fnUntraced(function*(generated: Parameters<typeof body>[1]) {
    // Shrinking runs sequences again: every run has keys of its own.
    const knowledge = new Knowledge(`${namespace}/${made++}`, keyOf, subjectOf)
    const run: Run = { target, knowledge, law, trace: [], state: StoreModel.make(now, exactTime) }
    yield* body(run, generated).pipe(
      Effect.ensuring(Effect.suspend(() => {
        count += run.trace.length
        now = run.state.now
        return Effect.ignore(Effect.forEach(knowledge.keys, target.store.destroy, { discard: true }))
      }))
    )
  })
  const details = yield* Effect.promise((signal) =>
    fc.check(
      fc.asyncProperty(arbitrary, (generated) => Effect.runPromiseWith(context)(property(generated), { signal })),
      { numRuns: options.runs, seed }
    )
  )
  if (!details.failed) return { runs: details.numRuns, seed, commands: count } satisfies ModelReport
  const error: unknown = details.errorInstance
  if (error instanceof SessionStoreError) return yield* error
  const cause = error instanceof ConformanceError ? error : { expected: "no defect", seen: String(error) }
  const where = `seed ${seed}, run ${details.numRuns}, path ${details.counterexamplePath ?? "unknown"}`
  return yield* new ConformanceError({
    law,
    expected: cause.expected,
    seen: `${cause.seen}\n    (${where}, shrunk ${details.numShrinks} times)`
  })
})
