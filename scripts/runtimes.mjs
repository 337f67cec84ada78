/**
 * Runs one application with sessions on Bun, on Deno and on workerd, the runtime of Cloudflare Workers, and checks it
 * from outside. npm brings the runtimes into `.artifacts/runtimes`, about 350 MB, and nothing else of them is kept.
 *
 * `node scripts/runtimes.mjs deno` runs one of them.
 */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { globSync, mkdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { check } from "./runtimes/check.mjs"

const programs = join(import.meta.dirname, "runtimes")
const folder = join(import.meta.dirname, "..", ".artifacts", "runtimes")
const packages = { bun: "1.4.5", deno: "2.9.6", workerd: "1.20261117.1", rolldown: "1.2.19" }

const config = (port) => `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .main)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
const main :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "worker.mjs")],
  compatibilityDate = "2026-11-01"
);
`

// One file without a single import: nothing of Node is in it.
const bundle = async () => {
  const { rolldown } = await import(pathToFileURL(join(folder, "node_modules/rolldown/dist/index.mjs")).href)
  const input = await rolldown({ input: join(programs, "worker.mjs"), platform: "browser" })
  const { output: [{ imports }] } = await input.write({ file: join(folder, "worker.mjs"), format: "esm" })
  if (imports.length > 0) throw new Error(`The bundle imports ${imports.join(", ")}`)
}

const runtimes = {
  bun: { binary: "@oven/bun-*/bin/bun", start: () => [join(programs, "bun.mjs")] },
  deno: {
    binary: "@deno/*/deno",
    start: () => ["run", "--allow-all", "--node-modules-dir=manual", join(programs, "deno.mjs")]
  },
  workerd: {
    binary: "@cloudflare/workerd-*/bin/workerd",
    start: async (port) => {
      await bundle()
      writeFileSync(join(folder, "worker.capnp"), config(port))
      return ["serve", join(folder, "worker.capnp")]
    }
  }
}

const freePort = async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address()
  server.close()
  await once(server, "close")
  return port
}

const answers = async (origin, child) => {
  while (child.exitCode === null) {
    const there = await fetch(origin, { signal: AbortSignal.timeout(500) }).then(() => true, () => false)
    if (there) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`It ended with ${child.exitCode}`)
}

const wanted = process.argv.slice(2)
const chosen = Object.entries(runtimes).filter(([name]) => wanted.length === 0 || wanted.includes(name))
mkdirSync(folder, { recursive: true })
writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, dependencies: packages }))
execFileSync("npm", ["install", "--silent", "--no-audit", "--ignore-scripts", "--no-package-lock"], {
  cwd: folder,
  stdio: "inherit"
})

for (const [name, { binary, start }] of chosen) {
  const [path] = globSync(join(folder, "node_modules", binary)).filter((path) => !/musl|baseline/.test(path))
  execFileSync("chmod", ["+x", path])
  const version = execFileSync(path, ["--version"], { encoding: "utf8" }).split("\n")[0]
  const port = await freePort()
  const child = spawn(path, await start(port), {
    env: { ...process.env, PORT: String(port) },
    stdio: ["ignore", "ignore", "inherit"]
  })
  try {
    const origin = `http://127.0.0.1:${port}`
    await answers(origin, child)
    for (const mode of ["memory", "cookie"]) await check(fetch, origin, mode)
    console.log(`${name} (${version}): ok`)
  } finally {
    child.kill()
  }
}
