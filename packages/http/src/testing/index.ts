/**
 * Testing kit: a client for tests of applications with sessions.
 *
 * @stability unstable
 * @since 0.1.0
 */
export * as TestClient from "./TestClient.ts"
