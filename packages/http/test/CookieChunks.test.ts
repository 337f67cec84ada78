import * as CookieChunks from "@effect-session/http/CookieChunks"
import * as SessionCookie from "@effect-session/http/SessionCookie"
import { SessionCookieError } from "@effect-session/http/SessionCookieError"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { CookieJar, parseSetCookie, type Place } from "./CookieJar.ts"

const cookie = SessionCookie.make({ chunks: 4 })
const { name } = cookie
const single = 4096 - name.length
const part = single - 256
const place: Place = { host: "app.test", path: "/", secure: true, topLevelSite: "https://app.test" }

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/** Text of a length in which no two places look alike. */
const text = (length: number, seed = 1): string => {
  let state = seed
  let out = ""
  while (out.length < length) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    out += alphabet[state >>> 26]
  }
  return out
}

const pairs = (lines: ReadonlyArray<string>) => lines.map((line) => line.slice(0, line.indexOf(";")))
const headerOf = (value: string, of = cookie) => pairs(CookieChunks.set(of, value)).join("; ")
const namesOf = (lines: ReadonlyArray<string>) => lines.map((line) => line.slice(0, line.indexOf("=")))

const boundaries = [1, 2, single - 1, single, single + 1, 2 * part - 1, 2 * part, 2 * part + 1]
  .concat([3 * part - 1, 3 * part, 3 * part + 1, 4 * part - 1, 4 * part])

describe("a value in parts", () => {
  it.each(boundaries)(
    "of %i characters comes back, in as few cookies as hold it, each below 4,096 octets",
    (length) => {
      const value = text(length)
      const lifetime = { maxAge: SessionCookie.maximumLifetime, now: 0 }
      const lines = CookieChunks.set(cookie, value, lifetime)
      assert.strictEqual(lines.length, length <= single ? 1 : Math.ceil(length / part))
      for (const line of lines) {
        const { attributes, name, value } = parseSetCookie(line)
        assert.isAtMost(name.length + value.length, 4096)
        // Parts stay below it with all their attributes, for clients that count those too.
        if (lines.length > 1) assert.isAtMost(line.length, 4096)
        assert.strictEqual(line.slice(line.indexOf("; Path")), cookie.attributes)
        assert.strictEqual(attributes[0][0], "Max-Age")
      }
      assert.strictEqual(CookieChunks.read(cookie, pairs(lines).join("; ")), value)
      assert.strictEqual(CookieChunks.read(cookie, pairs(lines).toReversed().join(";theme=dark;")), value)
    }
  )

  it("of any length survives a browser that held any other before", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 4 * part }), { minLength: 1, maxLength: 8 }),
        fc.constantFrom("__Host-session", "s", "n".repeat(256)),
        (lengths, name) => {
          const of = SessionCookie.make({ name, chunks: 4 })
          const jar = new CookieJar()
          for (const wanted of lengths) {
            const value = text(Math.min(wanted, CookieChunks.capacity(of)), wanted)
            const lines = CookieChunks.set(of, value, undefined, jar.header(place, 0))
            for (const line of lines) assert.isTrue(jar.setCookie(line, place, 0))
            assert.strictEqual(CookieChunks.read(of, jar.header(place, 0)), value)
            // Nothing stays behind of a longer one.
            assert.strictEqual(jar.size, namesOf(CookieChunks.set(of, value)).length)
          }
          for (const line of CookieChunks.clear(of, jar.header(place, 0))) jar.setCookie(line, place, 0)
          assert.strictEqual(jar.size, 0)
        }
      ),
      { numRuns: 60 }
    )
  })

  it("that is one character too long is refused with both sizes, and without chunks as ever", () => {
    const cases = [[cookie, 4 * part], [SessionCookie.make(), single], [
      SessionCookie.make({ chunks: 2 }),
      2 * part
    ]] as const
    for (const [of, maximum] of cases) {
      assert.strictEqual(CookieChunks.capacity(of), maximum)
      assert.isUndefined(CookieChunks.check(of, text(maximum)))
      const error = CookieChunks.check(of, text(maximum + 1))
      assert.instanceOf(error, SessionCookieError)
      assert.deepInclude(error?.reason, {
        _tag: "TooLarge",
        actual: name.length + maximum + 1,
        maximum: name.length + maximum
      })
      assert.throws(() => CookieChunks.set(of, text(maximum + 1)), SessionCookieError)
      // Octets count, not characters.
      assert.strictEqual(CookieChunks.check(of, "\u20ac".repeat(maximum))?.reason._tag, "TooLarge")
    }
  })

  it("is refused for a character that cookies cannot carry, in whichever part it is", () => {
    for (const at of [0, part - 1, part, 2 * part, 3 * part - 1]) {
      const value = text(at) + "\n" + text(3 * part - at - 1)
      assert.strictEqual(CookieChunks.check(cookie, value)?.reason._tag, "InvalidValue")
      assert.throws(() => CookieChunks.set(cookie, value), SessionCookieError)
    }
    const late = { maxAge: 0, now: 0 }
    assert.strictEqual(CookieChunks.check(cookie, text(3 * part), late)?.reason._tag, "InvalidLifetime")
  })
})

