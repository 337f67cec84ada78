import type * as Clock from "effect/Clock"
import type { ClientBinding } from "../ClientBinding.ts"
import type { Step } from "../CommitPlan.ts"
import type { Crypto } from "../Crypto.ts"
import type { Definition } from "../Session.ts"
import type { Applied, Found, SessionBackend } from "../SessionBackend.ts"
import type { Settings } from "../SessionConfig.ts"
import type { LoadOptions } from "../SessionStore.ts"
import type { Observer } from "./observer.ts"

/** What all requests of one session service share. */
export interface Runtime<in out A> {
  readonly definition: Definition<A>
  readonly settings: Settings
  readonly backend: SessionBackend["Service"]
  /** What the backend can do without an effect. */
  readonly atOnce: {
    readonly load: ((token: string, options?: LoadOptions) => Found | undefined) | undefined
    readonly apply: ((step: Step) => Applied | undefined) | undefined
  }
  readonly crypto: Crypto["Service"]
  readonly clock: Clock.Clock
  /** What a read on behalf of an active client may do besides. */
  readonly reading: LoadOptions | undefined
  readonly observer: Observer
  /** What binds sessions to their client, if they are. */
  readonly binding: ClientBinding | undefined
}
