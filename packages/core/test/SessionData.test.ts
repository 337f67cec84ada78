import { assert, describe, it } from "@effect/vitest"
import { Option, Schema, SchemaGetter, SchemaTransformation } from "effect"
import * as FastCheck from "fast-check"
import * as SessionData from "../src/SessionData.ts"

const Profile = Schema.Struct({ name: Schema.String, visits: Schema.Number })
const id = "app/UserSession"
const profile = SessionData.make(id, { data: Profile, initial: { name: "guest", visits: 0 } })

// An envelope with nothing in it but data.
const envelope = <A>(data: A): SessionData.Envelope<A> => ({ ...profile.initial(), data, fields: undefined })

const payload = (data: unknown, rest: object = {}) => JSON.stringify({ t: id, v: 1, d: data, ...rest })

/** The outcome of decoding in one word, or the data. */
const outcome = <A>(codec: SessionData.SessionData<A>, text: string, format: number = SessionData.format) => {
  const decoded = codec.decode("key", format, text)
  if (decoded._tag === "Foreign") return "foreign"
  return decoded._tag === "Decoded" ? decoded.envelope.data : decoded.problem
}

const roundTrip = <A>(codec: SessionData.SessionData<A>, data: A): A => {
  const text = codec.encode(envelope(data))
  if (text === undefined) assert.fail("not encoded")
  const decoded = codec.decode("key", SessionData.format, text)
  return decoded._tag === "Decoded" ? decoded.envelope.data : assert.fail(decoded._tag)
}

