/** Preloaded into a program under test: it gets the packages of this workspace from their sources. */
import { existsSync } from "node:fs"
import { registerHooks } from "node:module"

registerHooks({
  resolve: (specifier, context, next) => {
    const match = /^@effect-session\/([^/]+)(?:\/(.+))?$/.exec(specifier)
    if (match === null) return next(specifier, context)
    const [, name, module = "index"] = match
    const source = new URL(`../../packages/${name}/src/${module}`, import.meta.url).href
    return next(existsSync(new URL(`${source}/index.ts`)) ? `${source}/index.ts` : `${source}.ts`, context)
  }
})
