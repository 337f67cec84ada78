import { SessionTest } from "@effect-session/core/testing"
import { SessionApi } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { ByteSize, Effect, Layer, Schema } from "effect"
import { HttpIncomingMessage, HttpRouter, HttpServer } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { UserSession } from "./SessionApp.ts"

class Visitor extends SessionApi.Session<Visitor>()("test/Visitor", { session: UserSession }) {}
class SignedIn extends SessionApi.Authenticated<SignedIn>()("test/SignedIn", { session: UserSession }) {}

const payload = Schema.Struct({ text: Schema.String })
const api = HttpApi.make("app").add(
  HttpApiGroup.make("texts", { topLevel: true }).add(
    HttpApiEndpoint.post("open", "/open", { payload }).middleware(Visitor),
    HttpApiEndpoint.post("guarded", "/guarded", { payload }).middleware(SignedIn)
  )
)
const app = HttpApiBuilder.layer(api).pipe(
  Layer.provide(
    HttpApiBuilder.group(
      api,
      "texts",
      (handlers) => handlers.handleAll({ open: () => Effect.void, guarded: () => Effect.void })
    )
  ),
  Layer.provide([SessionApi.layerSession(Visitor), SessionApi.layer(SignedIn)]),
  Layer.provide(SessionTest.layer()),
  Layer.provide(HttpServer.layerServices),
  Layer.provideMerge(Layer.succeed(HttpIncomingMessage.MaxBodySize, ByteSize.fromInputUnsafe(25_000)))
)

/** Sends a body of so many pieces of ten thousand octets, as fast as it is read. */
const send = async (path: string, pieces: number) => {
  const { dispose, handler } = HttpRouter.toWebHandler(app, { disableLogger: true })
  let read = 0
  const utf8 = new TextEncoder()
  const body = new ReadableStream({
    pull: (controller) => {
      if (read < pieces) controller.enqueue(utf8.encode(read === 0 ? "{\"text\":\"" : "x".repeat(10_000)))
      else if (read === pieces) controller.enqueue(utf8.encode("\"}"))
      else controller.close()
      read++
    }
  })
  const headers = { "content-type": "application/json" }
  const init = { method: "POST", headers, body, duplex: "half" }
  const { status } = await handler(new Request(`http://localhost${path}`, init))
  await dispose()
  return { status, read }
}

describe("SessionApi: bodies", () => {
  it("reads none of who is not signed in", async () => {
    const { read, status } = await send("/guarded", 1000)
    assert.strictEqual(status, 401)
    assert.isAtMost(read, 1)
  })

  it("reads no more than the limit of the application", async () => {
    assert.strictEqual((await send("/open", 2)).status, 204)
    const { read, status } = await send("/open", 1000)
    assert.strictEqual(status, 413)
    assert.isAtMost(read, 5)
  })
})
