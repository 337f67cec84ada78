/** As much of Express 5 as the tests use: it brings no types. */
import express from "express"
import type { IncomingMessage, ServerResponse } from "node:http"

export interface Response extends ServerResponse {
  status(status: number): this
  set(headers: Readonly<Record<string, string>>): this
  send(body: string): this
  json(body: unknown): this
  redirect(to: string): void
  sendFile(path: string): void
}

export type Next = (error?: unknown) => void
export type Handler = (request: IncomingMessage, response: Response, next: Next) => unknown
export type ErrorHandler = (error: unknown, request: IncomingMessage, response: Response, next: Next) => void

export interface Application {
  (request: IncomingMessage, response: ServerResponse): void
  use(handler: Handler): void
  use(handler: ErrorHandler): void
  use(path: string, handler: Handler): void
  all(path: string, handler: Handler): void
}

// What the benchmarks declare of it is narrower.
export const make = (): Application => express() as unknown as Application
