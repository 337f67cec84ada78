import * as SessionCookie from "@effect-session/http/SessionCookie"
import { CookieConfigError, SessionCookieError } from "@effect-session/http/SessionCookieError"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { CookieJar, parseSetCookie, type Place } from "./CookieJar.ts"

const name = "__Host-session"
const cookie = SessionCookie.make()
const now = Date.UTC(2026, 0, 31, 23, 59, 59)
const day = 24 * 60 * 60 * 1000

const thrownBy = (body: () => unknown): unknown => {
  try {
    body()
  } catch (error) {
    return error
  }
  return assert.fail("nothing was thrown")
}

const latin1 = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code))

// Text of all Latin-1, most of it harmless, so that long runs reach the rule under test.
const wildText = fc.string({
  unit: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(..."abcXYZ019-_./") },
    {
      weight: 2,
      arbitrary: fc.constantFrom("\r", "\n", "\0", ";", ",", " ", "\t", "=", "\"", "\\", "\u00a0", "\u007f")
    },
    { weight: 1, arbitrary: fc.constantFrom(...latin1) },
    { weight: 1, arbitrary: fc.constantFrom("\ufeff", "\u2000", "é", "€", "😀", "\ud800") }
  ),
  maxLength: 24
})

describe("configuration", () => {
  it("defaults to a host-bound, secure, HTTP-only, lax browser-session cookie", () => {
    assert.deepStrictEqual(SessionCookie.validate(), [])
    assert.strictEqual(SessionCookie.set(cookie, "abc"), "__Host-session=abc; Path=/; Secure; HttpOnly; SameSite=Lax")
    assert.isTrue(Object.isFrozen(cookie))
  })

  it("treats an undefined option like one left out", () => {
    const options = {
      name: undefined,
      domain: undefined,
      path: undefined,
      httpOnly: undefined,
      secure: undefined,
      sameSite: undefined,
      partitioned: undefined,
      priority: undefined
    }
    assert.strictEqual(SessionCookie.make(options).attributes, cookie.attributes)
  })

  const accepted: ReadonlyArray<readonly [SessionCookie.Options, string]> = [
    [{ name: "sid" }, "sid=v; Path=/; Secure; HttpOnly; SameSite=Lax"],
    [{ name: "sid", secure: false }, "sid=v; Path=/; HttpOnly; SameSite=Lax"],
    [{ name: "sid", secure: false, httpOnly: false, sameSite: "strict" }, "sid=v; Path=/; SameSite=Strict"],
    [{ sameSite: "none" }, "__Host-session=v; Path=/; Secure; HttpOnly; SameSite=None"],
    [
      { sameSite: "none", partitioned: true },
      "__Host-session=v; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"
    ],
    [{ priority: "high" }, "__Host-session=v; Path=/; Secure; HttpOnly; SameSite=Lax; Priority=High"],
    [{ priority: "medium" }, "__Host-session=v; Path=/; Secure; HttpOnly; SameSite=Lax; Priority=Medium"],
    [{ name: "__Host-s", httpOnly: false }, "__Host-s=v; Path=/; Secure; SameSite=Lax"],
    [{ name: "__Host-Http-s" }, "__Host-Http-s=v; Path=/; Secure; HttpOnly; SameSite=Lax"],
    [{ name: "__Http-s", path: "/app" }, "__Http-s=v; Path=/app; Secure; HttpOnly; SameSite=Lax"],
    [
      {
        name: "__Secure-s",
        domain: "example.com",
        path: "/a%20b/",
        sameSite: "strict",
        partitioned: true,
        priority: "low"
      },
      "__Secure-s=v; Domain=example.com; Path=/a%20b/; Secure; HttpOnly; SameSite=Strict; Partitioned; Priority=Low"
    ],
    [{ name: "!#$%&'*+-.^_`|~" }, "!#$%&'*+-.^_`|~=v; Path=/; Secure; HttpOnly; SameSite=Lax"],
    [{ name: "__proto__" }, "__proto__=v; Path=/; Secure; HttpOnly; SameSite=Lax"],
    [
      { name: "s", domain: "xn--bcher-kva.example" },
      "s=v; Domain=xn--bcher-kva.example; Path=/; Secure; HttpOnly; SameSite=Lax"
    ]
  ]
  it.each(accepted)("writes the attributes of %j in a fixed order", (options, expected) => {
    assert.strictEqual(SessionCookie.set(SessionCookie.make(options), "v"), expected)
  })

  const longLabel = "a".repeat(64)
  const refused: ReadonlyArray<readonly [title: string, options: object, problems: ReadonlyArray<string>]> = [
    ["__Host- with a domain", { domain: "example.com" }, ["domain: __Host-"]],
    ["__Host- with a path", { path: "/x" }, ["path: __Host-"]],
    ["__Host- without secure", { secure: false }, ["secure: __Host-"]],
    ["__Secure- without secure", { name: "__Secure-s", secure: false }, ["secure: __Secure-"]],
    ["__Http- without httpOnly", { name: "__Http-s", httpOnly: false }, ["httpOnly: __Http-"]],
    ["__Http- without secure", { name: "__Http-s", secure: false }, ["secure: __Http-"]],
    ["__Host-Http- without httpOnly", { name: "__Host-Http-s", httpOnly: false }, ["httpOnly: __Host-Http-"]],
    ["__Host-Http- with a domain", { name: "__Host-Http-s", domain: "a.example" }, ["domain: __Host-Http-"]],
    ["__Host-Http- with a path", { name: "__Host-Http-s", path: "/a" }, ["path: __Host-Http-"]],
    ["__Host-Http- without secure", { name: "__Host-Http-s", secure: false }, ["secure: __Host-Http-"]],
    ["__host- miscapitalised", { name: "__host-s" }, ["name: write the prefix as __Host-;"]],
    ["__HOST- miscapitalised", { name: "__HOST-s" }, ["name: write the prefix as __Host-;"]],
    ["__secure- miscapitalised", { name: "__secure-s" }, ["name: write the prefix as __Secure-;"]],
    ["__HTTP- miscapitalised", { name: "__HTTP-s" }, ["name: write the prefix as __Http-;"]],
    ["__Host-HTTP- miscapitalised", { name: "__Host-HTTP-s" }, ["name: write the prefix as __Host-Http-;"]],
    ["SameSite=None without secure", { name: "s", sameSite: "none", secure: false }, ["sameSite: browsers drop"]],
    ["Partitioned without secure", { name: "s", partitioned: true, secure: false }, ["partitioned: browsers drop"]],
    ["an unknown sameSite", { sameSite: "Lax" }, ["sameSite: must be one of lax, strict, none"]],
    ["a sameSite that is a property of every object", { sameSite: "constructor" }, ["sameSite: must be one of"]],
    ["an unknown priority", { priority: "HIGH" }, ["priority: must be one of low, medium, high"]],
    ["a switch given as text", { httpOnly: "false" }, ["httpOnly: must be true or false"]],
    ["an empty name", { name: "" }, ["name: must be"]],
    ["a name that is too long", { name: "s".repeat(257) }, ["name: must be"]],
    ...[" s", "s s", "s=", "s;", "s,", "s\"", "s\r\nX: y", "s\n", "s\0", "sé", "s\u00a0", "s(", "s/"].map((bad) =>
      [`the name ${JSON.stringify(bad)}`, { name: bad }, ["name: must be"]] as const
    ),
    ...[
      "",
      ".example.com",
      "example.com.",
      "https://example.com",
      "example.com:443",
      "example..com",
      "-a.example",
      "a-.example",
      "exa mple",
      "example.com; Secure",
      "example.com,",
      "example.com\r\n",
      "example.com\n",
      "bücher.example",
      `${longLabel}.example`,
      `${`${"a".repeat(63)}.`.repeat(3)}${"a".repeat(62)}`
    ].map((bad) =>
      [`the domain ${JSON.stringify(bad.slice(0, 30))}`, { name: "s", domain: bad }, ["domain: must be"]] as const
    ),
    ...["", "app", "*", "/a;b", "/a,b", "/a b", "/\r\n", "/\0", "/é", "/\u007f", `/${"a".repeat(1024)}`].map((bad) =>
      [`the path ${JSON.stringify(bad.slice(0, 30))}`, { name: "s", path: bad }, ["path: must start"]] as const
    )
  ]
  it.each(refused)("refuses %s", (_, options, expected) => {
    const problems = SessionCookie.validate(options)
    assert.strictEqual(problems.length, expected.length, problems.join("\n"))
    for (const [index, start] of expected.entries()) {
      assert.isTrue(problems[index].startsWith(start), problems[index])
    }
    const error = thrownBy(() => SessionCookie.make(options))
    assert.instanceOf(error, CookieConfigError)
    assert.deepStrictEqual(error.problems, problems)
  })

  it("accepts attribute values up to their limits", () => {
    const label = "a".repeat(63)
    const domain = `${label}.${label}.${label}.${"a".repeat(61)}`
    assert.strictEqual(domain.length, 253)
    assert.deepStrictEqual(
      SessionCookie.validate({ name: "s".repeat(256), domain, path: `/${"a".repeat(1023)}` }),
      []
    )
  })

  it("lists every problem at once, those of a miscapitalised prefix included", () => {
    const options = {
      name: "__host-s",
      domain: "a b",
      path: "x",
      secure: false,
      sameSite: "none",
      partitioned: true
    } as const
    const error = thrownBy(() => SessionCookie.make(options))
    assert.instanceOf(error, CookieConfigError)
    assert.deepStrictEqual(
      error.problems.map((problem) => problem.slice(0, problem.indexOf(" "))),
      ["domain:", "path:", "sameSite:", "partitioned:", "name:", "secure:", "path:", "domain:"]
    )
    for (const problem of error.problems) assert.include(error.message, problem)
  })

  it("gives, for any text in name, domain and path, an error or exactly the attributes meant", () => {
    const options = fc.record({
      name: fc.oneof(wildText, fc.constantFrom("s", "__Host-s", "__Secure-s", "__hoSt-s")),
      domain: fc.oneof(fc.constantFrom(undefined, "example.com"), wildText),
      path: fc.oneof(fc.constantFrom("/", "/app"), wildText.map((text) => `/${text}`), wildText),
      httpOnly: fc.boolean(),
      secure: fc.boolean(),
      sameSite: fc.constantFrom("lax", "strict", "none"),
      partitioned: fc.boolean()
    })
    let made = 0
    fc.assert(
      fc.property(options, (given) => {
        if (SessionCookie.validate(given).length > 0) {
          assert.throws(() => SessionCookie.make(given), CookieConfigError)
          return
        }
        made++
        const header = SessionCookie.set(SessionCookie.make(given), "v")
        assert.match(header, /^[ -~]+$/)
        assert.deepStrictEqual(parseSetCookie(header), {
          name: given.name,
          value: "v",
          attributes: [
            ...(given.domain === undefined ? [] : [["Domain", given.domain] as const]),
            ["Path", given.path],
            ...(given.secure ? [["Secure", ""] as const] : []),
            ...(given.httpOnly ? [["HttpOnly", ""] as const] : []),
            ["SameSite", { lax: "Lax", strict: "Strict", none: "None" }[given.sameSite]],
            ...(given.partitioned ? [["Partitioned", ""] as const] : [])
          ]
        })
      }),
      { numRuns: 6000 }
    )
    assert.isAbove(made, 100)
  })
})

