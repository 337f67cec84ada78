import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Logger, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { Crypto } from "../src/Crypto.ts"
import { type CounterName, Metrics } from "../src/Metrics.ts"
import * as SessionData from "../src/SessionData.ts"
import * as SessionDevices from "../src/SessionDevices.ts"
import * as SessionEvents from "../src/SessionEvents.ts"
import * as SessionManager from "../src/SessionManager.ts"
import { SessionStore } from "../src/SessionStore.ts"
import { down } from "./FaultyStore.ts"
import { increment, layer, loginAs, setup, UserSession } from "./Fixture.ts"

const TestLayer = layer({ renewalInterval: "10 minutes", renewalGrace: "5 seconds", maxSessions: 2 })

/** Runs a test with everything that is published and counted. `forget` starts over. */
const observing = <A, E, R>(
  test: (seen: {
    readonly events: Array<SessionEvents.SessionEvent>
    readonly counted: Array<string>
    readonly forget: Effect.Effect<void>
  }) => Effect.Effect<A, E, R>
) => {
  const events: Array<SessionEvents.SessionEvent> = []
  const counted: Array<string> = []
  const forget = Effect.sync(() => {
    events.length = counted.length = 0
  })
  return test({ events, counted, forget }).pipe(
    Effect.provideService(SessionEvents.SessionEvents, {
      enabled: true,
      publish: (event) => void events.push(event),
      stream: Stream.empty
    }),
    Effect.provideService(Metrics, {
      counter: (name, tags) => () => void counted.push(tags.error === undefined ? name : `${name} ${tags.error}`),
      timer: () => () => {},
      gauge: () => () => {}
    })
  )
}

const counters: { readonly [name in SessionEvents.EventName]: CounterName } = {
  created: "session.created",
  loaded: "session.loaded",
  saved: "session.saved",
  renewed: "session.regenerated",
  destroyed: "session.deleted",
  revoked: "session.revoked",
  expired: "session.expired",
  theftSuspected: "session.theft_suspected",
  rejected: "session.rejected",
  error: "session.error"
}

type Tools = Effect.Success<typeof setup>
interface Provocation {
  readonly what: string
  readonly events: ReadonlyArray<string>
  readonly prepare?: (tools: Tools, token: string) => Effect.Effect<unknown, unknown, never>
  readonly provoke: (tools: Tools, token: string) => Effect.Effect<unknown, unknown, never>
}

