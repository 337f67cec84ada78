// The page of the demo: plain browser code over the JSON API. It never sees the session's id, which is HttpOnly.

const $ = (id) => document.getElementById(id)

const element = (name, properties = {}, ...children) => {
  const node = document.createElement(name)
  for (const [key, value] of Object.entries(properties)) {
    if (key === "data") Object.assign(node.dataset, value)
    else if (key === "label") node.setAttribute("aria-label", value)
    else node[key] = value
  }
  node.append(...children)
  return node
}

// --- talking to the server -----------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

const api = async (method, path, body) => {
  const response = await fetch(path, {
    method,
    credentials: "same-origin",
    cache: "no-store",
    ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
  }).catch(() => {
    throw new Refused(0, "The server does not answer.")
  })
  const text = await response.text()
  const answer = text === "" ? {} : JSON.parse(text)
  if (!response.ok) throw new Refused(response.status, answer.error ?? `Error ${response.status}`)
  return answer
}

// --- what is known -------------------------------------------------------------------------------------------------

let me
// Who keeps the sessions, "server" or "client". In cookie mode it is the client.
let keeper
// Server time minus local time: deadlines are the server's, and clocks differ.
let offset = 0

const now = () => Date.now() + offset

/** What is not there, because the session has ended in between. */
const absent = (error) => {
  if (error.status !== 404) throw error
}

let lastLoad = 0

const load = async () => {
  const run = ++lastLoad
  if (keeper === undefined) {
    keeper = (await api("GET", "/api/store")).keeper
    for (const node of document.querySelectorAll("[data-keeper]")) node.hidden = node.dataset.keeper !== keeper
  }
  const latest = await api("GET", "/api/me")
  const [{ items }, { devices }, seal] = await Promise.all([
    api("GET", "/api/items"),
    latest.authenticated && keeper === "server" ? api("GET", "/api/devices") : { devices: [] },
    latest.status === "active" && keeper === "client" ? api("GET", "/api/seal").catch(absent) : undefined
  ])
  // A later load knows better.
  if (run !== lastLoad) return
  const before = me
  me = latest
  offset = Date.parse(me.now) - Date.now()
  if (before?.authenticated && !me.authenticated) {
    notify("notice", endedElsewhere ? "You were signed out elsewhere." : "You are signed out: the session has ended.")
  }
  endedElsewhere = false
  listen()
  showAccount()
  showSession()
  $("counter").textContent = me.counter.toLocaleString()
  showItems(items)
  showDevices(devices)
  showSeal(seal)
}

/** Runs what a button does, and then shows what has become of the session. */
const act = async (button, what) => {
  button.disabled = true
  try {
    await what()
  } catch (error) {
    notify("problem", error.message)
  }
  try {
    await load()
  } catch (error) {
    showDown(error)
  }
  button.disabled = false
}

const onClick = (id, what) => $(id).addEventListener("click", ({ currentTarget }) => act(currentTarget, what))

// --- account -------------------------------------------------------------------------------------------------------

const showBadge = (state, text) => {
  $("badge").dataset.state = state
  if ($("badge-text").textContent !== text) $("badge-text").textContent = text
}

const showDown = (error) => showBadge("down", error.status === 503 ? "Store unavailable" : "No connection")

const showAccount = () => {
  $("signed-in").hidden = !me.authenticated
  $("signed-out").hidden = me.authenticated
  if (me.authenticated) {
    showBadge(me.role, me.username)
    $("avatar").textContent = [...me.username][0].toUpperCase()
    $("who").textContent = me.username
    $("role").textContent = me.role
    $("since").textContent = `signed in ${ago(me.loginAt)}`
  } else if (me.status === "active") showBadge("guest", "Guest session")
  else if (me.status === "expired") showBadge("ended", "Session expired")
  else if (me.status === "invalid") showBadge("ended", "Session not accepted")
  else showBadge("none", "No session")
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault()
  const { password, username } = event.target
  const fail = (field, reason) => {
    $("login-error").textContent = reason
    field.setAttribute("aria-invalid", "true")
    field.focus()
  }
  for (const field of [username, password]) field.removeAttribute("aria-invalid")
  $("login-error").textContent = ""
  if (username.value === "") return fail(username, "Who are you? Any name will do.")
  try {
    await api("POST", "/api/login", { username: username.value, password: password.value })
  } catch (error) {
    return fail(password, error.message)
  }
  event.target.reset()
  await load().catch(showDown)
  $("who").focus()
})

const leave = async (path) => {
  // It is no news to this page.
  stopListening()
  me = undefined
  await api("POST", path)
  me = undefined
}
onClick("logout", () => leave("/api/logout").then(() => $("login").username.focus()))
onClick("logout-everywhere", () => leave("/api/logout-everywhere").then(() => $("login").username.focus()))

