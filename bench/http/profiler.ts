/**
 * Commands of a child process that profiles itself.
 */
import { Session } from "node:inspector/promises"

const inspector = new Session()

/** Begins to take samples, ten in a millisecond. */
export const profile = async (): Promise<void> => {
  inspector.connect()
  await inspector.post("Profiler.enable")
  await inspector.post("Profiler.setSamplingInterval", { interval: 100 })
  await inspector.post("Profiler.start")
}

/** Ends that, and returns what was seen. */
export const profiled = async () => {
  const { profile } = await inspector.post("Profiler.stop")
  inspector.disconnect()
  return profile
}