describe("reading", () => {
  const table: ReadonlyArray<readonly [title: string, header: string | undefined, expected: SessionCookie.Candidate]> =
    [
      ["no header", undefined, undefined],
      ["an empty header", "", undefined],
      ["other cookies only", "a=1; b=2", undefined],
      ["the cookie alone", `${name}=x`, "x"],
      ["the cookie first", `${name}=x; a=1`, "x"],
      ["the cookie last", `a=1; ${name}=x`, "x"],
      ["the cookie without the space", `a=1;${name}=x;b=2`, "x"],
      ["spaces and tabs around name and value", `a=1; \t ${name} \t=\t x \t; b=2`, "x"],
      ["a blank inside the value", `${name}=x y`, "x y"],
      ["equal signs in the value", `${name}==x=`, "=x="],
      ["an empty value", `${name}=`, ""],
      ["a value of blanks", `${name}= \t ; a=1`, ""],
      ["the name without an equal sign", `${name}; a=1`, undefined],
      ["the name without an equal sign at the end", `a=1; ${name}`, undefined],
      ["the name as a value", `a=${name}; b=${name}=x`, undefined],
      ["the name as the value of a nameless cookie", `=${name}=x`, undefined],
      ["the name inside a longer one", `x${name}=1; ${name}x=2; ${name}-${name}=3`, undefined],
      ["the name twice in one", `${name}${name}=1; ${name}=x`, "x"],
      ["another case", `__host-session=1; __HOST-SESSION=2; __Host-Session=3`, undefined],
      ["a percent-encoded name", `__%48ost-session=1; ${name}=x`, "x"],
      ["a percent-encoded value", `${name}=%41%3B`, "%41%3B"],
      ["a quoted value", `${name}="x"`, "\"x\""],
      ["an unterminated quote", `${name}="x`, "\"x"],
      ["legacy attributes", `$Version=1; ${name}="x"; $Path=/`, "\"x\""],
      ["a quote opened in another cookie", `a="1; ${name}=x; b=2"`, "x"],
      ["a comma between cookies", `a=1, ${name}=x`, undefined],
      ["a comma after the cookie", `${name}=x, ${name}=y`, `x, ${name}=y`],
      ["two cookies", `${name}=x; ${name}=y`, SessionCookie.Duplicate],
      ["two equal cookies", `${name}=x; ${name}=x`, SessionCookie.Duplicate],
      ["two cookies, one empty", `${name}=; a=1; ${name}=x`, SessionCookie.Duplicate],
      ["two cookies, one quoted", `${name}="a; ${name}=x"`, SessionCookie.Duplicate],
      ["three cookies", `${name}=x; ${name}=y; ${name}=z`, SessionCookie.Duplicate],
      ["a cookie and its name without an equal sign", `${name}; ${name}=x; ${name}`, "x"],
      ["properties of every object", `__proto__=x; constructor=y`, undefined],
      ...["\u00a0", "\ufeff", "\u2000", "\u000b", "\u000c", "\r", "\n", "\0", "\u00c2\u00a0", "\u00ef\u00bb\u00bf"]
        .flatMap(
          (blank) => {
            const shown = JSON.stringify(blank)
            return [
              [`${shown} before the name`, `${blank}${name}=evil; ${name}=x`, "x"],
              [`${shown} after the name`, `${name}${blank}=evil; ${name}=x`, "x"],
              [`${shown} before the name, last`, `${name}=x; ${blank}${name}=evil`, "x"],
              [`${shown} after the name, last`, `${name}=x; ${name}${blank}=evil`, "x"],
              [`${shown} around the value`, `${name}=${blank}x${blank}`, `${blank}x${blank}`]
            ] as const
          }
        )
    ]
  it.each(table)("finds the right candidate with %s", (_, header, expected) => {
    assert.strictEqual(SessionCookie.read(cookie, header), expected)
  })

  it("reports a duplicate in every order of genuine, unknown, foreign and malformed values", () => {
    const values = ["genuine", "unknown", "foreign", "\"", ""]
    for (const first of values) {
      assert.strictEqual(SessionCookie.read(cookie, `a=1; ${name}=${first}`), first)
      for (const second of values) {
        assert.strictEqual(SessionCookie.read(cookie, `${name}=${first}; ${name}=${second}`), SessionCookie.Duplicate)
      }
    }
  })

  it("agrees with splitting the header at every semicolon", () => {
    const pieces = fc.constantFrom(
      name,
      `${name}=`,
      `; ${name}=x`,
      `;${name} `,
      "__host-session",
      "__Host-",
      "session",
      "a",
      "=",
      ";",
      "; ",
      " ",
      "\t",
      "\"",
      ",",
      "%48",
      "\u00a0",
      "\ufeff",
      "\u000b"
    )
    const header = fc.array(pieces, { maxLength: 16 }).map((list) => list.join(""))
    const seen = { none: 0, one: 0, duplicate: 0 }
    fc.assert(
      fc.property(header, (text) => {
        const values = text.split(";").map((part) => /^[ \t]*([^=]*?)[ \t]*=[ \t]*([^]*?)[ \t]*$/.exec(part))
          .filter((match) => match !== null && match[1] === name).map((match) => match?.[2])
        const expected = values.length > 1 ? SessionCookie.Duplicate : values[0]
        seen[values.length > 1 ? "duplicate" : values.length === 1 ? "one" : "none"]++
        assert.strictEqual(SessionCookie.read(cookie, text), expected)
      }),
      { numRuns: 20_000 }
    )
    for (const count of Object.values(seen)) assert.isAbove(count, 100)
  })

  it("reads names that repeat themselves", () => {
    const repeating = SessionCookie.make({ name: "aa" })
    assert.strictEqual(SessionCookie.read(repeating, "aaa=1; aaaa=2; a=3"), undefined)
    assert.strictEqual(SessionCookie.read(repeating, "aaa=1; aa=2; aaaa=3"), "2")
    assert.strictEqual(SessionCookie.read(repeating, "aa=aa; aaa=aa"), "aa")
  })

  it("finds the cookie in a header of a megabyte, whatever it is filled with", () => {
    for (const filler of [" ", "\t", ";", "=", name, `${name} `, ` ${name}`, `;${name} `, `=${name}`]) {
      const long = filler.repeat(Math.ceil(1_000_000 / filler.length))
      assert.strictEqual(SessionCookie.read(cookie, `${long};${name}=x`), "x", filler)
    }
  })
})

