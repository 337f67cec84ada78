import type {
  Crypto,
  SessionBackend,
  SessionConfig,
  SessionError,
  SessionQuery,
  SessionStore
} from "@effect-session/core"
import { MemoryStore, Session, SessionDevices, SessionManager } from "@effect-session/core"
import { Effect, type Layer, Schema } from "effect"
import { describe, expect, test } from "tstyche"

class UserSession extends Session.Service<UserSession>()("app/UserSession", {
  data: Schema.Struct({ userId: Schema.optional(Schema.Number), role: Schema.Literals(["guest", "admin"]) }),
  initial: { role: "guest" },
  keepOnLogin: ["role"]
}) {}

class Cart extends Session.Service<Cart>()("app/Cart", {
  data: Schema.Struct({ items: Schema.Array(Schema.String) }),
  initial: () => ({ items: [] })
}) {}

class Bag extends Session.Service<Bag>()("app/Bag", {
  data: Schema.ReadonlyMap(Schema.String, Schema.Date),
  initial: new Map<string, Date>()
}) {}

type Data = { readonly userId?: number | undefined; readonly role: "guest" | "admin" }

describe("the accessors of a session service", () => {
  test("know the data, fail with SessionError and need the session", () => {
    expect(UserSession.get).type.toBe<Effect.Effect<Data, SessionError.SessionError, UserSession>>()
    expect(UserSession.subject).type.toBe<
      Effect.Effect<string | undefined, SessionError.SessionError, UserSession>
    >()
    expect(UserSession.destroy).type.toBe<Effect.Effect<void, SessionError.SessionError, UserSession>>()
    expect(UserSession.commit).type.toBe<Effect.Effect<void, SessionError.SessionError, UserSession>>()
    expect(UserSession.flash.get("notice")).type.toBe<
      Effect.Effect<ReadonlyArray<string>, SessionError.SessionError, UserSession>
    >()
  })

  test("infer the data in the functions they take", () => {
    UserSession.update((data) => {
      expect(data).type.toBe<Data>()
      return { ...data, role: "admin" }
    })
    UserSession.login("ada", (data) => {
      expect(data).type.toBe<Data>()
      return { ...data, userId: 1 }
    })
    expect(UserSession.modify((data) => [data.role === "admin", data])).type.toBe<
      Effect.Effect<boolean, SessionError.SessionError, UserSession>
    >()
    expect(Cart.update(({ items }) => ({ items: [...items, "tea"] }))).type.toBe<
      Effect.Effect<{ readonly items: ReadonlyArray<string> }, SessionError.SessionError, Cart>
    >()
  })

  test("take nothing that is not the data", () => {
    expect(UserSession.set).type.toBeCallableWith({ role: "admin" as const })
    expect(UserSession.set).type.not.toBeCallableWith({ role: "root" as const })
    expect(UserSession.set).type.not.toBeCallableWith({})
    expect(UserSession.update).type.not.toBeCallableWith(() => ({ role: "root" as const }))
    expect(UserSession.login).type.not.toBeCallableWith(1)
    expect(UserSession.setLifetime).type.not.toBeCallableWith({ idle: "1 hour" })
  })

  test("give a sign-in the data until now, which may be somebody else's and is not there then", () => {
    expect(UserSession.login).type.toBeCallableWith("ada", (data: Data) => data)
    UserSession.login("ada", (data, before) => {
      expect(data).type.toBe<Data>()
      expect(before).type.toBe<Data | undefined>()
      return data
    })
    expect(UserSession.login).type.not.toBeCallableWith("ada", (_: Data, before: Data) => before)
  })

  test("never fail where they only tell", () => {
    expect(UserSession.status).type.toBe<Effect.Effect<Session.Status, never, UserSession>>()
    expect(UserSession.flash.now("notice", "hello")).type.toBe<Effect.Effect<void, never, UserSession>>()
  })

  test("have errors whose reasons can be told apart", () => {
    const handled = UserSession.commit.pipe(
      Effect.catchReason("SessionError", "Conflict", (reason) => {
        expect(reason).type.toBe<SessionError.Conflict>()
        return Effect.void
      })
    )
    expect(handled).type.toBeAssignableTo<Effect.Effect<void, SessionError.SessionError, UserSession>>()
  })
})

