/**
 * The conformance kit of session stores: the promises of `SessionStore` and
 * `SessionQuery` as a list of laws that any test runner can run against any
 * store.
 *
 * **Example** (Every law on one store)
 *
 * ```ts
 * import { MemoryStore } from "@effect-session/core"
 * import { StoreConformance } from "@effect-session/core/testing"
 * import { it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * for (const law of StoreConformance.laws({ elapse: TestClock.adjust })) {
 *   it.effect(law.name, () => Effect.provide(law.run, MemoryStore.layerStore()))
 * }
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { SessionStore } from "../SessionStore.ts"
import { contractLaws } from "./ContractLaws.ts"
import { indexLaws } from "./IndexLaws.ts"
import type { Law, Options } from "./Law.ts"
import { lifetimeLaws } from "./LifetimeLaws.ts"
import { limitLaws } from "./LimitLaws.ts"
import { raceLaws } from "./RaceLaws.ts"
import { renewalLaws } from "./RenewalLaws.ts"
import { scanLaws } from "./ScanLaws.ts"
import { bindQuery, bindStore } from "./Trial.ts"

/**
 * Lists the laws of `SessionStore`.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const storeLaws = (options: Options): ReadonlyArray<Law<SessionStore>> =>
  [...contractLaws, ...lifetimeLaws, ...renewalLaws, ...limitLaws, ...raceLaws].map(bindStore(options))

/**
 * Lists the laws of `SessionQuery`: the subject index, and what looks at all
 * sessions.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const queryLaws = (options: Options): ReadonlyArray<Law> => [...indexLaws, ...scanLaws].map(bindQuery(options))

/**
 * Lists every law, for a store that provides both services.
 *
 * **Gotchas**
 *
 * An `exclusive` law clears the store.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const laws = (options: Options): ReadonlyArray<Law> => [...storeLaws(options), ...queryLaws(options)]
