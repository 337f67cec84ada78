/**
 * What every contender stores and answers.
 */

/** A session: about 200 octets as JSON. */
export interface Data {
  readonly role: string
  readonly userId: string
  readonly email: string
  readonly permissions: ReadonlyArray<string>
  readonly locale: string
  readonly theme: string
  readonly signedInAt: number
  readonly count: number
}

// Six digits throughout, so that answers have one size.
const firstCount = 100_000

/** The session of the connection `index`. */
export const dataOf = (index: number): Data => {
  const id = String(index).padStart(10, "0")
  return {
    role: "editor",
    userId: `usr_${id}`,
    email: `user.${id}@example.com`,
    permissions: ["articles:read", "articles:write"],
    locale: "en-GB",
    theme: "dark",
    signedInAt: 1_760_000_000_000 + index,
    count: firstCount
  }
}

/** The session after a request of the workload `write`. */
export const counted = (data: Data): Data => ({ ...data, count: data.count + 1 })

/**
 * What a request does.
 *
 * - `anonymous`: it brings no cookie, and reads a session that is not there.
 * - `read`: it reads its session.
 * - `write`: it adds one to the counter in its session.
 */
export const workloads = ["anonymous", "read", "write"] as const

/** One of {@link workloads}. */
export type Workload = typeof workloads[number]

/** What a contender answers. */
export const answers = {
  anonymous: (role: string): string => `role:${role}`,
  read: (userId: string): string => `user:${userId}`,
  write: (count: number): string => `count:${count}`
}

/** The role without a session. */
export const guest = "guest"

/** The answer to the request number `n`, from 1, of the connection `index`. */
export const expected = (workload: Workload, index: number, n: number): string => {
  switch (workload) {
    case "anonymous":
      return answers.anonymous(guest)
    case "read":
      return answers.read(dataOf(index).userId)
    case "write":
      return answers.write(firstCount + n)
  }
}
