import type { Definition } from "../Session.ts"
import type { Envelope } from "../SessionData.ts"

/**
 * What a session holds once somebody has signed in to it. What belongs to another user does not pass on: neither data nor
 * messages nor lifetimes. Of one's own, the data that the definition keeps does.
 */
export const signedIn = <A>(
  { data: { initial }, keepOnLogin }: Definition<A>,
  before: Envelope<A>,
  isAnothers: boolean,
  f: ((data: A, before: A | undefined) => A) | undefined
): Envelope<A> => {
  const fresh = initial()
  let { data } = fresh
  if (keepOnLogin.length > 0 && !isAnothers) {
    const kept = { ...data }
    for (const key of keepOnLogin) kept[key] = before.data[key]
    data = kept
  }
  return {
    ...(isAnothers ? fresh : before),
    data: f === undefined ? data : f(data, isAnothers ? undefined : before.data),
    elevatedUntil: undefined
  }
}
