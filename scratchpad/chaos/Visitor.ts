/**
 * Somebody who uses the demo while its store fails, and knows what must be true all the same: who is signed in stays it,
 * what was confirmed is there, what has ended stays ended. Everything else that is seen is noted as wrong.
 */
import { randomBytes } from "node:crypto"
import { type Answer, browser } from "../test/Browser.ts"

/** What all visitors have seen. */
export interface Record {
  readonly answers: Map<string, number>
  readonly wrong: Array<string>
  /** Renewals that nobody confirmed, and visitors that were signed out after one. */
  unsure: number
  explained: number
  longest: number
  /** Cookies of sessions whose end was confirmed. */
  readonly dead: Array<string>
}

/** Of nobody so far. */
export const record = (): Record => ({ answers: new Map(), wrong: [], unsure: 0, explained: 0, longest: 0, dead: [] })

interface SignedIn {
  cookie: string
  /** Increments that were confirmed, and those that may have happened. */
  counted: number
  unknown: number
  /** Whether a renewal was not confirmed: the cookie may be one that was replaced. */
  unsure: boolean
}

// As many as are tried again.
const remembered = 200

const isRefusal = ({ headers, status }: Answer) => status === 503 && Number(headers["retry-after"]) >= 1

const pick = <A>(values: ReadonlyArray<A>): A => values[Math.floor(Math.random() * values.length)]

const strange = () => pick([randomBytes(32).toString("base64url"), "", "x".repeat(3000), "a=b; session=c", "%00%ff"])

export const make = (url: string, name: string, record: Record) => {
  const { close, send: sendRaw } = browser(url)
  let me: SignedIn | undefined

  const note = (what: string) => {
    if (record.wrong.length < 50) record.wrong.push(`${name}: ${what}`)
  }

  // The answer, unless it is an honest refusal.
  const send = async (method: string, path: string, cookie: string, body?: unknown): Promise<Answer | undefined> => {
    const begun = performance.now()
    const answer = await sendRaw(method, path, { cookie, body: body === undefined ? "" : JSON.stringify(body) })
    record.longest = Math.max(record.longest, performance.now() - begun)
    const kind = `${answer.status}`
    record.answers.set(kind, (record.answers.get(kind) ?? 0) + 1)
    if (isRefusal(answer)) return undefined
    if (![200, 201, 204].includes(answer.status)) {
      note(`${method} ${path} is answered by ${answer.status} ${answer.text}`)
      return undefined
    }
    return answer
  }

  const cookieOf = ({ headers }: Answer): string | undefined => {
    const line = headers["set-cookie"]
    return line === undefined || /Max-Age=0/.test(String(line)) ? undefined : String(line).split(";")[0]
  }

  const bury = (cookie: string) => {
    record.dead.push(cookie)
    if (record.dead.length > remembered) record.dead.shift()
  }

  const login = async () => {
    const answer = await send("POST", "/api/login", "", { username: name, password: "demo" })
    if (answer === undefined) return
    const cookie = cookieOf(answer)
    if (cookie === undefined) return note("signs in and gets no cookie")
    me = { cookie, counted: 0, unknown: 0, unsure: false }
  }

  // What a visitor sees who is signed in.
  const look = async (at: SignedIn) => {
    const answer = await send("GET", "/api/me", at.cookie)
    if (answer === undefined) return
    const { counter, status, username } = JSON.parse(answer.text)
    if (username !== name || status !== "active") {
      me = undefined
      if (at.unsure) record.explained++
      else note(`was signed out: ${answer.text}`)
    } else if (counter < at.counted || counter > at.counted + at.unknown) {
      note(`counted ${at.counted} to ${at.counted + at.unknown} and sees ${counter}`)
    }
  }

  const count = async (at: SignedIn) => {
    const answer = await send("POST", "/api/counter", at.cookie)
    if (answer === undefined) {
      at.unknown++
      return
    }
    // It began a session of its own: the one before is gone.
    if (cookieOf(answer) !== undefined) {
      me = undefined
      if (at.unsure) record.explained++
      else note("counts in another session")
      return
    }
    at.counted++
    const { counter } = JSON.parse(answer.text)
    if (counter < at.counted || counter > at.counted + at.unknown) {
      note(`has counted ${at.counted} to ${at.counted + at.unknown}, and it became ${counter}`)
    }
  }

  const renew = async (at: SignedIn) => {
    const answer = await send("POST", "/api/renew", at.cookie)
    if (answer === undefined) {
      at.unsure = true
      record.unsure++
    } else at.cookie = cookieOf(answer) ?? at.cookie
  }

  const leave = async (at: SignedIn, path: string) => {
    const answer = await send("POST", path, at.cookie)
    if (answer !== undefined && !at.unsure) bury(at.cookie)
    me = undefined
  }

  // Whoever is not signed in, with whatever cookie.
  const knock = async (cookie: string, what: string) => {
    const answer = await send("GET", "/api/me", cookie)
    if (answer !== undefined && JSON.parse(answer.text).authenticated !== false) note(`is let in with ${what}`)
  }

  const store = async ({ cookie }: SignedIn) => {
    await send("PUT", `/api/data/${pick(["a", "b", "c"])}`, cookie, { value: "v".repeat(Math.random() * 2000) })
  }

  const say = async ({ cookie }: SignedIn) => {
    await send("POST", "/api/flash", cookie, { kind: "notice", message: "hello" })
    await send("GET", "/api/flash", cookie)
  }

  return {
    close,

    /** Makes one or two requests. */
    visit: async (): Promise<void> => {
      const chance = Math.random()
      if (chance < 0.04) return knock(`session=${strange()}`, "a cookie of its own making")
      if (chance < 0.08 && record.dead.length > 0) return knock(pick(record.dead), "the cookie of a session that ended")
      if (me === undefined) return chance < 0.3 ? knock("", "no cookie") : login()
      if (chance < 0.5) return look(me)
      if (chance < 0.75) return count(me)
      if (chance < 0.83) return store(me)
      if (chance < 0.87) return say(me)
      if (chance < 0.91) return void await send("GET", "/api/devices", me.cookie)
      if (chance < 0.96) return renew(me)
      return leave(me, chance < 0.99 ? "/api/logout" : "/api/logout-everywhere")
    }
  }
}
