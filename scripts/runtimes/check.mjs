/** A browser of the application: signs in, reads, writes, signs out, and comes back with a copy of its cookie. */
const equal = (actual, expected) => {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (a !== b) throw new Error(`expected ${b}, got ${a}`)
}

const like = (actual, expected) => {
  if (!expected.test(actual)) throw new Error(`expected ${expected}, got ${actual}`)
}

/** Fails unless the application keeps its sessions. `fetch` asks it, wherever it is. */
export const check = async (fetch, origin, mode) => {
  let cookie
  const ask = async (operation, sent = cookie) => {
    const headers = sent === undefined ? {} : { cookie: sent }
    const response = await fetch(new Request(`${origin}/${mode}/${operation}`, { method: "POST", headers }))
    const lines = response.headers.getSetCookie()
    if (lines.length > 0) cookie = lines[0].split(";")[0]
    const text = await response.text()
    const state = response.status === 200 ? JSON.parse(text) : text
    return { status: response.status, lines, state, vary: response.headers.get("vary") }
  }
  const stranger = await ask("")
  equal(stranger, { status: 200, lines: [], state: { user: null, status: "anonymous", visits: 0 }, vary: "Cookie" })
  like((await ask("login")).lines[0], /^__Host-session=[\w-]+; Path=\/; Secure; HttpOnly; SameSite=Lax$/)
  for (let visits = 1; visits <= 3; visits++) {
    equal((await ask("visit")).state, { user: "ada", status: "active", visits })
  }
  equal((await ask("stream")).state, { user: "ada", status: "active", visits: 3 })
  const parallel = await Promise.all(Array.from({ length: 20 }, () => ask("")))
  equal(parallel.map(({ state }) => state.visits), parallel.map(() => 3))
  const copy = cookie
  like((await ask("logout")).lines[0], /^__Host-session=; .*Max-Age=0/)
  equal((await ask("", copy)).state.user, null)
  equal((await ask("elevate", "")).status, 401)
}
