import { Invalidation, InvalidationMessage } from "@effect-session/cluster"
import { Crypto } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Latch, Layer, Result, Schema, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Nodes from "./Nodes.ts"

type Node = Invalidation.Invalidation["Service"]

const bus = Effect.map(
  Layer.build(Invalidation.layerMemoryBus),
  (context) => Context.get(context, Invalidation.MemoryBus)
)

const join = (bus: Invalidation.MemoryBus["Service"], options?: Invalidation.Options) =>
  Effect.map(
    Layer.build(
      Invalidation.layerMemory(options).pipe(
        Layer.provide(Layer.succeed(Invalidation.MemoryBus, bus)),
        Layer.provide(Nodes.crypto)
      )
    ),
    (context) => Context.get(context, Invalidation.Invalidation)
  )

/** Starts reading at once, and ends after `count` elements. */
const listen = (node: Node, count: number) =>
  node.messages.pipe(Stream.take(count), Stream.runCollect, Effect.forkChild({ startImmediately: true }))

const changed = (key: string, version = 1): InvalidationMessage.Message => ({ _tag: "SessionChanged", key, version })

const heard = (from: Node, message: InvalidationMessage.Message): Invalidation.Received => ({
  _tag: "Message",
  from: from.node,
  message
})

const gap = (cause: "sequence" | "overflow" | "disconnected" | "unpublished" | "unknown"): Invalidation.Received => ({
  _tag: "Gap",
  cause
})

const body = (node: string, sequence: number, message: InvalidationMessage.Envelope["message"] = { _tag: "Flush" }) =>
  Result.getOrThrow(InvalidationMessage.encode({ node, sequence, message }))

/** Signs as a node of the application does. */
const signer = Effect.map(
  Effect.flatMap(Layer.build(Nodes.crypto), (context) => Effect.succeed(context)),
  (context) => {
    const crypto = Context.get(context, Crypto.Crypto)
    return (text: string, channel = Invalidation.defaultChannel) =>
      Effect.map(crypto.sign(`cluster/invalidation ${channel}`, text), (code) => code + text)
  }
)

/** Puts signed frames on a bus. */
const injector = (bus: Invalidation.MemoryBus["Service"]) =>
  Effect.map(signer, (sign) => (text: string) => Effect.map(sign(text), (frame) => void bus.sendUnsafe(frame)))

