/**
 * As much of `pg` and `connect-pg-simple` as the benchmark uses: neither brings types.
 */
declare module "pg" {
  interface Options {
    readonly host: string
    readonly port: number
    readonly user: string
    readonly database: string
    readonly max: number
    readonly idleTimeoutMillis: number
  }
  const pg: { readonly Pool: new(options: Options) => object }
  export default pg
}

declare module "connect-pg-simple" {
  interface Session {
    readonly cookie: { readonly originalMaxAge: number; readonly expires: Date | string }
  }
  interface Store {
    get(id: string, done: (error: unknown, session?: Session | null) => void): void
    set(id: string, session: Session, done: (error: unknown) => void): void
    touch(id: string, session: Session, done: (error: unknown) => void): void
  }
  interface Options {
    readonly pool: object
    readonly createTableIfMissing: boolean
    readonly pruneSessionInterval: false
  }
  const connectPgSimple: (session: object) => new(options: Options) => Store
  export type { Session, Store }
  export default connectPgSimple
}
