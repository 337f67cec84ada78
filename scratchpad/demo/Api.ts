/** The routes of the demo, the same for every store. */
import { type Session, UserAgent } from "@effect-session/core"
import { CrossOrigin, SessionMiddleware } from "@effect-session/http"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HttpMethod from "effect/http/HttpMethod"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Accounts } from "./Accounts.ts"
import * as Cluster from "./Cluster.ts"
import * as Input from "./Input.ts"
import * as Page from "./Page.ts"
import { cookie, UserSession } from "./UserSession.ts"

const json = HttpServerResponse.jsonUnsafe
const noContent = HttpServerResponse.empty({ status: 204 })

const time = (millis: number | undefined) => millis === undefined ? null : new Date(millis).toISOString()

// Half of a surrogate pair is not text: it would be stored as something else than was sent.
const isWellFormed = (value: string) => !/\p{Surrogate}/u.test(value)

const text = (least: number, most: number) =>
  Schema.String.check(Schema.isMinLength(least), Schema.isMaxLength(most), Schema.makeFilter(isWellFormed))

// --- signing in and out --------------------------------------------------------------------------------------------

const me = Effect.gen(function*() {
  const { counter, loginAt, role } = yield* UserSession.get
  const info: Session.Info | undefined = yield* UserSession.info
  const username = (yield* UserSession.subject) ?? null
  return json({
    authenticated: username !== null,
    username,
    role,
    counter,
    status: yield* UserSession.status,
    isElevated: yield* UserSession.isElevated,
    createdAt: time(info?.createdAt),
    loginAt: loginAt?.toISOString() ?? null,
    lastSeenAt: time(info?.lastSeenAt),
    expiresAt: time(info && Math.min(info.idleExpiresAt, info.absoluteExpiresAt)),
    idleExpiresAt: time(info?.idleExpiresAt),
    absoluteExpiresAt: time(info?.absoluteExpiresAt),
    now: time(info?.now ?? (yield* Clock.currentTimeMillis))
  })
})

const credentials = Input.body(
  Schema.Struct({ username: text(1, 64), password: text(0, 1024) }),
  `{"username": "1 to 64 characters", "password": "demo"}`
)

const login = Effect.gen(function*() {
  const { password, username } = yield* credentials
  if (password !== "demo") {
    return yield* new Input.Problem({ status: 401, reason: `That is not the password. It is "demo".` })
  }
  const loginAt = new Date(yield* Clock.currentTimeMillis)
  const { role } = yield* UserSession.login(username, (data) => ({
    ...data,
    role: username === "admin" ? "admin" : "user",
    loginAt
  }))
  return json({ authenticated: true, username, role })
})

const logoutEverywhere = Effect.gen(function*() {
  const subject = yield* UserSession.subject
  if (subject === undefined) yield* UserSession.destroy
  else yield* (yield* Accounts).revokeAll(subject)
  return noContent
})

// --- data ----------------------------------------------------------------------------------------------------------

const count = Effect.gen(function*() {
  const delay = yield* Input.milliseconds("delay")
  yield* UserSession.get
  yield* Effect.sleep(delay)
  yield* UserSession.update((data) => ({ ...data, counter: data.counter + 1 }))
  // Stored now, so that the answer shows what this request made of it, and not what it hoped for.
  yield* UserSession.commit
  const { counter } = yield* UserSession.get
  return json({ counter })
})

const newValue = Input.body(Schema.Struct({ value: Schema.Json }), `{"value": any JSON}`)

const putValue = Effect.gen(function*() {
  const delay = yield* Input.milliseconds("delay")
  const key = yield* Input.pathParameter("key")
  if (key.length > 64 || !isWellFormed(key)) return yield* Input.badRequest("A key has 1 to 64 characters")
  const { value } = yield* newValue
  if (JSON.stringify(value).length > 8192) {
    return yield* Input.badRequest("A value has at most 8,192 characters of JSON")
  }
  // Read before the wait: a session that ends meanwhile stays ended.
  yield* UserSession.get
  yield* Effect.sleep(delay)
  yield* UserSession.update((session) => ({ ...session, data: new Map(session.data).set(key, value) }))
  yield* UserSession.commit
  return json({ key, value })
})

const allValues = Effect.map(UserSession.get, ({ data }) => json({ data: Object.fromEntries(data) }))

