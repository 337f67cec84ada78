/**
 * Calls of `SessionStore` and `SessionQuery` as data, before and after they are
 * made.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { SessionEntry } from "../SessionQuery.ts"
import type {
  Created,
  Lookup,
  NewRecord,
  RecordChange,
  Renewed,
  Replacement,
  Saved,
  SessionLimit
} from "../SessionStore.ts"

/**
 * A call of a store method, before it is made.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Operation =
  | { readonly _tag: "Load"; readonly key: string }
  | { readonly _tag: "Create"; readonly record: NewRecord; readonly limit: SessionLimit | undefined }
  | { readonly _tag: "Save"; readonly key: string; readonly version: number; readonly change: RecordChange }
  | { readonly _tag: "Touch"; readonly key: string }
  | {
    readonly _tag: "Renew"
    readonly key: string
    readonly version: number
    readonly replacement: Replacement
    readonly grace: number | undefined
    readonly limit: SessionLimit | undefined
  }
  | { readonly _tag: "Destroy"; readonly key: string }
  | { readonly _tag: "BySubject"; readonly subject: string }
  | { readonly _tag: "DestroyBySubject"; readonly subject: string; readonly except: string | undefined }
  | { readonly _tag: "Advance"; readonly millis: number }

/**
 * What each operation returns.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Results {
  readonly Load: Lookup
  readonly Create: Created
  readonly Save: Saved
  readonly Touch: boolean
  readonly Renew: Renewed
  readonly Destroy: boolean
  readonly BySubject: ReadonlyArray<SessionEntry>
  readonly DestroyBySubject: ReadonlyArray<string>
  readonly Advance: void
}

/**
 * A call that was made, with its result.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Call = {
  [Tag in Operation["_tag"]]: {
    readonly operation: Extract<Operation, { readonly _tag: Tag }>
    readonly _tag: Tag
    readonly result: Results[Tag]
  }
}[Operation["_tag"]]
