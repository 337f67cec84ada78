import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { createConnection, createServer, type Socket } from "node:net"

export type Direction = "toServer" | "toClient"

/** How a connection ends: `reset` as by a crash, `end` as by a close. */
export type Cut = "reset" | "end"

/** What happens to the bytes of one direction. Counts begin when the rule is set. */
export interface Rule {
  /** Milliseconds that every byte is late. */
  readonly delay?: number | undefined
  /** Milliseconds from one byte to the next. */
  readonly drip?: number | undefined
  /** Ends the connection when so many bytes have passed; with 0, when the first one comes. */
  readonly cutAfter?: number | undefined
  /** `reset` by default. The server gets what has passed and an end, so that it sees all of it. */
  readonly cut?: Cut | undefined
  /** Holds everything back, the end included, when so many bytes have passed. A later rule lets it go on. */
  readonly holeAfter?: number | undefined
}

export type Plan = { readonly [direction in Direction]?: Rule | undefined }

/** A partition: both directions hold everything back, and nobody says so. */
export const blackHole: Plan = { toServer: { holeAfter: 0 }, toClient: { holeAfter: 0 } }

export interface Connection {
  /** Bytes that have passed. */
  readonly passed: (direction: Direction) => number
  /** The first 4 KiB that the client has sent: tells a subscriber, say, by its `CLIENT SETNAME`. */
  readonly greeting: () => string
  readonly isOpen: () => boolean
  readonly follow: (plan: Plan) => Effect.Effect<void>
  readonly cut: (how: Cut) => Effect.Effect<void>
}

/** A listener on a free loopback port that passes bytes on to a server, as its plans say. */
export interface TcpProxy {
  readonly port: number
  readonly url: Redacted.Redacted<string>
  /** All connections so far, oldest first. */
  readonly connections: () => ReadonlyArray<Connection>
  /** Bytes that have passed on all of them. */
  readonly passed: (direction: Direction) => number
  /** Plans of the next connections, one each. */
  readonly next: (...plans: ReadonlyArray<Plan>) => Effect.Effect<void>
  /** Plan of every other new connection. Those which are open keep theirs. */
  readonly always: (plan: Plan) => Effect.Effect<void>
  /** The plan of all, the open ones included. */
  readonly everywhere: (plan: Plan) => Effect.Effect<void>
  readonly cutAll: (how: Cut) => Effect.Effect<void>
}

interface Flow {
  readonly follow: (rule: Rule) => void
  readonly stop: () => void
  /** What has been sent still arrives, then an end. */
  readonly finish: () => void
  readonly holds: () => boolean
  readonly passed: () => number
}

const flow = (from: Socket, to: Socket, first: Rule, cut: (how: Cut) => void, seen: (bytes: Buffer) => void): Flow => {
  const waiting: Array<{ bytes: Buffer; readonly due: number }> = []
  let rule = first
  let counted = 0
  let passed = 0
  let last = 0
  let ended = false
  let timer: NodeJS.Timeout | undefined

  const holds = () => counted >= (rule.holeAfter ?? Infinity)
  const pass = (bytes: Buffer) => {
    const cutAfter = rule.cutAfter ?? Infinity
    const through = bytes.subarray(0, cutAfter - counted)
    counted += through.length
    passed += through.length
    if (counted < cutAfter) {
      if (through.length > 0) to.write(through)
      return
    }
    // What has passed is on its way before the end comes.
    const how = rule.cut ?? "reset"
    waiting.length = 0
    if (through.length > 0) to.write(through, () => cut(how))
    else cut(how)
  }
  const pump = () => {
    if (timer !== undefined) return
    while (waiting.length > 0 && !holds()) {
      const head = waiting[0]
      const drip = rule.drip ?? 0
      const wait = Math.max(head.due, last + drip) - performance.now()
      if (wait > 0) {
        timer = setTimeout(() => {
          timer = undefined
          pump()
        }, wait)
        return
      }
      const piece = head.bytes.subarray(0, drip > 0 ? 1 : (rule.holeAfter ?? Infinity) - counted)
      if (piece.length === head.bytes.length) waiting.shift()
      else head.bytes = head.bytes.subarray(piece.length)
      last = performance.now()
      pass(piece)
    }
    if (ended && !holds()) to.end()
  }
  from.on("data", (bytes) => {
    seen(bytes)
    waiting.push({ bytes, due: performance.now() + (rule.delay ?? 0) })
    pump()
  })
  const finish = () => {
    ended = true
    pump()
  }
  from.on("end", finish)
  return {
    follow: (next) => {
      rule = next
      counted = 0
      clearTimeout(timer)
      timer = undefined
      pump()
    },
    stop: () => {
      clearTimeout(timer)
      waiting.length = 0
    },
    finish,
    holds,
    passed: () => passed
  }
}