// --- counter and list ----------------------------------------------------------------------------------------------

onClick("increment", () => api("POST", "/api/counter"))

onClick("race", async () => {
  // Without a session each of them would start one.
  if (me?.status !== "active") await api("POST", "/api/counter")
  const answers = await Promise.all(Array.from({ length: 20 }, () => api("POST", "/api/counter?delay=50")))
  const different = new Set(answers.map(({ counter }) => counter)).size
  $("race-result").textContent = `20 requests, ${different} different answer${different === 1 ? "" : "s"}.`
  $("race-result").hidden = false
})

const showItems = (items) => {
  $("items-empty").hidden = items.length > 0
  $("items-empty").textContent = me.authenticated
    ? "Nothing on it yet."
    : "Empty. What you add before signing in is kept."
  $("items").replaceChildren(...items.map((text, index) => {
    const remove = element("button", {
      type: "button",
      className: "icon",
      label: `Remove ${text}`,
      textContent: "×",
      onclick: () => act(remove, () => api("DELETE", `/api/items/${index}`)).then(() => $("item").focus())
    })
    return element("li", {}, element("span", { textContent: text }), remove)
  }))
}

$("add-item").addEventListener("submit", (event) => {
  event.preventDefault()
  const text = $("item").value.trim()
  if (text === "") return
  event.target.reset()
  act(event.submitter ?? event.target.querySelector("button"), () => api("POST", "/api/items", { text }))
})

// --- messages ------------------------------------------------------------------------------------------------------

const messages = {
  notice: "The kettle is on.",
  success: "Your changes are saved.",
  info: "There is a new version of this page.",
  warning: "Your trial ends in three days.",
  alert: "Somebody signed in from a new device.",
  error: "The payment did not go through."
}

const notify = (kind, message) => {
  const box = element("div", { className: "notice", data: { kind } })
  const close = element("button", {
    type: "button",
    className: "icon",
    label: "Dismiss",
    textContent: "×",
    onclick: () => box.remove()
  })
  const name = Object.hasOwn(messages, kind)
    ? [element("strong", { textContent: kind[0].toUpperCase() + kind.slice(1) })]
    : []
  box.append(element("p", {}, ...name, message), close)
  $("notices").append(box)
}

for (const button of $("kinds").children) {
  const { kind } = button.dataset
  button.addEventListener("click", () =>
    act(button, async () => {
      await api("POST", "/api/flash", { kind, message: messages[kind] })
      $("waiting").hidden = false
      $("waiting-text").textContent = "It is waiting."
    }))
}

$("reload").addEventListener("click", () => location.reload())

// --- devices -------------------------------------------------------------------------------------------------------

const showDevices = (devices) => {
  $("devices-empty").hidden = devices.length > 0
  $("devices").replaceChildren(...devices.map(({ agent, createdAt, current, handle, lastSeenAt, name, network }) => {
    const title = element("p", { className: "name", title: agent ?? "" }, name)
    if (current) title.append(" ", element("span", { className: "tag here", textContent: "this one" }))
    const from = network === null ? "" : `${network}, `
    const facts = `${from}since ${clock(createdAt)}, last seen ${ago(lastSeenAt)}`
    const end = element("button", {
      type: "button",
      className: "quiet danger",
      label: `${current ? "Sign out" : "End"} ${name}`,
      textContent: current ? "Sign out" : "End",
      onclick: () =>
        act(end, async () => {
          if (current) {
            stopListening()
            me = undefined
          }
          await api("DELETE", `/api/devices/${encodeURIComponent(handle)}`)
          if (current) me = undefined
        })
    })
    return element("li", {}, element("div", {}, title, element("p", { className: "hint", textContent: facts })), end)
  }))
}

// --- session -------------------------------------------------------------------------------------------------------

const times = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" })
const dates = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" })
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" })

const clock = (iso) => {
  if (iso === null) return "never"
  const date = new Date(iso)
  return (now() - date < 12 * 3_600_000 ? times : dates).format(date)
}

const ago = (iso) => {
  const minutes = Math.round((Date.parse(iso) - now()) / 60_000)
  if (minutes === 0) return "just now"
  return Math.abs(minutes) < 60 ? relative.format(minutes, "minute") : relative.format(Math.round(minutes / 60), "hour")
}

const countdown = (millis) => {
  const seconds = Math.max(0, Math.ceil(millis / 1000))
  const two = (n) => String(n).padStart(2, "0")
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}

const showDeadline = (id, from, until) => {
  const left = Date.parse(until) - now()
  const share = Math.min(1, Math.max(0, left / (Date.parse(until) - Date.parse(from))))
  $(id).value = share
  $(id).classList.toggle("low", share < 0.15)
  $(`${id}-left`).textContent = countdown(left)
}