const provocations: ReadonlyArray<Provocation> = [
  { what: "a first write", events: ["created"], provoke: ({ run }) => run(undefined, increment) },
  { what: "a sign-in", events: ["created ada"], provoke: ({ run }) => run(undefined, loginAs("ada")) },
  { what: "a read", events: ["loaded ada"], provoke: ({ run }, token) => run(token, UserSession.get) },
  { what: "a write", events: ["loaded ada", "saved ada"], provoke: ({ run }, token) => run(token, increment) },
  {
    what: "a renewal",
    events: ["loaded ada", "renewed ada"],
    provoke: ({ run }, token) => run(token, UserSession.renew)
  },
  {
    what: "a logout",
    events: ["loaded ada", "destroyed ada"],
    provoke: ({ run }, token) => run(token, UserSession.destroy)
  },
  { what: "a logout of nothing", events: [], provoke: ({ run }) => run(undefined, UserSession.destroy) },
  {
    what: "a sign-in above the limit",
    events: ["created ada", "created ada", "revoked ada (session limit)"],
    provoke: ({ run }) => Effect.andThen(run(undefined, loginAs("ada")), run(undefined, loginAs("ada")))
  },
  {
    what: "a token past its deadline",
    events: ["expired"],
    provoke: ({ run }, token) => Effect.andThen(TestClock.adjust("2 days"), run(token, UserSession.get))
  },
  { what: "a foreign token", events: ["rejected (unknown token)"], provoke: ({ open }) => open("garbage").get },
  {
    what: "several tokens",
    events: ["rejected (duplicate)"],
    provoke: ({ manager }) => manager.open({ rejected: "duplicate" }).get
  },
  {
    what: "a malformed token",
    events: ["rejected (malformed)"],
    provoke: ({ manager }) => manager.open({ rejected: "malformed" }).get
  },
  {
    what: "an id after its grace",
    events: ["theftSuspected"],
    prepare: ({ run }, token) =>
      TestClock.adjust("10 minutes").pipe(
        Effect.andThen(run(token, UserSession.get)),
        Effect.andThen(TestClock.adjust("6 seconds"))
      ),
    provoke: ({ open }, token) => open(token).get
  },
  {
    what: "a store that is down",
    events: ["error (Unavailable)"],
    provoke: ({ open, store }, token) =>
      Effect.suspend(() => {
        store.next("load", down)
        return Effect.exit(open(token).get)
      })
  },
  {
    what: "a lost race",
    events: ["loaded ada", "loaded ada", "saved ada", "error (Conflict)"],
    provoke: ({ open, run }, token) => {
      const session = open(token)
      return Effect.andThen(session.set({ n: 9, who: "", cart: [] }), run(token, increment)).pipe(
        Effect.andThen(Effect.exit(session.finish("success")))
      )
    }
  },
  {
    what: "an end that came first",
    events: ["loaded ada", "loaded ada", "destroyed ada", "error (Gone)"],
    provoke: ({ open, run }, token) => {
      const session = open(token)
      return Effect.andThen(session.set({ n: 9, who: "", cart: [] }), run(token, UserSession.destroy)).pipe(
        Effect.andThen(Effect.exit(session.finish("success")))
      )
    }
  },
  {
    what: "data over the limit",
    events: ["loaded ada", "error (TooLarge)"],
    provoke: ({ run }, token) =>
      Effect.exit(run(token, UserSession.update((data) => ({ ...data, cart: ["x".repeat(100_000)] }))))
  }
]

const short = ({ name, reason, subject }: SessionEvents.SessionEvent) =>
  name + (subject === undefined ? "" : ` ${subject}`) + (reason === undefined ? "" : ` (${reason})`)

