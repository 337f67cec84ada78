/**
 * Runs generated sequences of calls against a store and compares every result
 * with the model of the contract.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import type { SessionQuery } from "../SessionQuery.ts"
import type { SessionStore, SessionStoreError } from "../SessionStore.ts"
import type { ConformanceError } from "./Law.ts"
import { type Event, linearize } from "./Linearizability.ts"
import * as ModelRun from "./ModelRun.ts"
import { type Command, commands, execute } from "./StoreCommand.ts"
import * as StoreModel from "./StoreModel.ts"
import type { Call } from "./StoreOperation.ts"

export type { ModelReport, Options } from "./ModelRun.ts"

const runSequential = Effect.fnUntraced(function*(run: ModelRun.Run, list: ReadonlyArray<Command>) {
  for (const command of list) yield* ModelRun.checked(run, run.knowledge.resolve(command))
  for (const operation of ModelRun.finalLook(run.knowledge)) yield* ModelRun.checked(run, operation)
})

const runParallel = Effect.fnUntraced(
  function*(run: ModelRun.Run, prefix: ReadonlyArray<Command>, fibers: ModelRun.Fibers) {
    for (const command of prefix) yield* ModelRun.checked(run, run.knowledge.resolve(command))
    let tick = 0
    const history: Array<Event<Call>> = []
    const fiber = Effect.fnUntraced(function*(list: ReadonlyArray<Command>, name: number) {
      for (const command of list) {
        yield* ModelRun.turns(command.yields)
        const operation = run.knowledge.resolve(command)
        const invoked = tick++
        const call = yield* execute(run.target, operation)
        const returned = tick++
        run.knowledge.learn(call)
        history.push({ call, invoked, returned })
        run.trace.push(`fiber ${name}, ${invoked} to ${returned}: ${ModelRun.line(call)}`)
      }
    })
    yield* Effect.forEach(fibers, fiber, { concurrency: "unbounded", discard: true })
    const isFinal = yield* ModelRun.lookFinally(run)
    const order = linearize(run.state, history, { step: ModelRun.next, fingerprint: StoreModel.fingerprint, isFinal })
    if (order === undefined) return yield* Effect.fail(ModelRun.noOrder(run))
  }
)

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
  options: ModelRun.Options
): Effect.Effect<ModelRun.ModelReport, ConformanceError | SessionStoreError, SessionStore | SessionQuery> => {
  const { sequential } = commands(options.unit ?? 1000, options.exactTime ?? true)
  const list = fc.array(sequential, { minLength: 1, maxLength: options.size ?? 40, size: "max" })
  return ModelRun.check("the store does what its model does", options, list, runSequential)
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
  options: ModelRun.Options
): Effect.Effect<ModelRun.ModelReport, ConformanceError | SessionStoreError, SessionStore | SessionQuery> =>
  ModelRun.check(
    "every call of the store is one atomic step",
    options,
    ModelRun.threeFibers(options, "parallel"),
    (run, [prefix, fibers]) => runParallel(run, prefix, fibers)
  )
