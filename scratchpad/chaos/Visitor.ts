/**
 * Somebody who uses the demo while its store fails, now at one of its nodes and now at another, and knows what must be true
 * all the same: who is signed in stays it, what was confirmed is there, what has ended stays ended; at other nodes as soon
 * as they must know. Everything else that is seen is noted as wrong.
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
  /** Sessions whose end was confirmed. */
  readonly dead: Array<Dead>
}

interface Dead {
  readonly cookie: string
  /** Where and when it was confirmed. */
  readonly node: number
  readonly at: number
}

/** Of nobody so far. */
export const record = (): Record => ({ answers: new Map(), wrong: [], unsure: 0, explained: 0, longest: 0, dead: [] })

interface SignedIn {
  cookie: string
  /** Increments that were confirmed, where the last one was, and how many others may have happened. */
  counted: number
  countedAt: number
  unknown: number
  /** Whether a renewal was not confirmed: the cookie may be one that was replaced. */
  unsure: boolean
}

// As many as are tried again.
const remembered = 200

const isRefusal = ({ headers, status }: Answer) => status === 503 && Number(headers["retry-after"]) >= 1

const pick = <A>(values: ReadonlyArray<A>): A => values[Math.floor(Math.random() * values.length)]

const strange = () => pick([randomBytes(32).toString("base64url"), "", "x".repeat(3000), "a=b; session=c", "%00%ff"])

/** `staleness`: milliseconds until every node knows of what has happened at another one. */
export const make = (urls: ReadonlyArray<string>, name: string, record: Record, staleness: number) => {
  const browsers = urls.map(browser)
  let node = 0
  let me: SignedIn | undefined

  const note = (what: string) => {
    if (record.wrong.length < 50) record.wrong.push(`${name}: ${what}`)
  }

  // The answer, unless it is an honest refusal.
  const send = async (method: string, path: string, cookie: string, body?: unknown): Promise<Answer | undefined> => {
    const begun = performance.now()
    const answer = await browsers[node].send(method, path, {
      cookie,
      body: body === undefined ? "" : JSON.stringify(body)
    })
    record.longest = Math.max(record.longest, performance.now() - begun)
    const kind = `${answer.status}`
    record.answers.set(kind, (record.answers.get(kind) ?? 0) + 1)
    if (isRefusal(answer)) return undefined
    // The last two of somebody whose session has ended, or goes on under another cookie.
    if (![200, 201, 204, 401, 409].includes(answer.status)) {
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
    record.dead.push({ cookie, node, at: performance.now() })
    if (record.dead.length > remembered) record.dead.shift()
  }

  const login = async () => {
    const answer = await send("POST", "/api/login", "", { username: name, password: "demo" })
    if (answer === undefined) return
    const cookie = cookieOf(answer)
    if (cookie === undefined) return note("signs in and gets no cookie")
    me = { cookie, counted: 0, countedAt: node, unknown: 0, unsure: false }
  }

  // A renewal that nobody confirmed may have happened: then the cookie is one that was replaced.
  const over = (at: SignedIn, what: string) => {
    me = undefined
    if (at.unsure) record.explained++
    else note(`is not signed in any more: ${what}`)
  }

  // The answer to somebody who is signed in: with a cookie that was replaced one may read for a while, and not write.
  const sendAs = async (at: SignedIn, method: string, path: string, body?: unknown): Promise<Answer | undefined> => {
    const answer = await send(method, path, at.cookie, body)
    if (answer?.status !== 401 && answer?.status !== 409) return answer
    over(at, `${method} ${path} is answered by ${answer.status} ${answer.text}`)
    return undefined
  }

  // What a visitor sees who is signed in.
  const look = async (at: SignedIn) => {
    const answer = await sendAs(at, "GET", "/api/me")
    if (answer === undefined) return
    const { counter, status, username } = JSON.parse(answer.text)
    if (username !== name || status !== "active") {
      over(at, answer.text)
    } else if ((counter < at.counted && at.countedAt === node) || counter > at.counted + at.unknown) {
      note(`counted ${at.counted} to ${at.counted + at.unknown} and sees ${counter}`)
    }
  }

  const count = async (at: SignedIn) => {
    const answer = await sendAs(at, "POST", "/api/counter")
    if (answer === undefined) {
      at.unknown++
      return
    }
    // It began a session of its own: the one before is gone.
    if (cookieOf(answer) !== undefined) return over(at, "counts in another session")
    at.counted++
    at.countedAt = node
    const { counter } = JSON.parse(answer.text)
    if (counter < at.counted || counter > at.counted + at.unknown) {
      note(`has counted ${at.counted} to ${at.counted + at.unknown}, and it became ${counter}`)
    }
  }

  const renew = async (at: SignedIn) => {
    const answer = await sendAs(at, "POST", "/api/renew")
    if (answer === undefined) {
      at.unsure = true
      record.unsure++
    } else at.cookie = cookieOf(answer) ?? at.cookie
  }

  const leave = async (at: SignedIn, path: string) => {
    const answer = await sendAs(at, "POST", path)
    if (answer !== undefined && !at.unsure) bury(at.cookie)
    me = undefined
  }

  // Of a session that has ended, and of which this node must know.
  const ended = (): string | undefined => {
    const before = performance.now() - staleness
    const known = record.dead.filter((dead) => dead.node === node || dead.at < before)
    return known.length === 0 ? undefined : pick(known).cookie
  }

  // Whoever is not signed in, with whatever cookie.
  const knock = async (cookie: string, what: string) => {
    const answer = await send("GET", "/api/me", cookie)
    if (answer !== undefined && JSON.parse(answer.text).authenticated !== false) note(`is let in with ${what}`)
  }

  const store = (at: SignedIn) =>
    sendAs(at, "PUT", `/api/data/${pick(["a", "b", "c"])}`, { value: "v".repeat(Math.random() * 2000) })

  const say = async (at: SignedIn) => {
    await sendAs(at, "POST", "/api/flash", { kind: "notice", message: "hello" })
    await sendAs(at, "GET", "/api/flash")
  }

  return {
    close: () => {
      for (const { close } of browsers) close()
    },

    /** Makes one or two requests. */
    visit: async (): Promise<void> => {
      node = Math.floor(Math.random() * browsers.length)
      const chance = Math.random()
      const dead = ended()
      if (chance < 0.04) return knock(`session=${strange()}`, "a cookie of its own making")
      if (chance < 0.08 && dead !== undefined) return knock(dead, "the cookie of a session that ended")
      if (me === undefined) return chance < 0.3 ? knock("", "no cookie") : login()
      if (chance < 0.5) return look(me)
      if (chance < 0.75) return count(me)
      if (chance < 0.83) return void await store(me)
      if (chance < 0.87) return say(me)
      if (chance < 0.91) return void await sendAs(me, "GET", "/api/devices")
      if (chance < 0.96) return renew(me)
      return leave(me, chance < 0.99 ? "/api/logout" : "/api/logout-everywhere")
    }
  }
}
