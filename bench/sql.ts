/**
 * The SQL store against bare statements with the same octets on the same client, and against `connect-pg-simple`.
 *
 *     npm run bench -- sql [--rounds=11] [--millis=60] [--warmup=300] [--lanes=1,16,64]
 *                          [--only=sql-pg,effect-session] [--operations=load,save,rolling,login] [--profile=30]
 *
 * Needs `initdb` and `postgres`. Each contender has a process, on a core that PostgreSQL does not use, and ten
 * connections; they take short turns, in an order that changes. Ratios are medians of the ratios of one round: those can
 * be compared between machines. `--profile` prints that many functions where the client spends its time instead.
 */
import * as Options from "./http/options.ts"
import { contenders, type Name, type Operation, operations } from "./sql/contenders.ts"
import { cpuOf, startPostgres } from "./sql/server.ts"
import { compare, profile, startWorkers } from "./stores/report.ts"

const rounds = Options.number("rounds", 11)
const millis = Options.number("millis", 60)
const lanes = Options.some("lanes", ["1", "16", "64"]).map(Number)
const names = Options.some("only", Object.keys(contenders) as ReadonlyArray<Name>)
const tested = Options.some("operations", operations)
const warmUp = Options.number("warmup", 300)
const profiled = process.argv.some((argument) => argument.startsWith("--profile="))

const postgres = await startPostgres()
const workers = await startWorkers<Name, Operation>("../sql/worker.ts", names, postgres.port)
const cases = { workers, operations: tested, lanes }
if (profiled) await profile(cases, Options.number("profile", 30))
else {
  const server = { name: "PostgreSQL", cpu: () => cpuOf(postgres) }
  const against: ReadonlyArray<Name> = ["sql-pg", "sql-pg-multiplex", "connect-pg-simple"]
  await compare({ ...cases, against, rounds, millis, warmUp, server })
}
for (const { child } of workers) await child.stop()
await postgres.stop()
