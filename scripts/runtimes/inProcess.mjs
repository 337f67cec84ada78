/** Checks the application in the process that runs this. */
import { close, fetch } from "./app.mjs"
import { check } from "./check.mjs"

for (const mode of ["memory", "cookie"]) {
  await check(fetch, "https://app.test", mode)
  console.log(mode)
}
await close()
