/**
 * The servers that are compared, and how they are started.
 */
import { type Child, start } from "./child.ts"
import { answers, dataOf, guest } from "./data.ts"
import type { ServerCommands } from "./server.ts"

/** Their names, by where sessions are. The first has none: it is what the others are measured against. */
export const contenders = {
  memory: ["effect", "effect-session", "fastify-session", "express-session"],
  cookie: ["effect", "effect-session-cookie", "effect-session-sodium", "fastify-secure-session"],
  redis: ["effect", "effect-session-redis", "fastify-session-redis"]
} as const

/** Where sessions are. */
export type Store = keyof typeof contenders

/** All places. */
export const stores: ReadonlyArray<Store> = ["memory", "cookie", "redis"]

/** One of them all. */
export type Contender = typeof contenders[Store][number]

/** What each of them is, for readers. */
export const titles: { readonly [K in Contender]: string } = {
  "effect": "effect, without sessions",
  "effect-session": "effect-session",
  "fastify-session": "@fastify/session",
  "express-session": "express-session",
  "effect-session-cookie": "effect-session, cookie mode",
  "effect-session-sodium": "effect-session, cookie mode with libsodium",
  "fastify-secure-session": "@fastify/secure-session",
  "effect-session-redis": "effect-session, Redis",
  "fastify-session-redis": "@fastify/session, connect-redis"
}

/** Without sessions, the value of a cookie is as long as that of this library: a token, or a sealed session. */
const idleCookie = (store: Store): string => `session=${"x".repeat(store === "cookie" ? 571 : 47)}`

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

/** Starts a contender and as many sessions as there shall be connections. `redis`: the port of Redis, where there is one. */
export const startServer = async (
  contender: Contender,
  store: Store,
  connections: number,
  redis?: number
): Promise<Server> => {
  const process = start<ServerCommands>("server.ts", 0)
  const port = await process.call("start", { contender, redis })
  const cookies = []
  for (let i = 0; i < connections; i++) cookies.push(contender === "effect" ? idleCookie(store) : await login(port, i))
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