describe("events", () => {
  for (const { events: expected, prepare, provoke, what } of provocations) {
    it.effect(`of ${what}: ${expected.length === 0 ? "none" : expected.join(", ")}`, () =>
      observing(({ counted, events, forget }) =>
        Effect.gen(function*() {
          const tools = yield* setup
          const token = yield* tools.signIn("ada")
          if (prepare !== undefined) yield* prepare(tools, token)
          yield* forget
          yield* provoke(tools, token)
          assert.deepStrictEqual(events.map(short), expected)
          for (const name of new Set(events.map(({ name }) => name))) {
            const published = events.filter((event) => event.name === name).length
            assert.lengthOf(counted.filter((counter) => counter.split(" ")[0] === counters[name]), published)
          }
          for (const event of events) assert.strictEqual(event.source, "app/UserSession")
        })
      ).pipe(Effect.provide(TestLayer)))
  }

  it.effect("of a session that could not be stored: none that it was created", () =>
    observing(({ counted, events }) =>
      Effect.gen(function*() {
        const { run, store } = yield* setup
        store.next("create", down)
        assert.strictEqual((yield* Effect.exit(run(undefined, increment)))._tag, "Failure")
        assert.deepStrictEqual(events.map(({ name }) => name), ["error"])
        assert.deepStrictEqual(counted, ["session.error Unavailable"])
      }).pipe(Effect.provide(TestLayer))
    ))

  it.effect("of a revocation by its user, for each session that ended", () =>
    observing(({ counted, events, forget }) =>
      Effect.gen(function*() {
        const { run, signIn } = yield* setup
        const tokens = [yield* signIn("ada"), yield* signIn("ada")]
        const handle = (yield* run(tokens[1], UserSession.handle)).value
        yield* forget
        yield* run(tokens[0], SessionDevices.revokeOthers(UserSession))
        const revoked = events.filter(({ name }) => name === "revoked")
        assert.deepStrictEqual(revoked.map((event) => [event.handle, event.subject]), [[handle, "ada"]])
        assert.lengthOf(counted.filter((counter) => counter === "session.revoked"), 1)
      })
    ).pipe(Effect.provide(TestLayer)))

  it.effect("of data that cannot be decoded, with the reason", () =>
    observing(({ counted, events, forget }) =>
      Effect.gen(function*() {
        const { keyOf, signIn, statusOf } = yield* setup
        const token = yield* signIn("ada")
        const store = yield* SessionStore
        yield* store.save(yield* keyOf(token), 1, {
          format: SessionData.format,
          payload: "{",
          idleTimeout: 60_000,
          lifetime: undefined,
          active: true
        })
        yield* forget
        assert.strictEqual(yield* statusOf(token), "invalid")
        assert.deepStrictEqual(events.map(short), ["rejected ada (syntax)"])
        assert.deepStrictEqual(counted, ["session.rejected"])
      })
    ).pipe(Effect.provide(TestLayer)))

  it.effect("name the session by its handle and carry the store's time, and nothing else of it", () =>
    observing(({ events, forget }) =>
      Effect.gen(function*() {
        const { keyOf, run } = yield* setup
        const { token } = yield* run(undefined, UserSession.login("ada", (data) => ({ ...data, who: "canary" })))
        yield* forget
        yield* TestClock.adjust("5 minutes")
        const { value } = yield* run(token, Effect.andThen(increment, UserSession.handle))
        assert.deepStrictEqual(events.map(({ at, handle }) => [at, handle]), [
          [2 * 3_600_000 + 300_000, value],
          [2 * 3_600_000 + 300_000, value]
        ])
        const text = inspect(events, { depth: 10 })
        for (const secret of [token!, token!.slice(4), yield* keyOf(token!), "canary"]) assert.notInclude(text, secret)
      })
    ).pipe(Effect.provide(layer({}, 2 * 3_600_000))))

  it.effect("cost nothing when nobody listens: no handle is made", () =>
    Effect.gen(function*() {
      let handles = 0
      const crypto = yield* Crypto
      const counting = Crypto.of({
        ...crypto,
        handleOf: (key) => {
          handles++
          return crypto.handleOf(key)
        }
      })
      const work = Effect.gen(function*() {
        const { run } = yield* SessionManager.make(UserSession)
        const { token } = yield* run(undefined, loginAs("ada"))
        yield* run(token, increment)
        yield* run(token, UserSession.destroy)
      }).pipe(Effect.provideService(Crypto, counting))
      yield* work
      assert.strictEqual(handles, 0)
      yield* observing(() => work)
      assert.strictEqual(handles, 5)
    }).pipe(Effect.provide(TestLayer)))
})

const event = (name: SessionEvents.EventName, subject: string): SessionEvents.SessionEvent => ({
  name,
  at: 0,
  source: "test",
  handle: undefined,
  subject,
  reason: undefined
})

