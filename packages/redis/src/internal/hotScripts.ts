/**
 * Short forms of the scripts of every request, for what nearly always is the case: a record that is whole, live, and not
 * pending. They answer 0 and have done nothing where the whole script of `scripts.ts` has to see to it. Lua makes all
 * functions of a whole script anew with each call, which takes longer than these scripts do.
 *
 * What is the same for all calls of a store is part of their text: each argument takes longer than it looks. The expiry
 * of a key is set where the deadline of its record has moved.
 */
import type { Script } from "./scriptPrelude.ts"

// The first letter of what is live and not pending comes after that of an alias, those of the others before it.
const beginning = (then: string) =>
  `
local key, call = KEYS[1], redis.call
${then}
if h and #h > 57 then
  local layout, kind, v, format, l, t, x = struct.unpack('<BBI4I4ddd', h)
  local time = call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local ends = l + t
  if layout == 49 and kind > 97 and now >= l and now < x and now < ends then
`.trim()

const ending = (linger: string, reply: string) =>
  `
    if ends > x then ends = x end
    if till > x then till = x end
    if till ~= ends then call('PEXPIREAT', key, math.ceil(math.max(till, now + 1)) + ${linger}) end
    return ${reply}
  end
end
return 0
`.trim()

/** What a short script is called with, beside the key. */
export interface HotScripts {
  /**
   * A change that leaves the lifetime alone: 1 version, 2 layout and kind, 3 idle, 4 format, 5 payload. It answers the new
   * header, or 1 for a conflict. `save` is activity, `saveQuietly` is none.
   */
  readonly save: Script
  readonly saveQuietly: Script
  /** Reads a record and touches it: 1 milliseconds since the last activity. It answers both fields, and 1 if it touched. */
  readonly read: Script
}

const saveScript = (linger: string, lastSeenAt: string): Script =>
  `
${beginning("local h = call('HGET', key, 'h')")}
    if v ~= tonumber(ARGV[1]) then return 1 end
    h = struct.pack('<c2I4I4ddd', ARGV[2], v + 1, ARGV[4], ${lastSeenAt}, ARGV[3], x) .. string.sub(h, 35)
    call('HSET', key, 'h', h, 'p', ARGV[5])
    local till = ${lastSeenAt} + ARGV[3]
    ${ending(linger, "h")}
`.trim()

/** The scripts of a store that keeps records for so many milliseconds past their deadline. */
export const make = (linger: number): HotScripts => ({
  save: saveScript(String(linger), "now"),
  saveQuietly: saveScript(String(linger), "l"),
  read: `
${beginning("local f = call('HMGET', key, 'h', 'p')\nlocal h = f[1]")}
    if not f[2] then return 0 end
    if now == l or now - l < tonumber(ARGV[1]) then return f end
    h = string.sub(h, 1, 10) .. struct.pack('<d', now) .. string.sub(h, 19)
    call('HSET', key, 'h', h)
    f[1], f[3] = h, 1
    local till = now + t
    ${ending(String(linger), "f")}
`.trim()
})
