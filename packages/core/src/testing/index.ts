/**
 * Testing kit: the laws of session stores, and a model to test them against.
 *
 * @stability unstable
 * @since 0.1.0
 */
export * as FaultStore from "./FaultStore.ts"
export * as Law from "./Law.ts"
export * as RevocationsConformance from "./RevocationsConformance.ts"
export * as SessionTest from "./SessionTest.ts"
export * as StoreConformance from "./StoreConformance.ts"
export * as StoreOperation from "./StoreOperation.ts"