describe("SessionData", () => {
  it("reads back whatever it has written", () => {
    const message = FastCheck.record({ kind: FastCheck.string(), message: FastCheck.string({ unit: "binary" }) })
    const optional = <A>(arbitrary: FastCheck.Arbitrary<A>) => FastCheck.option(arbitrary, { nil: undefined })
    const whole = FastCheck.record({
      data: FastCheck.record({ name: FastCheck.string({ unit: "binary" }), visits: FastCheck.integer() }),
      flash: FastCheck.array(message),
      elevatedUntil: optional(FastCheck.nat()),
      override: optional(FastCheck.record({
        idleTimeout: optional(FastCheck.nat()),
        lifetime: optional(FastCheck.nat()),
        persistent: optional(FastCheck.boolean())
      })),
      client: optional(FastCheck.record({ agent: optional(FastCheck.string()), address: optional(FastCheck.string()) }))
    })
    FastCheck.assert(FastCheck.property(whole, (parts) => {
      const whole = { ...profile.initial(), ...parts }
      const text = profile.encode(whole)
      const decoded = profile.decode("key", SessionData.format, text!)
      assert.deepStrictEqual(decoded, { _tag: "Decoded", envelope: whole })
      assert.strictEqual(profile.encode(whole), text)
      assert.doesNotThrow(() => JSON.parse(text!))
    }))
  })

  it("keeps dates, maps, sets, big integers, undefined and absent keys", () => {
    const Rich = Schema.Struct({
      at: Schema.Date,
      map: Schema.ReadonlyMap(Schema.String, Schema.Date),
      set: Schema.ReadonlySet(Schema.Number),
      big: Schema.BigInt,
      maybe: Schema.UndefinedOr(Schema.Number),
      absent: Schema.optionalKey(Schema.Number),
      optional: Schema.optional(Schema.String),
      bytes: Schema.Uint8Array
    })
    const data: typeof Rich.Type = {
      at: new Date(123),
      map: new Map([["a", new Date(0)], ["__proto__", new Date(1)]]),
      set: new Set([1, 2, 3]),
      big: 2n ** 80n,
      maybe: undefined,
      bytes: Uint8Array.of(0, 255)
    }
    const read = roundTrip(SessionData.make(id, { data: Rich, initial: data }), data)
    assert.deepStrictEqual(read, data)
    assert.isFalse(Object.hasOwn(read, "absent"))
  })

  it("says what is wrong with a payload", () => {
    assert.strictEqual(outcome(profile, payload({ name: "ada" })), "shape")
    assert.strictEqual(outcome(profile, payload({ name: 1, visits: 1 })), "shape")
    assert.strictEqual(outcome(profile, payload({ name: "ada", visits: "1" })), "shape")
    assert.strictEqual(outcome(profile, payload(null)), "shape")
    assert.strictEqual(outcome(profile, JSON.stringify({ t: id, v: 1 })), "shape")
    for (const text of ["", "{", "null", "[]", "1", "\"text\"", "{}", "{\"v\":0}", "{\"v\":1.5}", "{\"v\":\"1\"}"]) {
      assert.strictEqual(outcome(profile, text), "syntax", text)
    }
    const good = payload({ name: "ada", visits: 1 })
    assert.strictEqual(outcome(profile, good, 99), "newer")
    assert.isString(outcome(profile, good, 0))
    const bytes = profile.decode("key", SessionData.format, new TextEncoder().encode(good))
    assert.deepStrictEqual(bytes, { _tag: "Undecodable", problem: "syntax" })
    assert.deepStrictEqual(outcome(profile, good), { name: "ada", visits: 1 })
  })

  it("does not take the session of one service for that of another", () => {
    const other = SessionData.make("app/Other", { data: Profile, initial: { name: "guest", visits: 0 } })
    const foreign = profile.encode(envelope({ name: "ada", visits: 1 }))!
    assert.strictEqual(outcome(other, foreign), "foreign")
    assert.strictEqual(outcome(profile, JSON.stringify({ v: 1, d: { name: "ada", visits: 1 } })), "shape")
  })

  it("has an outcome for a payload cut off anywhere", () => {
    const text = profile.encode({
      ...envelope({ name: "Ada \ud83d\ude00 Lovelace", visits: 1 }),
      flash: [{ kind: "notice", message: "Saved." }],
      elevatedUntil: 5
    })!
    for (let length = 0; length < text.length; length++) {
      assert.strictEqual(outcome(profile, text.slice(0, length)), "syntax", text.slice(0, length))
    }
  })

  it("has an outcome for hostile values", () => {
    const json = SessionData.make(id, { data: Schema.Struct({ x: Schema.Json }), initial: { x: null } })
    const deep = "[".repeat(10_000) + "]".repeat(10_000)
    const keys = "{\"a\":".repeat(10_000) + "1" + "}".repeat(10_000)
    for (const text of [deep, keys]) {
      const decoded = json.decode("key", SessionData.format, `{"t":"${id}","v":1,"d":{"x":${text}}}`)
      assert.include(["Decoded", "Undecodable"], decoded._tag)
    }
    assert.strictEqual(outcome(profile, `{"t":"${id}","v":1,"d":{"name":"a","visits":{}}}`), "shape")
    for (const number of ["1e400", "-1e400", "-0", "1e-400"]) {
      const decoded = profile.decode("key", 1, `{"t":"${id}","v":1,"d":{"name":"a","visits":${number}}}`)
      assert.include(["Decoded", "Undecodable"], decoded._tag)
    }
    assert.deepStrictEqual(
      outcome(profile, `{"t":"${id}","v":1,"d":{"name":"\\ud800","visits":1}}`),
      { name: "\ud800", visits: 1 }
    )
    assert.deepStrictEqual(roundTrip(profile, { name: "\udfff\ud800", visits: 1 }), { name: "\udfff\ud800", visits: 1 })
  })

  it("encodes what does not fit, or is nested too deep, to nothing", () => {
    assert.isUndefined(profile.encode(envelope(JSON.parse("{\"name\":1,\"visits\":1}"))))
    const json = SessionData.make(id, { data: Schema.Struct({ x: Schema.Json }), initial: { x: null } })
    let deep: Schema.Json = null
    for (let i = 0; i < 200_000; i++) deep = [deep]
    assert.isUndefined(json.encode(envelope({ x: deep })))
  })

  it("takes nothing but well-formed flash messages and settings", () => {
    const decoded = profile.decode(
      "key",
      SessionData.format,
      payload({ name: "ada", visits: 1 }, {
        f: [["notice", "a"], "x", ["alert"], [1, 2], { 0: "a", 1: "b" }, null, ["info", "b", "c"]],
        e: "soon",
        o: { i: "1", l: null, p: 1 },
        c: { a: 1, n: "192.0.2.1" }
      })
    )
    assert.deepStrictEqual(decoded, {
      _tag: "Decoded",
      envelope: {
        ...envelope({ name: "ada", visits: 1 }),
        flash: [{ kind: "notice", message: "a" }, { kind: "info", message: "b" }],
        override: { idleTimeout: undefined, lifetime: undefined, persistent: undefined },
        client: { agent: undefined, address: "192.0.2.1" }
      }
    })
  })
})

