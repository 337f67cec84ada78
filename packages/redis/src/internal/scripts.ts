/** The atomic steps of the store, as scripts of the server. */
import { beginning, script } from "./scriptPrelude.ts"

const linked = `
  local grace, o, most = tonumber(ARGV[17]), '', {}
  if grace > 0 then
    for a in string.gmatch(from .. ' ' .. r.o, '%S+') do most[#most + 1] = a end
    o = table.concat(most, ' ', 1, math.min(#most, 16))
  end
`

/** 6 key, 7 idle, 8 lifetime, 9 format, 10 kind, 11 has subject, 12 subject, 13 index, 14 max, 15 mode, 16 payload. */
export const create = script(`
  local k, sub, i = ARGV[6], ARGV[11] == '1' and ARGV[12], ARGV[13]
  local held = read(KEYS[1])
  if held and (held.r or live(held)) then return {'KeyTaken', now} end
  local ended, dead = surplus(i, tonumber(ARGV[14]), ARGV[15], k)
  if not ended then return {'LimitReached', now} end
  local r = {v = 1, c = now, n = now, a = sub and now, l = now, t = tonumber(ARGV[7]), x = now + tonumber(ARGV[8]),
    f = tonumber(ARGV[9]), k = ARGV[10], s = sub, i = sub and i, o = ''}
  if held then finish('expired', k, held) end
  bury(i, dead)
  local reply = evict(ended, {'Created', now, head(r)})
  write(k, r, ARGV[16])
  enter(k, r)
  emit('created', k, sub)
  return reply
`)

/** 6 key, 7 version, 8 format, 9 kind, 10 idle, 11 lifetime or empty, 12 active, 13 payload. */
export const save = script(`
  local k, r = ARGV[6], read(KEYS[1])
  if not r or r.r then return {'Gone', now} end
  if not live(r) then finish('expired', k, r) return {'Gone', now} end
  if r.q then return {'Pending', now, r.q} end
  if r.v ~= tonumber(ARGV[7]) then return {'Conflict', now} end
  r.v, r.f, r.k, r.t = r.v + 1, tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[10])
  if ARGV[11] ~= '' then r.x = now + tonumber(ARGV[11]) end
  if ARGV[12] == '1' then r.l = math.max(r.l, now) end
  redis.call('HSET', KEYS[1], 'h', head(r), 'p', ARGV[13])
  keep(KEYS[1], r)
  if r.i and ARGV[11] ~= '' then keepIndex(indexOf(r.i), r) end
  return {'Saved', now, head(r)}
`)

/** 6 key. */
export const touch = script(`
  local k, r = ARGV[6], read(KEYS[1])
  if not r or r.r then return {'No', now} end
  if not live(r) then finish('expired', k, r) return {'No', now} end
  if r.q then return {'Pending', now, r.q} end
  r.l = math.max(r.l, now)
  redis.call('HSET', KEYS[1], 'h', head(r))
  keep(KEYS[1], r)
  return {'Touched', now, num(r.l)}
`)

/** Reads one record, drops it when it has expired, and touches it: 6 key, 7 milliseconds since the last activity or -1. */
export const read = script(`
  local k, r = ARGV[6], read(KEYS[1])
  if not r then return {'Absent', now} end
  if r.r then return {'Alias', now} end
  if not live(r) then finish('expired', k, r) return {'Expired', now} end
  if r.q then return {'Pending', now, r.q} end
  local after = tonumber(ARGV[7])
  local payload, touched = redis.call('HGET', KEYS[1], 'p'), '0'
  if after >= 0 and now > r.l and now - r.l >= after then
    r.l, touched = now, '1'
    redis.call('HSET', KEYS[1], 'h', head(r))
    keep(KEYS[1], r)
  end
  return {'Live', now, head(r), payload, touched}
`)

/**
 * 6 old key, 7 version, 8 new key, 9 idle, 10 lifetime or empty, 11 format, 12 kind, 13 has subject, 14 subject,
 * 15 index, 16 authenticated, 17 grace, 18 max, 19 mode, 20 payload.
 */
