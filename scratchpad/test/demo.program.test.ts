import { assert, describe, it } from "@effect/vitest"
import { once } from "node:events"
import { connect } from "node:net"
import * as Demo from "./Demo.ts"

describe("the program", () => {
  it("says in one line where it is and how to sign in", async () => {
    const demo = Demo.run("--port", "0", "--store", "memory")
    const url = await Demo.address(demo)
    const { hostname } = new URL(url)
    assert.strictEqual(hostname, "localhost")
    assert.strictEqual((await fetch(url)).status, 200)
    assert.strictEqual((await fetch(url.replace("localhost", "127.0.0.1"))).status, 200)
    assert.strictEqual(await Demo.end(demo), 0)
    assert.match(demo.output.stdout, /^[^\n]*http:\/\/localhost:\d+[^\n]*password "demo"[^\n]*\n$/)
    assert.strictEqual(demo.output.stderr, "")
  })

  it.each(["SIGINT", "SIGTERM"] as const)(
    "ends cleanly on %s, also with requests and connections open",
    async (signal) => {
      const demo = Demo.run("--port", "0")
      const url = await Demo.address(demo)
      const { port } = new URL(url)
      // As browsers do: a connection that is open and not used. And one that is in the middle of a request.
      const connections = [connect(Number(port), "127.0.0.1"), connect(Number(port), "127.0.0.1")]
      await Promise.all(connections.map((connection) => once(connection, "connect")))
      connections[1].on("error", () => {}).write("POST /api/login HTTP/1.1\r\nhost: local")
      const waiting = fetch(`${url}/api/slow?delay=10000`).then(({ status }) => status, () => 0)
      const stream = await fetch(`${url}/api/stream?ms=10000`)
      assert.strictEqual(stream.status, 200)
      const read = stream.text().then(() => {}, () => {})
      assert.strictEqual(await Demo.end(demo, signal), 0)
      assert.strictEqual(demo.output.stderr, "")
      await Promise.all([waiting, read])
      for (const connection of connections) connection.destroy()
    }
  )

  it("says so when the port is taken", async () => {
    const first = Demo.run("--port", "0")
    const { port } = new URL(await Demo.address(first))
    const second = Demo.run("--port", port)
    assert.strictEqual(await second.ended, 1)
    assert.strictEqual(second.output.stdout, "")
    assert.match(second.output.stderr, new RegExp(`^Port ${port} is taken[^\\n]*\\n$`))
    await Demo.end(first)
  })

  it.each([
    { args: ["--store", "paper"], says: /^There is no store "paper"[^\n]*memory/ },
    { args: ["--port", "http"], says: /^There is no port "http"/ },
    { args: ["--port", "65536"], says: /^There is no port "65536"/ },
    { args: ["--prot", "1"], says: /--prot[^]*Usage/ },
    { args: ["now"], says: /now[^]*Usage/ }
  ])("refuses $args and says what there is", async ({ args, says }) => {
    const demo = Demo.run(...args)
    assert.strictEqual(await demo.ended, 1)
    assert.match(demo.output.stderr, says)
    assert.strictEqual(demo.output.stdout, "")
  })

  it("explains itself", async () => {
    const demo = Demo.run("--help")
    assert.strictEqual(await demo.ended, 0)
    assert.match(demo.output.stdout, /--port[^]*--store/)
  })
})
