/**
 * Freezes a copy of plain JSON data, and says whether it holds exactly what the original holds and shares nothing with
 * it: no object of the original, nothing that JSON leaves out or writes differently.
 *
 * @internal
 */
export const faithful = (copy: unknown, original: unknown): boolean => {
  if (typeof copy !== "object" || copy === null) {
    return copy === original && isExact(copy)
  }
  if (copy === original || typeof original !== "object" || original === null) return false
  if (Array.isArray(copy)) {
    if (!Array.isArray(original) || copy.length !== original.length) return false
    for (let i = 0; i < copy.length; i++) if (!faithful(copy[i], original[i])) return false
  } else {
    if (!isPlain(copy) || !isPlain(original)) return false
    let keys = 0
    for (const key in copy) {
      keys++
      if (!Object.hasOwn(original, key)) return false
      if (!faithful(copy[key as keyof typeof copy], original[key as keyof typeof original])) return false
    }
    for (const _ in original) keys--
    if (keys !== 0) return false
  }
  Object.freeze(copy)
  return true
}

// JSON has no undefined, no NaN, no infinity, and writes -0 as 0.
const isExact = (value: unknown): boolean => {
  switch (typeof value) {
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
    case "string":
    case "boolean":
      return true
    default:
      return value === null
  }
}

/** Whether it is an object of no class of its own. */
export const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