describe("Invalidation on a memory bus", () => {
  it.effect("every other node hears every kind of message, and the sender does not", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const [a, b, c] = [yield* join(shared), yield* join(shared), yield* join(shared)]
      const messages: ReadonlyArray<InvalidationMessage.Message> = [
        changed("k1", 2),
        { _tag: "SessionEnded", key: "k1" },
        { _tag: "SubjectRevoked", subject: "s1" },
        { _tag: "Flush" }
      ]
      const [atA, atB, atC] = [yield* listen(a, 1), yield* listen(b, 4), yield* listen(c, 4)]
      for (const message of messages) yield* a.publish(message)
      const expected = messages.map((message) => heard(a, message))
      assert.deepStrictEqual(yield* Fiber.join(atB), expected)
      assert.deepStrictEqual(yield* Fiber.join(atC), expected)
      yield* b.publish(changed("k2"))
      assert.deepStrictEqual(yield* Fiber.join(atA), [heard(b, changed("k2"))])
      assert.strictEqual((yield* a.stats).published, 4)
      assert.strictEqual((yield* a.stats).received, 1)
    }))

  it.effect("keeps the order of each sender under concurrency", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const [a, b, c] = [yield* join(shared), yield* join(shared), yield* join(shared)]
      const atC = yield* listen(c, 200)
      const numbers = Array.from({ length: 100 }, (_, index) => index + 1)
      const publishAll = (node: Node) =>
        Effect.forEach(numbers, (n) => Effect.andThen(Effect.yieldNow, node.publish(changed("k", n))))
      yield* Effect.all([publishAll(a), publishAll(b)], { concurrency: "unbounded" })
      const received = yield* Fiber.join(atC)
      for (const node of [a, b]) {
        const versions = received.flatMap((element) =>
          element._tag === "Message" && element.from === node.node && element.message._tag === "SessionChanged"
            ? [element.message.version]
            : []
        )
        assert.deepStrictEqual(versions, numbers)
      }
    }))

  it.effect("nodes are never of one name", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const nodes = yield* Effect.forEach(Array.from({ length: 100 }), () => join(shared))
      assert.strictEqual(new Set(nodes.map((node) => node.node)).size, 100)
    }))

  it.effect("buses are apart", () =>
    Effect.gen(function*() {
      const [a, b] = [yield* join(yield* bus), yield* join(yield* bus)]
      yield* a.publish(changed("k"))
      assert.strictEqual((yield* b.stats).received, 0)
    }))

  it.effect("a reader that is too slow gets one gap for what it lost, and what comes after", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const [a, b] = [yield* join(shared), yield* join(shared, { capacity: 4 })]
      const [busy, free] = [yield* Latch.make(), yield* Latch.make()]
      const reading = yield* b.messages.pipe(
        Stream.tap(() => Effect.andThen(Latch.open(busy), Latch.await(free))),
        Stream.take(4),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      yield* a.publish(changed("k", 1))
      yield* Latch.await(busy)
      yield* Effect.forEach([2, 3, 4, 5, 6, 7, 8, 9, 10], (n) => a.publish(changed("k", n)), { discard: true })
      yield* Latch.open(free)
      assert.deepStrictEqual(yield* Fiber.join(reading), [
        heard(a, changed("k", 1)),
        gap("overflow"),
        heard(a, changed("k", 9)),
        heard(a, changed("k", 10))
      ])
      assert.strictEqual((yield* b.stats).overflows, 2)
    }))

  it.effect("a slow reader does not hold up the sender or another reader", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const [a, b, c] = [yield* join(shared), yield* join(shared, { capacity: 2 }), yield* join(shared)]
      yield* b.messages.pipe(Stream.runForEach(() => Effect.never), Effect.forkChild({ startImmediately: true }))
      const atC = yield* listen(c, 1000)
      yield* Effect.forEach(Array.from({ length: 1000 }, (_, n) => n + 1), (n) => a.publish(changed("k", n)))
      assert.deepStrictEqual(
        yield* Fiber.join(atC),
        Array.from({ length: 1000 }, (_, n) => heard(a, changed("k", n + 1)))
      )
    }))

  it.effect("a missing number is a gap in front of the next message", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const node = yield* join(shared)
      const reading = yield* listen(node, 4)
      const inject = yield* injector(shared)
      for (const sequence of [1, 2, 5]) yield* inject(body("other", sequence))
      const flush: Invalidation.Received = { _tag: "Message", from: "other", message: { _tag: "Flush" } }
      assert.deepStrictEqual(yield* Fiber.join(reading), [flush, flush, gap("sequence"), flush])
      assert.strictEqual((yield* node.stats).gaps, 1)
    }))

  it.effect("what a node said before this one joined is a gap", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const a = yield* join(shared)
      yield* a.publish(changed("k", 1))
      const reading = yield* listen(yield* join(shared), 2)
      yield* a.publish(changed("k", 2))
      assert.deepStrictEqual(yield* Fiber.join(reading), [gap("sequence"), heard(a, changed("k", 2))])
    }))

  it.effect("a replayed or late frame is dropped and counted", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const node = yield* join(shared)
      const inject = yield* injector(shared)
      for (const sequence of [1, 2, 2, 1, 3]) yield* inject(body("other", sequence))
      const stats = yield* node.stats
      assert.strictEqual(stats.received, 3)
      assert.strictEqual(stats.replayed, 2)
      assert.strictEqual(stats.gaps, 0)
    }))

  it.effect("remembers a bounded number of senders, and treats a forgotten one as one it missed", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const node = yield* join(shared)
      const inject = yield* injector(shared)
      yield* inject(body("first", 1))
      for (let index = 0; index < 1024; index++) yield* inject(body(`node${index}`, 1))
      assert.strictEqual((yield* node.stats).gaps, 0)
      yield* inject(body("first", 2))
      assert.strictEqual((yield* node.stats).gaps, 1)
    }))

  it.effect("frames that cannot be read are dropped and counted by cause, and disturb nobody", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const node = yield* join(shared)
      const reading = yield* listen(node, 1)
      const inject = yield* injector(shared)
      const signed = yield* signer
      shared.sendUnsafe("garbage")
      shared.sendUnsafe("garbage that is longer than an authentication code and has none")
      shared.sendUnsafe(`${"A".repeat(45)}${body("other", 1)}`)
      shared.sendUnsafe((yield* signed(body("other", 1))).replace("Flush", "Flusk"))
      shared.sendUnsafe(yield* signed(body("other", 1), "another channel"))
      shared.sendUnsafe(" ".repeat(InvalidationMessage.maxFrameLength) + (yield* signed(body("other", 1))))
      yield* inject(body("other", 1))
      assert.strictEqual((yield* Fiber.join(reading)).length, 1)
      const { forged, gaps, malformed, oversized, received } = yield* node.stats
      assert.deepStrictEqual({ forged, gaps, malformed, oversized, received }, {
        forged: 4,
        gaps: 0,
        malformed: 1,
        oversized: 1,
        received: 1
      })
    }))

  it.effect("what a node says and this release does not know is a gap, and counted by cause", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const node = yield* join(shared)
      const inject = yield* injector(shared)
      yield* inject("null")
      yield* inject(body("other", 1).replace("\"v\":1", "\"v\":2"))
      yield* inject("{\"v\":2,\"anything\":true}")
      yield* inject(body("other", 1).replace("Flush", "Unknown"))
      const { gaps, malformed, version } = yield* node.stats
      assert.deepStrictEqual({ gaps, malformed, version }, { gaps: 4, malformed: 2, version: 2 })
    }))

  it.effect("a message no receiver would accept is refused, and leaves no gap", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const [a, b] = [yield* join(shared), yield* join(shared)]
      for (const message of [changed(""), changed("k".repeat(257)), changed("k", 0), changed("k", 1.5)]) {
        const error = yield* Effect.flip(a.publish(message))
        assert.strictEqual(error.reason._tag, "InvalidMessage")
      }
      yield* a.publish(changed("k"))
      assert.strictEqual((yield* a.stats).publishFailures, 0)
      assert.strictEqual((yield* b.stats).gaps, 0)
      assert.strictEqual((yield* b.stats).received, 1)
    }))

  it.effect("a message is written once", () =>
    Effect.gen(function*() {
      const node = yield* join(yield* bus)
      let reads = 0
      const message: InvalidationMessage.Message = {
        _tag: "SessionChanged",
        get key() {
          reads++
          return "k"
        }
      }
      InvalidationMessage.encode({ node: "n", sequence: 1, message })
      const once = reads
      yield* node.publish(message)
      assert.isAbove(once, 0)
      assert.strictEqual(reads, 2 * once)
    }))

  it.effect("closing a node ends its streams, takes it off the bus and stops its publishing", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const a = yield* join(shared)
      const scope = yield* Scope.make()
      const b = yield* Scope.provide(join(shared), scope)
      const reading = yield* b.messages.pipe(Stream.runCollect, Effect.forkChild({ startImmediately: true }))
      yield* a.publish(changed("k", 1))
      yield* Scope.close(scope, Exit.void)
      yield* a.publish(changed("k", 2))
      assert.deepStrictEqual(yield* Fiber.join(reading), [heard(a, changed("k", 1))])
      assert.deepStrictEqual(yield* Stream.runCollect(b.messages), [])
      assert.strictEqual((yield* b.stats).received, 1)
      assert.strictEqual((yield* Effect.flip(b.publish(changed("k")))).reason._tag, "ChannelUnavailable")
    }))

  it.effect("a reader that stops no longer counts as slow", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const [a, b] = [yield* join(shared), yield* join(shared, { capacity: 2 })]
      const reading = yield* listen(b, 1)
      yield* a.publish(changed("k", 1))
      yield* Fiber.join(reading)
      yield* Effect.forEach([2, 3, 4, 5, 6], (n) => a.publish(changed("k", n)))
      assert.strictEqual((yield* b.stats).overflows, 0)
    }))

  it.effect("publishing on a closed bus fails", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const a = yield* join(yield* Scope.provide(bus, scope))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Effect.flip(a.publish(changed("k")))).reason._tag, "ChannelUnavailable")
      assert.strictEqual((yield* a.stats).published, 0)
    }))

  it("refuses a buffer too small to hold a gap and a message", () => {
    for (const capacity of [0, 1, 1.5, Number.NaN]) {
      assert.throws(() => Invalidation.layerMemory({ capacity }), RangeError)
    }
  })

  it("refuses times that do not fit into the bound it states, and a channel without a name", () => {
    assert.throws(() => Invalidation.layerMemory({ heartbeat: "3 seconds" }), RangeError)
    assert.throws(() => Invalidation.layerMemory({ heartbeat: "1 second", silentTtl: "4 seconds" }), RangeError)
    assert.throws(() => Invalidation.layerMemory({ heartbeat: 0 }), RangeError)
    assert.throws(() => Invalidation.layerMemory({ channel: "" }), RangeError)
  })
})