const tick = () => {
  if (sealedAt !== undefined) $("seal-age").textContent = countdown(now() - sealedAt)
  if (!me?.expiresAt) return
  showDeadline("idle", me.lastSeenAt, me.idleExpiresAt)
  showDeadline("absolute", me.loginAt ?? me.createdAt, me.absoluteExpiresAt)
  if (Date.parse(me.expiresAt) < now()) {
    me.expiresAt = null
    load().catch(showDown)
  }
}

const showSession = () => {
  $("session").hidden = me.createdAt === null
  $("no-session").hidden = me.createdAt !== null
  if (me.createdAt === null) return
  $("created").textContent = clock(me.createdAt)
  $("seen").textContent = clock(me.lastSeenAt)
  $("login-at").textContent = clock(me.loginAt)
  tick()
}

onClick("renew", async () => {
  await api("POST", "/api/renew")
  notify("success", "The session has a new id; the old one is worth nothing now.")
})

// --- seal ----------------------------------------------------------------------------------------------------------

const octets = (count) => `${count.toLocaleString()} octets`

let sealedAt

const showSeal = (seal) => {
  $("seal").hidden = seal === undefined
  sealedAt = seal && now() - seal.ageMs
  if (seal === undefined) return
  const { cookieBytes, keyId, limitBytes, payloadBytes, sealedBytes, suite } = seal
  $("cookie-size").value = cookieBytes / limitBytes
  $("cookie-size").classList.toggle("low", cookieBytes > 0.85 * limitBytes)
  $("cookie-bytes").textContent = `${cookieBytes.toLocaleString()} of ${octets(limitBytes)}`
  $("sealed-bytes").textContent = octets(sealedBytes)
  $("payload-bytes").textContent = payloadBytes === undefined ? "unknown" : octets(payloadBytes)
  $("suite").textContent = suites[suite] ?? suite
  $("key-id").textContent = keyId
  tick()
}

const suites = {
  aes256Gcm: "AES-256-GCM",
  aes256CbcHmacSha256: "AES-256-CBC, HMAC-SHA-256",
  xchacha20Poly1305: "XChaCha20-Poly1305"
}

// --- connection to the store ---------------------------------------------------------------------------------------

const states = { Closed: "working", HalfOpen: "being tried", Open: "not answering", Unasked: "not asked" }

const circuitNames = { read: "Reads", write: "Writes" }

const circuitName = (name) => {
  const last = name.slice(name.lastIndexOf(":") + 1)
  return circuitNames[last] ?? last
}

const good = new Set(["success", "retried", "slow", "interrupted"])

const showHealth = ({ health }) => {
  $("health").hidden = health === null
  if (health === null) return
  const { circuits, load, recent } = health
  const readsFail = circuits.some(({ name, state }) => name.endsWith(":read") && state !== "Closed")
  $("circuits").replaceChildren(
    ...circuits.map(({ name, state }) => {
      // A write begins with a read.
      const shown = readsFail && state === "Closed" ? "Unasked" : state
      return element("li", { data: { state: shown }, textContent: `${circuitName(name)}: ${states[shown]}` })
    })
  )
  $("recent").replaceChildren(
    ...recent.toReversed().map(({ millis, operation, outcome }) =>
      element("li", {
        data: { outcome, kind: good.has(outcome) ? "good" : "bad" },
        title: `${operation}: ${outcome}, ${millis.toFixed(1)} ms`
      })
    )
  )
  const open = circuits.some(({ state }) => state !== "Closed")
  // What the page shows may be from before; it is asked for again as long as it is so.
  if (readsFail) showDown({ status: 503 })
  const pending = load.pendingDestroys > 0 ? ` ${load.pendingDestroys} ended sessions wait for it.` : ""
  $("health-text").textContent = (open
    ? "Nobody is signed out: sessions are back when the store is."
    : `${load.inFlight} under way, ${load.queued} waiting.`) + pending
}

// --- node of a cluster ---------------------------------------------------------------------------------------------

let clustered = false
let events
let endedElsewhere = false

/** Whether the session has run into a deadline. */
const isOver = () => me?.expiresAt === null || Date.parse(me?.expiresAt) < now()

const stopListening = () => {
  events?.close()
  events = undefined
}

/** Hears of the end of this session at once, on whatever node it happens. */
const listen = () => {
  if (!clustered || me?.status !== "active" || document.hidden) return stopListening()
  if (events !== undefined && events.readyState !== EventSource.CLOSED) return
  events = new EventSource("/api/events")
  events.addEventListener("ended", () => {
    stopListening()
    endedElsewhere = !isOver()
    load().catch(showDown)
  })
}

const trusts = {
  full: "This node hears all others: its copies are used.",
  short: (age) => `Another node is silent: copies are used up to an age of ${age.toLocaleString()} ms.`,
  none: "This node may be missing messages: no copy is used."
}

