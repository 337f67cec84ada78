/**
 * Counts and times what sessions do.
 *
 * The names are the ones azutoolkit/session documents. By default they are
 * effect `Metric`s, so Prometheus and OTLP exporters see them without further
 * work; {@link layerLog} writes them to the log, {@link layerNoop} drops them,
 * and a backend of your own is three functions.
 *
 * Tags are few and fixed: the name of the backend, and for errors the name of
 * the reason. No id, subject or request data becomes a tag.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"

/**
 * Names of the counters.
 *
 * **Details**
 *
 * - `session.created`, `session.loaded`, `session.saved`, `session.touched`,
 *   `session.regenerated`, `session.deleted`: what was done to one session.
 * - `session.expired`: a session was found past its deadline.
 * - `session.revoked`: ended by somebody else than its own request.
 * - `session.rejected`: a token or stored data that could not be accepted.
 * - `session.theft_suspected`: an id was used after its grace window.
 * - `session.conflict`: a commit lost a race and was replayed.
 * - `session.error`: an operation failed; the tag `error` names the reason.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type CounterName =
  | "session.created"
  | "session.loaded"
  | "session.saved"
  | "session.touched"
  | "session.regenerated"
  | "session.deleted"
  | "session.expired"
  | "session.revoked"
  | "session.rejected"
  | "session.theft_suspected"
  | "session.conflict"
  | "session.error"

/**
 * Names of the timers: what the store took to answer a load, and a commit.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type TimerName = "session.load_time" | "session.store_time"

/**
 * Names of the gauges: sessions a store holds.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type GaugeName = "session.active_count"

/**
 * Tags of a metric.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Tags = Readonly<Record<string, string>>

/**
 * Service that records metrics, with effect `Metric` as default.
 *
 * **Details**
 *
 * A metric is resolved once, when a layer is built, and the returned function is
 * called on the hot path. It must not throw. Timers take milliseconds.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export const Metrics: Context.Reference<{
  readonly counter: (name: CounterName, tags: Tags) => () => void
  readonly timer: (name: TimerName, tags: Tags) => (millis: number) => void
  readonly gauge: (name: GaugeName, tags: Tags) => (value: number) => void
}> = Context.Reference("@effect-session/core/Metrics", { defaultValue: () => fromRegistry(Context.empty()) })

const descriptions: Readonly<Record<CounterName | TimerName | GaugeName, string>> = {
  "session.created": "Sessions stored for the first time",
  "session.loaded": "Sessions read from the store",
  "session.saved": "Sessions whose data was written",
  "session.touched": "Sessions whose activity was recorded",
  "session.regenerated": "Sessions that got a new id",
  "session.deleted": "Sessions ended by their own request",
  "session.expired": "Sessions found past their deadline",
  "session.revoked": "Sessions ended by a limit, an administrator or another device",
  "session.rejected": "Tokens and stored data that were not accepted",
  "session.theft_suspected": "Ids used after they were renewed away",
  "session.conflict": "Commits replayed after losing a race",
  "session.error": "Failed session operations",
  "session.load_time": "Milliseconds the store took to read a session",
  "session.store_time": "Milliseconds the store took to write a session",
  "session.active_count": "Sessions the store holds"
}

const timerBoundaries = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500]

// Attributes belong to the metric itself: given around it, they would be merged again with each update.
const fromRegistry = (context: Context.Context<never>): typeof Metrics.Service => ({
  counter: (name, attributes) => {
    const metric = Metric.counter(name, { description: descriptions[name], incremental: true, attributes })
    return () => metric.updateUnsafe(1, context)
  },
  timer: (name, attributes) => {
    const boundaries = timerBoundaries
    const metric = Metric.histogram(name, { description: descriptions[name], boundaries, attributes })
    return (millis) => metric.updateUnsafe(millis, context)
  },
  gauge: (name, attributes) => {
    const metric = Metric.gauge(name, { description: descriptions[name], attributes })
    return (value) => metric.updateUnsafe(value, context)
  }
})

/**
 * Records to effect `Metric`s in the registry of the surrounding context. Needed
 * only where that registry is not the default one.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never> = Layer.effect(
  Metrics,
  Effect.contextWith((context: Context.Context<never>) => Effect.succeed(fromRegistry(context)))
)

/**
 * Records nothing.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerNoop: Layer.Layer<never> = Layer.succeed(Metrics, {
  counter: () => () => {},
  timer: () => () => {},
  gauge: () => () => {}
})

/**
 * Writes every record to the log at debug level. For development: a line per
 * operation is costly.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerLog: Layer.Layer<never> = Layer.effect(
  Metrics,
  Effect.contextWith((context: Context.Context<never>) => {
    const run = Effect.runForkWith(context)
    const write = (kind: string, name: string, tags: Tags) => (value: number) => {
      run(Effect.logDebug(`METRIC ${kind} ${name}=${value}`).pipe(Effect.annotateLogs(tags)))
    }
    return Effect.succeed({
      counter: (name: CounterName, tags: Tags) => {
        const count = write("counter", name, tags)
        return () => count(1)
      },
      timer: (name: TimerName, tags: Tags) => write("timer", name, tags),
      gauge: (name: GaugeName, tags: Tags) => write("gauge", name, tags)
    })
  })
)
