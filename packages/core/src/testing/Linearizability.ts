/**
 * Decides whether a concurrent history has a sequential explanation.
 *
 * A history is linearizable if every call can be given one instant between its
 * invocation and its return, so that the calls, taken in the order of these
 * instants, are what a sequential model allows. The search is that of Wing and
 * Gong ("Testing and Verifying Concurrent Objects", 1993), with Lowe's memory of
 * the configurations already seen.
 *
 * A system that promises less than that says which order of two calls it keeps:
 * `Specification.precedes`.
 *
 * @stability unstable
 * @since 0.1.0
 */

/**
 * A call with the ticks of its invocation and its return.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Event<out C> {
  readonly call: C
  readonly invoked: number
  readonly returned: number
}

/**
 * The sequential specification.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Specification<S, in C, in E extends Event<C> = Event<C>> {
  /** The state after the call, or `undefined` if its result is not allowed. */
  readonly step: (state: S, call: C) => S | undefined
  /** A text that two states share only if nothing can tell them apart. */
  readonly fingerprint: (state: S) => string
  /** Whether a state may be the last one. Every state may, by default. */
  readonly isFinal?: ((state: S) => boolean) | undefined
  /**
   * Whether a call must take effect before another one. By default it must if it
   * had returned when the other was invoked. A read that may tell what was true
   * some time ago follows fewer calls.
   */
  readonly precedes?: ((earlier: E, later: E) => boolean) | undefined
}

const hadReturned = (earlier: Event<unknown>, later: Event<unknown>): boolean => earlier.returned < later.invoked

/**
 * Returns the calls of a history in an order that explains it, or `undefined`
 * when there is none.
 *
 * **Gotchas**
 *
 * The search is exhaustive: give it a dozen calls, not a hundred. It throws a
 * `RangeError` above 30.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const linearize = <S, C, E extends Event<C> = Event<C>>(
  initial: S,
  history: ReadonlyArray<E>,
  specification: Specification<S, C, E>
): ReadonlyArray<C> | undefined => {
  if (history.length > 30) throw new RangeError(`Linearizability.linearize: at most 30 calls, got ${history.length}`)
  const { fingerprint, isFinal, precedes = hadReturned, step } = specification
  const all = 2 ** history.length - 1
  // For each call the set of those that must come before it.
  const before = history.map((later) =>
    history.reduce((set, earlier, i) => earlier !== later && precedes(earlier, later) ? set | (1 << i) : set, 0)
  )
  const seen = new Set<string>()
  const order: Array<C> = []

  const search = (state: S, done: number): boolean => {
    if (done === all) return isFinal?.(state) ?? true
    const configuration = `${done}/${fingerprint(state)}`
    if (seen.has(configuration)) return false
    seen.add(configuration)
    for (let i = 0; i < history.length; i++) {
      if ((done & (1 << i)) !== 0 || (before[i] & ~done) !== 0) continue
      const { call } = history[i]
      const next = step(state, call)
      if (next === undefined) continue
      order.push(call)
      if (search(next, done | (1 << i))) return true
      order.pop()
    }
    return false
  }

  return search(initial, 0) ? order : undefined
}
