/** The steps of a renewal across buckets, each on one of them. */
import { beginning, script } from "./scriptPrelude.ts"

/**
 * First step of a renewal across buckets, on the new one: writes the record as pending. A second try of the same renewal
 * takes the place of what the first one has left.
 *
 * 6 old key, 7 new key, 8 createdAt, 9 authenticatedAt or empty, 10 expiresAt, 11 idle, 12 lifetime or empty,
 * 13 format, 14 kind, 15 has subject, 16 subject, 17 index, 18 authenticated, 19 aliases, 20 max, 21 mode, 22 payload.
 */
export const prepare = script(`
  local from, k, sub, i, max, mode = ARGV[6], ARGV[7], ARGV[15] == '1' and ARGV[16], ARGV[17], tonumber(ARGV[20]), ARGV[21]
  local held = read(KEYS[1])
  local own = held and held.q and string.match(held.q, '^%S+') == from
  if held and not own and (held.r or live(held)) then return {'KeyTaken', now} end
  local ended, dead = surplus(i, mode == 'refuse' and max or 0, mode, k)
  if not ended then return {'LimitReached', now} end
  local n = {v = 1, c = tonumber(ARGV[8]), n = now, l = now, t = tonumber(ARGV[11]), x = tonumber(ARGV[10]),
    f = tonumber(ARGV[13]), k = ARGV[14], s = sub, i = sub and i, o = ARGV[19],
    q = from .. ' ' .. num(mode == 'evict' and max or 0)}
  if sub then if ARGV[18] == '1' then n.a = now else n.a = tonumber(ARGV[9]) end end
  if ARGV[12] ~= '' then n.x = now + tonumber(ARGV[12]) end
  if own then
    held.o = ''
    forget(k, held)
  elseif held then
    finish('expired', k, held)
  end
  bury(i, dead)
  write(k, n, ARGV[22])
  enter(k, n)
  return {'Prepared', now, num(n.x)}
`)

/** Second step, on the old bucket: the session is where it moved to from here on. 6 to 7 as in renew, 8 new key, 9 grace, 10 its deadline. */
export const commit = script(`
  local held = read(KEYS[1])
  if held and held.r == ARGV[8] then return {'Committed', now} end
  ${beginning}
  local grace = tonumber(ARGV[9])
  if grace > 0 then
    redis.call('DEL', KEYS[1])
    if r.i then redis.call('ZREM', indexOf(r.i), ARGV[6]) end
  else
    forget(ARGV[6], r)
  end
  redis.call('HSET', KEYS[1], 'h', alias(ARGV[8], grace > 0 and now + grace or 0))
  expireAt(KEYS[1], tonumber(ARGV[10]))
  return {'Committed', now}
`)

/** Third step, on the new bucket, by whoever sees it first: 6 new key, 7 old key. */
export const activate = script(`
  local k, r = ARGV[6], read(KEYS[1])
  if not r or not r.v then return {'Gone', now} end
  if not live(r) then finish('expired', k, r) return {'Gone', now} end
  local from, max
  if r.q then
    from, max = string.match(r.q, '^(%S+) (%S+)$')
    if from ~= ARGV[7] then return {'Gone', now} end
    r.q = nil
  end
  local h = head(r)
  local reply = {'Active', now, h, redis.call('HGET', KEYS[1], 'p')}
  if not from then return reply end
  local ended, dead = {}, {}
  if r.i and tonumber(max) > 0 then ended, dead = surplus(r.i, tonumber(max), 'evict', k) end
  bury(r.i, dead)
  evict(ended, reply)
  redis.call('HSET', KEYS[1], 'h', h)
  redis.call('HDEL', KEYS[1], 'q')
  emit('renewed', k, r.s)
  return reply
`)

/** Takes a pending record back: 6 new key, 7 old key. */
export const abandon = script(`
  local r = read(KEYS[1])
  if r and r.q and string.match(r.q, '^%S+') == ARGV[7] then
    r.o = ''
    forget(ARGV[6], r)
  end
  return {'Done', now}
`)
