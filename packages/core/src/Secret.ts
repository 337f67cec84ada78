/**
 * What keys are made of: random secrets and pass-phrases, and the rules that
 * keep weak ones from starting an application.
 *
 * A secret is a `Redacted` text of at least 32 octets from a random source. A
 * pass-phrase is for those who have nothing else: it is stretched, once, when the
 * application starts.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"

/**
 * A text that people can remember, with what stretches it into a key.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Passphrase {
  readonly _tag: "Passphrase"
  readonly text: Redacted.Redacted
  /** Not secret, but this deployment's own: at least 16 octets. */
  readonly salt: string | Uint8Array
  /** Rounds of PBKDF2-HMAC-SHA-256. */
  readonly iterations: number
}

/**
 * A random secret, or a pass-phrase.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Secret = Redacted.Redacted | Passphrase

/**
 * Least number of rounds for a pass-phrase, and the default.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const leastIterations = 600_000

/**
 * How to make a good secret, for messages.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const howToMakeOne = "make one with: openssl rand -base64 48"

/**
 * Creates a secret from a pass-phrase.
 *
 * **When to use**
 *
 * Only when a random secret cannot be deployed. A pass-phrase can be guessed
 * offline by whoever holds one cookie; stretching makes each guess cost a tenth
 * of a second, no more.
 *
 * **Details**
 *
 * PBKDF2-HMAC-SHA-256 runs once for each pass-phrase, off the event loop, when
 * the application starts. `salt` has no default: every deployment makes its own
 * with `openssl rand -base64 24` and keeps it, for another salt is another key.
 * What is wrong with a pass-phrase is reported with the other problems of the
 * configuration.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const passphrase = (text: Redacted.Redacted, options: {
  /** At least 16 octets, the same on every node. */
  readonly salt: string | Uint8Array
  /** At least 600,000, which is the default. */
  readonly iterations?: number | undefined
}): Passphrase => ({
  _tag: "Passphrase",
  text,
  salt: options.salt,
  iterations: options.iterations ?? leastIterations
})

/**
 * Tells whether a value is a pass-phrase.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isPassphrase = (u: unknown): u is Passphrase => Predicate.isTagged(u, "Passphrase")

const utf8 = new TextEncoder()

/**
 * Returns the octets of a pass-phrase's salt.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const saltOf = (secret: Passphrase): Uint8Array =>
  typeof secret.salt === "string" ? utf8.encode(secret.salt) : secret.salt

// Each is long enough not to turn up in a random text: six letters do so once in ten million secrets.
const placeholders: ReadonlyArray<RegExp> = [
  /change.?(me|this|it)|replace.?(me|this|with)|put.?your|insert.?(your|here)|your.?(own.?)?(secret|key)|fill.?me.?in/i,
  /(my|the|top|super|very|some|test|dev|session|cookie|default|shared|not.?(a|so|very)).?secret|secret.?(key|token|here)/i,
  /placeholder|example|insecure|development|do.?not.?use|password|passphrase|passw0rd|s3cr3t|letmein/i,
  /lorem.?ipsum|correct.?horse|keyboard.?cat|qwerty|azerty|asdfgh|zxcvbn|0123456789/i
]

// These are made of what hexadecimal texts are made of, where they turn up by chance, once in some hundred thousand.
const runs = /1234567|9876543|abcdef|deadbeef/i
const hexadecimal = /^[\da-f]+$/i

/** A text of which the second half, or more, repeats what came before. */
const isPeriodic = (text: string): boolean => {
  for (let period = 1; period <= text.length / 2; period++) {
    if (text.startsWith(text.slice(period))) return true
  }
  return false
}

/** A text in which most characters follow their neighbour in the code table: alphabets, digits, the two mixed. */
const isSequence = (text: string): boolean => {
  let steps = 0
  for (let i = 1; i < text.length; i++) {
    if (Math.abs(text.charCodeAt(i) - text.charCodeAt(i - 1)) <= 1) steps++
  }
  return steps > text.length / 2
}

const textProblem = (kind: string, text: string, leastOctets: number, leastCharacters: number): string | undefined => {
  const octets = utf8.encode(text).length
  if (octets < leastOctets) {
    return `secrets: a ${kind} has ${octets} octets and needs at least ${leastOctets}; ${howToMakeOne}`
  }
  if (new Set(text).size < leastCharacters || isPeriodic(text) || isSequence(text)) {
    return `secrets: a ${kind} repeats few characters and can be guessed; ${howToMakeOne}`
  }
  if (placeholders.some((pattern) => pattern.test(text)) || (runs.test(text) && !hexadecimal.test(text))) {
    return `secrets: a ${kind} looks like a placeholder; ${howToMakeOne}`
  }
  return undefined
}

const passphraseProblems = (secret: Passphrase): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const text = textProblem("pass-phrase", Redacted.value(secret.text), 16, 8)
  if (text !== undefined) problems.push(text)
  // A salt from JavaScript, or from a cast, may be missing.
  const octets = secret.salt === undefined || secret.salt === null ? 0 : saltOf(secret).length
  if (octets < 16) {
    problems.push(
      `secrets: the salt of a pass-phrase has ${octets} octets and needs at least 16; make one with: openssl rand -base64 24`
    )
  }
  if (!(Number.isInteger(secret.iterations) && secret.iterations >= leastIterations && secret.iterations < 2 ** 31)) {
    problems.push(`secrets: the iterations of a pass-phrase must be an integer of at least ${leastIterations}`)
  }
  return problems
}

// Two pass-phrases with different salts are different secrets.
const identity = (secret: Secret): string =>
  isPassphrase(secret)
    ? JSON.stringify([Redacted.value(secret.text), String(secret.salt)])
    : Redacted.value(secret)

/**
 * Returns what is wrong with some secrets: too short, easily guessed, a
 * placeholder, or listed twice. No message shows a secret.
 *
 * @stability unstable
 * @category validation
 * @since 0.1.0
 */
export const problems = (secrets: ReadonlyArray<Secret>): ReadonlyArray<string> => {
  const found = secrets.flatMap((secret) => {
    if (isPassphrase(secret)) return passphraseProblems(secret)
    const problem = textProblem("secret", Redacted.value(secret), 32, 10)
    return problem === undefined ? [] : [problem]
  })
  return new Set(secrets.map(identity)).size < secrets.length
    ? [...found, "secrets: the same secret is listed twice"]
    : found
}
