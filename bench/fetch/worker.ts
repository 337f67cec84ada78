/**
 * Child process that hands requests to one handler, some at a time, and checks its responses.
 */
import { serve } from "../http/child.ts"
import { type Contender, isBare } from "../http/contenders.ts"
import { expected, type Workload } from "../http/data.ts"
import type { Handler } from "../http/honoApp.ts"

const lanes = 16
const cookies: Array<string> = []
const writes = Array.from({ length: lanes }, () => 0)
let handler: Handler
let sessions: boolean

const request = async (path: string, lane: number, known: boolean): Promise<string> => {
  const cookie = cookies[lane]
  const headers: Record<string, string> = known && cookie !== undefined ? { cookie } : {}
  const response = await handler(new Request(`http://localhost${path}`, { headers }))
  const set = known ? response.headers.getSetCookie() : []
  if (set.length > 0) cookies[lane] = set[set.length - 1].split(";")[0]
  return response.text()
}

const commands = {
  /** Makes the handler, with a session for each of the requests that are on their way at a time. */
  start: async ({ contender }: { readonly contender: Contender }) => {
    sessions = !isBare(contender)
    const module: { readonly handler: () => Handler | Promise<Handler> } = await import(
      `../http/contenders/${contender}.ts`
    )
    handler = await module.handler()
    for (let lane = 0; lane < lanes; lane++) {
      await request(`/login?index=${lane}`, lane, true)
      cookies[lane] ??= `session=${"x".repeat(47)}`
    }
  },

  /** Microseconds of processor time per request. */
  run: async ({ requests, workload }: { readonly workload: Workload; readonly requests: number }) => {
    let left = requests
    const before = process.cpuUsage()
    await Promise.all(writes.map(async (_, lane) => {
      while (left-- > 0) {
        const n = workload === "write" ? ++writes[lane] : 1
        const text = await request(`/${workload}`, lane, workload !== "anonymous")
        const wanted = sessions ? expected(workload, lane, n) : expected(workload, 0, 1)
        if (text !== wanted) throw new Error(`/${workload} was answered by ${text} in the place of ${wanted}`)
      }
    }))
    const { system, user } = process.cpuUsage(before)
    return (system + user) / requests
  }
}

/** Commands of a handler. */
export type FetchCommands = typeof commands

serve(commands)
