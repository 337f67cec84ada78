import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Redacted, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as FastCheck from "fast-check"
import { createHash } from "node:crypto"
import * as ClientBinding from "../src/ClientBinding.ts"
import * as CookieStore from "../src/CookieStore.ts"
import * as Crypto from "../src/Crypto.ts"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as Revocations from "../src/Revocations.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import type { Client } from "../src/SessionData.ts"
import type { SessionError } from "../src/SessionError.ts"
import * as SessionEvents from "../src/SessionEvents.ts"
import * as SessionManager from "../src/SessionManager.ts"
import * as FaultyStore from "./FaultyStore.ts"
import { increment, layer as plainLayer, loginAs, secret, setup, UserSession } from "./Fixture.ts"

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"

const home: Client = { address: "192.0.2.7", agent: firefox }
const changes: { readonly [change: string]: Client } = {
  "another address": { ...home, address: "198.51.100.9" },
  "another User-Agent": { ...home, agent: chrome },
  "another address and User-Agent": { address: "198.51.100.9", agent: chrome }
}
const away = changes["another address"]

/** Everything but the policy. */
const both = { address: true, userAgent: true } satisfies ClientBinding.Options

/** What happened, as `name` or `name: reason`. */
const log: Array<string> = []
const recorded = Layer.succeed(SessionEvents.SessionEvents, {
  enabled: true,
  publish: ({ name, reason }) => void log.push(reason === undefined ? name : `${name}: ${reason}`),
  stream: Stream.empty
})

const layer = (
  binding: ClientBinding.Options | false | undefined,
  config?: SessionConfig.Options
) => plainLayer({ binding, ...config }).pipe(Layer.provideMerge(recorded))

/** Requests of clients, and what they leave behind. */
const clients = Effect.gen(function*() {
  const { keyOf, manager, stored } = yield* setup
  log.length = 0
  const send = Effect.fnUntraced(function*<A, E>(
    client: Client | undefined,
    token: string | undefined,
    effect: Effect.Effect<A, E, UserSession>
  ) {
    const session = manager.open({ token, binding: client && (() => client) })
    const status = yield* session.status
    const value = yield* Effect.provideService(effect, UserSession, session)
    const change = yield* session.finish("success")
    return { status, value, change, token: change._tag === "Issue" ? change.token : token }
  })
  return {
    send,
    keyOf,
    stored,
    signIn: (client: Client | undefined) => Effect.map(send(client, undefined, loginAs("ada")), ({ token }) => token!),
    statusOf: (client: Client | undefined, token: string | undefined) =>
      Effect.map(send(client, token, UserSession.get), ({ status }) => status),
    bindingOf: (token: string) =>
      Effect.map(stored(token), (record) => JSON.parse(String(record?.payload)).b as unknown)
  }
})

const prefixes = { ipv4: 32, ipv6: 64 }
const binder = Effect.map(
  Crypto.Crypto,
  ({ fingerprint }) => (settings: Partial<ClientBinding.Settings> = {}) =>
    ClientBinding.make({ address: prefixes, userAgent: "exact", policy: "reject", ...settings }, fingerprint)
)

