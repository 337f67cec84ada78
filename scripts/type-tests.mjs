/**
 * Runs the type tests, the `*.tst.ts` files in the `typetest` folder of each package, with tstyche.
 *
 * tstyche needs the compiler API, which TypeScript 7 does not have. TypeScript 6 cannot stand beside it in `node_modules`,
 * because both want to be `tsc`, so npm puts it into a folder of its own.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync } from "node:fs"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"

const version = "6.0.3"
const folder = resolve("node_modules/.cache", `typescript-${version}`)
const module = join(folder, "node_modules/typescript/lib/typescript.js")

if (!existsSync(module)) {
  mkdirSync(folder, { recursive: true })
  const install = ["install", "--prefix", folder, "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"]
  spawnSync("npm", [...install, `typescript@${version}`], { stdio: ["ignore", "inherit", "inherit"] })
  if (!existsSync(module)) {
    console.error(`npm could not install TypeScript ${version}, which the type tests need (see above).`)
    process.exit(1)
  }
}

const { status } = spawnSync("tstyche", process.argv.slice(2), {
  stdio: ["ignore", "inherit", "inherit"],
  env: { ...process.env, TSTYCHE_TYPESCRIPT_MODULE: pathToFileURL(module).href, TSTYCHE_NO_INTERACTIVE: "true" }
})
process.exit(status ?? 1)
