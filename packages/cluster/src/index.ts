export * as Invalidation from "./Invalidation.ts"
export * as InvalidationMessage from "./InvalidationMessage.ts"
