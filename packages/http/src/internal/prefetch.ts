// `Sec-Purpose` is the standard; the others are what came before it.
const names = ["sec-purpose", "sec-fetch-purpose", "purpose", "x-purpose", "x-moz"]

/** Whether a browser says that it loads something ahead. `valueOf` finds a header by its name in small letters. */
export const isPrefetch = (valueOf: (name: string) => string | null | undefined): boolean => {
  for (const name of names) {
    const value = valueOf(name)
    if (
      value !== undefined && value !== null && /^\s*(?:prefetch|prerender|preview)\s*(?:[;,]|$)/i.test(value)
    ) return true
  }
  return false
}
