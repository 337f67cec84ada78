import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type { Outcome, Recent } from "../Resilience.ts"
import type { LoadOptions, Lookup, SessionStore, SessionStoreError } from "../SessionStore.ts"
import * as StoreFault from "../StoreFault.ts"
import type { Bulkhead } from "./bulkhead.ts"
import { type Circuit, type Permit, refused } from "./circuit.ts"
import { Alarm, Deadline, type Deadlines } from "./deadlines.ts"
import type { GuardMetrics } from "./guardMetrics.ts"
import type { RetryBudget } from "./retryBudget.ts"
import { amend, type Problem, problem } from "./unavailable.ts"

const reads: ReadonlySet<StoreFault.Operation> = new Set(["load", "bySubject"])
const defaultRetryAfter = 1000
const recentLength = 100

/** What the guard needs of the decorator's options. */
export interface GuardOptions {
  readonly deadline: number
  readonly slowCall: number
  readonly retry: Schedule.Schedule<unknown, SessionStoreError> | undefined
  readonly openFor: (openings: number) => Effect.Effect<number>
  /** The circuit for the operation on a key; for one on a subject there is no key. */
  readonly circuitOf: (operation: StoreFault.Operation, key: string | undefined) => Circuit
}

/** An operation that has begun: what its attempts have to remember. */
interface Run {
  readonly operation: StoreFault.Operation
  readonly key: string | undefined
  readonly circuit: Circuit
  readonly permit: Permit
  readonly started: number
  retries: number
  /** Whether an attempt may have taken effect although it failed. */
  unknown: boolean
}

/** An operation that did not end at once, with those who wait for it. */
class Call<A> extends Deadline {
  readonly guard: Guard
  readonly run: Run
  readonly epoch: number
  readonly fiber: Fiber.Fiber<A, SessionStoreError>
  readonly wait: Effect.Effect<A, SessionStoreError>
  private readonly flights: Flights<A> | undefined
  exit: Exit.Exit<A, SessionStoreError> | undefined = undefined
  private waiter: ((exit: Exit.Exit<A, SessionStoreError>) => void) | undefined = undefined
  // Rarely more than one waits.
  private others: Set<(exit: Exit.Exit<A, SessionStoreError>) => void> | undefined = undefined

  constructor(
    at: number,
    guard: Guard,
    run: Run,
    epoch: number,
    fiber: Fiber.Fiber<A, SessionStoreError>,
    flights: Flights<A> | undefined
  ) {
    super(at)
    this.guard = guard
    this.run = run
    this.epoch = epoch
    this.fiber = fiber
    this.flights = flights
    this.wait = Effect.callback<A, SessionStoreError>((resume) => {
      if (this.exit !== undefined) return resume(this.exit)
      if (this.waiter === undefined) this.waiter = resume
      else (this.others ??= new Set()).add(resume)
      return Effect.sync(() => this.leave(resume))
    })
  }

  private leave(resume: (exit: Exit.Exit<A, SessionStoreError>) => void): void {
    if (this.waiter === resume) this.waiter = undefined
    else this.others?.delete(resume)
    if (this.exit !== undefined || this.waiter !== undefined || (this.others?.size ?? 0) > 0) return
    // Nobody wants the answer any more.
    this.unshare()
    this.fiber.interruptUnsafe()
  }

  answer(exit: Exit.Exit<A, SessionStoreError>): void {
    this.exit = exit
    this.waiter?.(exit)
    if (this.others !== undefined) { for (const resume of this.others) resume(exit) }
  }

  override onPassed(): void {
    this.guard.giveUp(this, "timeout")
  }

  cut(): void {
    this.guard.giveUp(this, "closing")
  }

  /** Lets nobody join any more. */
  unshare(): void {
    if (this.flights !== undefined && this.flights.get(this.run.key!) === this) this.flights.delete(this.run.key!)
  }
}

/** Calls by key, for others to join. */
export type Flights<A> = Map<string, Call<A>>

/** Carries out operations within deadline, circuit, bulkhead and budget. */
export class Guard {
  readonly options: GuardOptions
  readonly deadlines: Deadlines
  readonly bulkhead: Bulkhead
  readonly budget: RetryBudget
  readonly metrics: GuardMetrics
  private readonly fork: (effect: Effect.Effect<void>) => void
  private calls = 0
  private readonly history: Array<Recent> = []
  private historyNext = 0
  // Grows with every write that ends: a read that began earlier may not have seen it.
  private epoch = 0
  private closing = false
  private onIdle: (() => void) | undefined = undefined

  constructor(
    options: GuardOptions,
    deadlines: Deadlines,
    bulkhead: Bulkhead,
    budget: RetryBudget,
    metrics: GuardMetrics,
    fork: (effect: Effect.Effect<void>) => void
  ) {
    this.options = options
    this.deadlines = deadlines
    this.bulkhead = bulkhead
    this.budget = budget
    this.metrics = metrics
    this.fork = fork
  }