describe("writing", () => {
  it("writes Max-Age in whole seconds and the same instant as Expires", () => {
    assert.strictEqual(
      SessionCookie.set(cookie, "v", { maxAge: 3_600_000, now }),
      "__Host-session=v; Max-Age=3600; Expires=Sun, 01 Feb 2026 00:59:59 GMT; Path=/; Secure; HttpOnly; SameSite=Lax"
    )
  })

  it("rounds a lifetime up to a whole second", () => {
    for (const [maxAge, seconds] of [[1, 1], [999, 1], [1000, 1], [1001, 2], [0.5, 1]]) {
      assert.include(SessionCookie.set(cookie, "v", { maxAge, now }), `; Max-Age=${seconds}; `)
    }
  })

  it("accepts lifetimes up to 400 days and refuses longer ones", () => {
    assert.include(SessionCookie.set(cookie, "v", { maxAge: 400 * day, now }), "; Max-Age=34560000; ")
    const error = SessionCookie.check(cookie, "v", { maxAge: 400 * day + 1, now })
    assert.instanceOf(error, SessionCookieError)
    assert.strictEqual(error.reason._tag, "InvalidLifetime")
    assert.include(error.message, "400 days")
  })

  const lifetimes = [
    { maxAge: 0, now },
    { maxAge: -1, now },
    { maxAge: Number.NaN, now },
    { maxAge: Number.POSITIVE_INFINITY, now },
    { maxAge: 1000, now: Number.NaN },
    { maxAge: 1000, now: -1 },
    { maxAge: 1000, now: Number.POSITIVE_INFINITY },
    { maxAge: 1000, now: 8.64e15 }
  ]
  it.each(lifetimes)("refuses the lifetime $maxAge from $now", (lifetime) => {
    assert.strictEqual(SessionCookie.check(cookie, "v", lifetime)?.reason._tag, "InvalidLifetime")
    assert.instanceOf(thrownBy(() => SessionCookie.set(cookie, "v", lifetime)), SessionCookieError)
  })

  it("accepts exactly the visible ASCII characters that RFC 6265 gives a value", () => {
    const accepted = latin1.filter((character) => SessionCookie.check(cookie, `a${character}b`) === undefined)
    assert.strictEqual(
      accepted.join(""),
      "!#$%&'()*+-./0123456789:<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~"
    )
  })

  it("refuses an empty value and one that ends in a line break", () => {
    for (const value of ["", "v\n", "v\r\n"]) {
      assert.strictEqual(SessionCookie.check(cookie, value)?.reason._tag, "InvalidValue", JSON.stringify(value))
      assert.instanceOf(thrownBy(() => SessionCookie.set(cookie, value)), SessionCookieError)
    }
  })

  it("gives, for any text, an error or a header with that value and no other attribute", () => {
    const options = { name: "s", domain: "example.com" }
    const plain = SessionCookie.make(options)
    let written = 0
    fc.assert(
      fc.property(wildText, fc.option(fc.constant({ maxAge: 5000, now }), { nil: undefined }), (value, lifetime) => {
        const error = SessionCookie.check(plain, value, lifetime)
        if (error !== undefined) {
          const thrown = thrownBy(() => SessionCookie.set(plain, value, lifetime))
          assert.instanceOf(thrown, SessionCookieError)
          assert.strictEqual(thrown.message, error.message)
          return
        }
        written++
        const header = SessionCookie.set(plain, value, lifetime)
        assert.match(header, /^[ -~]+$/)
        const parsed = parseSetCookie(header)
        assert.strictEqual(parsed.value, value)
        assert.deepStrictEqual(
          parsed.attributes.map(([key]) => key),
          [
            ...(lifetime === undefined ? [] : ["Max-Age", "Expires"]),
            "Domain",
            "Path",
            "Secure",
            "HttpOnly",
            "SameSite"
          ]
        )
        assert.strictEqual(SessionCookie.read(plain, `a=1; s=${value}; b=2`), value)
      }),
      { numRuns: 5000 }
    )
    assert.isAbove(written, 100)
  })

  it("refuses name and value of more than 4,096 octets, and says how many they are", () => {
    const room = SessionCookie.maximumSize - name.length
    assert.strictEqual(SessionCookie.check(cookie, "a".repeat(room - 1)), undefined)
    assert.strictEqual(SessionCookie.check(cookie, "a".repeat(room)), undefined)
    const cases: ReadonlyArray<readonly [value: string, expected: object]> = [
      ["a".repeat(room + 1), { _tag: "TooLarge", actual: 4097, maximum: 4096 }],
      ["a".repeat(100_000), { _tag: "TooLarge", actual: 100_014, maximum: 4096 }],
      // Two and four octets of one and two UTF-16 units: the octets count.
      ["é".repeat(room / 2), { _tag: "InvalidValue" }],
      ["é".repeat(room / 2) + "a", { _tag: "TooLarge", actual: 4097, maximum: 4096 }],
      ["😀".repeat(1020) + "aa", { _tag: "InvalidValue" }],
      ["😀".repeat(1020) + "aaa", { _tag: "TooLarge", actual: 4097, maximum: 4096 }],
      ["€".repeat(2000), { _tag: "TooLarge", actual: 6014, maximum: 4096 }],
      ["\r\n".repeat(3000), { _tag: "TooLarge", actual: 6014, maximum: 4096 }]
    ]
    for (const [value, expected] of cases) {
      const error = SessionCookie.check(cookie, value)
      assert.deepInclude(error?.reason, expected)
      assert.strictEqual(thrownBy(() => SessionCookie.set(cookie, value)) instanceof SessionCookieError, true)
    }
  })

  it("shows no value in an error", () => {
    for (const value of ["secret;secret", "secret".repeat(1000)]) {
      const error = SessionCookie.check(cookie, value)
      assert.instanceOf(error, SessionCookieError)
      assert.notInclude(`${error.message}${JSON.stringify(error)}${error.stack}`, "secret")
    }
  })
})

