/** Commands as they are handed to the driver. */
import { Command } from "ioredis"
import type { Argument } from "../RedisClient.ts"

/** An argument as the driver takes it, which would send other views than its own as text. */
export const toBytes = (argument: Argument): string | Buffer =>
  typeof argument === "string" || Buffer.isBuffer(argument)
    ? argument
    : Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength)

// The driver makes a buffer of each piece of a command that has bytes among its arguments, and looks at each argument
// several times before it writes it.
const write = (name: string, args: ReadonlyArray<Argument>): string | Buffer => {
  let text = `*${args.length + 1}\r\n$${name.length}\r\n${name}\r\n`
  let pieces: Array<string | Uint8Array> | undefined
  let size = 0
  for (const arg of args) {
    if (typeof arg === "string") {
      text += `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`
    } else {
      text += `$${arg.length}\r\n`
      size += Buffer.byteLength(text) + arg.length
      pieces ??= []
      pieces.push(text, arg)
      text = "\r\n"
    }
  }
  if (pieces === undefined) return text
  pieces.push(text)
  const buffer = Buffer.allocUnsafe(size + Buffer.byteLength(text))
  let at = 0
  for (const piece of pieces) {
    if (typeof piece === "string") {
      at += buffer.write(piece, at)
    } else {
      buffer.set(piece, at)
      at += piece.length
    }
  }
  return buffer
}

const options = { replyEncoding: null }

class BytesCommand extends Command {
  override toWritable(): string | Buffer {
    return write(this.name, this.args.map((arg) => Buffer.isBuffer(arg) ? arg : String(arg)))
  }
}

/** A command to be sent once. */
export const commandOf = (name: string, args: ReadonlyArray<string | Buffer>): Command => {
  const command = args.some(Buffer.isBuffer)
    ? new BytesCommand(name, [...args], options)
    : new Command(name, [...args], options)
  // Else the driver's diagnostics channel shows the keys and values of scripts to every subscriber.
  command.isTraced = true
  return command
}

const nothing: [] = []
const nobodyWaits = new Promise<never>(() => {})
const nobodyCares = () => {}

/**
 * A command to be sent once, by whoever puts its own `resolve` and `reject` in: it makes no promise. It keeps its
 * arguments to itself, as the driver puts what it knows of them into errors.
 */
export class Call extends Command {
  private parts: ReadonlyArray<Argument>

  constructor(name: string, parts: ReadonlyArray<Argument>) {
    super(name, nothing, options)
    this.promise = nobodyWaits
    this.parts = parts
    this.isTraced = true
  }

  override toWritable(): string | Buffer {
    return write(this.name, this.parts)
  }

  /** It has its reply, or nobody waits for one any more. Whoever still knows of it keeps nothing else alive by it. */
  settle(): void {
    this.isSettled = true
    this.resolve = nobodyCares
    this.reject = nobodyCares
    this.parts = nothing
  }
}

// The promise of a command, and what belongs to it, takes longer to make than all the rest of a command.
Object.defineProperty(Call.prototype, "initPromise", { value: () => {} })
