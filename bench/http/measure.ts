/**
 * Loading one server, and measuring it meanwhile.
 */
import { type Child, pinned } from "./child.ts"
import { isBare, type Server } from "./contenders.ts"
import type { Workload } from "./data.ts"
import type { LoadCommands } from "./load.ts"

/** What one measurement found. */
export interface Measurement {
  /** Requests per second. */
  readonly rate: number
  /** Microseconds of processor time of the server per request. */
  readonly cpu: number
  /** The part of it that was not spent in the kernel. */
  readonly user: number
  /** Milliseconds within which 99 of 100 answers came. */
  readonly p99: number
}

/** A server under one workload, with open connections. */
export interface Loaded {
  /** Lets it answer so many requests, or run for ten seconds, so that all code is compiled. */
  readonly warmUp: (requests: number) => Promise<void>
  readonly run: (seconds: number) => Promise<Measurement>
  readonly close: () => Promise<void>
}

/** Connects the load generator to a server. `shared`: whether something that the server needs has the same core. */
export const connect = async (
  load: Child<LoadCommands>,
  server: Server,
  workload: Workload,
  shared: boolean
): Promise<Loaded> => {
  const { contender, cookies, port, process } = server
  const ownCore = pinned && !shared
  await load.call("open", { port, workload, cookies, sessions: !isBare(contender) })
  return {
    warmUp: async (requests) => {
      await load.call("run", { ownCore, port, requests, seconds: 10 })
    },
    run: async (seconds) => {
      const before = await process.call("cpu", undefined)
      const { p99, rate, requests } = await load.call("run", { ownCore, port, seconds })
      const { system, user } = await process.call("cpu", undefined)
      const userTime = user - before.user
      return { rate, cpu: (userTime + system - before.system) / requests, user: userTime / requests, p99 }
    },
    close: () => load.call("close", { port })
  }
}
