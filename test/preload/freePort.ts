/**
 * Preloaded into a program under test: whatever port it listens on, it gets a free one, and tells its parent which. A
 * connection to the usual port of Redis goes to the socket in `REDIS_SOCKET`, one to that of PostgreSQL to
 * `POSTGRES_PORT`.
 */
import { type ListenOptions, Server, Socket } from "node:net"

const listen = Server.prototype.listen
Server.prototype.listen = function(this: Server, ...args: ReadonlyArray<unknown>) {
  const options: ListenOptions = typeof args[0] === "object" ? { ...args[0], port: 0 } : { port: 0 }
  const listening = args.find((argument) => typeof argument === "function")
  this.once("listening", () => {
    const address = this.address()
    if (typeof address === "object" && address !== null) process.send?.({ port: address.port })
  })
  return listen.call(this, options, listening as () => void)
}

const connect = Socket.prototype.connect
Socket.prototype.connect = function(this: Socket, ...args: ReadonlyArray<unknown>) {
  // Node's own modules hand over options and callback in one array.
  const options: unknown = Array.isArray(args[0]) ? args[0][0] : args[0]
  if (typeof options === "object" && options !== null && "port" in options) {
    const port = Number(options.port)
    if (port === 6379) Object.assign(options, { path: process.env.REDIS_SOCKET, port: undefined, host: undefined })
    if (port === 5432) Object.assign(options, { port: Number(process.env.POSTGRES_PORT), host: "127.0.0.1" })
  }
  return Reflect.apply(connect, this, args)
}
