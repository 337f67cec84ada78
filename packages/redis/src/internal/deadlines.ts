/**
 * Fails the commands of a connection that get no reply in time. One timer for
 * all costs less than one each: replies come in the order of the commands.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Command } from "ioredis"

export interface Deadlines {
  /** Begins a turn of the event loop. */
  readonly turn: () => void
  /** Adds a command to the turn. */
  readonly add: (command: Command) => void
  /** Watches the time. */
  readonly run: Effect.Effect<never>
}

interface Turn {
  readonly at: number
  readonly commands: Array<Command>
}

// Looks at the last first: all the others have their replies before it, unless it was refused here.
const isDone = ({ commands }: Turn) =>
  commands.length > 0 && commands[commands.length - 1].isSettled && commands.every((command) => command.isSettled)

const afterReading: Effect.Effect<void> = Effect.callback((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** Creates the deadlines of a connection, all this many milliseconds after their turn. */
export const make = (clock: Clock.Clock, limit: number): Deadlines => {
  const waiting = Latch.makeUnsafe(false)
  const turns: Array<Turn> = []
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const dropDone = () => {
    while (turns.length > 0 && isDone(turns[0])) turns.shift()
  }

  return {
    turn: () => {
      dropDone()
      turns.push({ at: now(), commands: [] })
      waiting.openUnsafe()
    },
    add: (command) => void turns[turns.length - 1].commands.push(command),
    run: Effect.gen(function*() {
      while (true) {
        yield* waiting.await
        dropDone()
        const [first] = turns
        if (first === undefined) {
          waiting.closeUnsafe()
          continue
        }
        const left = first.at + limit - now()
        if (left > 0) {
          yield* Effect.sleep(left)
          continue
        }
        // A process that was itself held up reads what has come in meanwhile before it gives up on it.
        yield* afterReading
        dropDone()
        if (turns[0] !== first) continue
        turns.shift()
        for (const command of first.commands) {
          if (!command.isSettled) command.reject(new Error("Command timed out"))
        }
      }
    })
  }
}