describe("prototype keys in stored data", () => {
  const attacks = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"]
  const evil = { admin: true, prototype: { admin: true } }
  // Written by hand: an object literal with __proto__ would set its prototype.
  const own = (key: string, rest = "") => `{"${key}":${JSON.stringify(evil)}${rest}}`

  const safe = (what: string, value: unknown) => {
    const innocent: { readonly admin?: unknown } = {}
    assert.isUndefined(innocent.admin, what)
    const visit = (value: unknown): void => {
      if (typeof value !== "object" || value === null) return
      assert.include([Object.prototype, Array.prototype], Object.getPrototypeOf(value), what)
      for (const key of Object.getOwnPropertyNames(value)) {
        visit(Object.getOwnPropertyDescriptor(value, key)?.value)
      }
    }
    visit(value)
  }

  const read = <A>(codec: SessionData.SessionData<A>, data: string) => {
    const decoded = codec.decode("key", SessionData.format, `{"t":"${id}","v":1,"d":${data}}`)
    if (decoded._tag !== "Decoded") return undefined
    safe(data, decoded.envelope.data)
    // What applications do with data: spread it, change it, write it, read it again.
    const text = codec.encode({ ...decoded.envelope, data: { ...decoded.envelope.data } })
    if (text !== undefined) {
      const again = codec.decode("key", SessionData.format, text)
      if (again._tag === "Decoded") safe(text, again.envelope.data)
    }
    return decoded.envelope.data
  }

  for (const key of attacks) {
    it(`change nothing in a struct: ${key}`, () => {
      const nested = SessionData.make(id, {
        data: Schema.Struct({ name: Schema.String, inner: Schema.Struct({ a: Schema.optionalKey(Schema.Number) }) }),
        initial: { name: "", inner: {} }
      })
      const data = read(nested, own(key, `,"name":"ada","inner":${own(key)}`))
      assert.deepStrictEqual(data, { name: "ada", inner: {} })
    })

    it(`change nothing in a record: ${key}`, () => {
      const record = SessionData.make(id, { data: Schema.Record(Schema.String, Schema.Json), initial: {} })
      read(record, own(key))
      read(record, `{"a":${own(key)},"b":[${own(key)}]}`)
      const nested = SessionData.make(id, {
        data: Schema.Struct({ bag: Schema.Record(Schema.String, Schema.Struct({ admin: Schema.Boolean })) }),
        initial: { bag: {} }
      })
      read(nested, `{"bag":{"${key}":{"admin":true}}}`)
    })

    it(`change nothing in JSON: ${key}`, () => {
      const json = SessionData.make(id, { data: Schema.Struct({ x: Schema.Json }), initial: { x: null } })
      read(json, `{"x":${own(key)}}`)
      read(json, `{"x":[{"y":${own(key)}}]}`)
    })
  }

  it("change nothing in the envelope", () => {
    const text = `{"__proto__":{"e":99,"f":[["notice","x"]]},"t":"${id}","v":1,"d":{"name":"a","visits":1}}`
    assert.deepStrictEqual(profile.decode("key", SessionData.format, text), {
      _tag: "Decoded",
      envelope: envelope({ name: "a", visits: 1 })
    })
  })
})

