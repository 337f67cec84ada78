/**
 * Steps that are over at once, where a store has what it needs in the memory of the process: the same step as a plain
 * function, for callers that are about to run the effect anyway. It costs no frames of a fiber.
 *
 * The plain function belongs to the function that returns the effect. Whoever decorates a store puts another function in
 * its place, which has none: nothing that counts, guards or fails can be passed by.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

const now = Symbol("@effect-session/core/AtOnce")

/** A function that returns an effect, and may have the same as a plain function, `undefined` where that has to wait. */
type MayAnswer<Args extends ReadonlyArray<unknown>, A, E> = ((...args: Args) => Effect.Effect<A, E>) & {
  readonly [now]?: Answer<Args, A>
}

interface Answer<Args extends ReadonlyArray<unknown>, A> {
  /** The function it belongs to: spies copy what a function has, and proxies show it. */
  readonly of: unknown
  readonly plain: (...args: Args) => A | undefined
}

/** @internal */
export const make = <Args extends ReadonlyArray<unknown>, A, E>(
  effectful: (...args: Args) => Effect.Effect<A, E>,
  plain: ((...args: Args) => A | undefined) | undefined
): (...args: Args) => Effect.Effect<A, E> =>
  plain === undefined ? effectful : Object.assign(effectful, { [now]: { of: effectful, plain } })

/** @internal */
export const of = <Args extends ReadonlyArray<unknown>, A, E>(
  effectful: MayAnswer<Args, A, E>
): ((...args: Args) => A | undefined) | undefined => {
  const answer = effectful[now]
  return answer?.of === effectful ? answer.plain : undefined
}

/**
 * The same step, at once where it can be.
 *
 * @internal
 */
export const eager = <Args extends ReadonlyArray<unknown>, A, E>(
  effectful: MayAnswer<Args, A, E>
): (...args: Args) => Effect.Effect<A, E> => {
  const plain = of(effectful)
  return plain === undefined ? effectful : (...args) => {
    const value = plain(...args)
    return value === undefined ? effectful(...args) : Effect.succeed(value)
  }
}

const isOver = <A, E>(effect: Effect.Effect<A, E>): effect is Exit.Exit<A, E> => Exit.isExit(effect)

/**
 * What an effect has come to already; `undefined` where it has to be run, or has failed.
 *
 * @internal
 */
export const valueOf = <A, E>(effect: Effect.Effect<A, E>): A | undefined =>
  isOver(effect) && Exit.isSuccess(effect) ? effect.value : undefined
