import { Agent, request } from "node:http"

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly text: string
}

/** A browser with a connection and a cookie of its own. */
export const browser = (url: string) => {
  const agent = new Agent({ keepAlive: true })
  const send = (method: string, path: string, { body = "", cookie = "" } = {}): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const headers = { cookie, ...(body === "" ? {} : { "content-type": "application/json" }) }
      const sent = request(url + path, { method, agent, headers }, (response) => {
        let text = ""
        response.setEncoding("utf8").on("data", (chunk) => text += chunk)
        response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
        response.on("error", reject)
      })
      sent.on("error", reject)
      sent.end(body)
    })
  return { send, close: () => agent.destroy() }
}
