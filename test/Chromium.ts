import { accessSync, constants } from "node:fs"
import { delimiter, join } from "node:path"
import { type Browser, chromium } from "playwright-core"

const onPath = (): string => {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    try {
      accessSync(join(folder, "chromium"), constants.X_OK)
      return join(folder, "chromium")
    } catch {
      // Not in this one.
    }
  }
  throw new Error("There is no chromium on PATH: apt-get install chromium")
}

/** Starts the Chromium that is on PATH, without a window and without talking to the network by itself. */
export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: onPath(),
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync"
    ]
  })
