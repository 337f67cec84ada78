/** An application that uses nothing but the web platform: sessions in memory, and in cookies. */
import { CookieStore, Crypto, MemoryStore, Revocations, Session, SessionConfig } from "@effect-session/core"
import { SessionFetch } from "@effect-session/http"
import { Layer, Redacted, Schema } from "effect"

class UserSession extends Session.Service()("app/UserSession", {
  data: Schema.Struct({ visits: Schema.Int }),
  initial: { visits: 0 }
}) {}

const Config = SessionConfig.layer({ secrets: Redacted.make("Rb7-Wx2_Ke9.Tn4+Yq6/Lz3=Gm8~Sc5^Hd1?") })
const layers = {
  memory: MemoryStore.layer().pipe(Layer.provideMerge(Crypto.layer), Layer.provideMerge(Config)),
  cookie: CookieStore.layer().pipe(
    Layer.provideMerge(Revocations.layerMemory()),
    Layer.provideMerge(Crypto.layer),
    Layer.provideMerge(Config)
  )
}

const operations = {
  login: (session) => session.login("ada"),
  visit: (session) => session.update(({ visits }) => ({ visits: visits + 1 })),
  logout: (session) => session.destroy(),
  elevate: (session) => session.elevate("1 minute")
}

const streamed = (text) =>
  new ReadableStream({
    start: (controller) => {
      for (const part of text) controller.enqueue(new TextEncoder().encode(part))
      controller.close()
    }
  })

const begin = async (layer) => {
  const { close, handler, of } = await SessionFetch.make(UserSession, layer)
  const handle = handler(async (request) => {
    const session = of(request)
    const operation = new URL(request.url).pathname.split("/")[2]
    await operations[operation]?.(session)
    const state = JSON.stringify({
      user: await session.subject() ?? null,
      status: await session.status(),
      ...await session.get()
    })
    return new Response(operation === "stream" ? streamed(state) : state)
  })
  return { close, handle }
}

// A worker may do nothing before its first request.
const begun = new Map()

/** `POST /memory/login`, `visit`, `logout`, `elevate`, `stream`; the same below `/cookie`. */
export const fetch = async (request) => {
  const mode = new URL(request.url).pathname.split("/")[1]
  if (!Object.hasOwn(layers, mode)) return new Response("ready")
  if (!begun.has(mode)) begun.set(mode, begin(layers[mode]))
  const { handle } = await begun.get(mode)
  return handle(request)
}

/** Ends what runs, so that the process can. */
export const close = async () => {
  for (const { close } of await Promise.all(begun.values())) await close()
}
