/**
 * Runs generated sequences of calls against a store and compares every result
 * with the model of the contract.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as fc from "fast-check"
import { SessionQuery } from "../SessionQuery.ts"
import { SessionStore, SessionStoreError } from "../SessionStore.ts"
import { ConformanceError } from "./Law.ts"
import { type Event, linearize } from "./Linearizability.ts"
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

interface Run {
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

const line = (call: Call): string => `${Trial.show(call.operation)} -> ${Trial.show(call.result)}`

const mismatch = (run: Run, expected: string): ConformanceError =>
  new ConformanceError({
    law: run.law,
    expected: describe(run.knowledge, expected),
    seen: describe(run.knowledge, `\n    ${run.trace.join("\n    ")}`)
  })

const turns = (n: number): Effect.Effect<void> => {
  let left = n
  return Effect.whileLoop({ while: () => left-- > 0, body: () => Effect.yieldNow, step: () => {} })
}

// One call, compared with the model at once.
const checked = Effect.fnUntraced(function*(run: Run, operation: Operation) {
  const call = yield* execute(run.target, operation)
  run.knowledge.learn(call)
  run.trace.push(line(call))
  const verdict = StoreModel.step(run.state, call)
  if (verdict._tag === "Rejected") return yield* Effect.fail(mismatch(run, verdict.expected))
  run.state = verdict.state
})

// What can be seen at the end: every key, and every subject's sessions.
const finalLook = (knowledge: Knowledge): ReadonlyArray<Operation> => [
  ...knowledge.keys.map((key) => ({ _tag: "Load", key } as const)),
  ...knowledge.subjects.map((subject) => ({ _tag: "BySubject", subject } as const))
]

const runSequential = Effect.fnUntraced(function*(run: Run, list: ReadonlyArray<Command>) {
  for (const command of list) yield* checked(run, run.knowledge.resolve(command))
  for (const operation of finalLook(run.knowledge)) yield* checked(run, operation)
})

const next = (state: StoreModel.State, call: Call): StoreModel.State | undefined => {
  const verdict = StoreModel.step(state, call)
  return verdict._tag === "Accepted" ? verdict.state : undefined
}

const runParallel = Effect.fnUntraced(
  function*(run: Run, prefix: ReadonlyArray<Command>, fibers: ReadonlyArray<ReadonlyArray<Command>>) {
    for (const command of prefix) yield* checked(run, run.knowledge.resolve(command))
    let tick = 0
    const history: Array<Event<Call>> = []
    const fiber = Effect.fnUntraced(function*(list: ReadonlyArray<Command>, name: number) {
      for (const command of list) {
        yield* turns(command.yields)
        const operation = run.knowledge.resolve(command)
        const invoked = tick++
        const call = yield* execute(run.target, operation)
        const returned = tick++
        run.knowledge.learn(call)
        history.push({ call, invoked, returned })
        run.trace.push(`fiber ${name}, ${invoked} to ${returned}: ${line(call)}`)
      }
    })
    yield* Effect.forEach(fibers, fiber, { concurrency: "unbounded", discard: true })
    const last: Array<Call> = []
    for (const operation of finalLook(run.knowledge)) {
      const call = yield* execute(run.target, operation)
      last.push(call)
      run.trace.push(`finally: ${line(call)}`)
    }
    const order = linearize(run.state, history, {
      step: next,
      fingerprint: StoreModel.fingerprint,
      isFinal: (state) => {
        let at: StoreModel.State | undefined = state
        for (const call of last) {
          at = next(at, call)
          if (at === undefined) return false
        }
        return true
      }
    })
    if (order === undefined) return yield* Effect.fail(mismatch(run, "an order of these calls that the model allows"))
  }
)

const check = Effect.fnUntraced(function*<A>(
  law: string,
  options: Options,
  arbitrary: fc.Arbitrary<A>,
  body: (run: Run, generated: A) => Effect.Effect<void, ConformanceError | SessionStoreError>
) {
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

  const property = Effect.fnUntraced(function*(generated: A) {
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

/**
 * Runs sequences of calls one after the other and compares each result with the
 * model.
 *
 * **Details**
 *
 * The calls are `create`, `load`, `save`, `touch`, `renew` with and without
 * grace, `destroy`, `bySubject` and `destroyBySubject`, with right and wrong
 * versions, on live, ended and unknown keys, while time moves on to, over and
 * just before deadlines. A failure carries the seed and the shrunk sequence.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const sequential = (
  options: Options
): Effect.Effect<ModelReport, ConformanceError | SessionStoreError, SessionStore | SessionQuery> => {
  const { sequential } = commands(options.unit ?? 1000, options.exactTime ?? true)
  const list = fc.array(sequential, { minLength: 1, maxLength: options.size ?? 40, size: "max" })
  return check("the store does what its model does", options, list, runSequential)
}

/**
 * Runs sequences of calls in three fibers at once, after a sequential prefix,
 * and looks for an order of the calls that the model allows.
 *
 * **Details**
 *
 * Fibers give way to one another before calls, as the generator tells them.
 * Time stands still while they run.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const parallel = (
  options: Options
): Effect.Effect<ModelReport, ConformanceError | SessionStoreError, SessionStore | SessionQuery> => {
  const arbitraries = commands(options.unit ?? 1000, options.exactTime ?? true)
  const size = options.size ?? 40
  const fiber = fc.array(arbitraries.parallel, { minLength: 1, maxLength: Math.ceil(size / 10), size: "max" })
  const generated = fc.tuple(
    fc.array(arbitraries.sequential, { maxLength: Math.ceil(size / 4), size: "max" }),
    fc.tuple(fiber, fiber, fiber)
  )
  return check(
    "every call of the store is one atomic step",
    options,
    generated,
    (run, [prefix, fibers]) => runParallel(run, prefix, fibers)
  )
}
