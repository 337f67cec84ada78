import { type Crypto, Session, type SessionBackend, type SessionConfig } from "@effect-session/core"
import { SessionApi, SessionApiError } from "@effect-session/http"
import { Context, Effect, Layer, Schema } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { describe, expect, test } from "tstyche"

class UserSession extends Session.Service<UserSession>()("app/UserSession", {
  data: Schema.Struct({ visits: Schema.Int }),
  initial: { visits: 0 }
}) {}

interface User {
  readonly name: string
}
class Users extends Context.Service<Users, { readonly find: (id: string) => Effect.Effect<User | undefined> }>()(
  "app/Users"
) {}

class Visitor extends SessionApi.Session<Visitor>()("app/Visitor", { session: UserSession }) {}
class SignedIn extends SessionApi.Authenticated<SignedIn>()("app/SignedIn", { session: UserSession }) {}
class Recent extends SessionApi.Fresh<Recent>()("app/Recent", { session: UserSession, within: "5 minutes" }) {}
class Strong extends SessionApi.SecondFactor<Strong>()("app/Strong", { session: UserSession }) {}
class Account extends SessionApi.Authenticated<Account, User>()("app/Account", { session: UserSession }) {}

type Needs = SessionBackend.SessionBackend | SessionConfig.SessionConfig | Crypto.Crypto

const endpoint = HttpApiEndpoint.get("one", "/one", { success: Schema.String })
const apis = {
  none: HttpApi.make("none").add(HttpApiGroup.make("g").add(endpoint)),
  visitor: HttpApi.make("visitor").add(HttpApiGroup.make("g").add(endpoint.middleware(Visitor))),
  signedIn: HttpApi.make("signedIn").add(HttpApiGroup.make("g").add(endpoint.middleware(SignedIn))),
  recent: HttpApi.make("recent").add(HttpApiGroup.make("g").add(endpoint.middleware(Recent))),
  strong: HttpApi.make("strong").add(HttpApiGroup.make("g").add(endpoint.middleware(Strong))),
  both: HttpApi.make("both").add(HttpApiGroup.make("g").add(endpoint.middleware(Recent).middleware(SignedIn))),
  group: HttpApi.make("group").add(HttpApiGroup.make("g").add(endpoint).middleware(SignedIn))
}

const subject = Effect.map(SignedIn.principal, ({ subject }) => subject)
const recent = Effect.map(Recent.principal, ({ subject }) => subject)
const strong = Effect.map(Strong.principal, ({ subject }) => subject)
const visits = Effect.map(UserSession.get, ({ visits }) => String(visits))