const slow = Effect.gen(function*() {
  const delay = yield* Input.milliseconds("delay")
  const { counter } = yield* UserSession.get
  yield* Effect.sleep(delay)
  return json({ counter, waited: delay })
})

const newItem = Input.body(Schema.Struct({ text: text(1, 200) }), `{"text": "1 to 200 characters"}`)

const addItem = Effect.gen(function*() {
  const { text } = yield* newItem
  const items = yield* UserSession.modify((data) => {
    const items = [...data.items, text]
    return items.length > 100 ? [undefined, data] : [items, { ...data, items }]
  })
  if (items === undefined) return yield* Input.badRequest("The list is full")
  return json({ items }, { status: 201 })
})

const removeItem = Effect.gen(function*() {
  const index = yield* Input.pathParameter("index")
  if (!/^\d{1,3}$/.test(index)) return yield* Input.badRequest("The index must be a number")
  const { items } = yield* UserSession.get
  if (Number(index) >= items.length) return yield* new Input.Problem({ status: 404, reason: "No such item" })
  const removed = items[Number(index)]
  // Replayed on a list that changed meanwhile it takes the same text away, not whatever moved there.
  const left = yield* UserSession.update((data) => {
    const at = data.items[Number(index)] === removed ? Number(index) : data.items.indexOf(removed)
    return { ...data, items: data.items.filter((_, i) => i !== at) }
  })
  return json({ items: left.items })
})

const newFlash = Input.body(
  Schema.Struct({ kind: text(1, 32), message: text(1, 500) }),
  `{"kind": "1 to 32 characters", "message": "1 to 500 characters"}`
)

const queueFlash = Effect.gen(function*() {
  const { kind, message } = yield* newFlash
  if ((yield* UserSession.flash.peek).length >= 50) return yield* Input.badRequest("There are 50 messages waiting")
  yield* UserSession.flash.add(kind, message)
  return noContent
})

const deliverFlash = Effect.map(
  UserSession.flash.all,
  (messages) => json({ messages: messages.map(({ kind, message }) => ({ kind, message })) })
)

const parts = 5

const stream = Effect.gen(function*() {
  const millis = yield* Input.milliseconds("ms")
  const startedAt = time(yield* Clock.currentTimeMillis)
  const { counter, data } = yield* UserSession.update((session) => ({
    ...session,
    data: new Map(session.data).set("lastStream", startedAt)
  }))
  const lines = Stream.range(1, parts).pipe(
    Stream.mapEffect((part) =>
      Effect.as(
        Effect.sleep(part === 1 ? 0 : millis / (parts - 1)),
        `part ${part} of ${parts}, counter ${counter}, ${data.size} values\n`
      )
    )
  )
  return HttpServerResponse.stream(Stream.encodeText(lines), { contentType: "text/plain; charset=utf-8" })
})

// --- devices -------------------------------------------------------------------------------------------------------

const devices = Effect.map(Effect.flatMap(Accounts, (accounts) => accounts.devices), (list) =>
  json({
    devices: list.map(({ agent, client, createdAt, current, expiresAt, handle, lastSeenAt, network }) => ({
      handle,
      name: UserAgent.format(client),
      agent: agent ?? null,
      network: network ?? null,
      createdAt: time(createdAt),
      lastSeenAt: time(lastSeenAt),
      expiresAt: time(expiresAt),
      current
    }))
  }))

const revokeDevice = Effect.gen(function*() {
  const handle = yield* Input.pathParameter("handle")
  if (!(yield* (yield* Accounts).revoke(handle))) {
    return yield* new Input.Problem({ status: 404, reason: "You have no such session" })
  }
  return noContent
})

// --- the store -----------------------------------------------------------------------------------------------------

const store = Effect.map(Accounts, ({ keeper }) => json({ keeper }))

const health = Effect.map(
  Effect.flatMap(Accounts, (accounts) => accounts.health),
  (health) => json({ health: health ?? null })
)

const seal = Effect.map(Effect.flatMap(Accounts, (accounts) => accounts.seal), (seal) => json({ ...seal }))

// --- operations ----------------------------------------------------------------------------------------------------

const numbers = {
  created: "session.created",
  loaded: "session.loaded",
  saved: "session.saved",
  touched: "session.touched",
  renewed: "session.regenerated",
  ended: "session.deleted",
  revoked: "session.revoked",
  expired: "session.expired",
  rejected: "session.rejected",
  conflicts: "session.conflict",
  errors: "session.error",
  active: "session.active_count"
}

