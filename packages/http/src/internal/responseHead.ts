import type { ErrorResponse } from "../PromiseSession.ts"
import type { Settled } from "./requestSession.ts"

type Value = number | string | ReadonlyArray<string>

/** As much of a response's head as a session touches. */
export interface ResponseHead {
  statusCode: number
  statusMessage?: string | undefined
  getHeader(name: string): Value | undefined
  getHeaderNames(): ReadonlyArray<string>
  setHeader(name: string, value: Value): unknown
  appendHeader(name: string, value: string | ReadonlyArray<string>): unknown
  removeHeader(name: string): void
}

/** The headers of a response at some time. */
export type Snapshot = ReadonlyArray<readonly [name: string, value: Value]>

const nothing: Snapshot = []

export const snapshot = (head: ResponseHead): Snapshot => {
  const names = head.getHeaderNames()
  return names.length === 0 ? nothing : names.map((name) => {
    const value = head.getHeader(name) ?? ""
    return [name, typeof value === "object" ? [...value] : value]
  })
}

export const restore = (head: ResponseHead, headers: Snapshot): void => {
  for (const name of head.getHeaderNames()) head.removeHeader(name)
  for (const [name, value] of headers) head.setHeader(name, value)
}

const textOf = (value: unknown): string => value === undefined ? "" : String(value)

const isListed = (list: string, name: string): boolean =>
  list.split(",").some((part) => part.trim().toLowerCase() === name)

/** Adds a field to the list that a cache goes by. */
export const varied = (vary: string | undefined): string =>
  vary === undefined || vary === ""
    ? "Cookie"
    : isListed(vary, "*") || isListed(vary, "cookie")
    ? vary
    : `${vary}, Cookie`

export const isNeverStored = (cacheControl: string): boolean =>
  cacheControl !== "" && isListed(cacheControl, "no-store")

const nameOf = (line: string): string => line.slice(0, line.indexOf("=")).trim()

/** Lines that set cookies, one for each name: those of a session, and what else the response sets. */
export const withCookies = (present: ReadonlyArray<string>, cookies: ReadonlyArray<string>): ReadonlyArray<string> => {
  const names = new Set(cookies.map(nameOf))
  return [...present.filter((line) => !names.has(nameOf(line))), ...cookies]
}

/** Writes what sessions have to say about a response into its head. */
export const dress = (head: ResponseHead, { cookies, vary }: Omit<Settled, "failure">): void => {
  if (vary) {
    const present = head.getHeader("vary")
    head.setHeader("Vary", present === undefined ? "Cookie" : varied(textOf(present)))
  }
  if (cookies.length === 0) return
  if (!isNeverStored(textOf(head.getHeader("cache-control")))) head.setHeader("Cache-Control", "no-store")
  const present = head.getHeader("set-cookie")
  const lines = present === undefined ? [] : typeof present === "object" ? present : [String(present)]
  head.setHeader("Set-Cookie", withCookies(lines, cookies))
}

/** Puts an error in the place of what a response was going to be. What stood before is kept. */
export const replace = (head: ResponseHead, before: Snapshot, { body, headers, status }: ErrorResponse): void => {
  restore(head, before)
  head.statusCode = status
  // HTTP/2 has none, and warns of whoever looks for one.
  if (Object.hasOwn(head, "statusMessage")) head.statusMessage = ""
  // Node does not count the octets of a response whose length was removed.
  if (status !== 204 && status !== 304) head.setHeader("Content-Length", new TextEncoder().encode(body ?? "").length)
  for (const [name, value] of Object.entries(headers ?? {})) head.setHeader(name, value)
}

/** Takes over the headers that were given to `writeHead`, as Node does. Throws for what no header can be. */
export const absorb = (head: ResponseHead, headers: unknown): void => {
  if (typeof headers !== "object" || headers === null) return
  const before = snapshot(head)
  try {
    if (!Array.isArray(headers)) {
      for (const [name, value] of Object.entries(headers)) if (name !== "") head.setHeader(name, value)
      return
    }
    const pairs: ReadonlyArray<readonly [string, Value]> = Array.isArray(headers[0])
      ? headers
      : headers.flatMap((name, index) => index % 2 === 0 ? [[name, headers[index + 1]]] : [])
    for (const [name] of pairs) head.removeHeader(name)
    for (const [name, value] of pairs) {
      if (head.getHeader(name) === undefined) head.setHeader(name, value)
      else head.appendHeader(name, typeof value === "number" ? String(value) : value)
    }
  } catch (error) {
    restore(head, before)
    throw error
  }
}
