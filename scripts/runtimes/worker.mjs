import { fetch } from "./app.mjs"

export default { fetch: (request) => fetch(request) }
