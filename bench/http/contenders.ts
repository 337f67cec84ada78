/**
 * The servers that are compared, and how they are started.
 */
import { type Child, start } from "./child.ts"
import { answers, dataOf, guest } from "./data.ts"
import type { ServerCommands } from "./server.ts"

/** Their names. The first has no sessions: it is what the others are measured against. */
export const contenders = ["effect", "effect-session", "fastify-session", "express-session"] as const

/** One of {@link contenders}. */
export type Contender = typeof contenders[number]

/** What each of them is, for readers. */
export const titles: { readonly [K in Contender]: string } = {
  "effect": "effect, without sessions",
  "effect-session": "effect-session",
  "fastify-session": "@fastify/session",
  "express-session": "express-session"
}

/** Without sessions, the name and value of a cookie that is as long as a session's. */
const idleCookie = `session=${"x".repeat(47)}`

/** A contender that listens, with one session per connection. */
export interface Server {
  readonly contender: Contender
  readonly port: number
  readonly cookies: ReadonlyArray<string>
  readonly process: Child<ServerCommands>
}

const fetchText = async (url: string, cookie?: string): Promise<{ body: string; cookies: Array<string> }> => {
  const response = await fetch(url, cookie === undefined ? {} : { headers: { cookie } })
  const body = await response.text()
  if (response.status !== 200) throw new Error(`${url} was answered by ${response.status} ${body}`)
  return { body, cookies: response.headers.getSetCookie() }
}

const login = async (port: number, index: number): Promise<string> => {
  const { cookies } = await fetchText(`http://127.0.0.1:${port}/login?index=${index}`)
  if (cookies.length !== 1) throw new Error(`a login set ${cookies.length} cookies`)
  return cookies[0].split(";")[0]
}

/** Starts a contender and as many sessions as there shall be connections. */
export const startServer = async (contender: Contender, connections: number): Promise<Server> => {
  const process = start<ServerCommands>("server.ts", 0)
  const port = await process.call("start", { contender })
  const cookies = []
  for (let i = 0; i < connections; i++) cookies.push(contender === "effect" ? idleCookie : await login(port, i))
  return { contender, port, cookies, process }
}

/** Makes sure that every session is still there, and that nobody gets one by reading. */
export const verify = async ({ contender, cookies, port }: Server): Promise<void> => {
  const stranger = await fetchText(`http://127.0.0.1:${port}/anonymous`)
  if (stranger.body !== answers.anonymous(guest) || stranger.cookies.length > 0) {
    throw new Error(`${contender} gave a session to a request that only read`)
  }
  if (contender === "effect") return
  for (const [index, cookie] of cookies.entries()) {
    const { body } = await fetchText(`http://127.0.0.1:${port}/read`, cookie)
    if (body !== answers.read(dataOf(index).userId)) throw new Error(`${contender} lost session ${index}: ${body}`)
  }
}
