import type { Crypto } from "@effect-session/core/Crypto"
import * as Effect from "effect/Effect"

/** Whom a token is for: the visitor with a session, by its key, or with the cookie of one who has none yet. */
export interface Bearer {
  readonly kind: "session" | "visitor"
  readonly id: string
}

const nonceLength = 32
const form = /^[\w-]{77}$/
const nonceForm = /^[\w-]{32}$/

export const isNonce = (text: string): boolean => nonceForm.test(text)

/** Draws 192 random bits: the end of a session token that nobody gets to use. */
export const nonce = (crypto: Crypto["Service"]): Effect.Effect<string> =>
  Effect.map(crypto.newToken(undefined), (token) => token.slice(-nonceLength))

// With its length before it, no part can pass for the end of one and the beginning of the next.
const message = (scope: string, { id, kind }: Bearer, nonce: string): string =>
  [scope, kind, id, nonce].map((part) => `${part.length}:${part}`).join("")

const purpose = "csrf"

/**
 * Makes a token: a nonce, and a signature over it and its bearer. No two are alike, so a page that is compressed with
 * what an attacker has put into it gives nothing away.
 */
export const make = (crypto: Crypto["Service"], scope: string, bearer: Bearer): Effect.Effect<string> =>
  Effect.flatMap(
    nonce(crypto),
    (nonce) => Effect.map(crypto.sign(purpose, message(scope, bearer, nonce)), (signature) => nonce + signature)
  )

/** Whether a text is a token, whoever it is for. */
export const isToken = (text: string): boolean => form.test(text)

/** Whether a token is one for this bearer, in constant time. */
export const verify = (
  crypto: Crypto["Service"],
  scope: string,
  bearer: Bearer,
  token: string
): Effect.Effect<boolean> =>
  crypto.verify(purpose, message(scope, bearer, token.slice(0, nonceLength)), token.slice(nonceLength))