describe("a set of cookies that no value has", () => {
  const value = text(3 * part - 7)
  const genuine = pairs(CookieChunks.set(cookie, value))
  const [head, second, last] = genuine
  const foreign = pairs(CookieChunks.set(cookie, text(3 * part - 7, 2)))
  const cut = (pair: string, by: number) => pair.slice(0, -by)

  /** What is not joined comes back as it is, behind a number and a dot: nobody's token. */
  const isUnjoined = (read: SessionCookie.Candidate) =>
    read === SessionCookie.Duplicate || (typeof read === "string" && read[1] === ".")

  it("is never joined", () => {
    assert.strictEqual(CookieChunks.read(cookie, genuine.join("; ")), value)
    const sets: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
      ["the first part alone", [head]],
      ["a gap", [head, last]],
      ["the last part missing", [head, second]],
      ["a part twice", [head, second, second, last]],
      ["the first part twice", [head, head, second, last]],
      ["a part twice with another value", [head, second, foreign[1], last]],
      ["a short part", [head, cut(second, 1), last]],
      ["a long part", [head, `${second}A`, last]],
      ["a first part that is short", [cut(head, 1), second, last]],
      ["an empty part", [head, `${name}.1=`, last]],
      ["an empty last part", [head, second, `${name}.2=`]],
      ["a last part that is too long", [head, second, `${name}.2=${text(part + 1)}`]],
      ["another number: 2", [head.replace("=3.", "=2."), `${name}.1=`]],
      ["another number: 4", [head.replace("=3.", "=4."), second, last]],
      ["more than are allowed", [
        head.replace("=3.", "=5."),
        ...Array.from({ length: 7 }, (_, i) => `${name}.${i + 1}=${text(part)}`)
      ]],
      ...["0", "1", "9", "a", "-", "\u0663"].map((n) =>
        [`the number ${n}`, [head.replace("=3.", `=${n}.`), second, last]] as const
      ),
      ["two digits", [head.replace("=3.", "=03."), second, last]],
      ["names that differ in case", [head, second.toUpperCase(), last]],
      ["names of two digits", [head, second.replace(".1=", ".01="), last]]
    ]
    for (const [title, set] of sets) {
      const read = CookieChunks.read(cookie, set.join("; "))
      assert.notStrictEqual(read, value, title)
      if (title !== "two digits") assert.isTrue(isUnjoined(read), title)
    }
    for (const without of [[second, last], [last], []]) {
      assert.isUndefined(CookieChunks.read(cookie, without.join("; ")))
    }
  })

  it("with parts exchanged is another value, for the seal to refuse", () => {
    const full = pairs(CookieChunks.set(cookie, text(3 * part)))
    const [a, b, c] = full.map((pair) => pair.slice(pair.indexOf("=") + 1).replace(/^3\./, ""))
    const set = (...parts: ReadonlyArray<string>) =>
      CookieChunks.read(cookie, `${name}=3.${parts[0]}; ${name}.1=${parts[1]}; ${name}.2=${parts[2]}`)
    assert.strictEqual(set(a, b, c), text(3 * part))
    for (const other of [[b, a, c], [a, c, b], [c, b, a], [a, a, a], [a, b, text(part, 2)]]) {
      assert.strictEqual(set(...other), other.join(""))
      assert.notStrictEqual(other.join(""), text(3 * part))
    }
  })

  it("that fits one cookie is not read from two", () => {
    const short = `${name}=2.${text(part)}; ${name}.1=${text(256)}`
    assert.isTrue(isUnjoined(CookieChunks.read(cookie, short)))
    assert.isFalse(isUnjoined(CookieChunks.read(cookie, `${short}A`)))
  })

  it("ignores further cookies, however many, and looks for no more names than it may", () => {
    const many = Array.from({ length: 1000 }, (_, i) => `${name}.${i + 3}=${text(50)}`)
    assert.strictEqual(CookieChunks.read(cookie, [...many, ...genuine, ...many].join("; ")), value)
    assert.strictEqual(CookieChunks.read(cookie, [...many, `${name}=plain`].join("; ")), "plain")
    const claims = [
      `${name}=9.${text(part)}`,
      ...Array.from({ length: 1000 }, (_, i) => `${name}.${i + 1}=${text(part)}`)
    ]
    assert.isTrue(isUnjoined(CookieChunks.read(cookie, claims.join("; "))))
    // A header of many megabytes of names that almost match takes no more than a few passes over it.
    assert.isUndefined(CookieChunks.read(cookie, `${name}.1=x; `.repeat(200_000)))
  })

  it("reads like one cookie where nothing is in parts", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(name, "=", ";", " ", "2.", ".1", "\t", "x", `${name}.1=`, "\u00a0"), {
          maxLength: 12
        }),
        (bits) => {
          const header = bits.join("")
          assert.strictEqual(CookieChunks.read(cookie, header), SessionCookie.read(cookie, header))
          assert.strictEqual(
            CookieChunks.read(SessionCookie.make(), header),
            SessionCookie.read(SessionCookie.make(), header)
          )
        }
      )
    )
    const off = SessionCookie.make()
    assert.strictEqual(CookieChunks.read(off, headerOf(value)), SessionCookie.read(off, headerOf(value)))
  })
})

