/** The demo on several nodes, and what can be asked of them. */
import { assert } from "@effect/vitest"
import { once } from "node:events"
import { setTimeout } from "node:timers/promises"
import * as Demo from "./Demo.ts"

export interface Node {
  readonly name: string
  readonly url: string
  readonly pid: number
}

export interface Cluster {
  readonly demo: Demo.Demo
  readonly nodes: ReadonlyArray<Node>
  /** Its redis-server. */
  readonly redis: number
}

const nodeLine = /node ([a-z]): (http:\/\/localhost:\d+), process (\d+)/g

export const start = (...args: ReadonlyArray<string>): Promise<Cluster> => startWith([], ...args)

/** The same with modules that are loaded into its processes first. */
export const startWith = async (
  modules: ReadonlyArray<string>,
  ...args: ReadonlyArray<string>
): Promise<Cluster> => {
  const demo = Demo.runWith(modules, "--store", "cluster", "--port", "0", ...args)
  const died = demo.ended.then((code) =>
    Promise.reject(new Error(`The demo ended with ${code}: ${demo.output.stderr}`))
  )
  died.catch(() => {})
  // The last thing it says when all of them are there.
  while (!demo.output.stdout.includes("kill -9")) await Promise.race([once(demo.child.stdout!, "data"), died])
  const nodes = Array.from(
    demo.output.stdout.matchAll(nodeLine),
    ([, name, url, pid]) => ({ name, url, pid: Number(pid) })
  )
  return { demo, nodes, redis: Number(/kill -STOP (\d+)/.exec(demo.output.stdout)?.[1]) }
}

export const isRunning = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Waits until it holds; what does not come about fails the test when its time is over. */
export const until = async (holds: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await holds())) await setTimeout(10)
}

export const left = ({ nodes, redis }: Cluster): ReadonlyArray<number> =>
  [...nodes.map(({ pid }) => pid), redis].filter(isRunning)

/** Ends the demo, of which nothing may be left. */
export const end = async (cluster: Cluster, signal?: "SIGINT" | "SIGTERM"): Promise<void> => {
  assert.strictEqual(await Demo.end(cluster.demo, signal), 0, cluster.demo.output.stderr)
  assert.deepStrictEqual(left(cluster), [])
}

export const send = (node: Node, method: string, path: string, cookie = "", headers: Record<string, string> = {}) =>
  fetch(`${node.url}${path}`, { method, headers: { cookie, ...headers } })

/** Signs in and returns the cookie. */
export const login = async (node: Node, username = "ada"): Promise<string> => {
  const response = await fetch(`${node.url}/api/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username, password: "demo" })
  })
  assert.strictEqual(response.status, 200)
  return response.headers.getSetCookie()[0].split(";")[0]
}

export const json = async (node: Node, path: string, cookie = "") => (await send(node, "GET", path, cookie)).json()

/** Who is signed in there. */
export const username = async (node: Node, cookie: string): Promise<string | null> =>
  (await json(node, "/api/me", cookie)).username
