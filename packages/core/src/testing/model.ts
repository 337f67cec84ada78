/**
 * Model-based test of session stores. Needs `fast-check`.
 *
 * @stability unstable
 * @since 0.1.0
 */
export * as Linearizability from "./Linearizability.ts"
export * as NodesModelTest from "./NodesModelTest.ts"
export * as StoreModel from "./StoreModel.ts"
export * as StoreModelTest from "./StoreModelTest.ts"