describe("the heartbeat", () => {
  /** A wire to the bus that can be cut in either direction. */
  const wired = (shared: Invalidation.MemoryBus["Service"]) => {
    const wire = { out: true, in: true, closed: false }
    const bus: Invalidation.MemoryBus["Service"] = {
      sendUnsafe: (frame) => !wire.closed && (!wire.out || shared.sendUnsafe(frame)),
      join: (onFrame) => shared.join((frame) => wire.in && onFrame(frame))
    }
    return { wire, bus }
  }
  const beating = { heartbeat: "1 second", silentTtl: "700 millis" } as const

  it.effect("a node trusts what it has as long as it hears itself", () =>
    Effect.gen(function*() {
      const { bus: own, wire } = wired(yield* bus)
      const node = yield* join(own, beating)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(node.trustUnsafe(), Infinity)
      wire.in = false
      yield* TestClock.adjust("900 millis")
      assert.strictEqual(node.trustUnsafe(), Infinity)
      yield* TestClock.adjust("1101 millis")
      assert.strictEqual(node.trustUnsafe(), 0)
      wire.in = true
      yield* TestClock.adjust("1 second")
      assert.strictEqual(node.trustUnsafe(), Infinity)
    }))

  it.effect("its own earlier beats, played again, prove nothing", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const heard: Array<string> = []
      yield* shared.join((frame) => void heard.push(frame))
      const { bus: own, wire } = wired(shared)
      const node = yield* join(own, beating)
      yield* TestClock.adjust("1 second")
      wire.out = false
      yield* TestClock.adjust("5 seconds")
      for (const frame of heard.splice(0)) shared.sendUnsafe(frame)
      assert.strictEqual(node.trustUnsafe(), 0)
    }))

  it.effect("a message lost at the end of a burst is noticed by the next beat", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const { bus: own, wire } = wired(shared)
      const [a, b] = [yield* join(shared, beating), yield* join(own, beating)]
      yield* TestClock.adjust("1 second")
      const reading = yield* listen(b, 2)
      yield* a.publish(changed("k", 1))
      wire.in = false
      yield* a.publish(changed("k", 2))
      wire.in = true
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(reading), [heard(a, changed("k", 1)), gap("sequence")])
    }))

  it.effect("while another node is silent copies must be young, until it is back, has left or is taken for dead", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const scope = yield* Scope.make()
      const { bus: own, wire } = wired(shared)
      const [a, b] = [yield* join(shared, beating), yield* Scope.provide(join(own, beating), scope)]
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(a.trustUnsafe(), Infinity)
      wire.out = false
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(a.trustUnsafe(), 700)
      assert.strictEqual(b.trustUnsafe(), 0)
      wire.out = true
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(a.trustUnsafe(), Infinity)
      wire.out = false
      yield* TestClock.adjust("50 seconds")
      assert.strictEqual(a.trustUnsafe(), 700)
      yield* TestClock.adjust("15 seconds")
      assert.strictEqual(a.trustUnsafe(), Infinity)
      wire.out = true
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* a.stats).peers, 1)
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(a.trustUnsafe(), Infinity)
      assert.strictEqual((yield* a.stats).peers, 0)
    }))

  it.effect("a message that could not be sent ends the trust, and its return comes with a gap", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const { bus: own, wire } = wired(shared)
      const node = yield* join(own, beating)
      yield* TestClock.adjust("1 second")
      const reading = yield* listen(node, 1)
      wire.closed = true
      assert.strictEqual((yield* Effect.flip(node.publish(changed("k")))).reason._tag, "ChannelUnavailable")
      assert.strictEqual(node.trustUnsafe(), 0)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(node.trustUnsafe(), 0)
      wire.closed = false
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(reading), [gap("unpublished")])
      assert.strictEqual(node.trustUnsafe(), Infinity)
      assert.strictEqual((yield* node.stats).publishFailures, 1)
    }))
})