  /**
   * Runs an operation for a fiber. What ends at once is returned as an `Exit`:
   * there is no timer then, nobody to wait, and nothing to share.
   */
  run<A>(
    caller: Fiber.Fiber<unknown, unknown>,
    operation: StoreFault.Operation,
    key: string | undefined,
    attempt: () => Effect.Effect<A, SessionStoreError>,
    verify?: (answer: A) => Effect.Effect<A, SessionStoreError>,
    flights?: Flights<A>
  ): Effect.Effect<A, SessionStoreError> {
    const now = this.deadlines.now()
    if (this.closing) return this.reject(operation, "closing", defaultRetryAfter)
    if (flights !== undefined && flights.size > 0) {
      const call = flights.get(key!)
      if (call !== undefined && call.epoch === this.epoch) return call.wait
    }
    const circuit = this.options.circuitOf(operation, key)
    const refusedFor = circuit.refusedFor(now)
    if (refusedFor > 0) return this.reject(operation, "circuitOpen", refusedFor)
    if (this.bulkhead.tryEnter()) return this.start(caller, operation, key, circuit, attempt, verify, flights, now, now)
    const until = now + this.options.deadline
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(this.bulkhead.enter(until)), (entered) => {
        if (!entered) return this.reject(operation, this.closing ? "closing" : "overloaded", defaultRetryAfter)
        const started = this.deadlines.now()
        if (started < until) {
          return restore(this.start(caller, operation, key, circuit, attempt, verify, flights, now, started))
        }
        // Admitted in the moment in which it has to end.
        this.bulkhead.leave()
        return this.reject(operation, "overloaded", defaultRetryAfter)
      })
    )
  }

  // Has a place in the bulkhead, and gives it back when the attempts have ended.
  private start<A>(
    caller: Fiber.Fiber<unknown, unknown>,
    operation: StoreFault.Operation,
    key: string | undefined,
    circuit: Circuit,
    attempt: () => Effect.Effect<A, SessionStoreError>,
    verify: ((answer: A) => Effect.Effect<A, SessionStoreError>) | undefined,
    flights: Flights<A> | undefined,
    asked: number,
    started: number
  ): Effect.Effect<A, SessionStoreError> {
    const permit = circuit.admit(started)
    if (permit === refused) {
      this.bulkhead.leave()
      return this.reject(operation, "circuitOpen", circuit.refusedFor(started))
    }
    this.budget.call()
    const run: Run = { operation, key, circuit, permit, started, retries: 0, unknown: false }
    const until = asked + this.options.deadline
    const fiber = Effect.runForkWith(caller.context)(
      // A store that throws must not take its place in the bulkhead along.
      Effect.catch(Effect.suspend(attempt), (error) => this.retry(run, until, error, attempt, verify))
    )
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) {
      this.bulkhead.leave()
      return this.ended(run, exit)
    }
    const call = new Call<A>(until, this, run, this.epoch, fiber, flights)
    flights?.set(key!, call)
    this.calls++
    this.deadlines.add(call)
    fiber.addObserver((exit) => {
      this.bulkhead.leave()
      if (call.exit === undefined) this.settle(call, this.ended(run, exit))
    })
    return call.wait
  }

  /** The answer would come too late for everybody; the attempt is not waited for. */
  giveUp<A>(call: Call<A>, reason: "timeout" | "closing"): void {
    const { operation } = call.run
    const error = problem(reason, reads.has(operation) ? "no" : "unknown", defaultRetryAfter)
    this.settle(call, this.ended(call.run, Exit.fail(error)))
    call.fiber.interruptUnsafe()
  }

  private settle<A>(call: Call<A>, exit: Exit.Exit<A, SessionStoreError>): void {
    this.deadlines.remove(call)
    this.calls--
    call.unshare()
    call.answer(exit)
    if (this.onIdle !== undefined && this.calls === 0) this.onIdle()
  }

  private retry<A>(
    run: Run,
    until: number,
    error: SessionStoreError,
    attempt: () => Effect.Effect<A, SessionStoreError>,
    verify: ((answer: A) => Effect.Effect<A, SessionStoreError>) | undefined
  ): Effect.Effect<A, SessionStoreError> {
    const { retry } = this.options
    return retry === undefined || !StoreFault.isRetryable(run.operation, error)
      ? this.fail(run, error)
      : Effect.flatMap(Schedule.toStep(retry), (step) => {
        const again = (error: SessionStoreError): Effect.Effect<A, SessionStoreError> => {
          if (StoreFault.mayHaveApplied(error)) run.unknown = true
          if (!StoreFault.isRetryable(run.operation, error)) return this.fail(run, error)
          return Effect.flatMap(
            Effect.exit(Effect.suspend(() => step(this.deadlines.now(), error))),
            (next) => {
              if (Exit.isFailure(next)) return this.fail(run, error)
              const delay = Duration.toMillis(next.value[1])
              // A retry that cannot end in time is only load.
              if (this.deadlines.now() + delay >= until || this.closing) return this.fail(run, error)
              if (!this.budget.take()) {
                this.metrics.retryRefused(run.operation)
                return this.fail(run, error)
              }
              run.retries++
              this.metrics.retry(run.operation)
              const next$ = Effect.flatMap(Effect.sleep(Duration.millis(delay)), attempt)
              return Effect.catch(
                run.unknown && verify !== undefined ? Effect.flatMap(next$, verify) : next$,
                again
              )
            }
          )
        }
        return again(error)
      })
  }

  private fail(run: Run, error: SessionStoreError): Effect.Effect<never, SessionStoreError> {
    const { applied, retryAfter } = error.reason
    const unknown = !reads.has(run.operation) && (run.unknown || applied !== "no")
    return Effect.fail(amend(error, {
      applied: unknown ? "unknown" : "no",
      retryAfter: retryAfter ?? defaultRetryAfter
    }))
  }

  /** Refuses an operation without asking the store. */
  reject(
    operation: StoreFault.Operation,
    reason: Problem,
    retryAfter: number
  ): Effect.Effect<never, SessionStoreError> {
    this.note(operation, reason, 0)
    return Effect.fail(problem(reason, "no", retryAfter))
  }

  // Tells the circuit, the metrics and the history how an operation has ended.
  private ended<A>(run: Run, exit: Exit.Exit<A, SessionStoreError>): Exit.Exit<A, SessionStoreError> {
    const { circuit, operation, permit } = run
    const now = this.deadlines.now()
    const millis = now - run.started
    if (!reads.has(operation)) this.epoch++
    if (exit._tag === "Success") {
      const slow = millis > this.options.slowCall
      if (slow) this.blame(run, undefined, now)
      else circuit.succeed(permit, now)
      this.note(operation, slow ? "slow" : run.retries > 0 ? "retried" : "success", millis)
      return exit
    }
    const error = Cause.findErrorOption(exit.cause)
    if (error._tag === "None") {
      circuit.ignore(permit)
      this.note(operation, Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "defect", millis)
      return exit
    }
    if (StoreFault.counts(error.value)) this.blame(run, error.value.reason.retryAfter, now)
    else circuit.ignore(permit)
    this.note(operation, error.value.reason.problem ?? "failure", millis)
    return exit
  }

  private blame(
    { circuit, key, permit }: Pick<Run, "circuit" | "key" | "permit">,
    retryAfter: number | undefined,
    now: number
  ): void {
    if (key !== undefined) circuit.sample = key
    const openings = circuit.fail(permit)
    if (openings === undefined) return
    this.fork(
      Effect.map(
        this.options.openFor(openings),
        (openFor) => circuit.open(permit, Math.max(openFor, Math.min(retryAfter ?? 0, maxHint)), now)
      )
    )
  }

  /**
   * Lets a load record activity as long as writes are let through. A store that
   * refuses to write is read without, and the refusal counts against its writes.
   */
  loading(
    key: string,
    store: SessionStore["Service"],
    options: LoadOptions | undefined
  ): () => Effect.Effect<Lookup, SessionStoreError> {
    if (options?.touchAfter === undefined) return () => store.load(key, options)
    const circuit = this.options.circuitOf("touch", key)
    let first = true
    return () => {
      const permit = first ? circuit.closedPermit : undefined
      first = false
      if (permit === undefined) return store.load(key)
      return Effect.catch(store.load(key, options), (error) => {
        if (StoreFault.mayHaveApplied(error) || !StoreFault.counts(error)) return Effect.fail(error)
        return Effect.tap(
          store.load(key),
          () => Effect.sync(() => this.blame({ circuit, key, permit }, error.reason.retryAfter, this.deadlines.now()))
        )
      })
    }
  }

  private note(operation: StoreFault.Operation, outcome: Outcome, millis: number): void {
    this.metrics.operation(operation, outcome, millis)
    this.history[this.historyNext] = { operation, outcome, millis }
    this.historyNext = this.historyNext + 1 === recentLength ? 0 : this.historyNext + 1
  }

  /** The last operations, the newest first. */
  get recent(): ReadonlyArray<Recent> {
    return [...this.history.slice(this.historyNext), ...this.history.slice(0, this.historyNext)].toReversed()
  }

  get accepting(): boolean {
    return !this.closing
  }

  /** Takes no more operations, and fails those that have not ended within a limit. */
  close(limit: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.closing = true
      this.bulkhead.close()
      if (this.calls === 0) return Effect.void
      return Effect.callback<void>((resume) => {
        this.onIdle = () => {
          this.deadlines.remove(deadline)
          resume(Effect.void)
        }
        const deadline = new Alarm(this.deadlines.now() + limit, () => {
          for (const waiting of this.deadlines.all) if (waiting instanceof Call) waiting.cut()
        })
        this.deadlines.add(deadline)
      })
    })
  }
}

// What a store says of its own recovery is believed up to here.
const maxHint = 60_000
