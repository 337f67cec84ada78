/** A cookie name that browsers take over plain HTTP: prefixes need `Secure`. */
export const withoutPrefix = (name: string): string => name.replace(/^__(?:Host-)?(?:Http|Host|Secure)-/, "")
