export * as CrossOrigin from "./CrossOrigin.ts"
export * as SessionCookie from "./SessionCookie.ts"
export * as SessionCookieError from "./SessionCookieError.ts"
export * as SessionMiddleware from "./SessionMiddleware.ts"