describe("two session services", () => {
  test("are two requirements", () => {
    const both = Effect.all([UserSession.get, Cart.get])
    expect<Effect.Services<typeof both>>().type.toBe<UserSession | Cart>()
  })

  test("are not interchangeable", () => {
    const manager = SessionManager.make(Cart)
    expect<Effect.Success<typeof manager>>().type.toBe<
      SessionManager.SessionManager<Cart, { readonly items: ReadonlyArray<string> }>
    >()
    const run = Effect.flatMap(manager, ({ run }) => run(undefined, UserSession.get))
    expect<Effect.Services<typeof run>>().type.toBe<
      UserSession | SessionBackend.SessionBackend | SessionConfig.SessionConfig | Crypto.Crypto
    >()
  })
})

describe("a read-only session", () => {
  test("has the data and no operation that writes", () => {
    const readonly = Effect.flatMap(UserSession.readonly, (session) => {
      expect(session).type.toBe<Session.ReadonlySession<Data>>()
      expect(session).type.not.toHaveProperty("set")
      expect(session).type.not.toHaveProperty("update")
      expect(session).type.not.toHaveProperty("modify")
      expect(session).type.not.toHaveProperty("reset")
      expect(session).type.not.toHaveProperty("destroy")
      expect(session).type.not.toHaveProperty("renew")
      expect(session).type.not.toHaveProperty("login")
      expect(session).type.not.toHaveProperty("commit")
      expect(session).type.not.toHaveProperty("flash")
      return session.get
    })
    expect(readonly).type.toBe<Effect.Effect<Data, SessionError.SessionError, UserSession>>()
  })
})

describe("the definition of a session service", () => {
  const data = Schema.Struct({ a: Schema.String })

  test("takes keys of the data only to survive a login", () => {
    expect(Session.Service<Cart>()).type.toBeCallableWith("x", {
      data,
      initial: { a: "" },
      keepOnLogin: ["a" as const]
    })
    expect(Session.Service<Cart>()).type.not.toBeCallableWith("x", {
      data,
      initial: { a: "" },
      keepOnLogin: ["b" as const]
    })
  })

  test("takes initial data of the schema only", () => {
    expect(Session.Service<Cart>()).type.not.toBeCallableWith("x", { data, initial: { a: 1 } })
    expect(Session.Service<Cart>()).type.not.toBeCallableWith("x", { data, initial: {} })
    expect(Session.Service<Cart>()).type.not.toBeCallableWith("x", { data, initial: () => ({}) })
    expect(Session.Service<Cart>()).type.not.toBeCallableWith("x", { data })
  })

  test("takes schemas that need no services", () => {
    expect(Session.Service<Cart>()).type.not.toBeCallableWith("x", {
      data: Schema.String.pipe(Schema.decodeTo(Schema.String, {
        decode: null as never,
        encode: null as never
      })) as Schema.Codec<string, string, UserSession>,
      initial: ""
    })
  })
})

describe("Session.KeyValue", () => {
  test("needs data that is a map from text", () => {
    const bag = Session.KeyValue(Bag)
    expect(bag.get("a")).type.toBe<Effect.Effect<Date | undefined, SessionError.SessionError, Bag>>()
    expect(bag.set).type.toBeCallableWith("a", new Date())
    expect(bag.set).type.not.toBeCallableWith("a", 1)
    expect(Session.KeyValue).type.not.toBeCallableWith(UserSession)
  })
})

describe("SessionDevices", () => {
  test("asks for a store that can look across sessions", () => {
    const listed = SessionDevices.list(UserSession)
    expect(listed).type.toBe<
      Effect.Effect<
        ReadonlyArray<SessionDevices.Device>,
        SessionError.SessionError,
        UserSession | SessionDevices.Requirements
      >
    >()
    expect<SessionQuery.SessionQuery>().type.toBeAssignableTo<SessionDevices.Requirements>()
    expect(MemoryStore.layer()).type.toBeAssignableTo<
      Layer.Layer<
        SessionStore.SessionStore | SessionQuery.SessionQuery | SessionBackend.SessionBackend,
        never,
        Crypto.Crypto
      >
    >()
  })
})
