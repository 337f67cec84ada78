import * as Effect from "effect/Effect"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Stream from "effect/Stream"

const decoder = new TextDecoder()

/**
 * A request whose body was read and can be read again, also by the views of it that a router makes for routes below a
 * prefix: those begin with an unread body otherwise.
 */
export const make = (
  request: HttpServerRequest.HttpServerRequest,
  body: ArrayBuffer
): HttpServerRequest.HttpServerRequest => {
  const properties = {
    arrayBuffer: { value: Effect.succeed(body) },
    text: { value: Effect.succeed(decoder.decode(body)) },
    stream: { value: Stream.succeed(new Uint8Array(body)) },
    modify: {
      value: (options: Parameters<HttpServerRequest.HttpServerRequest["modify"]>[0]) =>
        make(request.modify(options), body)
    }
  }
  const buffered: HttpServerRequest.HttpServerRequest = Object.create(request, properties)
  return buffered
}