const connect = (client: Socket, server: Socket, plan: Plan): Connection => {
  let greeting = ""
  const cut = (how: Cut) => {
    up.stop()
    down.stop()
    if (how === "end") client.end()
    else if (!client.destroyed) client.resetAndDestroy()
    server.end()
    server.resume()
  }
  const up = flow(client, server, plan.toServer ?? {}, cut, (bytes) => {
    if (greeting.length < 4096) greeting += bytes.toString("latin1").slice(0, 4096 - greeting.length)
  })
  const down = flow(server, client, plan.toClient ?? {}, cut, () => {})
  client.on("error", () => {})
  server.on("error", () => {})
  client.on("close", () => {
    down.stop()
    up.finish()
  })
  // A refused or broken connection to the server is one to the client.
  server.on("close", (failed) => {
    if (down.holds() || client.destroyed) return
    if (failed) client.resetAndDestroy()
    else client.end()
  })
  return {
    passed: (direction) => direction === "toServer" ? up.passed() : down.passed(),
    greeting: () => greeting,
    isOpen: () => !client.destroyed && client.readyState === "open",
    follow: (plan) =>
      Effect.sync(() => {
        up.follow(plan.toServer ?? {})
        down.follow(plan.toClient ?? {})
      }),
    cut: (how) => Effect.sync(() => cut(how))
  }
}

export const make: (port: number) => Effect.Effect<TcpProxy, never, Scope.Scope> = Effect.fnUntraced(
  function*(target) {
    const connections: Array<Connection> = []
    const sockets = new Set<Socket>()
    const plans: Array<Plan> = []
    let usual: Plan = {}

    const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      const server = createConnection({ port: target, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
      for (const socket of [client, server]) {
        sockets.add(socket)
        socket.once("close", () => sockets.delete(socket))
      }
      connections.push(connect(client, server, plans.shift() ?? usual))
    })
    const port = yield* Effect.acquireRelease(
      Effect.callback<number>((resume) => {
        listener.listen(0, "127.0.0.1", () => {
          const address = listener.address()
          resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
        })
      }),
      () =>
        Effect.callback<void>((resume) => {
          listener.close(() => resume(Effect.void))
          for (const socket of sockets) socket.destroy()
        })
    )
    const always = (plan: Plan) => Effect.sync(() => void (usual = plan))
    return {
      port,
      url: Redacted.make(`redis://127.0.0.1:${port}`),
      connections: () => connections,
      passed: (direction) => connections.reduce((sum, connection) => sum + connection.passed(direction), 0),
      next: (...next) => Effect.sync(() => void plans.push(...next)),
      always,
      everywhere: (plan) =>
        Effect.andThen(always(plan), Effect.forEach(connections, ({ follow }) => follow(plan), { discard: true })),
      cutAll: (how) =>
        Effect.forEach(connections.filter(({ isOpen }) => isOpen()), ({ cut }) => cut(how), { discard: true })
    }
  }
)