export const renew = script(`
  ${beginning}
  local from, k, sub, i = ARGV[6], ARGV[8], ARGV[13] == '1' and ARGV[14], ARGV[15]
  local held = read(KEYS[2])
  if held and (held.r or live(held)) then return {'KeyTaken', now} end
  local ended, dead = surplus(i, tonumber(ARGV[18]), ARGV[19], from)
  if not ended then return {'LimitReached', now} end
  ${linked}
  local n = {v = 1, c = r.c, n = now, l = now, t = tonumber(ARGV[9]), x = r.x, f = tonumber(ARGV[11]), k = ARGV[12], s = sub,
    i = sub and i, o = o}
  if sub then if ARGV[16] == '1' then n.a = now else n.a = r.a end end
  if ARGV[10] ~= '' then n.x = now + tonumber(ARGV[10]) end
  if held then finish('expired', k, held) end
  bury(i, dead)
  local reply = evict(ended, {'Renewed', now, head(n)})
  if grace > 0 then
    redis.call('DEL', KEYS[1])
    if r.i then redis.call('ZREM', indexOf(r.i), from) end
    redis.call('HSET', KEYS[1], 'h', alias(k, now + grace))
    expireAt(KEYS[1], n.x)
    for m = 17, #most do if reach(from, most[m]) then redis.call('DEL', keyOf(most[m])) end end
  else
    forget(from, r)
  end
  write(k, n, ARGV[20])
  enter(k, n)
  emit('renewed', k, sub)
  return reply
`)

/** 6 key, 7 the key through which it was reached or empty, 8 name of the event, 9 its reason or empty. */
export const destroy = script(`
  local k, seen, path, listed = ARGV[6], ARGV[7] ~= '' and ARGV[7] or ARGV[6], {}, false
  local r = read(KEYS[1])
  while r and r.r and #path < 64 do
    if not reach(k, r.r) then return {'Moved', now, r.r} end
    path[#path + 1] = k
    k = r.r
    r = read(keyOf(k))
  end
  if not r or not r.v then return {'No', now} end
  if k ~= seen then
    for a in string.gmatch(r.o, '%S+') do if a == seen then listed = true end end
    if not listed then return {'No', now} end
  end
  if not live(r) then finish('expired', k, r) return {'No', now} end
  if r.q then return {'Pending', now, r.q, k} end
  finish(ARGV[8], k, r, ARGV[9] ~= '' and ARGV[9])
  for _, a in ipairs(path) do redis.call('DEL', keyOf(a)) end
  return {'Ended', now}
`)

/** 6 index, 7 the excepted key or empty. Pending sessions end too; of them the reply says where they would have come from. */
export const destroyBySubject = script(`
  local i, all, ended, pending = ARGV[6], {}, {}, {}
  for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if m ~= ARGV[7] then
      local r, bad = peek(keyOf(m))
      if not bad then all[#all + 1] = {m, r} end
    end
  end
  for _, e in ipairs(all) do
    local m, r = e[1], e[2]
    if not r or not r.v or r.i ~= i then redis.call('ZREM', KEYS[1], m)
    elseif not live(r) then finish('expired', m, r)
    elseif r.q then
      finish('revoked', m, r, 'subject')
      pending[#pending + 1] = {m, r.q}
    else
      finish('revoked', m, r, 'subject')
      ended[#ended + 1] = m
    end
  end
  return {'Revoked', now, ended, pending}
`)

/** 6 index. */
export const bySubject = script(`
  local found = {}
  for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local r = peek(keyOf(m))
    if live(r) and r.i == ARGV[6] then
      found[#found + 1] = {m, head(r), redis.call('HGET', keyOf(m), 'p'), r.q}
    end
  end
  return {'Found', now, found}
`)

/** Drops from an index what is not there any more: 6 index. */
export const prune = script(`
  local found, dead = members(ARGV[6], '')
  bury(ARGV[6], dead)
  return {'Pruned', now}
`)

/** Removes a record, whatever its state, and nothing that is none: 6 key. */
export const clear = script(`
  local h = redis.call('HGET', KEYS[1], 'h')
  if not h then return {'No', now} end
  redis.call('UNLINK', KEYS[1])
  return {string.sub(h, 2, 2) == 'a' and 'Alias' or 'Record', now}
`)

/** Removes an index. */
export const clearIndex = script(`
  redis.call('UNLINK', KEYS[1])
  return {'Done', now}
`)

/** 6 name, 7 key, 8 has subject, 9 subject. */
export const report = script(`
  emit(ARGV[6], ARGV[7], ARGV[8] == '1' and ARGV[9])
  return {'Done', now}
`)
