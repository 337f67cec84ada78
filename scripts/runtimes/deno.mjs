/* global Deno */
import { fetch } from "./app.mjs"

Deno.serve({ port: Number(Deno.env.get("PORT")) }, fetch)
