/**
 * What routes say of a request while it runs, for every session of it.
 *
 * It is kept by source: a router gives routes below a prefix a request of their own with the same source. A source may
 * outlive its run, as a `Request` that is given to one application after the other, so the outermost session
 * middleware of the run takes it away with its commit.
 */
import type * as SessionManager from "@effect-session/core/SessionManager"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import type { CommitPolicy } from "../SessionRoute.ts"

type Request = HttpServerRequest.HttpServerRequest

export interface RouteMarks {
  readonly access: SessionManager.Access | undefined
  readonly commit: CommitPolicy | undefined
  readonly passive: boolean
}

interface Kept {
  marks: RouteMarks
  /** Who commits last, as far as it is known. */
  outermost: object | undefined
}

export const none: RouteMarks = { access: undefined, commit: undefined, passive: false }

// Made when a route first says something: requests of an application whose routes do not look nothing up.
let kept: WeakMap<object, Kept> | undefined

export const of = (request: Request): RouteMarks => kept === undefined ? none : kept.get(request.source)?.marks ?? none

/** Adds to what was said before; what is `undefined` stays as it was. */
export const add = (request: Request, { access, commit, passive }: Partial<RouteMarks>): void => {
  kept ??= new WeakMap()
  const before = kept.get(request.source) ?? { marks: none, outermost: undefined }
  const { marks } = before
  before.marks = {
    access: access ?? marks.access,
    commit: commit ?? marks.commit,
    passive: passive ?? marks.passive
  }
  kept.set(request.source, before)
}

/** Takes note of who is going to commit. They say so one after the other, the outermost last, before any of them does. */
export const willCommit = (request: Request, committer: object): void => {
  const before = kept?.get(request.source)
  if (before !== undefined) before.outermost = committer
}

/** Returns what was said, and forgets it if nobody commits later. */
export const take = (request: Request, committer: object): RouteMarks => {
  const before = kept?.get(request.source)
  if (before === undefined) return none
  if (before.outermost === committer) kept?.delete(request.source)
  return before.marks
}