const lookups = {
  hit: (age) => `answered by a copy, ${age} old`,
  miss: () => "asked of the store, and kept",
  bypass: () => "asked of the store",
  none: () => "There is no session to have a copy of."
}

const duration = (millis) => millis < 1000 ? `${millis} ms` : `${(millis / 1000).toFixed(1)} s`

const showNode = async () => {
  const { node } = await api("GET", "/api/node")
  $("cluster").hidden = node === null
  if (node === null) return
  const { bypasses, channel, copies, hits, invalidationsIn, invalidationsOut, misses, nodes, session, trust } = node
  clustered = true
  $("node-name").textContent = node.name
  $("node-pid").textContent = node.pid
  $("nodes").replaceChildren(...nodes.map(({ alive, name, pid, url }) => {
    const text = `${name} ${new URL(url).port}`
    if (!alive) return element("li", {}, element("span", { title: `process ${pid}, ended`, textContent: text }))
    const there = new URL(url)
    // Cookies are of a host, whatever the port.
    there.hostname = location.hostname
    const link = element("a", { href: there.href, title: `process ${pid}`, textContent: text })
    if (pid === node.pid) link.setAttribute("aria-current", "page")
    return element("li", {}, link)
  }))
  const from = session?.from ?? "none"
  $("cache").dataset.state = from
  $("cache-from").hidden = session === null
  $("cache-from").textContent = from
  $("cache-text").textContent = lookups[from](duration(session?.age ?? 0))
  $("cache-hits").textContent = hits.toLocaleString()
  $("cache-misses").textContent = misses.toLocaleString()
  $("cache-bypasses").textContent = bypasses.toLocaleString()
  $("cache-copies").textContent = copies.toLocaleString()
  $("cache-messages").textContent = `${invalidationsOut.toLocaleString()}, ${invalidationsIn.toLocaleString()}`
  $("cache-gaps").textContent = `${channel.gaps.toLocaleString()}, ${channel.reconnects.toLocaleString()}`
  const state = trust === "full" ? "full" : trust > 0 ? "short" : "none"
  const text = state === "short" ? trusts.short(Math.round(trust)) : trusts[state]
  $("trust").dataset.state = state
  // Said anew only when it is new.
  if ($("trust").textContent !== text) $("trust").textContent = text
  // What has happened on another node shows here too.
  if (me === undefined || (me.username === node.username && me.counter === node.counter)) return listen()
  endedElsewhere = !isOver()
  await load()
}

// --- store ---------------------------------------------------------------------------------------------------------

const interval = 1000
const kept = 60
const samples = []
let last

const points = (name, peak) =>
  samples.map((sample, i) => `${300 - (samples.length - 1 - i) * (300 / kept)},${95 - (sample[name] / peak) * 92}`)

const measure = async () => {
  if (document.hidden) return
  const metrics = await api("GET", "/api/metrics").catch(showDown)
  if (metrics === undefined) return
  await api("GET", "/api/health").then(showHealth).catch(showDown)
  await showNode().catch(showDown)
  if ($("badge").dataset.state === "down") load().catch(showDown)
  const at = performance.now()
  const { active, created, loaded, renewed, saved } = metrics
  const saves = saved + created + renewed
  if (last !== undefined) {
    const seconds = (at - last.at) / 1000
    samples.push({ loads: (loaded - last.loaded) / seconds, saves: (saves - last.saves) / seconds })
    if (samples.length > kept + 1) samples.shift()
  }
  last = { at, loaded, saves }
  $("loads").textContent = loaded.toLocaleString()
  $("saves").textContent = saves.toLocaleString()
  // Not every store counts them.
  $("active").parentElement.hidden = active === undefined || keeper === "client"
  $("active").textContent = (active ?? 0).toLocaleString()
  const peak = Math.max(2, ...samples.map(({ loads, saves }) => Math.max(loads, saves)))
  const line = points("loads", peak)
  $("loads-line").setAttribute("points", line.join(" "))
  $("saves-line").setAttribute("points", points("saves", peak).join(" "))
  if (line.length > 0) {
    const start = line[0].slice(0, line[0].indexOf(","))
    $("loads-area").setAttribute("points", `${start},95 ${line.join(" ")} 300,95`)
  }
  $("peak").textContent = `top line: ${Math.round(peak)} per second`
}

// --- start ---------------------------------------------------------------------------------------------------------

const start = async () => {
  await load()
  const { messages } = await api("GET", "/api/flash")
  for (const { kind, message } of messages) notify(kind, message)
  // They were in the cookie, which is smaller now.
  if (messages.length > 0 && keeper === "client") await load()
}

start().catch(showDown)
measure()
setInterval(tick, 1000)
setInterval(measure, interval)
document.addEventListener("visibilitychange", () => {
  listen()
  if (!document.hidden) load().catch(showDown)
})
