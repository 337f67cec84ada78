/**
 * As much of `express` and `express-session` as the benchmark uses: neither
 * brings types.
 */
declare module "express" {
  import type { Data } from "./data.ts"

  interface Request {
    readonly query: { readonly [name: string]: string }
    readonly session: { user?: Data }
  }
  interface Response {
    type(type: string): this
    send(body: string): void
  }
  type Handler = (request: Request, response: Response, next: () => void) => void
  interface Application {
    disable(setting: string): void
    use(handler: Handler): void
    get(path: string, handler: (request: Request, response: Response) => void): void
    listen(port: number, host: string, listening: () => void): { address(): { readonly port: number } }
  }
  const express: () => Application
  export type { Handler }
  export default express
}

declare module "express-session" {
  import type { Handler } from "express"

  interface Options {
    readonly secret: string
    readonly name: string
    readonly resave: boolean
    readonly saveUninitialized: boolean
    readonly store: object
    readonly cookie: { readonly sameSite: "lax"; readonly maxAge: number }
  }
  const session: ((options: Options) => Handler) & { readonly MemoryStore: new() => object }
  export default session
}
