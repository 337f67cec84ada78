/**
 * The peers, which need not be installed: what is used of them, and how to find them.
 */
import type { FastifyPluginCallback, FastifyRequest } from "fastify"

// In variables, so that the compiler does not look for packages that need not be there.
const ironPackage: string = "iron-session"
const securePackage: string = "@fastify/secure-session"

/** What is used of `iron-session`. */
export interface IronSession {
  readonly sealData: (data: unknown, options: IronOptions) => Promise<string>
  readonly unsealData: (sealed: string, options: IronOptions) => Promise<unknown>
}
interface IronOptions {
  readonly password: string
  readonly ttl: number
}

/** What `@fastify/secure-session` adds to an application. */
export interface SecureApp {
  readonly createSecureSession: (data: Record<string, unknown>) => SecureData
  readonly encodeSecureSession: (session: SecureData) => string
  readonly decodeSecureSession: (text: string) => SecureData | null
}
interface SecureData {
  readonly data: () => unknown
}

/** A session in a request. */
export interface SecureSession {
  readonly get: (key: string) => unknown
  readonly set: (key: string, value: unknown) => void
}

/** The session of a request. The type says what another plugin put there. */
export const sessionOf = (request: FastifyRequest): SecureSession => request.session as unknown as SecureSession

/** Options of `@fastify/secure-session`. */
export interface SecureOptions {
  readonly key: Uint8Array
  readonly cookie?: { readonly path: string; readonly httpOnly: boolean; readonly sameSite: "lax" }
}

export const ironSession = (): Promise<IronSession> => import(ironPackage)
export const secureSession = async (): Promise<FastifyPluginCallback<SecureOptions>> =>
  (await import(securePackage)).default