describe("networkOf", () => {
  const table: ReadonlyArray<readonly [network: string | undefined, ...forms: ReadonlyArray<string>]> = [
    [
      "192.0.2.7/32",
      "192.0.2.7",
      "::ffff:192.0.2.7",
      "::FFFF:192.0.2.7",
      "::ffff:c000:207",
      "0:0:0:0:0:ffff:c000:0207",
      "[::ffff:192.0.2.7]",
      "192.0.2.7:443",
      "[::ffff:192.0.2.7]:443"
    ],
    ["192.0.2.8/32", "192.0.2.8"],
    [
      "2001:db8:0:1::/64",
      "2001:db8:0:1::",
      "2001:db8:0:1::1",
      "2001:DB8:0:1:0:0:0:1",
      "2001:0db8:0000:0001:0000:0000:0000:0001",
      "2001:db8::1:ffff:ffff:ffff:ffff",
      "[2001:db8:0:1::1]",
      "[2001:db8:0:1::1]:8080"
    ],
    ["2001:db8:0:2::/64", "2001:db8:0:2::1"],
    ["fe80::/64", "fe80::1", "fe80::1%eth0", "fe80::2%3", "[fe80::1%eth0]"],
    ["::/64", "::1", "::"],
    [
      undefined,
      "",
      "unknown",
      "192.0.2",
      "192.0.2.256",
      "192.0.2.007",
      "192.0.2.7, 198.51.100.9",
      "192.0.2.7/24",
      "0xc0000207",
      "/run/app.sock",
      "example.org",
      "2001:db8:::1",
      "1".repeat(10_000)
    ]
  ]

  it("gives every form of an address one network, and no other address the same", () => {
    for (const [network, ...forms] of table) {
      for (const form of forms) assert.strictEqual(ClientBinding.networkOf(form, prefixes), network, form)
    }
    assert.isUndefined(ClientBinding.networkOf(undefined, prefixes))
  })

  it("keeps as many bits as it is told to", () => {
    const network = (ipv4: number, ipv6: number, address: string) => ClientBinding.networkOf(address, { ipv4, ipv6 })
    assert.strictEqual(network(24, 64, "192.0.2.7"), "192.0.2.0/24")
    assert.strictEqual(network(24, 64, "::ffff:192.0.2.200"), "192.0.2.0/24")
    assert.strictEqual(network(32, 56, "2001:db8:0:1ff::1"), "2001:db8:0:100::/56")
    assert.strictEqual(network(32, 128, "2001:db8::1"), "2001:db8::1/128")
  })
})

describe("agentOf", () => {
  it("takes the header as it is, or without its versions", () => {
    assert.strictEqual(ClientBinding.agentOf(firefox, "exact"), firefox)
    const other = firefox.replaceAll("128.0", "129.0.1")
    assert.notStrictEqual(ClientBinding.agentOf(other, "exact"), firefox)
    const loose = (agent: string) => ClientBinding.agentOf(agent, "withoutVersions")
    assert.strictEqual(loose(other), loose(firefox))
    assert.strictEqual(loose("Mac OS X 10_15_7"), loose("Mac OS X 14_1"))
    assert.notStrictEqual(loose(chrome), loose(firefox))
  })

  it("counts the first 1,024 characters, and nothing for an empty header", () => {
    const long = "x".repeat(1024)
    assert.strictEqual(ClientBinding.agentOf(`${long}${"y".repeat(100_000)}`, "exact"), long)
    assert.notStrictEqual(ClientBinding.agentOf("x".repeat(1023), "exact"), long)
    for (const mode of ["exact", "withoutVersions"] as const) {
      assert.isUndefined(ClientBinding.agentOf("", mode))
      assert.isUndefined(ClientBinding.agentOf(undefined, mode))
    }
  })
})

