import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "fast-check"
import * as Lifetime from "../src/Lifetime.ts"

const times = FastCheck.record({
  lastSeenAt: FastCheck.nat(1e6),
  idleTimeout: FastCheck.integer({ min: 1, max: 1e6 }),
  expiresAt: FastCheck.nat(2e6)
})

describe("Lifetime", () => {
  it("ends at the earlier of the two deadlines", () => {
    assert.strictEqual(Lifetime.deadline({ lastSeenAt: 100, idleTimeout: 50, expiresAt: 1000 }), 150)
    assert.strictEqual(Lifetime.deadline({ lastSeenAt: 100, idleTimeout: 50, expiresAt: 120 }), 120)
  })

  it("is live until one millisecond before its deadline", () => {
    FastCheck.assert(FastCheck.property(times, (times) => {
      const deadline = Lifetime.deadline(times)
      assert.isTrue(Lifetime.isLive(times, deadline - 1))
      assert.isFalse(Lifetime.isLive(times, deadline))
      assert.strictEqual(Lifetime.remaining(times, deadline - 1), 1)
      assert.strictEqual(Lifetime.remaining(times, deadline), 0)
      assert.strictEqual(Lifetime.remaining(times, deadline + 5), 0)
    }))
  })

  it("agrees with itself at any instant", () => {
    FastCheck.assert(FastCheck.property(times, FastCheck.nat(3e6), (times, now) => {
      assert.strictEqual(Lifetime.isLive(times, now), Lifetime.remaining(times, now) > 0)
    }))
  })

  it("is due for a touch, or a renewal, exactly when the interval is over", () => {
    const seen = { lastSeenAt: 100, idleTimeout: 50, expiresAt: 1000 }
    assert.isFalse(Lifetime.isTouchDue(seen, 109, 10))
    assert.isTrue(Lifetime.isTouchDue(seen, 110, 10))
    assert.isFalse(Lifetime.isRenewalDue(100, 109, 10))
    assert.isTrue(Lifetime.isRenewalDue(100, 110, 10))
  })
})
