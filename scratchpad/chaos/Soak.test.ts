import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, type Scope } from "effect"
import { setTimeout } from "node:timers/promises"
import * as Lab from "../../packages/redis/chaos/Lab.ts"
import * as TcpProxy from "../../packages/redis/test/TcpProxy.ts"
import * as Backend from "../test/Backend.ts"
import { browser } from "../test/Browser.ts"
import * as Visitor from "./Visitor.ts"
import * as Vitals from "./Vitals.ts"

// `npm run test:soak` says how long; in the other runs it is just long enough to meet every fault.
const minutes = Number(process.env.SOAK_MINUTES ?? 0)
const duration = minutes > 0 ? minutes * 60_000 : 12_000
const visitors = 30

/** Of a process that does the same all the time, what a collection leaves must not grow by more than this (R-50). */
const growth = 1.1

// What an operator is told: of those who signed out when nobody could confirm it, and nothing of who they are.
const said =
  /^$|^timestamp=\S+ level=ERROR fiber=#\d+ message="(A session is not ended in the store yet: it is unavailable, and is asked again|The store has not confirmed the end of a session)"$/

interface Fault {
  readonly name: string
  readonly begin: Effect.Effect<unknown, unknown>
  readonly end: Effect.Effect<unknown, unknown>
  /** Milliseconds, at most. */
  readonly lasts: number
}

const faultsOf = (server: Backend.Server, proxy: TcpProxy.TcpProxy): ReadonlyArray<Fault> => {
  const clear = proxy.everywhere({})
  const wire = (name: string, plan: () => TcpProxy.Plan, lasts = 2000): Fault => ({
    name,
    begin: Effect.suspend(() => proxy.everywhere(plan())),
    end: clear,
    lasts
  })
  const at = (name: string, begin: Effect.Effect<unknown, unknown>): Fault => ({ name, begin, end: clear, lasts: 100 })
  const bytes = () => Math.floor(Math.random() * 400)
  return [
    at("connections reset", proxy.cutAll("reset")),
    at("connections closed", proxy.cutAll("end")),
    at("connections ended by the server", server.disconnect),
    wire("answers cut off", () => ({ toClient: { cutAfter: bytes() } })),
    wire("requests cut off", () => ({ toServer: { cutAfter: bytes() } })),
    wire("slow answers", () => ({ toClient: { delay: 50 + Math.random() * 250 } })),
    wire("dripping answers", () => ({ toClient: { drip: 1 } })),
    wire("silence", () => TcpProxy.blackHole, 3000),
    wire("lost answers", () => ({ toClient: { holeAfter: 0 } })),
    { name: "frozen", begin: server.pause, end: server.resume, lasts: 3000 },
    { name: "stopped", begin: server.kill, end: server.start, lasts: 2000 },
    { name: "writes refused", begin: server.writes("refused"), end: server.writes("accepted"), lasts: 2000 }
  ]
}

const shuffled = <A>(values: ReadonlyArray<A>): ReadonlyArray<A> =>
  values.map((value) => ({ value, at: Math.random() })).toSorted((a, b) => a.at - b.at).map(({ value }) => value)

/** Visitors that can be asked to stand still. */
const crowd = (urls: ReadonlyArray<string>, record: Visitor.Record, staleness: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const state = { gone: false, still: false, busy: 0 }
      const people = Array.from({ length: visitors }, (_, i) => Visitor.make(urls, `visitor-${i}`, record, staleness))
      const running = people.map(async (visitor) => {
        while (!state.gone) {
          await setTimeout(20 + Math.random() * 100)
          if (state.still) continue
          state.busy++
          await visitor.visit().catch((error: unknown) => void record.wrong.push(String(error)))
          state.busy--
        }
        visitor.close()
      })
      return {
        rest: async () => {
          state.still = true
          while (state.busy > 0) await setTimeout(10)
          // As the server does with connections that are idle: not while somebody wants to use one.
          for (const { close } of people) close()
        },
        goOn: () => void (state.still = false),
        leave: async () => {
          state.gone = true
          await Promise.all(running)
        }
      }
    }),
    ({ leave }) => Effect.promise(leave)
  )

const mebi = (bytes: number) => (bytes / 2 ** 20).toFixed(1)