describe("SessionApi", () => {
  test("a handler that needs a principal is incomplete without the middleware that proves it", () => {
    const none = HttpApiBuilder.group(apis.none, "g", (handlers) => handlers.handle("one", () => subject))
    const visitor = HttpApiBuilder.group(apis.visitor, "g", (handlers) => handlers.handle("one", () => subject))
    const wrong = HttpApiBuilder.group(apis.signedIn, "g", (handlers) => handlers.handle("one", () => recent))
    const weak = HttpApiBuilder.group(apis.recent, "g", (handlers) => handlers.handle("one", () => strong))
    const other = HttpApiBuilder.group(apis.strong, "g", (handlers) => handlers.handle("one", () => subject))
    type Missing<Id extends string> = HttpRouter.Request<"Requires", SessionApi.Proof<Id>>
    expect<Layer.Services<typeof none>>().type.toBe<Missing<"app/SignedIn">>()
    expect<Layer.Services<typeof visitor>>().type.toBe<Missing<"app/SignedIn"> | Visitor>()
    expect<Layer.Services<typeof wrong>>().type.toBe<Missing<"app/Recent"> | SignedIn>()
    expect<Layer.Services<typeof weak>>().type.toBe<Missing<"app/Strong"> | Recent>()
    expect<Layer.Services<typeof other>>().type.toBe<Missing<"app/SignedIn"> | Strong>()
  })

  test("an application with such a handler cannot be served", () => {
    const Bad = HttpApiBuilder.layer(apis.none).pipe(
      Layer.provide(HttpApiBuilder.group(apis.none, "g", (handlers) => handlers.handle("one", () => subject)))
    )
    expect<HttpRouter.Request<"Requires", SessionApi.Proof<"app/SignedIn">>>().type.toBeAssignableTo<
      Layer.Services<typeof Bad>
    >()

    // What is left of it on a server cannot be provided by anybody, and nothing runs without it.
    const served = HttpRouter.serve(Bad)
    type Needed = Layer.Services<typeof served>
    expect<SessionApi.Proof<"app/SignedIn">>().type.toBeAssignableTo<Needed>()
    const rest = Layer.empty as unknown as Layer.Layer<Exclude<Needed, SessionApi.Proof<"app/SignedIn">>>
    const all = Layer.empty as unknown as Layer.Layer<Needed>
    expect(Effect.runPromise).type.not.toBeCallableWith(Layer.launch(Layer.provide(served, rest)))
    expect(Effect.runPromise).type.toBeCallableWith(Layer.launch(Layer.provide(served, all)))
  })

  test("behind its middleware a handler needs nothing but the implementation", () => {
    const signedIn = HttpApiBuilder.group(apis.signedIn, "g", (handlers) => handlers.handle("one", () => subject))
    const recently = HttpApiBuilder.group(apis.recent, "g", (handlers) => handlers.handle("one", () => recent))
    const strongly = HttpApiBuilder.group(apis.strong, "g", (handlers) => handlers.handle("one", () => strong))
    const both = HttpApiBuilder.group(
      apis.both,
      "g",
      (handlers) => handlers.handle("one", () => Effect.andThen(subject, recent))
    )
    const group = HttpApiBuilder.group(apis.group, "g", (handlers) => handlers.handle("one", () => subject))
    expect<Layer.Services<typeof signedIn>>().type.toBe<SignedIn>()
    expect<Layer.Services<typeof recently>>().type.toBe<Recent>()
    expect<Layer.Services<typeof strongly>>().type.toBe<Strong>()
    expect<Layer.Services<typeof both>>().type.toBe<SignedIn | Recent>()
    expect<Layer.Services<typeof group>>().type.toBe<SignedIn>()
  })

  test("every middleware provides the session, and takes its errors", () => {
    const visitor = HttpApiBuilder.group(apis.visitor, "g", (handlers) => handlers.handle("one", () => visits))
    const strongly = HttpApiBuilder.group(apis.strong, "g", (handlers) => handlers.handle("one", () => visits))
    expect<Layer.Services<typeof visitor>>().type.toBe<Visitor>()
    expect<Layer.Services<typeof strongly>>().type.toBe<Strong>()
  })

  test("without one, a handler may not fail as sessions do", () => {
    HttpApiBuilder.group(apis.none, "g", (handlers) => {
      expect(handlers.handle).type.not.toBeCallableWith("one", () => visits)
      expect(handlers.handle).type.toBeCallableWith("one", () => Effect.orDie(visits))
      return handlers.handle("one", () => Effect.succeed(""))
    })
  })

  test("the principal is typed by the session, or by its own type", () => {
    expect<Effect.Success<typeof SignedIn.principal>>().type.toBe<
      SessionApi.Principal<{ readonly visits: number }>
    >()
    expect<Effect.Success<typeof Account.principal>>().type.toBe<User>()
  })

  test("layers ask for what sessions need, and for what a principal is made from", () => {
    expect(SessionApi.layerSession(Visitor)).type.toBe<Layer.Layer<Visitor, never, Needs>>()
    expect(SessionApi.layer(SignedIn)).type.toBe<Layer.Layer<SignedIn, never, Needs>>()
    expect(SessionApi.layerPrincipal(Account, ({ subject }) => Users.use((users) => users.find(subject)))).type.toBe<
      Layer.Layer<Account, never, Needs | Users>
    >()
    expect(
      SessionApi.layerPrincipal(Account, () => Effect.fail(new SessionApiError.Forbidden({ needs: "permission" })))
    ).type.toBe<Layer.Layer<Account, never, Needs>>()
  })

  test("a principal of one's own has to be made", () => {
    expect(SessionApi.layer).type.not.toBeCallableWith(Account)
    expect(SessionApi.layerSession).type.not.toBeCallableWith(SignedIn)
    expect(SessionApi.layerPrincipal).type.not.toBeCallableWith(Account, () => Effect.succeed({ id: 1 }))
  })
})
