import { Invalidation, InvalidationMessage } from "@effect-session/cluster"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Latch, Layer, Result, Schema, Scope, Stream } from "effect"

type Node = Invalidation.Invalidation["Service"]

const bus = Effect.map(
  Layer.build(Invalidation.layerMemoryBus),
  (context) => Context.get(context, Invalidation.MemoryBus)
)

const join = (bus: Invalidation.MemoryBus["Service"], options?: Invalidation.MemoryOptions) =>
  Effect.map(
    Layer.build(Layer.provide(Invalidation.layerMemory(options), Layer.succeed(Invalidation.MemoryBus, bus))),
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

const gap = (cause: "sequence" | "overflow"): Invalidation.Received => ({ _tag: "Gap", cause })

const frame = (node: string, sequence: number, message: InvalidationMessage.Message = { _tag: "Flush" }) =>
  Result.getOrThrow(InvalidationMessage.encode({ node, sequence, message }))

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
      for (const sequence of [1, 2, 5]) shared.sendUnsafe(frame("other", sequence))
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
      for (const sequence of [1, 2, 2, 1, 3]) shared.sendUnsafe(frame("other", sequence))
      const stats = yield* node.stats
      assert.strictEqual(stats.received, 3)
      assert.strictEqual(stats.replayed, 2)
      assert.strictEqual(stats.gaps, 0)
    }))

  it.effect("remembers a bounded number of senders, and treats a forgotten one as one it missed", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const node = yield* join(shared)
      shared.sendUnsafe(frame("first", 1))
      for (let index = 0; index < 1024; index++) shared.sendUnsafe(frame(`node${index}`, 1))
      assert.strictEqual((yield* node.stats).gaps, 0)
      shared.sendUnsafe(frame("first", 2))
      assert.strictEqual((yield* node.stats).gaps, 1)
    }))

  it.effect("frames that cannot be read are dropped and counted by cause, and disturb nobody", () =>
    Effect.gen(function*() {
      const shared = yield* bus
      const node = yield* join(shared)
      const reading = yield* listen(node, 1)
      shared.sendUnsafe("garbage")
      shared.sendUnsafe("null")
      shared.sendUnsafe(frame("other", 1).replace("\"v\":1", "\"v\":2"))
      shared.sendUnsafe("{\"v\":2,\"anything\":true}")
      shared.sendUnsafe(frame("other", 1).replace("Flush", "Unknown"))
      shared.sendUnsafe(" ".repeat(InvalidationMessage.maxFrameLength) + frame("other", 1))
      shared.sendUnsafe(frame("other", 1))
      assert.strictEqual((yield* Fiber.join(reading)).length, 1)
      const { gaps, malformed, oversized, received, version } = yield* node.stats
      assert.deepStrictEqual({ gaps, malformed, oversized, received, version }, {
        gaps: 0,
        malformed: 3,
        oversized: 1,
        received: 1,
        version: 2
      })
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
      assert.strictEqual((yield* b.stats).gaps, 0)
      assert.strictEqual((yield* b.stats).received, 1)
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
})

describe("InvalidationMessage", () => {
  const Envelope = Schema.Struct({
    node: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(64)),
    sequence: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
    message: InvalidationMessage.Message
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
      frame("n", 7, { _tag: "SessionEnded", key: "hash" }),
      "{\"v\":1,\"node\":\"n\",\"sequence\":7,\"message\":{\"_tag\":\"SessionEnded\",\"key\":\"hash\"}}"
    )
  })
})
