// The same numbers in every run, so that a failure can be repeated.
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), seed | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const visible = String.fromCharCode(...Array.from({ length: 94 }, (_, i) => i + 33), 32, 9, 0xe9, 0xff)

/** Cookie headers as nobody but an attacker sends them, some of them close to one with this token. */
export const strangeCookies = (token: string, count: number): ReadonlyArray<string> => {
  const next = random(7)
  const below = (n: number) => Math.floor(next() * n)
  const text = (alphabet: string, length: number) =>
    Array.from({ length }, () => alphabet[below(alphabet.length)]).join("")
  const like = () => text(base64url, token.length)
  const shapes = [
    () => `session=${like()}`,
    // The right beginning: it names a secret this application has.
    () => `session=${token.slice(0, 4)}${text(base64url, token.length - 4)}`,
    () => `session=${token.slice(0, -1)}`,
    () => `session=${token}${text(base64url, 1 + below(3))}`,
    () => `session=${like()}; session=${like()}`,
    () => `session="${like()}"`,
    () => `session=`,
    () => `session`,
    () => `session=${text(base64url, 1 + below(4000))}`,
    () => `session=${text(visible, below(80))}`,
    () => `__proto__=${like()}; session=%00%ff${like()}`,
    () => `${text(visible, 1 + below(30))}=${text(visible, below(60))}; Session=${like()}`,
    () => text(visible, below(120))
  ]
  return Array.from({ length: count }, (_, i) => shapes[i % shapes.length]())
}