describe("ClientBinding", () => {
  const same = Effect.fnUntraced(function*(
    a: Client | undefined,
    b: Client | undefined,
    settings?: Partial<ClientBinding.Settings>
  ) {
    const { bind, matches } = (yield* binder)(settings)
    return yield* matches(yield* bind(a), b)
  })

  it.effect("takes rotation inside one network for the same client, and two networks for two", () =>
    Effect.gen(function*() {
      const at = (address: string | undefined) => ({ ...home, address })
      for (const host of ["::1", "::2", ":aaaa:bbbb:cccc:dddd", ":ffff:ffff:ffff:ffff"]) {
        assert.isTrue(yield* same(at("2001:db8:0:1::1"), at(`2001:db8:0:1${host}`)), host)
      }
      assert.isFalse(yield* same(at("2001:db8:0:1::1"), at("2001:db8:0:2::1")))
      assert.isFalse(yield* same(at("2001:db8:0:1::1"), at("2001:db9:0:1::1")))
      assert.isTrue(yield* same(at("::ffff:192.0.2.7"), at("192.0.2.7")))
      assert.isFalse(yield* same(at("192.0.2.7"), at("192.0.2.8")))
      assert.isTrue(yield* same(at("192.0.2.7"), at("192.0.2.8"), { address: { ipv4: 24, ipv6: 64 } }))
      assert.isFalse(yield* same(at("192.0.2.7"), at("192.0.3.7"), { address: { ipv4: 24, ipv6: 64 } }))
    }).pipe(Effect.provide(plainLayer())))

  it.effect("agrees with a comparison of networks, for any two addresses", () =>
    Effect.gen(function*() {
      const make = yield* binder
      const { bind, matches } = make()
      const address = FastCheck.oneof(
        FastCheck.ipV4(),
        FastCheck.ipV6(),
        FastCheck.constantFrom("10.0.0.1", "::ffff:10.0.0.1", "::ffff:a00:1", "2001:db8::1", "2001:db8::2")
      )
      yield* Effect.promise(() =>
        FastCheck.assert(FastCheck.asyncProperty(address, address, async (a, b) => {
          const matched = await Effect.runPromise(
            Effect.flatMap(bind({ ...home, address: a }), (bound) => matches(bound, { ...home, address: b }))
          )
          assert.strictEqual(matched, ClientBinding.networkOf(a, prefixes) === ClientBinding.networkOf(b, prefixes))
        }))
      )
    }).pipe(Effect.provide(plainLayer())))

  it.effect("takes none for a value of its own: it is neither ignored nor equal to anything", () =>
    Effect.gen(function*() {
      const nothing: Client = { address: undefined, agent: undefined }
      const unknown: Client = { address: "unknown", agent: "" }
      for (const a of [nothing, unknown, undefined]) {
        for (const b of [nothing, unknown, undefined]) assert.isTrue(yield* same(a, b))
        for (const b of [home, { ...home, address: undefined }, { ...home, agent: undefined }]) {
          assert.isFalse(yield* same(a, b))
          assert.isFalse(yield* same(b, a))
        }
      }
    }).pipe(Effect.provide(plainLayer())))

  it.effect("compares only what it was told to, and only what was bound", () =>
    Effect.gen(function*() {
      const make = yield* binder
      const address = make({ userAgent: undefined })
      const agent = make({ address: undefined })
      const [boundAddress, boundAgent] = [yield* address.bind(home), yield* agent.bind(home)]
      assert.isUndefined(boundAddress.agent)
      assert.isUndefined(boundAgent.address)
      assert.isTrue(yield* address.matches(boundAddress, changes["another User-Agent"]))
      assert.isFalse(yield* address.matches(boundAddress, changes["another address"]))
      assert.isTrue(yield* agent.matches(boundAgent, changes["another address"]))
      assert.isFalse(yield* agent.matches(boundAgent, changes["another User-Agent"]))
      assert.isTrue(yield* make().matches(boundAddress, changes["another User-Agent"]))
      assert.isTrue(yield* make().matches({ address: undefined, agent: undefined }, changes["another address"]))
    }).pipe(Effect.provide(plainLayer())))

  it.effect("keeps nothing that can be computed without the secret, or compared across kinds", () =>
    Effect.gen(function*() {
      const bound = yield* (yield* binder)().bind(home)
      assert.match(bound.address ?? "", /^[\w-]{24}$/)
      assert.match(bound.agent ?? "", /^[\w-]{24}$/)
      for (const text of ["192.0.2.7", "192.0.2.7/32", "client address 192.0.2.7/32"]) {
        for (const encoding of ["hex", "base64url"] as const) {
          const digest = createHash("sha256").update(text).digest(encoding)
          assert.notInclude(digest, (bound.address ?? "").slice(2))
        }
      }
      const elsewhere = yield* Effect.provide(
        Effect.flatMap(binder, (make) => make().bind(home)),
        plainLayer({ secrets: Redacted.make("Yp3-Mb8_Qw1.Jd6+Rf2/Nz5=Kx9~Ec4^Tg7?") }),
        { local: true }
      )
      assert.notStrictEqual(elsewhere.address?.slice(2), bound.address?.slice(2))
      const crossed = yield* (yield* binder)().bind({ address: undefined, agent: "192.0.2.7/32" })
      assert.notStrictEqual(crossed.agent, bound.address)
    }).pipe(Effect.provide(plainLayer())))

  it.effect("recognises a binding under every secret of the ring", () =>
    Effect.gen(function*() {
      const older = Redacted.make("Yp3-Mb8_Qw1.Jd6+Rf2/Nz5=Kx9~Ec4^Tg7?")
      const using = <A>(
        secrets: SessionConfig.Secrets,
        use: (binding: ClientBinding.ClientBinding) => Effect.Effect<A>
      ) => Effect.provide(Effect.flatMap(binder, (make) => use(make())), plainLayer({ secrets }), { local: true })
      const bound = yield* using(older, ({ bind }) => bind(home))
      assert.isTrue(yield* using([secret, older], ({ matches }) => matches(bound, home)))
      assert.isFalse(yield* using([secret, older], ({ matches }) => matches(bound, away)))
      assert.isFalse(yield* using(secret, ({ matches }) => matches(bound, home)))
    }))
})

