/**
 * Sealing and opening: against bare `node:crypto` for octets, and against
 * `@fastify/secure-session` and `iron-session` for session data in a cookie.
 *
 *     node bench/seal.ts [--rounds=21] [--times=5000] [--group=octets,cookie] [--unique=1000000]
 *
 * The bare twin is AES-256-GCM under a prepared KeyObject, with a random nonce
 * and associated data of the same length. Each contender has a process of its
 * own, as what it leaves behind for the garbage collector would fall on the next
 * one; they take turns, each round in another order. Printed are medians of the
 * rounds: processor time of all threads for each operation, and its ratio to that
 * of the first contender in the same round. libsodium is measured where it has a
 * build for the machine.
 *
 * `--unique` also seals that many values and looks for a nonce that comes twice.
 */
import * as Effect from "effect/Effect"
import * as CryptoNode from "../packages/core/src/CryptoNode.ts"
import { type Child, start } from "./http/child.ts"
import { context, groups, operations, service, share } from "./seal/contenders.ts"
import type { WorkerCommands } from "./seal/worker.ts"

const text = (name: string): string | undefined =>
  process.argv.find((argument) => argument.startsWith(`--${name}=`))?.slice(name.length + 3)
const option = (name: string, or: number): number => Number(text(name) ?? or)

const rounds = option("rounds", 21)
const times = option("times", 5_000)
const unique = option("unique", 0)
const wanted = text("group")?.split(",")

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >>> 1]

const print = (...cells: ReadonlyArray<string>) =>
  process.stdout.write(`${cells.map((cell, i) => i === 0 ? cell.padEnd(36) : cell.padStart(12)).join("")}\n`)

const measure = async (group: keyof typeof groups) => {
  const workers = new Map<string, Child<WorkerCommands>>()
  for (const name of Object.keys(groups[group])) {
    const worker = start<WorkerCommands>("../seal/worker.ts", 0)
    if (await worker.call("start", { group, name })) workers.set(name, worker)
    else {
      await worker.stop()
      process.stderr.write(`${name} cannot run here\n`)
    }
  }
  const names = [...workers.keys()]
  for (const operation of operations) {
    for (const size of [200, 2_048]) {
      const run = (name: string, factor: number) =>
        workers.get(name)!.call("run", { operation, size, times: Math.ceil(times * factor * share(name)) })
      const results = new Map<string, Array<number>>(names.map((name) => [name, []]))
      for (const name of names) await run(name, 4)
      for (let round = 0; round < rounds; round++) {
        for (let turn = 0; turn < names.length; turn++) {
          const name = names[(turn + round) % names.length]
          results.get(name)!.push(await run(name, 1))
        }
      }
      const base = results.get(names[0])!
      print(`\n${operation}, ${size} octets`, "us CPU", "ratio")
      for (const [name, values] of results) {
        const ratio = median(values.map((value, round) => value / base[round]))
        print(name, median(values).toFixed(2), ratio.toFixed(2))
      }
    }
  }
  for (const worker of workers.values()) await worker.stop()
}

for (const group of ["octets", "cookie"] as const) {
  if (wanted === undefined || wanted.includes(group)) await measure(group)
}

if (unique > 0) {
  const crypto = await service(CryptoNode.layer, "aes256Gcm")
  // One salt for all of them: the nonce alone must differ. Numbers of 48 bits go into sets without their text.
  const seen = new Map<number, Set<number>>()
  let count = 0
  const empty = new Uint8Array(0)
  await Effect.runPromise(Effect.gen(function*() {
    for (let i = 0; i < unique; i++) {
      const sealed = Buffer.from(yield* crypto.seal(context, empty))
      const [first, second] = [sealed.readUIntBE(36, 6), sealed.readUIntBE(42, 6)]
      let others = seen.get(first)
      if (others === undefined) seen.set(first, others = new Set())
      if (!others.has(second)) count++
      others.add(second)
    }
  }))
  print(`\n${unique} seals under one salt`, `${count} nonces`)
}
