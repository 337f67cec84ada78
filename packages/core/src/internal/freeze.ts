/**
 * Freezes plain data (objects, arrays, primitive values) through and through, and says whether there was nothing else
 * in it. Other objects, dates and maps for instance, can be changed whatever is frozen.
 */
export const freeze = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null) return typeof value !== "function"
  let plain = true
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) plain = freeze(value[i]) && plain
  } else {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null) return false
    for (const key in value) plain = freeze(value[key as keyof typeof value]) && plain
  }
  Object.freeze(value)
  return plain
}