describe("parts that stayed behind", () => {
  it("are deleted with the next value, when it needs fewer, and none that it needs", () => {
    const header = headerOf(text(4 * part))
    const expected: ReadonlyArray<readonly [length: number, set: number]> = [[10, 1], [2 * part, 2], [3 * part, 3], [
      4 * part,
      4
    ]]
    for (const [length, set] of expected) {
      const lines = CookieChunks.set(cookie, text(length), undefined, header)
      assert.deepStrictEqual(namesOf(lines), [name, `${name}.1`, `${name}.2`, `${name}.3`])
      for (const [i, line] of lines.entries()) assert.strictEqual(line.includes("Max-Age=0"), i >= set)
    }
  })

  it("are deleted also where the cookie has no parts any more", () => {
    const header = `${headerOf(text(3 * part))}; ${name}.7=x; ${name}.8=not a part`
    for (const chunks of [undefined, 1, 2]) {
      const of = SessionCookie.make({ chunks })
      assert.deepStrictEqual(namesOf(CookieChunks.clear(of, header)), [name, `${name}.1`, `${name}.2`, `${name}.7`])
      assert.deepStrictEqual(
        namesOf(CookieChunks.set(of, "v", undefined, header)),
        namesOf(CookieChunks.clear(of, header))
      )
    }
  })

  it("cost nothing where there are none: one cookie in, one cookie out", () => {
    const off = SessionCookie.make()
    assert.deepStrictEqual(CookieChunks.set(off, "v", undefined, `${name}=x`), [SessionCookie.set(off, "v")])
    assert.deepStrictEqual(CookieChunks.clear(off, `${name}=x`), [SessionCookie.clear(off)])
    assert.deepStrictEqual(CookieChunks.clear(off), [SessionCookie.clear(off)])
  })
})

describe("the option chunks", () => {
  it("is 1 by default, an integer from 1 to 8, and keeps the names of parts for parts", () => {
    assert.strictEqual(SessionCookie.make().chunks, 1)
    for (const chunks of [1, 2, 8]) assert.deepStrictEqual(SessionCookie.validate({ chunks }), [])
    for (const chunks of [0, 9, 1.5, Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      assert.deepStrictEqual(SessionCookie.validate({ chunks }), ["chunks: must be an integer from 1 to 8"])
    }
    for (const name of ["session.1", "__Host-session.7"]) {
      assert.match(SessionCookie.validate({ name })[0], /^name: must not end in/)
    }
    for (const name of ["session.0", "session.8", "session.10", "s1", "a.1b"]) {
      assert.deepStrictEqual(SessionCookie.validate({ name }), [])
    }
  })

  it("of 2 stays below 8,192 octets in one header line", () => {
    const two = SessionCookie.make({ chunks: 2 })
    assert.isBelow(`Cookie: ${headerOf(text(CookieChunks.capacity(two)), two)}\r\n`.length, 8000)
  })
})
