/**
 * What the scripts of the store have in common.
 *
 * Every script reads all it needs before it writes, so that a failing read leaves nothing half done. Scripts name their
 * keys; keys they find in a record or in an index (successors, evicted sessions) carry the same hash tag.
 *
 * Arguments that all of them share: 1 prefix, 2 whether one server has all keys, 3 length of the event stream or 0,
 * 4 how long the stream outlives its last event, 5 how long a record outlives its deadline.
 *
 * Replies begin with a tag and the server's time. A server older than Redis 7, whose errors and expiries are others, is
 * refused before anything is read.
 */

/** The text of a script. */
export type Script = string

// A record is {k, v, f, l, t, x, c, n, a, i, s: the header; o: aliases; q: pending}, an alias is {r: successor, u: end of
// its grace}. A session that never saw a sign-in has no a, which is written as no number. See layout.ts.
const prelude = `
local P, single, cap, retention, linger = ARGV[1], ARGV[2] == '1', ARGV[3], ARGV[4], tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not redis.REDIS_VERSION_NUM then return {'Bad', now, 'old'} end
local function bucket(k) return string.sub(k, 1, 2) end
local function keyOf(k) return P .. '{' .. bucket(k) .. '}' .. string.sub(k, 3) end
local function indexOf(i) return P .. '{' .. bucket(i) .. '}@' .. string.sub(i, 3) end
local function reach(k, other) return single or bucket(k) == bucket(other) end
local function num(n) return string.format('%.17g', n) end
local function read(rk)
  local f = redis.call('HMGET', rk, 'h', 'o', 'q')
  local h = f[1]
  if not h then
    if redis.call('EXISTS', rk) == 1 then error({bad = 'foreign'}) end
    return nil
  end
  if string.sub(h, 1, 1) ~= '1' then error({bad = 'newer'}) end
  local k, size = string.sub(h, 2, 2), #h
  if k == 'a' and size > 12 and size < 111 then
    local to, u = string.sub(h, 11), struct.unpack('<d', h, 3)
    if u - u == 0 and not string.find(to, '[^%w_-]') then return {r = to, u = u} end
  end
  if not string.find('tbTB', k, 1, true) or size < 58 or size > 58 and size < 82 then error({bad = 'damaged'}) end
  local v, format, l, t, x, c, n, a = struct.unpack('<I4I4dddddd', h, 3)
  local sum = l + t + x + c + n
  if sum - sum ~= 0 then error({bad = 'damaged'}) end
  return {v = v, f = format, l = l, t = t, x = x, c = c, n = n, a = a == a and a, k = string.lower(k),
    i = size > 58 and string.sub(h, 59, 82), s = size > 58 and string.sub(h, 83), o = f[2] or '', q = f[3]}
end
local function peek(rk)
  local ok, r = pcall(read, rk)
  if ok then return r, false end
  return nil, true
end
local function live(r) return r and r.v and now < r.x and now < r.l + r.t end
local function head(r)
  return '1' .. (r.q and string.upper(r.k) or r.k)
    .. struct.pack('<I4I4dddddd', r.v, r.f, r.l, r.t, r.x, r.c, r.n, r.a or 0 / 0) .. (r.i or '') .. (r.s or '')
end
local function alias(to, till) return '1a' .. struct.pack('<d', till) .. to end
local function expireAt(rk, at) redis.call('PEXPIREAT', rk, num(math.ceil(math.max(at, now + 1) + linger))) end
local function keep(rk, r) expireAt(rk, math.min(r.x, r.l + r.t)) end
local function emit(name, k, subject, reason)
  if cap == '0' then return end
  local ek = single and P .. '!events' or P .. '{' .. bucket(k) .. '}!events'
  local fields = {'n', name, 'k', k, 't', num(now)}
  if subject then fields[#fields + 1] = 's' fields[#fields + 1] = subject end
  if reason then fields[#fields + 1] = 'w' fields[#fields + 1] = reason end
  redis.call('XADD', ek, 'MAXLEN', '~', cap, '*', unpack(fields))
  redis.call('PEXPIRE', ek, retention)
end
local function keepIndex(ik, r)
  local at = num(math.ceil(math.max(r.x, now + 1) + linger))
  if redis.call('PTTL', ik) == -1 then redis.call('PEXPIREAT', ik, at) else redis.call('PEXPIREAT', ik, at, 'GT') end
end
local function enter(k, r)
  if not r.i then return end
  local ik = indexOf(r.i)
  redis.call('ZADD', ik, num(r.a or r.c), k)
  keepIndex(ik, r)
end
local function forget(k, r)
  if r.i then redis.call('ZREM', indexOf(r.i), k) end
  redis.call('DEL', keyOf(k))
  for a in string.gmatch(r.o, '%S+') do if reach(k, a) then redis.call('DEL', keyOf(a)) end end
end
local function finish(name, k, r, reason)
  forget(k, r)
  emit(name, k, r.s, reason)
end
local function write(k, r, payload)
  local fields = {'h', head(r), 'p', payload}
  local function add(name, value) if value then fields[#fields + 1] = name fields[#fields + 1] = value end end
  if r.o ~= '' then add('o', r.o) end
  add('q', r.q)
  redis.call('HSET', keyOf(k), unpack(fields))
  keep(keyOf(k), r)
end
-- A pending session counts for as long as its renewal may still be on the way.
local function counts(r, i) return live(r) and r.i == i and (not r.q or now < r.n + 30000) end
local function members(i, self)
  local found, dead = {}, {}
  for _, m in ipairs(redis.call('ZRANGE', indexOf(i), 0, -1)) do
    if m ~= self then
      local r, bad = peek(keyOf(m))
      if counts(r, i) then found[#found + 1] = {m, r}
      elseif not bad and not live(r) then dead[#dead + 1] = {m, r} end
    end
  end
  return found, dead
end
local function bury(i, dead)
  for _, d in ipairs(dead) do
    if d[2] and d[2].v and d[2].i == i then finish('expired', d[1], d[2])
    else redis.call('ZREM', indexOf(i), d[1]) end
  end
end
-- The sessions that have to end so that there may be one more; nil if there may not. Where nothing has to be counted,
-- some entries are looked at by chance, so that those whose session is gone do not pile up.
local function surplus(i, max, mode, self)
  if i == '' then return {}, {} end
  if max == 0 then
    local dead = {}
    for _, m in ipairs(redis.call('ZRANDMEMBER', indexOf(i), 4)) do
      if redis.call('EXISTS', keyOf(m)) == 0 then dead[#dead + 1] = {m} end
    end
    return {}, dead
  end
  local found, dead = members(i, self)
  local over = #found + 1 - max
  local ended = {}
  if over > 0 and mode == 'refuse' then return nil end
  for n = 1, over do ended[n] = found[n] end
  return ended, dead
end
local function evict(ended, reply)
  for _, e in ipairs(ended) do
    finish('revoked', e[1], e[2], 'limit')
    reply[#reply + 1] = e[1]
  end
  return reply
end
-- Something else in the place of the events is noticed before anything is written.
if cap ~= '0' then
  for _, rk in ipairs(KEYS) do if string.sub(rk, -7) == '!events' then redis.call('XLEN', rk) end end
end
local function main()
`

const end = `
end
local ok, reply = pcall(main)
if ok then return reply end
if type(reply) == 'table' and reply.bad then return {'Bad', now, reply.bad} end
return type(reply) == 'table' and reply or redis.error_reply(tostring(reply))
`

/** A script out of its body. */
export const script = (body: string): Script => `${prelude.trimStart()}${body.trim()}${end}`

/** How scripts begin that change a session: 6 key, 7 version. */
export const beginning = `
  local r = read(KEYS[1])
  if not r or r.r then return {'Gone', now} end
  if not live(r) then finish('expired', ARGV[6], r) return {'Gone', now} end
  if r.q then return {'Pending', now, r.q} end
  if r.v ~= tonumber(ARGV[7]) then return {'Conflict', now} end
`
