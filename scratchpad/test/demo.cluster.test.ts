import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { once } from "node:events"
import { createServer } from "node:net"
import { setTimeout } from "node:timers/promises"
import * as Demo from "./Demo.ts"
import * as DemoCluster from "./DemoCluster.ts"
import { isRunning, json, login, send, until, username } from "./DemoCluster.ts"

describe("three nodes", () => {
  let cluster: DemoCluster.Cluster
  let a: DemoCluster.Node
  let b: DemoCluster.Node
  let c: DemoCluster.Node

  beforeAll(async () => {
    cluster = await DemoCluster.start()
    ;[a, b, c] = cluster.nodes
  })
  afterAll(async () => {
    await DemoCluster.end(cluster)
    assert.strictEqual(cluster.demo.output.stderr, "")
  })

  it("are processes of their own, which the program names in one line each", async () => {
    assert.strictEqual(new Set([cluster.demo.child.pid, cluster.redis, a.pid, b.pid, c.pid]).size, 5)
    for (const node of cluster.nodes) {
      const answer = (await json(node, "/api/node")).node
      assert.deepStrictEqual([answer.name, answer.pid], [node.name, node.pid])
      assert.deepStrictEqual(answer.nodes, cluster.nodes.map((node) => ({ ...node, alive: true })))
    }
    assert.match(
      cluster.demo.output.stdout,
      /^A redis-server [^\n]*\nDemo with the cluster store on 3 nodes [^\n]*\n( {2}node [abc]: http:\/\/localhost:\d+, process \d+\n){3}kill -9[^\n]*\n$/
    )
  })

  it("have the same session: who signs in on one is signed in on all", async () => {
    const cookie = await login(b)
    for (const node of cluster.nodes) assert.strictEqual(await username(node, cookie), "ada")
    await send(a, "POST", "/api/counter", cookie)
    for (const node of [c, b, a]) {
      // What another node holds from before is gone when it has heard of the change.
      await until(async () => (await json(node, "/api/me", cookie)).counter === 1)
    }
    for (const node of cluster.nodes) assert.strictEqual((await send(node, "GET", "/readyz")).status, 200)
  })

  it("end the session together: who signs out on one is told so on the others at once", async () => {
    const cookie = await login(a)
    const streams = await Promise.all([b, c].map((node) => send(node, "GET", "/api/events", cookie)))
    const ends = Promise.all(streams.map((stream) => stream.text()))
    for (const stream of streams) assert.strictEqual(stream.headers.get("content-type"), "text/event-stream")
    for (const node of [b, c]) assert.strictEqual(await username(node, cookie), "ada")
    assert.strictEqual((await send(a, "POST", "/api/logout", cookie)).status, 204)
    const second = setTimeout(1000, "not within a second" as const, { ref: false })
    assert.deepStrictEqual(
      await Promise.race([ends, second]),
      Array(2).fill("event: begun\ndata:\n\nevent: ended\ndata:\n\n")
    )
    for (const node of cluster.nodes) assert.isNull(await username(node, cookie))
  })

  it("end all sessions of a user together, and nobody else's", async () => {
    const [one, two, other] = [await login(a, "bob"), await login(b, "bob"), await login(c, "eve")]
    for (const cookie of [one, two, other]) assert.isNotNull(await username(c, cookie))
    assert.strictEqual((await send(a, "POST", "/api/logout-everywhere", one)).status, 204)
    for (const cookie of [one, two]) {
      for (const node of cluster.nodes) await until(async () => (await username(node, cookie)) === null)
    }
    for (const node of cluster.nodes) assert.strictEqual(await username(node, other), "eve")
  })

  it("lose none of 100 increments at once", async () => {
    const cookie = await login(a)
    for (const node of cluster.nodes) await username(node, cookie)
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => send(cluster.nodes[i % 3], "POST", "/api/counter", cookie))
    )
    assert.deepStrictEqual(answers.filter(({ status }) => status !== 200), [])
    const counters = await Promise.all(answers.map(async (answer) => (await answer.json()).counter))
    assert.deepStrictEqual(counters.toSorted((x, y) => x - y), Array.from({ length: 100 }, (_, i) => i + 1))
    for (const node of cluster.nodes) {
      await until(async () => (await json(node, "/api/me", cookie)).counter === 100)
    }
  })

  it("say whether a copy answered and how old it is, and what has been counted", async () => {
    const cookie = await login(a)
    const at = async (node: DemoCluster.Node) => (await json(node, "/api/node", cookie)).node
    assert.strictEqual((await at(c)).session.from, "miss")
    await setTimeout(50)
    const before = await at(c)
    assert.strictEqual(before.session.from, "hit")
    assert.isAtLeast(before.session.age, 50)
    assert.strictEqual(before.trust, "full")
    assert.isAtLeast(before.copies, 1)
    await send(b, "POST", "/api/counter", cookie)
    await until(async () => (await at(c)).counter === 1)
    const after = await at(c)
    assert.isAbove(after.hits, before.hits)
    assert.isAbove(after.misses, before.misses)
    assert.isAbove(after.invalidationsIn, before.invalidationsIn)
    assert.isAbove((await at(b)).invalidationsOut, 0)
    // Who has no session has no copy, and no end to wait for.
    assert.isNull((await json(c, "/api/node")).node.session)
    assert.strictEqual((await send(c, "GET", "/api/events")).status, 401)
  })

  it("take writes of their own pages, and none of other ports, which are other origins", async () => {
    const cookie = await login(a)
    for (const node of cluster.nodes) {
      const own = { origin: node.url, "sec-fetch-site": "same-origin" }
      assert.strictEqual((await send(node, "POST", "/api/counter", cookie, own)).status, 200)
      // As of a browser that says nothing but the origin.
      assert.strictEqual((await send(node, "POST", "/api/counter", cookie, { origin: node.url })).status, 200)
      const { url } = cluster.nodes.find(({ name }) => name !== node.name) ?? node
      const sibling = { origin: url, "sec-fetch-site": "same-site" }
      assert.strictEqual((await send(node, "POST", "/api/counter", cookie, sibling)).status, 403)
      assert.strictEqual((await send(node, "GET", "/", cookie, sibling)).status, 200)
    }
  })
})