describe("migrations", () => {
  const at = (version: number, migrations: SessionData.Migrations) =>
    SessionData.make(id, { data: Profile, initial: { name: "guest", visits: 0 }, version, migrations })
  const written = (version: number, data: unknown) => JSON.stringify({ t: id, v: version, d: data })
  const toSecond = (data: Schema.Json) => ({ first: String(data), last: "" })
  const toThird = (data: Schema.Json) => {
    const { first } = Schema.decodeUnknownSync(Schema.Struct({ first: Schema.String, last: Schema.String }))(data)
    return { name: first, visits: 7 }
  }
  const third = at(3, { 1: toSecond, 2: toThird })

  it("run one after the other, from whatever version was stored", () => {
    assert.deepStrictEqual(outcome(third, written(1, "ada")), { name: "ada", visits: 7 })
    assert.deepStrictEqual(outcome(third, written(2, { first: "bob", last: "" })), { name: "bob", visits: 7 })
    assert.deepStrictEqual(outcome(third, written(3, { name: "eve", visits: 1 })), { name: "eve", visits: 1 })
  })

  it("write the version they led to", () => {
    const text = third.encode(envelope({ name: "ada", visits: 7 }))
    assert.strictEqual(JSON.parse(text!).v, 3)
  })

  it("end in an outcome when one is missing, throws, or gives the wrong shape", () => {
    assert.strictEqual(outcome(at(3, { 2: toThird }), written(1, "ada")), "migration")
    assert.strictEqual(outcome(at(3, { 1: toSecond }), written(1, "ada")), "migration")
    assert.strictEqual(outcome(third, written(2, { nothing: true })), "migration")
    assert.strictEqual(outcome(at(2, { 1: () => "wrong" }), written(1, "ada")), "shape")
  })

  it("do not read what a later version wrote", () => {
    assert.strictEqual(outcome(third, written(4, { name: "ada", visits: 7 })), "newer")
    assert.strictEqual(outcome(profile, written(2, { name: "ada", visits: 7 })), "newer")
  })

  it("refuse a version, or a migration, that can never apply", () => {
    for (const version of [0, -1, 1.5, NaN]) assert.throws(() => at(version, {}), RangeError)
    for (const from of [0, 3, 4]) assert.throws(() => at(3, { [from]: toSecond }), RangeError)
  })
})