describe("SessionEvents.layer", () => {
  it.effect("streams the events from the moment of the subscription, in order", () =>
    Effect.gen(function*() {
      const bus = yield* SessionEvents.SessionEvents
      assert.isTrue(bus.enabled)
      bus.publish(event("saved", "before"))
      const reading = yield* Effect.forkChild(Stream.runCollect(Stream.take(bus.stream, 3)), { startImmediately: true })
      yield* Effect.yieldNow
      for (const subject of ["a", "b", "c"]) bus.publish(event("saved", subject))
      assert.deepStrictEqual((yield* Fiber.join(reading)).map(({ subject }) => subject), ["a", "b", "c"])
    }).pipe(Effect.provide(SessionEvents.layer())))

  it.effect("lets a slow reader lose the oldest, and delays nobody", () =>
    Effect.gen(function*() {
      const bus = yield* SessionEvents.SessionEvents
      const gate = yield* Deferred.make<void>()
      const seen: Array<string | undefined> = []
      const reading = yield* Effect.forkChild(
        Stream.runForEach(Stream.take(Stream.rechunk(bus.stream, 1), 5), ({ subject }) =>
          Effect.andThen(Effect.sync(() => seen.push(subject)), Deferred.await(gate))),
        { startImmediately: true }
      )
      yield* Effect.yieldNow
      bus.publish(event("saved", "first"))
      for (let i = 0; i < 10; i++) {
        yield* Effect.yieldNow
      }
      for (let i = 0; i < 100; i++) {
        bus.publish(event("saved", `${i}`))
      }
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(reading)
      assert.strictEqual(seen[0], "first")
      assert.deepStrictEqual(seen.slice(-4), ["96", "97", "98", "99"])
    }).pipe(Effect.provide(SessionEvents.layer({ capacity: 4 }))))

  const hooked = (
    hook: (event: SessionEvents.SessionEvent) => Effect.Effect<void, unknown>,
    seen: Array<string | undefined>
  ) =>
    SessionEvents.layer({
      hooks: {
        created: hook,
        destroyed: (event) => Effect.sync(() => void seen.push(event.subject))
      }
    })

  for (
    const [what, hook] of [
      ["fails", () => Effect.fail("no")],
      ["dies", () => Effect.die("no")],
      ["throws", () => {
        throw new Error("no")
      }],
      ["never ends", () => Effect.never],
      ["interrupts itself", () => Effect.interrupt]
    ] as const
  ) {
    it.effect(`a hook that ${what} stops no session's end, no other hook, and is logged once`, () => {
      const lines: Array<string> = []
      const logger = Logger.make(({ message }) => void lines.push(String(message)))
      const seen: Array<string | undefined> = []
      return Effect.gen(function*() {
        const { run, signIn, statusOf } = yield* setup
        const token = yield* signIn("ada")
        yield* run(token, UserSession.destroy)
        assert.strictEqual(yield* statusOf(token), "anonymous")
        yield* TestClock.adjust("5 seconds")
        yield* Effect.yieldNow
        assert.deepStrictEqual(seen, ["ada"])
        assert.lengthOf(lines, 1)
        assert.include(lines[0], "\"created\"")
        assert.notInclude(lines[0], "ada")
      }).pipe(
        Effect.provide(TestLayer),
        Effect.provide(hooked(hook, seen)),
        Effect.provide(Logger.layer([logger]))
      )
    })
  }

  it.effect("calls the hooks one after the other, in the order of the events", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const hook = ({ name, subject }: SessionEvents.SessionEvent) =>
        Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => void seen.push(`${name} ${subject}`)))
      yield* Effect.gen(function*() {
        const bus = yield* SessionEvents.SessionEvents
        bus.publish(event("created", "a"))
        bus.publish(event("saved", "ignored"))
        bus.publish(event("destroyed", "b"))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(seen, ["created a"])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(seen, ["created a", "destroyed b"])
      }).pipe(Effect.provide(SessionEvents.layer({ hooks: { created: hook, destroyed: hook } })))
    }))

  it.effect("leaves nothing behind when it is closed, and says nothing about it", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    return Effect.gen(function*() {
      let interrupted = false
      const scope = yield* Scope.make()
      const hook = () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (interrupted = true)))
      const context = yield* Layer.buildWithScope(SessionEvents.layer({ hooks: { created: hook } }), scope)
      const bus = yield* Effect.provideContext(SessionEvents.SessionEvents, context)
      const reading = yield* Effect.forkChild(Stream.runDrain(bus.stream), { startImmediately: true })
      bus.publish(event("created", "a"))
      for (let i = 0; i < 5; i++) yield* Effect.yieldNow
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      assert.isTrue(interrupted)
      yield* Fiber.await(reading)
      assert.deepStrictEqual(lines, [])
    }).pipe(Effect.provide(Logger.layer([logger])))
  })
})
