/**
 * Decides whether a concurrent history has a sequential explanation.
 *
 * A history is linearizable if every call can be given one instant between its
 * invocation and its return, so that the calls, taken in the order of these
 * instants, are what a sequential model allows. The search is that of Wing and
 * Gong ("Testing and Verifying Concurrent Objects", 1993), with Lowe's memory of
 * the configurations already seen.
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
export interface Specification<S, in C> {
  /** The state after the call, or `undefined` if its result is not allowed. */
  readonly step: (state: S, call: C) => S | undefined
  /** A text that two states share only if nothing can tell them apart. */
  readonly fingerprint: (state: S) => string
  /** Whether a state may be the last one. Every state may, by default. */
  readonly isFinal?: ((state: S) => boolean) | undefined
}

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
export const linearize = <S, C>(
  initial: S,
  history: ReadonlyArray<Event<C>>,
  specification: Specification<S, C>
): ReadonlyArray<C> | undefined => {
  if (history.length > 30) throw new RangeError(`Linearizability.linearize: at most 30 calls, got ${history.length}`)
  const all = 2 ** history.length - 1
  const seen = new Set<string>()
  const order: Array<C> = []

  const search = (state: S, done: number): boolean => {
    if (done === all) return specification.isFinal?.(state) ?? true
    const configuration = `${done}/${specification.fingerprint(state)}`
    if (seen.has(configuration)) return false
    seen.add(configuration)
    // A call may come next unless another one that is not yet placed had returned before it was invoked.
    let firstReturn = Infinity
    for (let i = 0; i < history.length; i++) {
      if ((done & (1 << i)) === 0) firstReturn = Math.min(firstReturn, history[i].returned)
    }
    for (let i = 0; i < history.length; i++) {
      const event = history[i]
      if ((done & (1 << i)) !== 0 || event.invoked > firstReturn) continue
      const next = specification.step(state, event.call)
      if (next === undefined) continue
      order.push(event.call)
      if (search(next, done | (1 << i))) return true
      order.pop()
    }
    return false
  }

  return search(initial, 0) ? order : undefined
}
