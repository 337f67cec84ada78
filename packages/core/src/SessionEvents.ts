/**
 * Tells the application what happens to its sessions.
 *
 * Events are published after the store has confirmed what they report, in one
 * process, at most once. They reach a `Stream` and, if given, hooks. Both run
 * apart from the request: a hook that fails, dies or hangs delays and stops
 * nothing (the lesson of CVE-2021-34428), and a reader that cannot keep up loses
 * the oldest events.
 *
 * Without {@link layer} nothing is published and events cost nothing.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"

/**
 * Names of the events.
 *
 * **Details**
 *
 * - `created`, `loaded`, `saved`, `renewed`, `destroyed`: by the session's own
 *   request.
 * - `revoked`: ended from elsewhere; a limit, an administrator, another device.
 * - `expired`: found past its deadline.
 * - `theftSuspected`: an id was used after it had been renewed away. The session
 *   has been ended.
 * - `rejected`: a request brought more than one token, one that is malformed or
 *   not ours, or one of a session that is bound to another client; or stored data
 *   could not be decoded.
 * - `error`: an operation failed; `reason` names why.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type EventName =
  | "created"
  | "loaded"
  | "saved"
  | "renewed"
  | "destroyed"
  | "revoked"
  | "expired"
  | "theftSuspected"
  | "rejected"
  | "error"

/**
 * One event.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionEvent {
  readonly name: EventName
  /** UTC milliseconds. */
  readonly at: number
  /** Identifier of the session service, or of the store that noticed. */
  readonly source: string
  /** Opaque handle of the session, where there is one. For `renewed`, of the new id. */
  readonly handle: string | undefined
  /** Who is signed in, where known. */
  readonly subject: string | undefined
  /** Why, for `rejected`, `revoked` and `error`: a fixed word, never request data. */
  readonly reason: string | undefined
}

/**
 * Functions called for events of one name each.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export type Hooks = { readonly [K in EventName]?: ((event: SessionEvent) => Effect.Effect<void, unknown>) | undefined }

/**
 * Options of {@link layer}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Events a slow reader may be behind before it loses the oldest, 1,024 by default. */
  readonly capacity?: number | undefined
  readonly hooks?: Hooks | undefined
  /** Time after which a hook is interrupted, 5 seconds by default. */
  readonly hookTimeout?: Duration.Input | undefined
}

/**
 * Publishes events and lets them be read.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface EventBus {
  /** Whether anybody can see an event. Publishers check it before they build one. */
  readonly enabled: boolean
  /** Publishes an event; never waits, never fails. */
  readonly publish: (event: SessionEvent) => void
  /** The events published from now on. */
  readonly stream: Stream.Stream<SessionEvent>
}

/**
 * Service that publishes events; by default, one that publishes nothing.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export const SessionEvents: Context.Reference<EventBus> = Context.Reference<EventBus>(
  "@effect-session/core/SessionEvents",
  { defaultValue: () => ({ enabled: false, publish: () => {}, stream: Stream.empty }) }
)

/**
 * Publishes events to a stream and to hooks.
 *
 * **Details**
 *
 * Hooks are called one after the other, in the order of the events. A hook that
 * fails, dies or exceeds `hookTimeout` is logged once, by the event's name, and
 * the next event follows.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<never> =>
  Layer.effect(
    SessionEvents,
    Effect.gen(function*() {
      const pubsub = yield* Effect.acquireRelease(
        PubSub.sliding<SessionEvent>(options.capacity ?? 1024),
        PubSub.shutdown
      )
      const hooks = options.hooks
      if (hooks !== undefined) {
        const timeout = Duration.fromInputUnsafe(options.hookTimeout ?? "5 seconds")
        const run = (event: SessionEvent): Effect.Effect<void> => {
          const hook = hooks[event.name]
          if (hook === undefined) return Effect.void
          return Effect.suspend(() => hook(event)).pipe(
            Effect.timeout(timeout),
            Effect.catchCause((cause) =>
              Effect.logError(
                `Session hook "${event.name}" did not complete: ${
                  cause.reasons.map((reason) => reason._tag).join(", ")
                }`
              )
            )
          )
        }
        const subscription = yield* PubSub.subscribe(pubsub)
        yield* Effect.forkScoped(Effect.forever(Effect.flatMap(PubSub.take(subscription), run)))
      }
      return {
        enabled: true,
        publish: (event: SessionEvent) => {
          // In a full buffer only the effect gives up the oldest for the newest. It does not wait either.
          if (!PubSub.publishUnsafe(pubsub, event)) Effect.runFork(PubSub.publish(pubsub, event))
        },
        stream: Stream.fromPubSub(pubsub)
      }
    })
  )