describe("a bound session", () => {
  it.effect("holds keyed hashes of its client from its first write on, and no more of it", () =>
    Effect.gen(function*() {
      const { bindingOf, send, stored } = yield* clients
      const { token } = yield* send(home, undefined, increment)
      const make = yield* binder
      const bound = yield* make().bind(home)
      assert.deepStrictEqual(yield* bindingOf(token!), { n: bound.address, a: bound.agent })
      const payload = String((yield* stored(token!))?.payload)
      for (const word of ["192.0.2", "Mozilla", "Firefox"]) assert.notInclude(payload, word)
    }).pipe(Effect.provide(layer(both))))

  for (const policy of ["reject", "renew", "report"] as const) {
    for (const [change, client] of Object.entries(changes)) {
      it.effect(`${policy}: ${change}`, () =>
        Effect.gen(function*() {
          const { send, signIn, statusOf } = yield* clients
          const token = yield* signIn(home)
          log.length = 0
          const answer = yield* send(client, token, UserSession.get)
          const goesOn = policy !== "reject"
          assert.strictEqual(answer.status, goesOn ? "active" : "invalid")
          assert.strictEqual(answer.value.who, goesOn ? "ada" : "guest")
          assert.strictEqual(answer.change._tag, policy === "renew" ? "Issue" : "Keep")
          assert.deepStrictEqual(
            log,
            policy === "reject"
              ? ["rejected: binding"]
              : policy === "renew"
              ? ["loaded", "rejected: binding renewed", "renewed"]
              : ["loaded", "rejected: binding reported"]
          )
          // The owner goes on, whatever the other client did.
          assert.strictEqual(yield* statusOf(home, token), "active")
        }).pipe(Effect.provide(layer({ ...both, policy }))))
    }

    it.effect(`${policy}: the same client is not bothered`, () =>
      Effect.gen(function*() {
        const { send, signIn } = yield* clients
        const token = yield* signIn({ ...home, address: "2001:db8::1" })
        log.length = 0
        for (const address of ["2001:db8::1", "2001:db8::2", "2001:DB8:0:0:1::"]) {
          const { change, status } = yield* send({ ...home, address }, token, increment)
          assert.deepStrictEqual([status, change._tag], ["active", "Keep"])
        }
        assert.deepStrictEqual(log, ["loaded", "saved", "loaded", "saved", "loaded", "saved"])
      }).pipe(Effect.provide(layer({ ...both, policy }))))
  }

  it.effect("is checked at each of many loads, also when its data is remembered", () =>
    Effect.gen(function*() {
      const { signIn, statusOf } = yield* clients
      const token = yield* signIn(home)
      for (let i = 0; i < 5; i++) {
        assert.strictEqual(yield* statusOf(home, token), "active")
        assert.strictEqual(yield* statusOf(away, token), "invalid")
      }
    }).pipe(Effect.provide(layer(both))))

  it.effect("cannot be written to, ended, renewed or taken over by another client", () =>
    Effect.gen(function*() {
      const { send, signIn, stored } = yield* clients
      const token = yield* signIn(home)
      const before = yield* stored(token)
      const attempts: ReadonlyArray<Effect.Effect<unknown, SessionError, UserSession>> = [
        increment,
        UserSession.destroy,
        UserSession.renew,
        UserSession.reset,
        UserSession.touch,
        loginAs("eve"),
        loginAs("ada"),
        UserSession.flash.success("hello"),
        Effect.ignore(UserSession.elevate("1 minute")),
        Effect.ignore(UserSession.reauthenticate),
        UserSession.setLifetime({ idleTimeout: "1 minute" }),
        Effect.andThen(increment, UserSession.commit),
        Effect.andThen(UserSession.destroy, increment)
      ]
      for (const attempt of attempts) {
        const answer = yield* send(away, token, attempt)
        assert.strictEqual(answer.status, "invalid")
        if (answer.change._tag === "Issue") assert.notStrictEqual(answer.change.token, token)
        assert.deepStrictEqual(yield* stored(token), before)
      }
      const { status, value } = yield* send(home, token, UserSession.get)
      assert.deepStrictEqual([status, value.who], ["active", "ada"])
    }).pipe(Effect.provide(layer(both))))

  it.effect("begins anew for another client that writes or signs in, and is bound to it then", () =>
    Effect.gen(function*() {
      const { send, signIn, statusOf } = yield* clients
      const token = yield* signIn(home)
      const other = (yield* send(away, token, loginAs("ada"))).token
      assert.notStrictEqual(other, token)
      assert.strictEqual(yield* statusOf(away, other), "active")
      assert.strictEqual(yield* statusOf(home, other), "invalid")
      assert.strictEqual(yield* statusOf(home, token), "active")
    }).pipe(Effect.provide(layer(both))))

  it.effect("fails with BindingMismatch where invalid sessions shall fail, but for signing in and out", () =>
    Effect.gen(function*() {
      const { send, signIn, statusOf } = yield* clients
      const token = yield* signIn(home)
      for (const use of [Effect.asVoid(UserSession.get), Effect.asVoid(increment), UserSession.renew]) {
        const { reason } = yield* Effect.flip(send(away, token, use))
        assert.strictEqual(reason._tag, "BindingMismatch")
      }
      assert.strictEqual((yield* send(away, token, UserSession.destroy)).change._tag, "Revoke")
      const again = yield* send(away, token, loginAs("ada"))
      assert.deepStrictEqual([again.change._tag, again.value.who], ["Issue", "ada"])
      assert.strictEqual(yield* statusOf(away, again.token), "active")
      assert.strictEqual(yield* statusOf(home, token), "active")
    }).pipe(Effect.provide(layer(both, { onInvalid: "fail" }))))

  it.effect.each(
    [
      ["only reads", { access: "read" }],
      ["may not have a new id", { access: "data" }],
      ["may not get to its client", { delivers: false }]
    ] as const
  )("is only reported, and says so, where what the other client asks %s", ([, request]) =>
    Effect.gen(function*() {
      const { signIn } = yield* clients
      const { manager } = yield* setup
      const token = yield* signIn(home)
      log.length = 0
      const session = manager.open({ token, binding: () => away, ...request })
      yield* session.get
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
      assert.deepStrictEqual(log, ["loaded", "rejected: binding reported"])
    }).pipe(Effect.provide(layer({ ...both, policy: "renew" }))))

  it.effect("is bound to the client of each sign-in", () =>
    Effect.gen(function*() {
      const { send, signIn, statusOf } = yield* clients
      for (const signsIn of [loginAs("ada"), UserSession.reauthenticate]) {
        const token = yield* signIn(home)
        const next = (yield* send(away, token, signsIn)).token
        assert.notStrictEqual(next, token)
        log.length = 0
        assert.strictEqual(yield* statusOf(away, next), "active")
        assert.deepStrictEqual(log, ["loaded"])
        yield* statusOf(home, next)
        assert.include(log, "rejected: binding reported")
      }
    }).pipe(Effect.provide(layer({ ...both, policy: "report" }))))

  it.effect("is not handed over to a client that was only reported", () =>
    Effect.gen(function*() {
      const { bindingOf, send, signIn } = yield* clients
      const token = yield* signIn(home)
      const bound = yield* bindingOf(token)
      yield* send(away, token, increment)
      assert.deepStrictEqual(yield* bindingOf(token), bound)
      const next = (yield* send(away, token, UserSession.renew)).token!
      assert.notStrictEqual(next, token)
      assert.deepStrictEqual(yield* bindingOf(next), bound)
    }).pipe(Effect.provide(layer({ ...both, policy: "report" }))))

  describe("renewed for another client", () => {
    const renewing = layer({ ...both, policy: "renew" })

    it.effect("is bound to the new client, keeps its data, and is renewed once", () =>
      Effect.gen(function*() {
        const { send, signIn } = yield* clients
        const token = yield* signIn(home)
        const first = yield* send(away, token, Effect.andThen(increment, UserSession.commit))
        assert.notStrictEqual(first.token, token)
        assert.strictEqual(log.filter((event) => event === "renewed").length, 1)
        log.length = 0
        const second = yield* send(away, first.token, UserSession.get)
        assert.deepStrictEqual([second.change._tag, second.value.n, second.value.who], ["Keep", 1, "ada"])
        assert.deepStrictEqual(log, ["loaded"])
      }).pipe(Effect.provide(renewing)))

    it.effect("replaces the id once for many requests at a time", () =>
      Effect.gen(function*() {
        const { send, signIn } = yield* clients
        const token = yield* signIn(home)
        const answers = yield* Effect.all(Array.from({ length: 8 }, () => send(away, token, UserSession.get)), {
          concurrency: "unbounded"
        })
        assert.strictEqual(answers.filter(({ change }) => change._tag === "Issue").length, 1)
        assert.deepStrictEqual([...new Set(answers.map(({ value }) => value.who))], ["ada"])
      }).pipe(Effect.provide(renewing)))

    it.effect("ends for both once its old id is used too late", () =>
      Effect.gen(function*() {
        const { send, signIn, statusOf } = yield* clients
        const token = yield* signIn(home)
        const stolen = (yield* send(away, token, UserSession.get)).token
        yield* TestClock.adjust("11 seconds")
        assert.strictEqual(yield* statusOf(home, token), "invalid")
        assert.include(log, "theftSuspected")
        assert.strictEqual(yield* statusOf(away, stolen), "anonymous")
      }).pipe(Effect.provide(renewing)))

    it.effect("stays as it is when nobody waits for the new id", () =>
      Effect.gen(function*() {
        const { signIn, stored } = yield* clients
        const { manager } = yield* setup
        const token = yield* signIn(home)
        const before = yield* stored(token)
        const session = manager.open({ token, binding: () => away })
        yield* session.get
        yield* session.finish("aborted")
        assert.deepStrictEqual(yield* stored(token), before)
      }).pipe(Effect.provide(renewing)))
  })

  it.effect("takes a transport that says nothing about clients for a client without properties", () =>
    Effect.gen(function*() {
      const { signIn, statusOf } = yield* clients
      const token = yield* signIn(home)
      assert.strictEqual(yield* statusOf(undefined, token), "invalid")
      const silent = yield* signIn(undefined)
      assert.strictEqual(yield* statusOf(undefined, silent), "active")
      assert.strictEqual(yield* statusOf(home, silent), "invalid")
    }).pipe(Effect.provide(layer(both))))

  it.effect("is not bound if it began before sessions were, until its id is replaced", () =>
    Effect.gen(function*() {
      const { send, statusOf } = yield* clients
      const { run } = yield* Effect.provide(
        managerOf,
        Layer.succeed(SessionConfig.SessionConfig, {
          ...(yield* SessionConfig.SessionConfig),
          binding: undefined
        })
      )
      const { token } = yield* run(undefined, loginAs("ada"))
      assert.strictEqual(yield* statusOf(away, token), "active")
      assert.strictEqual(yield* statusOf(home, token), "active")
      const next = (yield* send(home, token, UserSession.renew)).token
      assert.strictEqual(yield* statusOf(away, next), "invalid")
      assert.strictEqual(yield* statusOf(home, next), "active")
    }).pipe(Effect.provide(layer(both))))

  it.effect("stays bound through renewal by age, under the newest secret", () =>
    Effect.gen(function*() {
      const { send, signIn, statusOf } = yield* clients
      const token = yield* signIn(home)
      yield* TestClock.adjust("2 minutes")
      const next = (yield* send(home, token, UserSession.get)).token
      assert.notStrictEqual(next, token)
      assert.strictEqual(yield* statusOf(home, next), "active")
      assert.strictEqual(yield* statusOf(away, next), "invalid")
      // Through the old id, as long as it reads.
      assert.strictEqual(yield* statusOf(home, token), "active")
      assert.strictEqual(yield* statusOf(away, token), "invalid")
    }).pipe(Effect.provide(layer(both, { renewalInterval: "1 minute" }))))

  it.effect("is checked where the token is the record, too", () =>
    Effect.gen(function*() {
      const manager = yield* managerOf
      const send = Effect.fnUntraced(
        function*(client: Client, token: string | undefined, use: typeof UserSession.status) {
          const session = manager.open({ token, binding: () => client })
          const value = yield* Effect.provideService(use, UserSession, session)
          const change = yield* session.finish("success")
          return { value, token: change._tag === "Issue" ? change.token : token }
        }
      )
      const signedIn = Effect.andThen(Effect.orDie(loginAs("ada")), UserSession.status)
      const { token } = yield* send(home, undefined, signedIn)
      assert.strictEqual((yield* send(home, token, UserSession.status)).value, "active")
      for (const client of Object.values(changes)) {
        assert.strictEqual((yield* send(client, token, UserSession.status)).value, "invalid")
      }
      yield* send(away, token, Effect.andThen(Effect.orDie(UserSession.destroy), UserSession.status))
      assert.strictEqual((yield* send(home, token, UserSession.status)).value, "active")
    }).pipe(Effect.provide(
      CookieStore.layer().pipe(
        Layer.provideMerge(Revocations.layerMemory()),
        Layer.provideMerge(CryptoNode.layer),
        Layer.provideMerge(SessionConfig.layer({ preset: "development", secrets: secret, binding: both }))
      )
    )))

  it.effect("is checked on the portable cryptography, for two fibers at a time", () =>
    Effect.gen(function*() {
      const { manager } = yield* setup
      const open = (token: string | undefined, client: Client) => manager.open({ token, binding: () => client })
      const session = open(undefined, home)
      yield* session.login("ada")
      const change = yield* session.finish("success")
      const token = change._tag === "Issue" ? change.token : undefined
      for (const [client, status] of [[home, "active"], [away, "invalid"]] as const) {
        const both = open(token, client)
        log.length = 0
        assert.deepStrictEqual(
          yield* Effect.all([both.status, both.status], { concurrency: "unbounded" }),
          [status, status]
        )
        assert.deepStrictEqual(log, [status === "active" ? "loaded" : "rejected: binding"])
      }
    }).pipe(Effect.provide(
      FaultyStore.layer().pipe(
        Layer.provideMerge(recorded),
        Layer.provideMerge(Crypto.layer),
        Layer.provideMerge(SessionConfig.layer({ preset: "development", secrets: secret, binding: both }))
      )
    )))
})