describe("the program with several nodes", () => {
  it("goes on without a node that was killed, and says so", async () => {
    const cluster = await DemoCluster.start()
    const [a, b, c] = cluster.nodes
    const cookie = await login(b)
    for (const node of [a, c]) assert.strictEqual(await username(node, cookie), "ada")
    process.kill(b.pid, "SIGKILL")
    await until(() => cluster.demo.output.stdout.includes(`Node b, process ${b.pid}, has ended.`))
    for (const node of [a, c]) {
      assert.strictEqual(await username(node, cookie), "ada")
      await until(async () => !(await json(node, "/api/node")).node.nodes[1].alive)
      // Nobody knows what the dead node might have wanted to say: for a while only young copies are used.
      await until(async () => (await json(node, "/api/node")).node.trust === 1000)
    }
    assert.strictEqual((await send(a, "POST", "/api/counter", cookie)).status, 200)
    await until(async () => (await json(c, "/api/me", cookie)).counter === 1)
    assert.strictEqual((await send(c, "POST", "/api/logout", cookie)).status, 204)
    await until(async () => (await username(a, cookie)) === null)
    await DemoCluster.end(cluster)
    assert.strictEqual(cluster.demo.output.stderr, "")
  })

  // A terminal sends it to every process.
  it("leaves no process behind on Ctrl-C, with requests, streams and a frozen node", async () => {
    const cluster = await DemoCluster.start("--nodes", "2")
    const [a, b] = cluster.nodes
    const cookie = await login(a)
    const under = [
      send(a, "GET", "/api/slow?delay=10000", cookie).then(() => {}, () => {}),
      send(a, "GET", "/api/events", cookie).then((stream) => stream.text()).then(() => {}, () => {})
    ]
    await setTimeout(50)
    process.kill(b.pid, "SIGSTOP")
    for (const pid of [a.pid, b.pid, cluster.redis]) process.kill(pid, "SIGINT")
    await DemoCluster.end(cluster, "SIGINT")
    await Promise.all(under)
  })

  it("leaves no node behind when it is killed itself", async () => {
    const cluster = await DemoCluster.start("--nodes", "2")
    cluster.demo.child.kill("SIGKILL")
    await until(() => cluster.nodes.every(({ pid }) => !isRunning(pid)))
    // A program that is killed can end no server.
    if (isRunning(cluster.redis)) process.kill(cluster.redis, "SIGKILL")
    await cluster.demo.ended
  })

  it("ends when no node is left, and takes its server away", async () => {
    const cluster = await DemoCluster.start("--nodes", "1")
    process.kill(cluster.nodes[0].pid, "SIGKILL")
    assert.strictEqual(await cluster.demo.ended, 1)
    assert.strictEqual(cluster.demo.output.stderr, "No node is left.\n")
    assert.deepStrictEqual(DemoCluster.left(cluster), [])
  })

  it("listens on ports in a row, and says which one is taken", async () => {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    const taken = typeof address === "object" && address !== null ? address.port : 0
    const demo = Demo.run("--store", "cluster", "--nodes", "2", "--port", String(taken - 1))
    assert.strictEqual(await demo.ended, 1)
    server.close()
    assert.match(demo.output.stderr, new RegExp(`^Port ${taken} is taken[^\\n]*\\n$`))
    assert.isFalse(isRunning(Number(/kill -STOP (\d+)/.exec(demo.output.stdout)?.[1])))
  })

  it("says so when there is no server at the given address", async () => {
    const demo = Demo.run("--store", "cluster", "--port", "0", "--redis-url", "redis://:pass-word@127.0.0.1:1")
    assert.strictEqual(await demo.ended, 1)
    assert.match(demo.output.stderr, /^[^\n]+\n$/)
    assert.notInclude(demo.output.stderr, "pass-word")
  })

  it.each([
    { args: ["--store", "cluster", "--nodes", "0"], says: /from 1 to 9/ },
    { args: ["--store", "cluster", "--nodes", "three"], says: /from 1 to 9/ },
    { args: ["--store", "cluster", "--nodes", "3", "--port", "65534"], says: /no 3 ports from 65534/ },
    { args: ["--nodes", "3"], says: /--store cluster/ }
  ])("refuses $args and says what there is", async ({ args, says }) => {
    const demo = Demo.run(...args)
    assert.strictEqual(await demo.ended, 1)
    assert.match(demo.output.stderr, says)
    assert.strictEqual(demo.output.stdout, "")
  })
})
