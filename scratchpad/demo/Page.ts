/** The page, its style and its script, and the headers of every response. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { readFileSync } from "node:fs"

const file = (path: `/${string}`, name: string, contentType: string) =>
  HttpRouter.route(
    "GET",
    path,
    HttpServerResponse.text(readFileSync(new URL(name, import.meta.url), "utf8"), {
      contentType: `${contentType}; charset=utf-8`,
      headers: { "cache-control": "no-cache" }
    })
  )

export const routes = [
  file("/", "page.html", "text/html"),
  file("/page.css", "page.css", "text/css"),
  file("/page.js", "page.js", "text/javascript")
] as const

const headers = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src data:",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'"
  ].join("; "),
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff"
}

const reasons: Readonly<Record<number, string>> = {
  401: "Sign in first",
  403: "Another site may not do that",
  404: "There is nothing here",
  409: "The session ended or changed while this request was using it",
  413: "The session would hold more than it may",
  503: "The session store does not answer; try again"
}

/** Dresses every response, also those that no route made: headers, and a reason for errors that have none. */
export const layer = HttpRouter.middleware(
  (app) =>
    Effect.tapCause(app, (cause) => Cause.hasDies(cause) ? Effect.logError("A request failed", cause) : Effect.void)
      .pipe(
        // Registered last, so that it also sees what the session middleware answers.
        Effect.onExit(() =>
          HttpEffect.appendPreResponseHandler((_request, response) => {
            const { body, status } = response
            const explained = status >= 400 && body._tag === "Empty"
              ? HttpServerResponse.setBody(
                response,
                HttpServerResponse.jsonUnsafe({ error: reasons[status] ?? "Something went wrong" }).body
              )
              : response
            const kept = explained.headers["cache-control"] === undefined ? { "cache-control": "no-store" } : {}
            return Effect.succeed(HttpServerResponse.setHeaders(explained, { ...headers, ...kept }))
          })
        )
      ),
  { global: true }
)
