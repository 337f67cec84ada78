/**
 * What many sessions on Redis cost: commands for each read, memory of the server for each session, and a scan of all.
 *
 *     npm run bench -- redis-scale [--sessions=100000] [--parts=commands,memory,scan]
 *
 * Needs `redis-server`. Memory is that of the data set, without the buffers of connections, and is compared with a
 * `SET` of the same octets under a key of the same length. During the scan another connection reads one key after the
 * other, and says how long it waits for each.
 */
import { start } from "./http/child.ts"
import * as Options from "./http/options.ts"
import type { ScaleCommands } from "./redis/scale.ts"
import { numbersOf, type Server, startRedis } from "./redis/server.ts"
import * as Sessions from "./redis/sessions.ts"

const sessions = Options.number("sessions", 100_000)
const parts = Options.some("parts", ["commands", "memory", "scan"] as const)

const row = (...cells: ReadonlyArray<string | number>) => console.log(`| ${cells.join(" | ")} |`)

const withRedis = async <A>(use: (server: Server) => Promise<A>): Promise<A> => {
  const server = await startRedis()
  const result = await use(server)
  await server.stop()
  return result
}

const datasetOf = async ({ admin }: Server): Promise<number> =>
  numbersOf(await admin.info("memory")).get("used_memory_dataset") ?? Number.NaN

const callsOf = async ({ admin }: Server): Promise<ReadonlyMap<string, number>> =>
  new Map(
    Array.from(
      (await admin.info("commandstats")).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm),
      ([, name, calls]) => [name, Number(calls)]
    )
  )

const commands = () =>
  withRedis(async (server) => {
    const child = start<ScaleCommands>("../redis/scale.ts", 0)
    await child.call("open", { port: server.port, events: true })
    await child.call("create", { count: 100, perSubject: 1 })
    await child.call("read", { count: 1, touchAfter: undefined })
    for (const touchAfter of [undefined, 0]) {
      const before = await callsOf(server)
      await child.call("read", { count: 100, touchAfter })
      const after = await callsOf(server)
      const called = [...after].map(([name, calls]) => [name, calls - (before.get(name) ?? 0)] as const)
        .filter(([name, calls]) => calls > 0 && name !== "info")
      console.log(
        `100 reads${touchAfter === undefined ? "" : ", activity due"}: ` +
          called.map(([name, calls]) => `${calls} ${name}`).join(", ")
      )
    }
    await child.stop()
  })

const perSession = async (
  options: { readonly events: boolean; readonly perSubject: number }
): Promise<number> =>
  withRedis(async (server) => {
    const child = start<ScaleCommands>("../redis/scale.ts", 0)
    await child.call("open", { port: server.port, events: options.events })
    const before = await datasetOf(server)
    await child.call("create", { count: sessions, perSubject: options.perSubject })
    await child.stop()
    return (await datasetOf(server) - before) / sessions
  })

const plain = () =>
  withRedis(async (server) => {
    const before = await datasetOf(server)
    for (let index = 0; index < sessions;) {
      const pipeline = server.admin.pipeline()
      for (const end = Math.min(sessions, index + 1000); index < end; index++) {
        pipeline.set(`session:{}${Sessions.keyOf(index)}`, Sessions.payloadOf(index), "PX", Sessions.lifetime)
      }
      await pipeline.exec()
    }
    return (await datasetOf(server) - before) / sessions
  })

const memory = async () => {
  const base = await plain()
  row(`bytes of Redis, ${sessions} sessions of ${Sessions.payloadOf(0).length} octets`, "per session", "beyond SET")
  row("---", "--:", "--:")
  row("SET", Math.round(base), 0)
  for (
    const [title, options] of [
      ["anonymous, no events", { events: false, perSubject: 0 }],
      ["signed in, one per subject, no events", { events: false, perSubject: 1 }],
      ["signed in, ten per subject, no events", { events: false, perSubject: 10 }],
      ["signed in, one per subject, events", { events: true, perSubject: 1 }]
    ] as const
  ) {
    const bytes = await perSession(options)
    row(title, Math.round(bytes), Math.round(bytes - base))
  }
}

const percentile = (values: ReadonlyArray<number>, share: number) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)]

/** Reads a key time and again, and says how long each took, in milliseconds. */
const probe = ({ admin }: Server) => {
  const times: Array<number> = []
  let over = false
  const isRunning = () => !over
  const done = (async () => {
    while (isRunning()) {
      const start = performance.now()
      await admin.get("none")
      times.push(performance.now() - start)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  })()
  return async () => {
    over = true
    await done
    return { p50: percentile(times, 0.5), p99: percentile(times, 0.99), longest: Math.max(...times.slice(-200_000)) }
  }
}

const scan = () =>
  withRedis(async (server) => {
    const filler = start<ScaleCommands>("../redis/scale.ts", 0)
    await filler.call("open", { port: server.port, events: true })
    await filler.call("create", { count: sessions, perSubject: 1 })
    await filler.stop()
    const child = start<ScaleCommands>("../redis/scale.ts", 0)
    await child.call("open", { port: server.port, events: true })
    const idle = probe(server)
    await new Promise((resolve) => setTimeout(resolve, 3000))
    const alone = await idle()
    const during = probe(server)
    const result = await child.call("scan", undefined)
    const busy = await during()
    const own = Array.from(
      (await server.admin.info("latencystats")).matchAll(/^latency_percentiles_usec_(scan|hmget|get):(.+?)\r?$/gm),
      ([, name, percentiles]) => `${name} ${percentiles}`
    )
    await child.stop()
    console.log(
      `scan of ${result.scanned} sessions: ${(result.millis / 1000).toFixed(1)} s, ` +
        `heap grew by ${(result.heap / 1e6).toFixed(1)} MB, resident set by ${(result.resident / 1e6).toFixed(1)} MB`
    )
    console.log(`microseconds within the server: ${own.join("; ")}`)
    for (const [title, times] of [["without a scan", alone], ["during the scan", busy]] as const) {
      console.log(
        `GET beside it, ${title}: p50 ${times.p50.toFixed(2)} ms, p99 ${times.p99.toFixed(2)} ms, ` +
          `longest ${times.longest.toFixed(1)} ms`
      )
    }
  })

const all = { commands, memory, scan }
for (const part of parts) await all[part]()
process.exit(0)
