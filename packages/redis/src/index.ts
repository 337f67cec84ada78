export * as RedisClient from "./RedisClient.ts"
export * as RedisError from "./RedisError.ts"