describe("data that requests share", () => {
  it("is frozen where it is plain, and remembered by key and payload", () => {
    const Nested = Schema.Struct({ list: Schema.Array(Schema.Struct({ a: Schema.Number })) })
    const codec = SessionData.make(id, { data: Nested, initial: { list: [] } })
    const text = codec.encode(envelope({ list: [{ a: 1 }] }))!
    const data = () => {
      const decoded = codec.decode("key", SessionData.format, text)
      return decoded._tag === "Decoded" ? decoded.envelope.data : assert.fail(decoded._tag)
    }
    for (const part of [data(), data().list, data().list[0]]) assert.isFrozen(part)
    assert.strictEqual(data(), data())
    const other = codec.encode(envelope({ list: [{ a: 2 }] }))!
    assert.deepStrictEqual(outcome(codec, other), { list: [{ a: 2 }] })
    assert.deepStrictEqual(data(), { list: [{ a: 1 }] })
  })

  const Tree = Schema.Struct({
    text: Schema.String,
    number: Schema.Number,
    maybe: Schema.optionalKey(Schema.UndefinedOr(Schema.Boolean)),
    list: Schema.Array(Schema.NullOr(Schema.Struct({ deep: Schema.Number }))),
    any: Schema.Json
  })
  const initial = { text: "", number: 0, list: [], any: null }

  describe("and was just written", () => {
    const tree = FastCheck.record({
      text: FastCheck.string({ unit: "binary" }),
      number: FastCheck.double(),
      maybe: FastCheck.option(FastCheck.boolean(), { nil: undefined }),
      list: FastCheck.array(FastCheck.option(FastCheck.record({ deep: FastCheck.double() }))),
      any: FastCheck.json().map((text): Schema.Json => JSON.parse(text))
    }, { requiredKeys: ["text", "number", "list", "any"] })
    const remembering = (known: boolean) => (data: typeof Tree.Type) => {
      const codec = SessionData.make(id, { data: Tree, initial })
      const written = codec.write(envelope(data))!
      if (known) codec.remember("key", written, envelope(data))
      const decoded = codec.decode("key", SessionData.format, written.payload)
      if (decoded._tag !== "Decoded") assert.fail(decoded._tag)
      return { copy: written.copy, decoded: { ...decoded, envelope: { ...decoded.envelope, fields: undefined } } }
    }

    it("is what reading it would have given", () => {
      let remembered = 0
      FastCheck.assert(FastCheck.property(tree, (data) => {
        const { copy, decoded } = remembering(true)(data)
        if (copy !== undefined) remembered++
        assert.deepStrictEqual(decoded, remembering(false)(data).decoded)
      }))
      assert.isAbove(remembered, 10)
    })

    it("leaves the writer's own objects alone", () => {
      const data = { text: "a", number: 1, list: [{ deep: 1 }], any: { own: [1] } }
      const { decoded } = remembering(true)(data)
      data.list[0].deep = 2
      data.any.own.push(2)
      assert.deepNestedInclude(decoded, { "envelope.data.list[0].deep": 1, "envelope.data.any.own.length": 1 })
    })

    it("is frozen", () => {
      const { copy } = remembering(true)({ text: "a", number: 1, list: [{ deep: 1 }], any: 1 })
      for (const part of [copy, copy?.list, copy?.list[0]]) assert.isFrozen(part)
    })

    it("is read anew where JSON says less, or the schema transforms", () => {
      const plain = { text: "a", number: 1, list: [], any: 1 }
      for (const data of [{ ...plain, number: -0 }, { ...plain, number: NaN }, { ...plain, maybe: undefined }]) {
        assert.isUndefined(remembering(true)(data).copy)
      }
      const withExcess = Object.assign({ ...plain }, { excess: 1 })
      assert.deepStrictEqual(remembering(true)(withExcess).copy, plain)
      const trimmed = SessionData.make(id, { data: Schema.Struct({ a: Schema.Trim }), initial: { a: "" } })
      assert.isUndefined(trimmed.write(envelope({ a: "x" }))!.copy)
    })
  })

  describe("and is written again", () => {
    const tree = FastCheck.record({
      text: FastCheck.constantFrom("", "a", "\u2028\ud800"),
      number: FastCheck.constantFrom(0, -0, NaN, 1),
      maybe: FastCheck.constantFrom(undefined, true, false),
      list: FastCheck.array(FastCheck.option(FastCheck.record({ deep: FastCheck.constantFrom(0, -0, 2) })), {
        maxLength: 2
      }),
      any: FastCheck.constantFrom<Schema.Json>(null, 1, [1], { "__proto__": 1 }, JSON.parse(`{"__proto__":1}`))
    }, { requiredKeys: ["text", "number", "list", "any"] })
    const changes = FastCheck.array(
      FastCheck.record({ tree, keeps: FastCheck.subarray(["text", "number", "maybe", "list", "any"] as const) })
    )

    it("has the text that it would have without what was written before", () => {
      FastCheck.assert(FastCheck.property(changes, (changes) => {
        const codec = SessionData.make(id, { data: Tree, initial })
        let before = codec.initial()
        for (const { keeps, tree } of changes) {
          const kept = Object.fromEntries(
            keeps.flatMap((name) => name in before.data ? [[name, before.data[name]]] : [])
          )
          const next = { ...before, data: { ...tree, ...kept } }
          const written = codec.write(next)!
          assert.strictEqual(written.payload, codec.write({ ...next, fields: undefined })!.payload)
          codec.remember("key", written, next)
          const decoded = codec.decode("key", SessionData.format, written.payload)
          if (decoded._tag !== "Decoded") assert.fail(decoded._tag)
          const fresh = SessionData.make(id, { data: Tree, initial }).decode("key", SessionData.format, written.payload)
          assert.deepStrictEqual(decoded.envelope.data, fresh._tag === "Decoded" ? fresh.envelope.data : fresh._tag)
          before = decoded.envelope
        }
      }))
    })

    it("says what its writer has changed since", () => {
      const codec = SessionData.make(id, { data: Tree, initial })
      const list = [{ deep: 1 }]
      const first = codec.write(envelope({ ...initial, list }))!
      list[0].deep = 2
      const again = codec.write({ ...envelope({ ...initial, list }), fields: first.fields })!
      assert.deepStrictEqual(JSON.parse(again.payload).d.list, [{ deep: 2 }])
      assert.deepStrictEqual(first.copy?.list, [{ deep: 1 }])
    })

    it("is checked: what has changed, and what belongs together", () => {
      const Range = Schema.Struct({ from: Schema.Number, to: Schema.Number }).check(
        Schema.makeFilter(({ from, to }) => from <= to)
      )
      const range = SessionData.make(id, { data: Range, initial: { from: 0, to: 0 } })
      const first = range.write(envelope({ from: 1, to: 2 }))!
      assert.isUndefined(range.write({ ...envelope({ from: 3, to: 2 }), fields: first.fields }))
      const tree = SessionData.make(id, { data: Tree, initial })
      const { fields } = tree.write(envelope(initial))!
      for (const wrong of [{ text: 1 }, { number: undefined }, { list: [{}] }]) {
        const data = Object.assign({ ...initial }, wrong)
        assert.isUndefined(tree.write({ ...envelope(data), fields }))
      }
    })

    it("is whatever it is where the schema names no field", () => {
      const codec = SessionData.make(id, { data: Schema.Struct({}), initial: {} })
      const data = { cart: [1] }
      assert.deepStrictEqual(outcome(codec, codec.encode(envelope(data))!), data)
      assert.isUndefined(codec.write(envelope(data))?.copy)
    })

    it("keeps the order in which it is read", () => {
      const Order = Schema.Struct({ a: Schema.Int, b: Schema.optionalKey(Schema.Int), c: Schema.Int })
      const codec = SessionData.make(id, { data: Order, initial: { a: 0, c: 0 } })
      const { fields } = codec.write(envelope({ a: 1, c: 1 }))!
      const { copy, payload } = codec.write({ ...envelope({ c: 1, b: 2, a: 1 }), fields })!
      for (const read of [copy, outcome(codec, payload)]) {
        assert.strictEqual(JSON.stringify(read), `{"a":1,"b":2,"c":1}`)
      }
    })

    it("has what its schema writes for what is not there", () => {
      const Late = Schema.declare((value): value is string => typeof value === "string", {
        toCodecJson: () =>
          Schema.link<string>()(
            Schema.String,
            new SchemaTransformation.Transformation(
              SchemaGetter.passthrough(),
              SchemaGetter.transformOptional(Option.orElseSome(() => "late"))
            )
          )
      })
      const codec = SessionData.make(id, { data: Schema.Struct({ a: Schema.optionalKey(Late) }), initial: {} })
      assert.strictEqual(JSON.stringify(JSON.parse(codec.encode(envelope({}))!).d), `{"a":"late"}`)
    })

    it("has fields of any name", () => {
      const Odd = Schema.Struct({ ["__proto__"]: Schema.Array(Schema.Number), constructor: Schema.String })
      const data: typeof Odd.Type = JSON.parse(`{"__proto__":[1],"constructor":"x"}`)
      const codec = SessionData.make(id, { data: Odd, initial: data })
      const { copy, payload } = codec.write(envelope(data))!
      for (const read of [copy, outcome(codec, payload)]) assert.strictEqual(JSON.stringify(read), JSON.stringify(data))
    })
  })

  it("is read anew where it cannot be frozen", () => {
    const codec = SessionData.make(id, { data: Schema.Struct({ at: Schema.Date }), initial: { at: new Date(0) } })
    const text = codec.encode(envelope({ at: new Date(5) }))!
    const first = outcome(codec, text)
    if (typeof first === "string") assert.fail(first)
    first.at.setTime(99)
    assert.deepStrictEqual(outcome(codec, text), { at: new Date(5) })
  })

  it("does not leak from one new session into the next", () => {
    const Bag = Schema.ReadonlyMap(Schema.String, Schema.Number)
    const codec = SessionData.make(id, { data: Bag, initial: new Map([["a", 1]]) })
    const first = codec.initial().data
    if (!(first instanceof Map)) assert.fail("not a map")
    first.set("stranger", 2)
    assert.deepStrictEqual(codec.initial().data, new Map([["a", 1]]))
    const plain = SessionData.make(id, { data: Profile, initial: { name: "guest", visits: 0 } })
    assert.isFrozen(plain.initial().data)
    let made = 0
    const counted = SessionData.make(id, { data: Profile, initial: () => ({ name: "guest", visits: made++ }) })
    assert.deepStrictEqual([counted.initial().data.visits, counted.initial().data.visits], [0, 1])
  })
})
