/**
 * Short forms of the scripts of every request, for what nearly always is the case: a record with plain numbers, live,
 * and not pending. They answer `Whole` and have done nothing where the whole script of `scripts.ts` has to see to it.
 * Lua makes all functions of a whole script anew with each call, which takes longer than these scripts do.
 *
 * They share no arguments: what they need follows the one key.
 */
import type { Script } from "./scriptPrelude.ts"

const clock = `
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** A change that leaves the lifetime alone: 1 version, 2 format and kind, 3 idle, 4 active, 5 linger, 6 payload. */
export const save: Script = `
local f = redis.call('HMGET', KEYS[1], 'h', 's', 'q')
if f[1] and not f[3] then
  local v, same, l, t, x = string.match(f[1], '^1 (%d+) (%d+ %d+ %S+) (%d+) (%d+) (%d+) ')
  ${clock.trim()}
  if v and #v < 14 and now < tonumber(x) and now < l + t then
    if v ~= ARGV[1] then return {'Conflict', now} end
    if ARGV[4] == '1' and now > tonumber(l) then l = now end
    local h = '1 ' .. v + 1 .. ' ' .. same .. ' ' .. l .. ' ' .. ARGV[3] .. ' ' .. x .. ' ' .. ARGV[2]
    redis.call('HSET', KEYS[1], 'h', h, 'p', ARGV[6])
    redis.call('PEXPIREAT', KEYS[1], math.ceil(math.max(math.min(tonumber(x), l + ARGV[3]), now + 1) + ARGV[5]))
    return {'Saved', now, h, f[2]}
  end
end
return {'Whole', 0}
`.trim()

/** Reads a record and touches it: 1 milliseconds since the last activity, 2 linger. */
export const read: Script = `
local f = redis.call('HMGET', KEYS[1], 'h', 'p', 's', 'q')
if f[1] and f[2] and not f[4] then
  local same, l, t, x, last = string.match(f[1], '^(1 %d+ %d+ %d+ %S+) (%d+) (%d+) (%d+)( %S+ [tb])$')
  ${clock.trim()}
  if same and now < tonumber(x) and now < l + t then
    if now <= tonumber(l) or now - l < tonumber(ARGV[1]) then return {'Live', now, f[1], f[2], f[3]} end
    local h = same .. ' ' .. now .. ' ' .. t .. ' ' .. x .. last
    redis.call('HSET', KEYS[1], 'h', h)
    redis.call('PEXPIREAT', KEYS[1], math.ceil(math.max(math.min(tonumber(x), now + t), now + 1) + ARGV[2]))
    return {'Live', now, h, f[2], f[3], '1'}
  end
end
return {'Whole', 0}
`.trim()
