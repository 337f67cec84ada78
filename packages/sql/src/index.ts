export * as SqlRevocations from "./SqlRevocations.ts"
export * as SqlStore from "./SqlStore.ts"
