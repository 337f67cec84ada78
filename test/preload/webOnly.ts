/** Preloaded into a program under test: it finds the web platform, and nothing of Node. */
import { isBuiltin, registerHooks } from "node:module"

registerHooks({
  resolve: (specifier, context, next) => {
    if (isBuiltin(specifier)) throw new Error(`${context.parentURL} imports ${specifier}`)
    return next(specifier, context)
  }
})

// Node's own parts of the web platform are made of these.
const isNode = () => / \(?node:/.test(new Error().stack?.split("\n")[3] ?? "")

for (const name of ["process", "Buffer", "global", "setImmediate", "clearImmediate"]) {
  const value: unknown = Reflect.get(globalThis, name)
  Object.defineProperty(globalThis, name, { get: () => isNode() ? value : undefined })
}
