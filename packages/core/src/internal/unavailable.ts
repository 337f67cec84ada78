import { SessionStoreError, StoreUnavailable } from "../SessionStore.ts"

/** What stands before a store and refuses, or gives up waiting. */
export type Problem = NonNullable<StoreUnavailable["problem"]>

/** An error with some fields of its reason replaced. */
export const amend = (
  { reason }: SessionStoreError,
  fields: Partial<Omit<ConstructorParameters<typeof StoreUnavailable>[0], "_tag">>
): SessionStoreError => {
  const { applied, cause, continueAs, description, infrastructure, problem, queued, retryAfter, transient } = reason
  return new SessionStoreError({
    reason: new StoreUnavailable({
      description,
      retryAfter,
      applied,
      transient,
      infrastructure,
      problem,
      continueAs,
      queued,
      cause,
      ...fields
    })
  })
}

const problems: { readonly [P in Problem]: string } = {
  timeout: "it did not answer in time",
  circuitOpen: "it has failed too often, and is left alone for a while",
  overloaded: "too many operations are under way",
  closing: "it is being shut down",
  readOnly: "the session was read from a copy and cannot be written back"
}

export const problem = (problem: Problem, applied: "no" | "unknown", retryAfter: number): SessionStoreError =>
  new SessionStoreError({
    reason: new StoreUnavailable({
      description: problems[problem],
      problem,
      applied,
      infrastructure: problem === "timeout" || problem === "circuitOpen",
      retryAfter: Math.max(1, Math.ceil(retryAfter))
    })
  })
