/**
 * Completes `package-lock.json` with the platform packages that a registry does not offer.
 *
 * Tools with native parts (dprint, oxlint) name one optional package per platform. Where a registry lacks some of them,
 * npm leaves them out of the lock file it writes, and `npm ci` then refuses that file (npm/cli#9846). Their versions are
 * pinned by the tool, and their names say for which machine they are: all that npm needs to pass over them.
 */
import { readFileSync, writeFileSync } from "node:fs"

const path = new URL("../package-lock.json", import.meta.url)
const lock = JSON.parse(readFileSync(path, "utf8"))

const platform = (name) => {
  const match = /(android|darwin|freebsd|linux|openharmony|win32)-([a-z]+\d*x?(?:64|32)?)(?:-(.+))?$/.exec(name)
  if (match === null) throw new Error(`Cannot tell the platform of ${name} from its name`)
  const [, os, cpu, abi = ""] = match
  return { os: [os], cpu: [cpu], libc: os === "linux" ? [abi.startsWith("musl") ? "musl" : "glibc"] : undefined }
}

const added = []
for (const [owner, { dev, optionalDependencies }] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies ?? {})) {
    if (`node_modules/${name}` in lock.packages || `${owner}/node_modules/${name}` in lock.packages) continue
    if (!/^\d+\.\d+\.\d+$/.test(version)) throw new Error(`${owner} does not pin ${name} to one version: ${version}`)
    const { cpu, libc, os } = platform(name)
    // The order in which npm itself writes these fields.
    lock.packages[`node_modules/${name}`] = { version, cpu, dev, libc, optional: true, os }
    added.push(`${name}@${version}`)
  }
}

lock.packages = Object.fromEntries(Object.entries(lock.packages).toSorted(([a], [b]) => a.localeCompare(b, "en")))
writeFileSync(path, `${JSON.stringify(lock, undefined, 2)}\n`)
console.log(added.length === 0 ? "The lock file is complete." : `Added ${added.length}: ${added.join(", ")}`)