const metrics = Effect.map(Metric.snapshot, (snapshot) => {
  const totals = new Map<string, number>()
  for (const metric of snapshot) {
    const value = metric.type === "Counter" ? metric.state.count : metric.type === "Gauge" ? metric.state.value : 0
    totals.set(metric.id, (totals.get(metric.id) ?? 0) + Number(value))
  }
  const counts = Object.fromEntries(Object.entries(numbers).map(([name, id]) => [name, totals.get(id) ?? 0]))
  // How many there are is no count of what has happened: a store knows it, or it does not.
  return json({ ...counts, active: totals.get(numbers.active) })
})

const ready = Effect.gen(function*() {
  yield* (yield* Accounts).ready
  return json({ status: "ready" })
}).pipe(
  Effect.catchTag(
    "Problem",
    ({ reason, status }) => Effect.succeed(json({ status: "unready", error: reason }, { status }))
  )
)

const prometheus = Effect.map(
  PrometheusMetrics.format(),
  (body) => HttpServerResponse.text(body, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
)

// --- all together --------------------------------------------------------------------------------------------------

const routes = [
  ...Page.routes,
  HttpRouter.route("GET", "/api/me", me),
  HttpRouter.route("POST", "/api/login", login),
  HttpRouter.route("POST", "/api/logout", Effect.as(UserSession.destroy, noContent)),
  HttpRouter.route("POST", "/api/logout-everywhere", logoutEverywhere),
  HttpRouter.route("POST", "/api/renew", Effect.as(UserSession.renew, noContent)),
  HttpRouter.route("POST", "/api/counter", count),
  HttpRouter.route("GET", "/api/data", allValues),
  HttpRouter.route("PUT", "/api/data/:key", putValue),
  HttpRouter.route("GET", "/api/slow", slow),
  HttpRouter.route("GET", "/api/items", Effect.map(UserSession.get, ({ items }) => json({ items }))),
  HttpRouter.route("POST", "/api/items", addItem),
  HttpRouter.route("DELETE", "/api/items/:index", removeItem),
  HttpRouter.route("GET", "/api/flash", deliverFlash),
  HttpRouter.route("POST", "/api/flash", queueFlash),
  HttpRouter.route("GET", "/api/devices", devices),
  HttpRouter.route("DELETE", "/api/devices/:handle", revokeDevice),
  HttpRouter.route("GET", "/api/store", store),
  HttpRouter.route("GET", "/api/health", health),
  HttpRouter.route("GET", "/api/seal", seal),
  HttpRouter.route("GET", "/api/stream", stream),
  ...Cluster.routes,
  HttpRouter.route("GET", "/api/metrics", metrics),
  HttpRouter.route("GET", "/healthz", json({ status: "ok" })),
  HttpRouter.route("GET", "/readyz", ready),
  HttpRouter.route("GET", "/metrics", prometheus)
] as const

// The methods that a path does not have.
const refusals = () => {
  const allowed = new Map<HttpRouter.PathInput, Set<string>>()
  for (const { method, path } of routes) {
    const methods = allowed.get(path) ?? new Set()
    allowed.set(path, method === "GET" ? methods.add("GET").add("HEAD") : methods.add(method))
  }
  return Array.from(allowed, ([path, methods]) => {
    const answer = json({ error: "This path has no such method" }, {
      status: 405,
      headers: { allow: [...methods].join(", ") }
    })
    return [...HttpMethod.all].filter((method) => !methods.has(method)).map((method) =>
      HttpRouter.route(method, path, answer)
    )
  }).flat()
}

/** The application, without `Accounts` and what keeps the sessions. */
export const layer = Layer.mergeAll(HttpRouter.addAll(routes), HttpRouter.addAll(refusals())).pipe(
  Layer.provide(SessionMiddleware.layer(UserSession, { client: true, cookie })),
  Layer.provide(CrossOrigin.layer({ onRefused: () => HttpServerResponse.empty({ status: 403 }) })),
  Layer.provide(Page.layer)
)

/** Paths are what they are spelled like, and keys in them may be long before they are refused with a reason. */
export const routerConfig = { caseSensitive: true, maxParamLength: 4096 }
