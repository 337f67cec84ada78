/**
 * Makes sure that the programs the tests need are there: installs them with apt where it may, else says how.
 */
import { spawnSync } from "node:child_process"
import { accessSync, constants, readdirSync } from "node:fs"
import { delimiter, join } from "node:path"

const programs = [
  { command: "redis-server", package: "redis-server", why: "integration tests of packages/redis" },
  { command: "postgres", package: "postgresql", why: "integration tests of packages/sql" },
  { command: "nginx", package: "nginx", why: "tests behind a shared cache" },
  { command: "chromium", package: "chromium", why: "browser tests" },
  { command: "curl", package: "curl", why: "examples of the documentation" }
]

// Debian puts servers where the path of most users does not lead, and each version of PostgreSQL where none does.
const versions = () => {
  try {
    return readdirSync("/usr/lib/postgresql").map((version) => join("/usr/lib/postgresql", version, "bin"))
  } catch {
    return []
  }
}
const found = (command) =>
  [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", ...versions()].some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })

const stop = (message) => {
  console.error(`\n${message}\n`)
  process.exit(1)
}

const [major, minor] = process.versions.node.split(".").map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  stop(
    `Node ${process.versions.node} is too old: 22.19 or newer is needed. Run this through npm, after \`npm ci\`, which
brings a Node of its own: \`npm test\`.`
  )
}

// A policy that refuses to start services keeps Debian from running a Redis of its own.
const install = `
set -e
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update
apt-get install -y --no-install-recommends "$@"
`

const missing = programs.filter(({ command }) => !found(command))
if (missing.length > 0) {
  const packages = missing.map((program) => program.package)
  const list = missing.map(({ command, why }) => `  ${command} (${why})`).join("\n")
  const root = process.getuid?.() === 0
  const sudo = !root && found("sudo") && spawnSync("sudo", ["-n", "true"]).status === 0
  if (!found("apt-get") || !(root || sudo)) {
    stop(
      `The tests need programs that are not on PATH:\n${list}\nOn Debian or Ubuntu, install them with:\n  ${
        root ? "" : "sudo "
      }apt-get update && ${root ? "" : "sudo "}apt-get install -y ${packages.join(" ")}\nThen run the tests again.`
    )
  }
  console.log(`Installing with apt-get:\n${list}`)
  const shell = ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", install, "install", ...packages]
  const [command, ...args] = root ? shell : ["sudo", "-n", ...shell]
  const { status } = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] })
  const still = missing.filter((program) => !found(program.command))
  if (status !== 0 || still.length > 0) {
    stop(`apt-get could not install ${packages.join(" ")} (see above). Install them, then run the tests again.`)
  }
}

console.log(`Node ${process.versions.node}, ${programs.map(({ command }) => command).join(", ")}: all there.`)
