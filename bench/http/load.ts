/**
 * Child process that loads a server. Each connection has a session and one
 * request on its way at a time, and sends the last cookie that it was given, as
 * a browser does, unless it is to be unknown. Every response must be 200 and have the right body.
 *
 * It knows just enough of HTTP for the servers of this benchmark, and so costs a
 * fraction of what they do. With a core of its own it polls and never sleeps:
 * otherwise a server that is slower than it would pay for waking it with every
 * response, and the fastest would not.
 */
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { serve } from "./child.ts"
import { expected, type Workload } from "./data.ts"

// Node's servers close a connection that was idle for five seconds.
const reusable = 2000
const headEnd = "\r\n\r\n"
const contentLength = /\r\ncontent-length: (\d+)\r\n/i
const setCookie = /\r\nset-cookie: ([^;\r]+)/i

class Connection {
  private readonly port: number
  private socket: Socket | undefined = undefined
  private request: Buffer
  private readonly workload: Workload
  private readonly index: number
  private readonly sessions: boolean
  private sent = 0
  private sentAt = 0
  private received = ""
  private onAnswer: (millis: number) => boolean = () => false
  private onEnd: (error?: Error) => void = () => {}

  constructor(port: number, index: number, workload: Workload, cookie: string | undefined, sessions: boolean) {
    this.port = port
    this.workload = workload
    this.index = index
    this.sessions = sessions
    this.request = this.requestWith(workload === "anonymous" ? undefined : cookie)
  }

  private requestWith(cookie: string | undefined): Buffer {
    const cookies = cookie === undefined ? "" : `Cookie: ${cookie}\r\n`
    return Buffer.from(`GET /${this.workload} HTTP/1.1\r\nHost: 127.0.0.1:${this.port}\r\n${cookies}\r\n`)
  }

  /** Connects, unless there is a connection that the server has no reason yet to close. */
  async open(): Promise<void> {
    if (this.socket !== undefined && performance.now() - this.sentAt < reusable) return
    this.close()
    const socket = connect({ port: this.port, host: "127.0.0.1", noDelay: true })
    socket.on("data", (chunk: Buffer) => this.receive(chunk))
    await once(socket, "connect")
    socket.on("error", (error) => this.onEnd(error))
    socket.on("close", () => this.onEnd(new Error("the server closed a connection")))
    this.socket = socket
  }

  close(): void {
    this.onEnd = () => {}
    this.socket?.destroy()
  }

  /** Sends requests, each after the answer to the one before, until `onAnswer` returns false. */
  run(onAnswer: (millis: number) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.onAnswer = onAnswer
      this.onEnd = (error) => {
        this.onEnd = () => {}
        if (error === undefined) resolve()
        else reject(error)
      }
      this.send()
    })
  }

  private send(): void {
    this.sent++
    this.sentAt = performance.now()
    this.socket!.write(this.request)
  }

  private receive(chunk: Buffer): void {
    const text = this.received + chunk.toString("latin1")
    const end = text.indexOf(headEnd)
    const length = end === -1 ? undefined : contentLength.exec(text)?.[1]
    if (end !== -1 && length === undefined) return this.refuse(text)
    const body = end + headEnd.length
    if (length === undefined || text.length < body + Number(length)) {
      this.received = text
      return
    }
    this.received = ""
    const wanted = this.sessions ? expected(this.workload, this.index, this.sent) : expected(this.workload, 0, 1)
    if (!text.startsWith("HTTP/1.1 200 ") || text.length !== body + wanted.length || !text.endsWith(wanted)) {
      return this.refuse(text)
    }
    const cookie = this.workload === "anonymous" ? undefined : setCookie.exec(text)?.[1]
    if (cookie !== undefined) this.request = this.requestWith(cookie)
    if (this.onAnswer(performance.now() - this.sentAt)) this.send()
    else this.onEnd()
  }

  private refuse(text: string): void {
    this.onEnd(
      new Error(`/${this.workload}, request ${this.sent} of connection ${this.index} was answered by\n${text}`)
    )
  }
}

const connections = new Map<number, ReadonlyArray<Connection>>()

const of = (port: number) => connections.get(port) ?? []

const commands = {
  /** Takes on a server, with one connection per cookie. `sessions`: whether the server has any. */
  open: ({ cookies, sessions, port, workload }: {
    readonly port: number
    readonly workload: Workload
    readonly cookies: ReadonlyArray<string>
    readonly sessions: boolean
  }) => {
    connections.set(port, cookies.map((cookie, index) => new Connection(port, index, workload, cookie, sessions)))
  },

  /** Loads a server for some seconds, or until it has answered so many requests. */
  run: async ({ ownCore, port, requests = Infinity, seconds }: {
    readonly ownCore: boolean
    readonly port: number
    readonly seconds: number
    readonly requests?: number
  }) => {
    await Promise.all(of(port).map((connection) => connection.open()))
    const times: Array<number> = []
    let running = ownCore
    const poll = () => {
      if (running) setImmediate(poll)
    }
    poll()
    const started = performance.now()
    const until = started + seconds * 1000
    const onAnswer = (millis: number) => {
      times.push(millis)
      return times.length < requests && performance.now() < until
    }
    await Promise.all(of(port).map((connection) => connection.run(onAnswer)))
    running = false
    const rate = (times.length * 1000) / (performance.now() - started)
    times.sort((a, b) => a - b)
    return { requests: times.length, rate, p99: times[Math.floor(times.length * 0.99)] }
  },

  close: ({ port }: { readonly port: number }) => {
    for (const connection of of(port)) connection.close()
    connections.delete(port)
  }
}

/** Commands of the load generator. */
export type LoadCommands = typeof commands

serve(commands)