describe("clearing", () => {
  it("writes an empty value, Max-Age=0, a past Expires and the attributes of the cookie", () => {
    assert.strictEqual(
      SessionCookie.clear(cookie),
      "__Host-session=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax"
    )
  })

  const place: Place = { host: "app.example.com", path: "/app/page", secure: true, topLevelSite: "https://top.example" }
  const cookies: ReadonlyArray<SessionCookie.Options> = [
    {},
    { name: "s" },
    { name: "s", secure: false },
    { name: "s", domain: "example.com" },
    { name: "s", domain: "app.example.com" },
    { name: "s", path: "/app" },
    { name: "s", path: "/app/", domain: "example.com", sameSite: "strict" },
    { sameSite: "none" },
    { sameSite: "none", partitioned: true },
    { name: "__Secure-s", domain: "example.com", path: "/app", sameSite: "none", partitioned: true, priority: "high" },
    { name: "__Host-Http-s" },
    { name: "__Http-s", domain: "example.com" }
  ]
  it.each(cookies)("removes from a browser what was set with %j", (options) => {
    const made = SessionCookie.make(options)
    for (const lifetime of [undefined, { maxAge: day, now }]) {
      const jar = new CookieJar()
      assert.isTrue(jar.setCookie(SessionCookie.set(made, "v", lifetime), place, now))
      assert.strictEqual(SessionCookie.read(made, jar.header(place, now)), "v")
      assert.isTrue(jar.setCookie(SessionCookie.clear(made), place, now))
      assert.strictEqual(jar.size, 0)
      assert.strictEqual(SessionCookie.read(made, jar.header(place, now)), undefined)
    }
  })

  it("removes nothing with another name, domain, path or partition", () => {
    const stored: SessionCookie.Options = { name: "s", domain: "example.com", path: "/app", partitioned: true }
    for (const change of [{ name: "t" }, { domain: undefined }, { path: "/" }, { partitioned: false }]) {
      const jar = new CookieJar()
      jar.setCookie(SessionCookie.set(SessionCookie.make(stored), "v"), place, now)
      jar.setCookie(SessionCookie.clear(SessionCookie.make({ ...stored, ...change })), place, now)
      assert.strictEqual(jar.header(place, now), "s=v", JSON.stringify(change))
    }
  })

  it("lets a persistent cookie end with its Max-Age", () => {
    const jar = new CookieJar()
    jar.setCookie(SessionCookie.set(cookie, "v", { maxAge: 1500, now }), place, now)
    assert.strictEqual(jar.header(place, now + 1999), "__Host-session=v")
    assert.strictEqual(jar.header(place, now + 2000), undefined)
  })
})
