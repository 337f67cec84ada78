/* global Bun */
import { fetch } from "./app.mjs"

Bun.serve({ port: Bun.env.PORT, fetch })
