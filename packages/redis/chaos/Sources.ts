// Lets a program of its own use the sources of the packages, as the tests do: `node --import ./Sources.ts`.
import { registerHooks } from "node:module"

registerHooks({
  resolve: (specifier, context, next) => {
    const match = /^@effect-session\/(\w+)(?:\/(.+))?$/.exec(specifier)
    if (match === null) return next(specifier, context)
    const file = match[2] === undefined ? "index" : match[2] === "testing" ? "testing/index" : match[2]
    return next(new URL(`../../${match[1]}/src/${file}.ts`, import.meta.url).href, context)
  }
})
