/**
 * Runs generated sequences of calls on three nodes over one store at once, and
 * compares every result with the model of the contract: exactly where the store
 * has answered, and within a stated bound where a copy has.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SessionQuery } from "../SessionQuery.ts"
import type { Lookup, SessionStore, SessionStoreError } from "../SessionStore.ts"
import { makeAwake, type NodeEvent, precedes } from "./CachedReads.ts"
import type { ConformanceError } from "./Law.ts"
import { linearize } from "./Linearizability.ts"
import * as ModelRun from "./ModelRun.ts"
import { type Command, execute, type Target } from "./StoreCommand.ts"
import * as StoreModel from "./StoreModel.ts"
import * as Trial from "./Trial.ts"

/**
 * One of several nodes over one store, which may answer reads from copies.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Node {
  readonly store: SessionStore["Service"]
  readonly query: SessionQuery["Service"]
  /** How many reads the node has answered from copies so far. */
  readonly hits: Effect.Effect<number>
}

/**
 * How a model test of several nodes is run.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options extends ModelRun.Options {
  /** One for each of the fibers. */
  readonly nodes: readonly [Node, Node, Node]
  /**
   * How long a node may answer from a copy what another node has changed, counted
   * from the return of the change. With 0 a copy is as good as the store.
   */
  readonly staleFor: Duration.Input
}

/**
 * What a model test of several nodes has done.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Report extends ModelRun.ModelReport {
  /** Reads that a copy has answered while others were writing. */
  readonly hits: number
  /** Sequences in which a read told what was true before, and not at the time. */
  readonly stale: number
}

// A store may report once that a session has expired, and whoever asks next finds nothing.
const untimed = (lookup: Lookup) =>
  lookup._tag === "Expired" ? { _tag: "Absent", now: undefined } : { ...lookup, now: undefined }

// Every node comes to say what the store says, within the bound from now on.
const agree = Effect.fnUntraced(
  function*(run: ModelRun.Run, nodes: ReadonlyArray<Node>, staleFor: number, awake: () => number) {
    const from = awake()
    for (const key of run.knowledge.keys) {
      const truth = yield* run.target.store.load(key)
      for (const [name, node] of nodes.entries()) {
        while (true) {
          const asked = awake()
          const seen = yield* node.store.load(key)
          if (Trial.isSame(untimed(seen), untimed(truth))) break
          // Where time moves by the sequence alone nobody can wait.
          if (run.state.exactTime || asked - from >= staleFor) {
            run.trace.push(`finally, node ${name} of ${key}: ${Trial.show(seen)}`)
            const expected = `after ${staleFor} ms every node says what the store says: ${Trial.show(truth)}`
            return yield* Effect.fail(ModelRun.mismatch(run, expected))
          }
          yield* run.target.elapse(1)
        }
      }
    }
  }
)

const runOnNodes = Effect.fnUntraced(
  function*(
    run: ModelRun.Run,
    prefix: ReadonlyArray<Command>,
    fibers: ModelRun.Fibers,
    nodes: ReadonlyArray<Node>,
    staleFor: number
  ) {
    const awake = makeAwake()
    yield* Effect.forkChild(awake.run, { startImmediately: true })
    const targets = nodes.map(({ query, store }): Target => ({ ...run.target, query, store }))
    const first = targets[prefix.length % targets.length]
    for (const command of prefix) yield* ModelRun.checked(run, run.knowledge.resolve(command), first)
    // From here on every node has a copy of everything.
    yield* agree(run, nodes, staleFor, awake.millis)
    let tick = 0
    const history: Array<NodeEvent> = []
    const fiber = Effect.fnUntraced(function*(list: ReadonlyArray<Command>, node: number) {
      const { hits } = nodes[node]
      for (const command of list) {
        yield* ModelRun.turns(command.yields)
        const operation = run.knowledge.resolve(command)
        const hitsBefore = yield* hits
        const invokedAt = awake.millis()
        const invoked = tick++
        const call = yield* execute(targets[node], operation)
        const returned = tick++
        const returnedAt = awake.millis()
        const copyOf = call._tag === "Load" && (yield* hits) > hitsBefore ? call.operation.key : undefined
        run.knowledge.learn(call)
        history.push({ call, invoked, returned, node, copyOf, invokedAt, returnedAt })
        const how = copyOf === undefined ? "" : ", from a copy"
        run.trace.push(`node ${node}, ${invoked} to ${returned}${how}: ${ModelRun.line(call)}`)
      }
    })
    yield* Effect.forEach(fibers, fiber, { concurrency: "unbounded", discard: true })
    yield* agree(run, nodes, staleFor, awake.millis)
    const isFinal = yield* ModelRun.lookFinally(run)
    const specification = { step: ModelRun.next, fingerprint: StoreModel.fingerprint, isFinal }
    const exact = linearize(run.state, history, specification) !== undefined
    if (!exact && linearize(run.state, history, { ...specification, precedes: precedes(staleFor) }) === undefined) {
      return yield* Effect.fail(ModelRun.noOrder(run))
    }
    return { hits: history.filter(({ copyOf }) => copyOf !== undefined).length, stale: exact ? 0 : 1 }
  }
)

/**
 * Runs sequences of calls on three nodes at once, after a sequential prefix, and
 * looks for an order of the calls that the model allows. The nodes stand over the
 * store of the context, which is asked for the truth.
 *
 * **Details**
 *
 * Every call that the store answers takes effect between its invocation and its
 * return. A read that a copy answers may take effect up to `staleFor` earlier, and
 * never before a call of the same node that concerned the same key: a node reads
 * what it wrote, and what it has seen it goes on seeing. After the prefix and at
 * the end every node says what the store says, within `staleFor`.
 *
 * The bound counts the time for which this process is awake.
 *
 * **Gotchas**
 *
 * Nobody else may use the nodes meanwhile. Where messages between the nodes take
 * time, `elapse` has to let real time pass and `exactTime` has to be `false`: with an
 * exact clock nobody can wait, and the nodes have to agree at once.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const parallel = (
  options: Options
): Effect.Effect<Report, ConformanceError | SessionStoreError, SessionStore | SessionQuery> => {
  const staleFor = Duration.toMillis(Duration.fromInputUnsafe(options.staleFor))
  return Effect.suspend(() => {
    let hits = 0
    let stale = 0
    return ModelRun.check(
      "every call on a node is one atomic step, of which copies elsewhere tell in time",
      options,
      ModelRun.threeFibers(options, "reading"),
      (run, [prefix, fibers]) =>
        Effect.map(runOnNodes(run, prefix, fibers, options.nodes, staleFor), (seen) => {
          hits += seen.hits
          stale += seen.stale
        })
    ).pipe(Effect.map((report) => ({ ...report, hits, stale })))
  })
}