const soak: (program: Backend.Program) => Effect.Effect<void, unknown, Scope.Scope> = Effect.fnUntraced(
  function*(program) {
    const server = yield* program.server
    const proxy = yield* TcpProxy.make(Number(new URL(Redacted.value(server.url)).port))
    const before = new URL(Redacted.value(server.url))
    before.port = String(proxy.port)
    const { demo, nodes } = yield* Backend.started(program, { url: Redacted.make(before.href) }, [Vitals.module])
    const record = Visitor.record()
    const { goOn, leave, rest } = yield* crowd(nodes.map(({ url }) => url), record, program.staleness)
    const begun = performance.now()

    // What is left when nothing fails and nobody asks for anything: limits of time are over, circuits closed again.
    const examine = Effect.promise(async () => {
      for (const { url } of nodes) {
        const { close, send } = browser(url)
        while ((await send("GET", "/readyz")).status !== 200) await setTimeout(100)
        close()
      }
      await setTimeout(1000)
      await rest()
      await setTimeout(3000)
      const vitals = await Vitals.of(nodes[0].pid)
      goOn()
      return vitals
    })
    const tell = (vitals: Vitals.Vitals) =>
      Lab.report(
        `soak on ${program.name}, ${Math.round((performance.now() - begun) / 1000)} s: heap ${
          mebi(vitals.heap)
        } MiB, ` +
          `outside ${mebi(vitals.external)}, ${vitals.descriptors} descriptors, ${vitals.sockets} sockets, ` +
          `${vitals.timers} timers, ${vitals.fibers} fibers; loop late by ${
            vitals.delay.longest.toFixed(0)
          } ms at most, ` +
          `${vitals.delay.p99.toFixed(1)} one turn in a hundred; answers ${
            [...record.answers].toSorted().map(([status, n]) => `${n} x ${status}`).join(", ")
          }, ${record.explained} of ${record.unsure} unsure, the longest ${
            record.longest.toFixed(0)
          } ms, ${record.wrong.length} wrong`
      )

    yield* Effect.sleep(minutes > 0 ? 5000 : 2000)
    const first = yield* examine
    yield* tell(first)
    let warm: Vitals.Vitals | undefined
    let last = first
    do {
      for (const { begin, end, lasts } of shuffled(faultsOf(server, proxy))) {
        yield* Effect.ensuring(
          Effect.andThen(begin, Effect.sleep(lasts / 4 + Math.random() * (minutes > 0 ? lasts : lasts / 4))),
          Effect.orDie(end)
        )
        yield* Effect.sleep(minutes > 0 ? 500 + Math.random() * 4000 : 400)
      }
      assert.strictEqual(record.wrong.join("\n"), "")
      last = yield* examine
      yield* tell(last)
      // Code is compiled and caches are full after a tenth of the time.
      if (warm === undefined && performance.now() - begun > duration / 10) warm = last
    } while (performance.now() - begun < duration)
    yield* Effect.promise(leave)
    assert.strictEqual(record.wrong.join("\n"), "")
    // Of renewals that were refused few have happened, and of those the fewest unnoticed.
    assert.isAtMost(record.explained, 1 + record.unsure / 20)
    assert.isDefined(warm)
    assert.isAtLeast(record.answers.get("200") ?? 0, 100)
    assert.isAtLeast(record.answers.get("503") ?? 0, 10, "the faults were felt")
    // Of some that have ended, the last one is remembered until the next takes its place.
    assert.isAbove(first.fibers, 0)
    assert.isAtMost(last.fibers, first.fibers + 3)
    assert.isAtMost(last.timers, first.timers + 3)
    // One of them listens.
    assert.isAtMost(last.sockets, 1 + program.connections)
    assert.isAtMost(last.descriptors - last.sockets, first.descriptors - first.sockets)
    // A short run ends before code is compiled and caches are full.
    if (minutes > 0) {
      assert.isAtMost(last.heap, warm.heap * growth)
      assert.isAtMost(last.external, warm.external * growth)
    }
    assert.strictEqual(demo.output.stderr.split("\n").filter((line) => !said.test(line)).join("\n"), "")
  }
)

describe("the demo, used while its store fails at random", () => {
  const chosen = [...Backend.backends, Backend.cluster].filter(({ name }) => (process.env.SOAK_STORE ?? name) === name)
  for (const program of minutes > 0 ? chosen : [Backend.redis]) {
    it.live(
      `on ${program.name}: nothing leaks, nobody is signed out, and every answer is explained`,
      () => soak(program),
      2 * duration + 120_000
    )
  }
})
