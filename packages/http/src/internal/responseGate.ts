import type { Outcome } from "@effect-session/core/SessionManager"
import type { Settled } from "./requestSession.ts"
import * as Head from "./responseHead.ts"

const gateKey: unique symbol = Symbol("@effect-session/http/responseGate")

type Method = (...args: Array<never>) => unknown

/** As much of Node's `ServerResponse` as is needed to hold it back. */
export interface Response extends Head.ResponseHead {
  readonly headersSent: boolean
  readonly destroyed: boolean
  readonly writableHighWaterMark: number
  readonly writableLength: number
  readonly writableNeedDrain: boolean
  writeHead: Method
  write: Method
  end: Method
  flushHeaders?: Method
  _implicitHeader?: Method
  on(event: "close" | "finish", listener: () => void): unknown
  emit(event: "drain"): unknown
  destroy(error?: Error): unknown
  [gateKey]?: ResponseGate
}

/**
 * What is known when a response begins: the request has succeeded; it has failed, or a session of it could not be
 * committed; nobody is there to be answered; or the head of the response has left already, past the gate.
 */
export type Ending = Outcome | "late"

/** Decides what a response needs before its first byte leaves. */
export interface Hook {
  settle(ending: Ending): Settled | Promise<Settled>
}

const untouched: Settled = { vary: false, cookies: [], failure: undefined }
const nothing: Array<never> = []

type Name = "writeHead" | "write" | "end" | "flushHeaders"

interface Gated {
  readonly [gateKey]: ResponseGate
}

// Shared by all responses, so that holding one back costs a few assignments.
const methods = {
  writeHead(this: Gated, ...args: ReadonlyArray<unknown>): unknown {
    return this[gateKey].call("writeHead", args)
  },
  write(this: Gated, ...args: ReadonlyArray<unknown>): unknown {
    return this[gateKey].call("write", args)
  },
  end(this: Gated, ...args: ReadonlyArray<unknown>): unknown {
    return this[gateKey].call("end", args)
  },
  flushHeaders(this: Gated, ...args: ReadonlyArray<unknown>): unknown {
    return this[gateKey].call("flushHeaders", args)
  }
}

function onClose(this: Gated): void {
  this[gateKey].close()
}

const tooLate = (): never => {
  throw Object.assign(new Error("Cannot set headers after they are sent to the client"), {
    code: "ERR_HTTP_HEADERS_SENT"
  })
}

const ignored = (): void => {}

type Appearance = "headersSent" | "writableEnded" | "writableLength" | "writableNeedDrain"

const appearanceOf = (name: Appearance): PropertyDescriptor & ThisType<Gated> => ({
  configurable: true,
  get() {
    return this[gateKey].look(name)
  },
  // Others may put a value of their own in its place.
  set(value) {
    Reflect.defineProperty(this, name, { configurable: true, enumerable: true, writable: true, value })
  }
})

const appearances = {
  headersSent: appearanceOf("headersSent"),
  writableEnded: appearanceOf("writableEnded"),
  writableLength: appearanceOf("writableLength"),
  writableNeedDrain: appearanceOf("writableNeedDrain")
}

type Changers = Pick<Response, "setHeader" | "appendHeader" | "removeHeader" | "_implicitHeader">

const changersOf = ({ _implicitHeader, appendHeader, removeHeader, setHeader }: Response): Changers =>
  _implicitHeader === undefined
    ? { setHeader, appendHeader, removeHeader }
    : { setHeader, appendHeader, removeHeader, _implicitHeader }

const isChunk = (value: unknown): value is string | Uint8Array =>
  typeof value === "string" || value instanceof Uint8Array

const isCallback = (value: unknown): value is (error?: Error) => void => typeof value === "function"

// Other code puts methods of its own upon a response; what it finds there is what it calls.
const originalsOf = ({ end, flushHeaders = () => {}, write, writeHead }: Response): Readonly<Record<Name, Method>> => ({
  writeHead,
  write,
  end,
  flushHeaders
})

/**
 * Holds back a response until its sessions are committed.
 *
 * The first of `writeHead`, `write`, `end` and `flushHeaders` begins the commit. If that needs no waiting, the call goes
 * through as if nobody had looked. Otherwise this and all later calls are kept, in their order, and made when it is over;
 * meanwhile the response looks like one that has begun. If it fails, an error takes the place of all of them.
 */
export class ResponseGate {
  readonly #response: Response
  readonly #originals: Readonly<Record<Name, Method>>
  readonly #before: Head.Snapshot
  #hooks: Array<Hook> = nothing
  #kept: Array<readonly [Name, ReadonlyArray<unknown>]> = nothing
  #covered: Map<Appearance, PropertyDescriptor> | undefined = undefined
  #changers: Changers | undefined = undefined
  #state: "idle" | "committing" | "passed" | "replaced" = "idle"
  #failed = false
  #settled = untouched
  #status = 200
  #length = 0
  #octets = 0
  #ended = false
  #streams = false
  #starved = false

