/**
 * Effect's own HTTP server without sessions: the baseline. Its answers have the
 * size of the others'.
 */
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { answers, dataOf, guest } from "../data.ts"
import { listenEffect } from "../listen.ts"

const { count, userId } = dataOf(0)
const answer = (path: `/${string}`, text: string) =>
  HttpRouter.add("GET", path, Effect.sync(() => HttpServerResponse.text(text)))

/** Starts the server and returns its port. */
export const listen = (): Promise<number> =>
  listenEffect(Layer.mergeAll(
    answer("/anonymous", answers.anonymous(guest)),
    answer("/read", answers.read(userId)),
    answer("/write", answers.write(count + 1))
  ))
