/**
 * The Redis store against a bare `ioredis` with the same octets, and against `connect-redis`.
 *
 *     npm run bench -- redis [--rounds=15] [--millis=100] [--lanes=1,64,512]
 *                            [--only=ioredis,effect-session] [--operations=read,write,rolling] [--profile=30]
 *
 * Needs `redis-server`. Each contender has a process, on a core that Redis does not use; they take turns of a tenth of
 * a second, in an order that changes. Ratios are medians of the ratios of one round: those can be compared between
 * machines. `--profile` prints that many functions where the client spends its time instead.
 */
import * as Options from "./http/options.ts"
import { contenders, type Name, type Operation, operations } from "./redis/contenders.ts"
import { cpuOf, startRedis } from "./redis/server.ts"
import { compare, profile, startWorkers } from "./stores/report.ts"

const rounds = Options.number("rounds", 15)
const millis = Options.number("millis", 100)
const lanes = Options.some("lanes", ["1", "64", "512"]).map(Number)
const names = Options.some("only", Object.keys(contenders) as ReadonlyArray<Name>)
const tested = Options.some("operations", operations)
const warmUp = Options.number("warmup", 1500)
const profiled = process.argv.some((argument) => argument.startsWith("--profile="))

const redis = await startRedis()
const workers = await startWorkers<Name, Operation>("../redis/worker.ts", names, redis.port)
const cases = { workers, operations: tested, lanes }
if (profiled) await profile(cases, Options.number("profile", 30))
else {
  const server = { name: "Redis", cpu: () => cpuOf(redis) }
  await compare({ ...cases, against: names.slice(0, 1), rounds, millis, warmUp, server })
}
for (const { child } of workers) await child.stop()
await redis.stop()