  private constructor(response: Response) {
    this.#response = response
    this.#originals = originalsOf(response)
    this.#before = Head.snapshot(response)
  }

  /** The gate of a response; the first who asks puts it up. */
  static of(response: Response): ResponseGate {
    const known = response[gateKey]
    if (known !== undefined) return known
    const gate = new ResponseGate(response)
    response[gateKey] = gate
    response.writeHead = methods.writeHead
    response.write = methods.write
    response.end = methods.end
    response.flushHeaders = methods.flushHeaders
    response.on("close", onClose)
    return gate
  }

  /** Whether the response has begun, so that nothing of it can be changed any more. */
  get begun(): boolean {
    return this.#state !== "idle" || this.#response.headersSent
  }

  /** Adds a hook. They run one after the other, the last one first, like the middlewares around a handler. */
  add(hook: Hook): void {
    // Most responses have one.
    if (this.#hooks.length === 0) this.#hooks = [hook]
    else this.#hooks.push(hook)
  }

  /** The request has failed, whatever its response will look like. */
  fail(): void {
    this.#failed = true
  }

  /** Answers with an error in the place of what was prepared. */
  answer(failure: NonNullable<Settled["failure"]>): void {
    Head.replace(this.#response, this.#before, failure)
    this.call("end", [failure.body ?? ""])
  }

  /** A call that was made upon the response. */
  call(name: Name, args: ReadonlyArray<unknown>): unknown {
    switch (this.#state) {
      case "idle":
        return this.begin(name, args)
      case "committing":
        return this.keep(name, args)
      case "passed":
        return this.pass(name, args)
      case "replaced":
        return this.drop(name, args)
    }
  }

  /** The connection is gone, or the response is over. */
  close(): void {
    if (this.#state !== "idle") return
    this.#state = "passed"
    const late = this.#response.headersSent
    void this.settle(late ? "late" : "aborted")
  }

  private pass(name: Name, args: ReadonlyArray<unknown>): unknown {
    // Over HTTP/2, Node sends octets that nobody wrote for an empty text after other writes. To it, nothing is the same.
    const given = name === "end" && args[0] === "" ? [undefined, ...args.slice(1)] : args
    return Reflect.apply(this.#originals[name], this.#response, given)
  }

  private begin(name: Name, args: ReadonlyArray<unknown>): unknown {
    // Node refuses these before it does anything.
    if (isRefused(name, args)) return this.pass(name === "end" ? "write" : name, args)
    if (this.#response.headersSent) return this.beginLate(name, args)
    let call: readonly [Name, ReadonlyArray<unknown>] = [name, args]
    if (name === "writeHead") call = [name, this.absorb(args)]
    this.#state = "committing"
    const settling = this.settle(this.#response.destroyed ? "aborted" : "success")
    if (settling === undefined) return this.open() ? this.pass(...call) : this.drop(...call)
    void settling.then(() => this.release())
    this.cover()
    return this.keep(...call)
  }

  private absorb([status, second, third]: ReadonlyArray<unknown>): ReadonlyArray<unknown> {
    const isReason = typeof second === "string"
    Head.absorb(this.#response, isReason ? third : third ?? second)
    return isReason ? [status, second] : [status]
  }

  // The head was written by code that the gate does not see: no cookie can follow it.
  private beginLate(name: Name, args: ReadonlyArray<unknown>): unknown {
    this.#state = "passed"
    void Promise.resolve(this.settle("late")).then(() => {
      if (this.#settled.failure !== undefined) this.#response.destroy(new Error(past))
    })
    return this.pass(name, args)
  }

  private settle(ending: Exclude<Ending, "failure">): Promise<void> | undefined {
    for (let hook = this.#hooks.pop(); hook !== undefined; hook = this.#hooks.pop()) {
      const settled = hook.settle(ending === "success" && this.#failed ? "failure" : ending)
      if (settled instanceof Promise) {
        return settled.then((settled) => {
          this.take(settled)
          return this.settle(ending)
        })
      }
      this.take(settled)
    }
    return undefined
  }

  private take(settled: Settled): void {
    const { cookies, failure, vary } = settled
    this.#failed ||= failure !== undefined
    if (this.#settled === untouched) {
      this.#settled = settled
      return
    }
    this.#settled = {
      vary: vary || this.#settled.vary,
      cookies: cookies.length === 0 ? this.#settled.cookies : [...this.#settled.cookies, ...cookies],
      failure: failure ?? this.#settled.failure
    }
  }

  /** Lets the response go, or the error that takes its place. Tells whether it was the response. */
  private open(): boolean {
    const { failure } = this.#settled
    this.#state = "passed"
    if (failure !== undefined) Head.replace(this.#response, this.#before, failure)
    Head.dress(this.#response, this.#settled)
    if (failure === undefined) return true
    this.pass("end", [failure.body ?? ""])
    this.#state = "replaced"
    return false
  }

  private keep(name: Name, args: ReadonlyArray<unknown>): unknown {
    if (name === "writeHead" && this.#kept.length > 0) return tooLate()
    if (isRefused(name, args)) return this.pass("write", args)
    this.#kept.push([name, args])
    if (name === "write" && !this.#ended) {
      // Whoever only ends a response does not ask how much of it waits.
      if (!this.#streams) {
        this.#streams = true
        this.appear("writableLength")
        this.appear("writableNeedDrain")
      }
      const [chunk] = args
      if (isChunk(chunk)) this.#octets += chunk.length
      const isFull = this.#response.writableLength >= this.#response.writableHighWaterMark
      this.#starved ||= isFull
      return !isFull
    }
    if (name === "end") this.#ended = true
    return this.#response
  }

  /** What was kept is lost: an error was sent instead. Whoever still writes is not held up by that. */
  private drop(name: Name, args: ReadonlyArray<unknown>): unknown {
    const callback = args.find(isCallback)
    if (callback !== undefined) queueMicrotask(() => callback())
    return name === "write" ? true : this.#response
  }

  private release(): void {
    this.uncover()
    this.#response.statusCode = this.#status
    try {
      const passed = this.open()
      for (const [name, args] of this.#kept.splice(0)) {
        if (passed) this.pass(name, args)
        else this.drop(name, args)
      }
    } catch (error) {
      // The first call would have thrown; by now nobody is there to catch it.
      this.#state = "passed"
      this.#response.destroy(error instanceof Error ? error : undefined)
    }
    if (this.#starved && !this.#ended && !this.#response.writableNeedDrain) this.#response.emit("drain")
  }

  // Until it is committed, a response has begun for whoever looks at it. A prototype that says so would cost more than
  // many a commit, and so would properties that are taken away again: what is put upon the response stays.
  private cover(): void {
    const response = this.#response
    this.#kept = []
    this.#status = response.statusCode
    this.#length = response.writableLength
    this.#changers = changersOf(response)
    response.setHeader = response.appendHeader = response.removeHeader = tooLate
    if (this.#changers._implicitHeader !== undefined) response._implicitHeader = ignored
    this.appear("headersSent")
    this.appear("writableEnded")
  }

  private uncover(): void {
    const response = this.#response
    const changers = this.#changers
    if (changers === undefined) return
    // What others have put upon it meanwhile is theirs.
    if (response.setHeader === tooLate) response.setHeader = changers.setHeader
    if (response.appendHeader === tooLate) response.appendHeader = changers.appendHeader
    if (response.removeHeader === tooLate) response.removeHeader = changers.removeHeader
    if (response._implicitHeader === ignored && changers._implicitHeader !== undefined) {
      response._implicitHeader = changers._implicitHeader
    }
    for (const [name, descriptor] of this.#covered ?? []) Reflect.defineProperty(response, name, descriptor)
  }

  private appear(name: Appearance): void {
    const response = this.#response
    if (Object.hasOwn(response, name)) {
      // Other code has put it upon the response itself, and gets it back.
      this.#covered ??= new Map()
      this.#covered.set(name, Object.getOwnPropertyDescriptor(response, name)!)
    }
    // Other code may have made it so that it stays as it is.
    Reflect.defineProperty(response, name, appearances[name])
  }

  /** How far along the response looks. */
  look(name: Appearance): unknown {
    if (this.#state !== "committing") return Reflect.get(Object.getPrototypeOf(this.#response), name, this.#response)
    switch (name) {
      case "headersSent":
        return true
      case "writableEnded":
        return this.#ended
      case "writableLength":
        return this.#length + this.#octets
      case "writableNeedDrain":
        return this.#starved && !this.#ended
    }
  }
}

/** What is wrong with a response whose session cannot be committed any more. */
export const past = "A response has begun past the session middleware, and changes of its session are lost"

// Arguments that Node throws for.
const isRefused = (name: Name, [first]: ReadonlyArray<unknown>): boolean => {
  switch (name) {
    case "write":
      return !isChunk(first)
    case "end":
      return first !== undefined && first !== null && !isChunk(first) && !isCallback(first)
    case "writeHead":
      return !(Number(first) >= 100 && Number(first) < 1000)
    case "flushHeaders":
      return false
  }
}
