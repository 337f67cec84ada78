/**
 * The servers that are compared, and how they are started.
 */
import { type Child, start } from "./child.ts"
import { answers, dataOf, guest } from "./data.ts"
import type { ServerCommands } from "./server.ts"

/** Their names, by where sessions are. */
export const contenders = {
  memory: [
    "effect",
    "by-hand",
    "effect-session",
    "node",
    "node-session",
    "hono",
    "fetch-session",
    "fastify-session",
    "express-session",
    "hono-sessions"
  ],
  cookie: [
    "effect",
    "by-hand-cookie",
    "by-hand-sodium",
    "effect-session-cookie",
    "effect-session-sodium",
    "node",
    "node-session-cookie",
    "node-session-sodium",
    "hono",
    "fetch-session-cookie",
    "fastify-secure-session",
    "iron-session",
    "hono-sessions-cookie"
  ],
  redis: [
    "effect",
    "by-hand-redis",
    "effect-session-redis",
    "effect-session-redis-plain",
    "node",
    "node-session-redis",
    "node-session-redis-plain",
    "fastify-session-redis",
    "express-session-redis"
  ]
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
  "by-hand": "by hand, a Map",
  "by-hand-cookie": "by hand, AES-GCM in a cookie",
  "by-hand-sodium": "by hand, libsodium in a cookie",
  "by-hand-redis": "by hand, Redis",
  "effect-session": "effect-session",
  "effect-session-cookie": "effect-session, cookie mode",
  "effect-session-sodium": "effect-session, cookie mode with libsodium",
  "effect-session-redis": "effect-session, Redis",
  "effect-session-redis-plain": "effect-session, Redis, not sealed",
  "node": "node:http, without sessions",
  "node-session": "SessionNode",
  "node-session-cookie": "SessionNode, cookie mode",
  "node-session-sodium": "SessionNode, cookie mode with libsodium",
  "node-session-redis": "SessionNode, Redis",
  "node-session-redis-plain": "SessionNode, Redis, not sealed",
  "hono": "Hono, without sessions",
  "fetch-session": "SessionFetch, Hono",
  "fetch-session-cookie": "SessionFetch, Hono, cookie mode",
  "fastify-session": "@fastify/session",
  "fastify-session-redis": "@fastify/session, connect-redis",
  "fastify-secure-session": "@fastify/secure-session",
  "express-session": "express-session",
  "express-session-redis": "express-session, connect-redis",
  "hono-sessions": "hono-sessions",
  "hono-sessions-cookie": "hono-sessions, cookies",
  "iron-session": "iron-session"
}

/** Whether it has no sessions: these are what the others are measured against. */
export const isBare = (contender: Contender): boolean =>
  contender === "effect" || contender === "node" || contender === "hono"

/** Whether it is this library. */
export const isOwn = (contender: Contender): boolean => /^(?:effect|node|fetch)-session/.test(contender)

// It has a cookie for whoever comes.
const isGenerous = (contender: Contender): boolean => contender.startsWith("hono-sessions")

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
  const names = new Set(cookies.map((line) => line.split("=")[0]))
  if (names.size !== 1) throw new Error(`a login set ${names.size} cookies`)
  // Of several lines for one cookie the last counts.
  return cookies[cookies.length - 1].split(";")[0]
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
  for (let i = 0; i < connections; i++) cookies.push(isBare(contender) ? idleCookie(store) : await login(port, i))
  return { contender, port, cookies, process }
}

/** Makes sure that every session is still there, and that nobody gets one by reading. */
export const verify = async ({ contender, cookies, port }: Server): Promise<void> => {
  const stranger = await fetchText(`http://127.0.0.1:${port}/anonymous`)
  const isGiven = stranger.cookies.length > 0 && !isGenerous(contender)
  if (stranger.body !== answers.anonymous(guest) || isGiven) {
    throw new Error(`${contender} gave a session to a request that only read`)
  }
  if (isBare(contender)) return
  for (const [index, cookie] of cookies.entries()) {
    const { body } = await fetchText(`http://127.0.0.1:${port}/read`, cookie)
    if (body !== answers.read(dataOf(index).userId)) throw new Error(`${contender} lost session ${index}: ${body}`)
  }
}
