/**
 * Reads from a `User-Agent` what a person recognises a device by: the family of
 * the browser and the system it runs on.
 *
 * A `User-Agent` is what a client says of itself. Browsers freeze and shorten it,
 * and some say to be another: versions, models and brands beyond the families are
 * not told, because they would be guesses. An iPad that asks for desktop pages
 * says to be a Mac, and is told as one. Never decide by it whether somebody may do
 * something.
 *
 * **Example** (The name of a device)
 *
 * ```ts
 * import { UserAgent } from "@effect-session/core"
 *
 * const agent = UserAgent.parse(
 *   "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
 * )
 * console.log(UserAgent.format(agent)) // => Chrome on Windows
 * console.log(UserAgent.format(UserAgent.parse("curl/8.14.1"))) // => Unknown browser
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */

/**
 * Families of browsers that are told apart.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Browser = "Chrome" | "Edge" | "Firefox" | "Opera" | "Safari" | "Samsung Internet"

/**
 * Systems that are told apart.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type System = "Android" | "ChromeOS" | "iOS" | "Linux" | "macOS" | "Windows"

/**
 * What a `User-Agent` says; `undefined` for what it does not say.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface UserAgent {
  readonly browser: Browser | undefined
  readonly system: System | undefined
}

const longest = 1024

// The first that matches: nearly all say to be Safari, and many to be Chrome.
const browsers: ReadonlyArray<readonly [RegExp, Browser]> = [
  [/\b(?:Edg|EdgA|EdgiOS)\//, "Edge"],
  [/\b(?:OPR|OPT|OPX)\//, "Opera"],
  [/\bSamsungBrowser\//, "Samsung Internet"],
  [/\b(?:Firefox|FxiOS)\//, "Firefox"],
  [/\b(?:Chrome|CriOS)\//, "Chrome"],
  [/\bVersion\/[\d.]+ (?:Mobile\/\w+ )?Safari\//, "Safari"]
]

// Programs that carry the name of a browser and are none, or hide one inside.
const programs = /\b(?:HeadlessChrome|Electron|bot|crawler|spider)\b|bot[/;]|; wv\)/i

const systems: ReadonlyArray<readonly [RegExp, System]> = [
  [/\bWindows NT\b/, "Windows"],
  [/\b(?:iPhone|iPad|iPod)\b/, "iOS"],
  [/\bAndroid\b/, "Android"],
  [/\bCrOS\b/, "ChromeOS"],
  [/\bMacintosh\b/, "macOS"],
  [/\bLinux\b/, "Linux"]
]

const first = <A>(rules: ReadonlyArray<readonly [RegExp, A]>, text: string): A | undefined =>
  rules.find(([pattern]) => pattern.test(text))?.[1]

/**
 * Reads a `User-Agent`. What is not one of a browser has no browser, and what is
 * longer than 1,024 characters is read so far.
 *
 * @stability unstable
 * @category decoding
 * @since 0.1.0
 */
export const parse = (text: string | undefined): UserAgent => {
  const agent = text?.slice(0, longest) ?? ""
  return {
    browser: agent.startsWith("Mozilla/5.0 (") && !programs.test(agent) ? first(browsers, agent) : undefined,
    system: first(systems, agent)
  }
}

/**
 * Writes what is known of an agent for a list, in English.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const format = ({ browser, system }: UserAgent): string =>
  `${browser ?? "Unknown browser"}${system === undefined ? "" : ` on ${system}`}`
