/** How an operation has failed. */
export interface Failure {
  readonly error: unknown
}

const none = () => undefined
const failed = (error: unknown): Failure => ({ error })

/** The promise of an operation. It knows whether anybody wants to know how the operation ends. */
export class Operation<B> extends Promise<B> {
  // What is made from one is an ordinary promise.
  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  #awaited = false

  /** Whether anybody has attached to it, by `await` or otherwise. */
  get awaited(): boolean {
    return this.#awaited
  }

  // `await` calls it as well, for a promise of a class of its own.
  // oxlint-disable-next-line unicorn/no-thenable -- It is a promise.
  override then<C = B, D = never>(
    onSuccess?: ((value: B) => C | PromiseLike<C>) | null,
    onFailure?: ((error: unknown) => D | PromiseLike<D>) | null
  ): Promise<C | D> {
    this.#awaited = true
    return super.then(onSuccess, onFailure)
  }

  /** How it has failed, if it has. Does not count as somebody who awaits it, and keeps the runtime from complaining. */
  failure(): Promise<Failure | undefined> {
    return super.then<undefined, Failure>(none, failed)
  }
}