describe("InvalidationMessage", () => {
  const Envelope = Schema.Struct({
    node: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(64)),
    sequence: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
    message: Schema.Union([InvalidationMessage.Message, InvalidationMessage.Signal])
  })

  it.prop("a frame reads back as what was written, or was too long to write", [Envelope], ([envelope]) => {
    const written = InvalidationMessage.encode(envelope)
    if (Result.isFailure(written)) return assert.strictEqual(written.failure, "oversized")
    assert.deepStrictEqual(Result.getOrThrow(InvalidationMessage.decode(written.success)), envelope)
  })

  it.prop("any text is a value or a rejection", [Schema.String], ([text]) => {
    assert.isTrue(Result.isFailure(InvalidationMessage.decode(text)))
  })

  it.prop("any JSON is a value or a rejection", [Schema.Json], ([json]) => {
    assert.isTrue(Result.isFailure(InvalidationMessage.decode(JSON.stringify(json))))
  })

  it.prop(
    "a frame that is cut or damaged in one place never throws and never becomes longer than allowed",
    [Envelope, Schema.Natural, Schema.String.check(Schema.isMaxLength(3))],
    ([envelope, position, damage]) => {
      const written = Result.getOrElse(InvalidationMessage.encode(envelope), () => "")
      const at = position % (written.length + 1)
      const cut = InvalidationMessage.decode(written.slice(0, at))
      assert.isTrue(Result.isFailure(cut) || at === written.length)
      const damaged = InvalidationMessage.decode(written.slice(0, at) + damage + written.slice(at + 1))
      if (Result.isSuccess(damaged)) {
        assert.isTrue(Result.isSuccess(InvalidationMessage.encode(damaged.success)))
      }
    }
  )

  it("writes keys and nothing about who they belong to", () => {
    assert.strictEqual(
      body("n", 7, { _tag: "SessionEnded", key: "hash" }),
      "{\"v\":1,\"node\":\"n\",\"sequence\":7,\"message\":{\"_tag\":\"SessionEnded\",\"key\":\"hash\"}}"
    )
  })
})
