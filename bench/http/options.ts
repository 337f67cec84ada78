/**
 * Options on the command line.
 */
const value = (name: string): string | undefined =>
  process.argv.find((argument) => argument.startsWith(`--${name}=`))?.slice(name.length + 3)

const fail = (message: string): never => {
  console.error(message)
  process.exit(1)
}

/** A number above zero. */
export const number = (name: string, preset: number): number => {
  const given = Number(value(name) ?? preset)
  return given > 0 ? given : fail(`--${name} must be a number above zero`)
}

/** Some of the known names, in their order; all by default. */
export const some = <A extends string>(name: string, known: ReadonlyArray<A>): ReadonlyArray<A> => {
  const given = value(name)?.split(",")
  const unknown = given?.filter((one) => !known.some((other) => other === one)) ?? []
  if (unknown.length > 0) return fail(`--${name} knows ${known.join(", ")}, not ${unknown.join(", ")}`)
  return known.filter((one) => given?.includes(one) ?? true)
}

/** One of the known names, the first by default. */
export const one = <A extends string>(name: string, known: ReadonlyArray<A>): A => {
  const given = value(name)
  return given === undefined
    ? known[0]
    : known.find((one) => one === given) ?? fail(`--${name} knows ${known.join(", ")}, not ${given}`)
}