const managerOf = SessionManager.make(UserSession)

describe("the options of a binding", () => {
  const settingsOf = (options: SessionConfig.Options) =>
    Effect.provide(SessionConfig.SessionConfig, SessionConfig.layer({ secrets: secret, ...options }), { local: true })
  const bindingUnder = (options: SessionConfig.Options) => Effect.map(settingsOf(options), ({ binding }) => binding)

  it.effect("are off, except under highSecurity", () =>
    Effect.gen(function*() {
      for (const preset of ["development", "production", "testing", "clustered"] as const) {
        assert.isUndefined(yield* bindingUnder({ preset }))
      }
      assert.deepStrictEqual(yield* bindingUnder({ preset: "highSecurity" }), {
        address: { ipv4: 32, ipv6: 64 },
        userAgent: "exact",
        policy: "reject"
      })
      assert.isUndefined(yield* bindingUnder({ preset: "highSecurity", binding: false }))
    }))

  it.effect("have defaults", () =>
    Effect.gen(function*() {
      const table: ReadonlyArray<readonly [ClientBinding.Options, ClientBinding.Settings]> = [
        [{ address: true }, { address: { ipv4: 32, ipv6: 64 }, userAgent: undefined, policy: "reject" }],
        [{ address: {} }, { address: { ipv4: 32, ipv6: 64 }, userAgent: undefined, policy: "reject" }],
        [
          { address: { ipv4: 24 }, policy: "renew" },
          { address: { ipv4: 24, ipv6: 64 }, userAgent: undefined, policy: "renew" }
        ],
        [{ userAgent: true, address: false }, { address: undefined, userAgent: "exact", policy: "reject" }],
        [
          { userAgent: "withoutVersions", policy: "report" },
          { address: undefined, userAgent: "withoutVersions", policy: "report" }
        ]
      ]
      for (const [options, settings] of table) {
        assert.deepStrictEqual(yield* bindingUnder({ binding: options }), settings)
      }
    }))

  it.effect("are said in the log when they are looser than the preset", () =>
    Effect.gen(function*() {
      const loosened = Effect.fnUntraced(function*(binding: ClientBinding.Options | false) {
        const lines: Array<unknown> = []
        const logger = Logger.layer([Logger.make(({ message }) => void lines.push(message))])
        yield* Effect.provide(settingsOf({ preset: "highSecurity", binding }), logger)
        return lines.some((line) => /looser than the preset "highSecurity": binding/.test(String(line)))
      })
      assert.isFalse(yield* loosened({ ...both }))
      assert.isFalse(yield* loosened({ ...both, address: { ipv6: 128 } }))
      const looser: ReadonlyArray<ClientBinding.Options | false> = [
        false,
        { address: true },
        { userAgent: true },
        { ...both, policy: "renew" },
        { ...both, policy: "report" },
        { ...both, userAgent: "withoutVersions" },
        { ...both, address: { ipv4: 24 } },
        { ...both, address: { ipv6: 56 } }
      ]
      for (const binding of looser) assert.isTrue(yield* loosened(binding), JSON.stringify(binding))
    }))

  it.effect("are refused at the start when they cannot work", () =>
    Effect.gen(function*() {
      const wrong: ReadonlyArray<readonly [ClientBinding.Options, number]> = [
        [{}, 1],
        [{ address: false, userAgent: false }, 1],
        [{ address: { ipv4: 33 } }, 1],
        [{ address: { ipv4: 0, ipv6: 129 } }, 2],
        [{ address: { ipv6: 64.5 } }, 1],
        [{ userAgent: true, policy: "ignore" as ClientBinding.Policy }, 1]
      ]
      for (const [binding, count] of wrong) {
        const error = yield* Effect.flip(settingsOf({ binding }))
        assert.strictEqual(error.problems.length, count, JSON.stringify(binding))
        for (const problem of error.problems) assert.match(problem, /^binding/)
      }
    }))

  it.effect("bind under highSecurity without being asked", () =>
    Effect.gen(function*() {
      const { signIn, statusOf } = yield* clients
      const token = yield* signIn(home)
      assert.strictEqual(yield* statusOf(home, token), "active")
      for (const client of Object.values(changes)) assert.strictEqual(yield* statusOf(client, token), "invalid")
    }).pipe(Effect.provide(layer(undefined, { preset: "highSecurity" }))))
})
