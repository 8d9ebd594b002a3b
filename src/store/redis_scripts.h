// SPDX-License-Identifier: Apache-2.0
// What runs inside Redis, where it runs alone: taking a session over, and changes that count only
// for the gateway that has it. Keys of a player carry its name in {}, so a Cluster keeps them
// together:
//   <prefix>{<player>}:s  hash: gw gen n row, and the session (id received acked nonce nonce_before
//                         created seen resumed attached), in: number of the last letter, since:
//                         when the client that was let in last had asked, in Unix ms
//   <prefix>{<player>}:m  list of messages from acked + 1 on: "<sequence> <type> <payload>"
//   <prefix>{<player>}:e  list of origins that were appended
//   <prefix>{<player>}:i  hash of letters by origin: "<number> <session> <type> <payload>"; session
//   0:
//                         for whatever session the player has
//   <prefix>@news:<gw>    list of what a gateway is to hear: "T <gen> <player>", "I <player>"
//   <prefix>@gw:<gw>      the gateway lives, and where
// `gw` is a random name of a gateway's process, `row` tells one coming of the session to it from
// another, `gen` rises with each take-over, `n` with each
// command of one process: one that comes late, over an old connection, is passed over.
// Thread: any. Owner: static. Limits: kEffects origins, kNewsMs.
#pragma once

namespace tidegate::store {

// KEYS s m e i; ARGV gw n has_row refuse ttl_ms news_prefix player patient session shown given
// coming asked_ms
inline constexpr const char* kClaimScript = R"lua(
local s = KEYS[1]
local h = redis.call('HMGET', s, 'gw', 'gen', 'attached', 'n', 'row', 'since')
local t = redis.call('TIME')
local mine = h[1] == ARGV[1]
-- Another gateway may be about to say it, or what happened to it meanwhile.
if ARGV[8] == '1' and not mine and (h[1] or (ARGV[9] ~= '0' and ARGV[3] ~= '1')) then
  return {'wait'}
end
-- A try that its client has given up for a later one is at most a few seconds old; more is a clock.
local early = (tonumber(h[6]) or 0) - tonumber(ARGV[13])
if h[1] and not mine and early > 0 and early <= 5000 then return {'late'} end
if h[1] and ARGV[9] ~= '0' then
  local k = redis.call('HMGET', s, 'id', 'nonce', 'nonce_before', 'seen')
  if k[1] == ARGV[9] then
    -- A token that was used: of somebody who has gone on elsewhere, and whose older try comes late?
    -- The one before the last is good when the answer with the last was lost, but not at once.
    local age = tonumber(t[1]) - tonumber(k[4])
    -- One that is ahead was given by a gateway that could not write it any more (mailbox/resume_nonce.h).
    local last = ((tonumber(ARGV[10]) or 0) - (tonumber(k[2]) or 0)) % 4294967296 <= 1024
    local before = k[3] == ARGV[10]
    if not mine and not last and
       ((h[3] == '1' and (not before or age < 3)) or (not before and age < 10)) then
      return {'wait'}
    end
    if last or before then
      redis.call('HSET', s, 'nonce', ARGV[11], 'nonce_before', ARGV[10], 'seen', t[1], 'attached', '1')
    end
  end
end
if early <= 0 then redis.call('HSET', s, 'since', ARGV[13]) end
if mine then
  if tonumber(h[4]) < tonumber(ARGV[2]) then redis.call('HSET', s, 'n', ARGV[2]) end
  if ARGV[3] == '1' then return {'mine', h[2], h[5]} end
  return {'state', h[2], h[1], redis.call('HGETALL', s), redis.call('LRANGE', KEYS[2], 0, -1),
          redis.call('LRANGE', KEYS[3], 0, -1), redis.call('HGETALL', KEYS[4]), h[5]}
end
if h[1] and ARGV[4] == '1' and h[3] == '1' then return {'held', h[2], h[1]} end
local gen = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
if h[2] and gen <= tonumber(h[2]) then gen = tonumber(h[2]) + 1 end
gen = string.format('%.0f', gen)
redis.call('HSET', s, 'gw', ARGV[1], 'gen', gen, 'n', ARGV[2], 'row', ARGV[12])
if redis.call('PTTL', s) < 0 then redis.call('PEXPIRE', s, ARGV[5]) end
if h[1] and ARGV[6] ~= '' then
  redis.call('RPUSH', ARGV[6] .. h[1], 'T ' .. gen .. ' ' .. ARGV[7])
  redis.call('PEXPIRE', ARGV[6] .. h[1], 3600000)
end
return {'state', gen, h[1] or '', redis.call('HGETALL', s), redis.call('LRANGE', KEYS[2], 0, -1),
        redis.call('LRANGE', KEYS[3], 0, -1), redis.call('HGETALL', KEYS[4]), ARGV[12]}
)lua";

// KEYS s m e i; ARGV op gw n ttl_ms news_prefix player session coming, then by op
inline constexpr const char* kWriteScript = R"lua(
local s, m, e, i = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local op, gw, n, ttl, news, player, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local coming = table.remove(ARGV, 8)
local h = redis.call('HMGET', s, 'gw', 'n', 'id', 'gen', 'acked', 'row', 'since')
local function tell(to, text)
  if news == '' or not to then return end
  redis.call('RPUSH', news .. to, text)
  redis.call('PEXPIRE', news .. to, 3600000)
end
local function keep()
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ttl) end
end
local function letter(origin, kind, payload)
  if redis.call('HEXISTS', i, origin) == 0 then
    local number = redis.call('HINCRBY', s, 'in', 1)
    redis.call('HSET', i, origin, number .. ' ' .. id .. ' ' .. kind .. ' ' .. payload)
    redis.call('PEXPIRE', i, math.max(1, redis.call('PTTL', s)))
  end
  tell(h[1], 'I ' .. player)
  return {'letter', h[1]}
end
if op == 'forward' then
  if not h[3] or (id ~= '0' and id ~= h[3]) then return {'none'} end
  return letter(ARGV[8], ARGV[9], ARGV[10])
end
local mine = h[1] == gw and (h[6] == coming or coming == '0')
if mine and tonumber(h[2]) >= tonumber(n) then return {'stale'} end
if op == 'put' then
  local gen, before = h[4], nil
  if h[1] and not mine then
    if ARGV[8] ~= '1' then return {'taken', h[4]} end
    before = h[1]
  end
  if not mine then
    local t = redis.call('TIME')
    local next = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
    if gen and next <= tonumber(gen) then next = tonumber(gen) + 1 end
    gen = string.format('%.0f', next)
  end
  redis.call('HSET', s, 'gw', gw, 'gen', gen, 'n', n, 'row', coming, 'id', id, 'received', ARGV[9],
             'acked', ARGV[10], 'nonce', ARGV[11], 'nonce_before', ARGV[12], 'created', ARGV[13],
             'seen', ARGV[14], 'resumed', ARGV[15], 'attached', ARGV[16])
  if tonumber(ARGV[17]) > tonumber(h[7] or 0) then redis.call('HSET', s, 'since', ARGV[17]) end
  redis.call('DEL', m)
  if h[3] and h[3] ~= id then
    -- What was for the session before ends with it.
    local all = redis.call('HGETALL', i)
    for k = 1, #all, 2 do
      local of = string.match(all[k + 1], '^%d+ (%d+) ')
      if of ~= '0' and of ~= id then redis.call('HDEL', i, all[k]) end
    end
  end
  keep()
  if before then tell(before, 'T ' .. gen .. ' ' .. player) end
  return {'put', gen, before or '', redis.call('HLEN', i)}
end
if not mine then
  -- What was for the player goes to the session that took the place of this one.
  if op == 'append' and h[3] and ((ARGV[12] ~= '0' and h[3] == id) or ARGV[12] == '2') then
    if ARGV[12] == '2' then id = '0' end
    return letter(ARGV[11] ~= '0' and ARGV[11] or ARGV[13], ARGV[9], ARGV[10])
  end
  if not h[1] then return {'missing'} end
  return {'taken', h[4]}
end
if op == 'end' then
  if h[3] == id then redis.call('DEL', s, m, e, i) end
  return {'ok'}
end
if h[3] ~= id then return {'missing'} end
redis.call('HSET', s, 'n', n)
if op == 'append' then
  redis.call('RPUSH', m, ARGV[8] .. ' ' .. ARGV[9] .. ' ' .. ARGV[10])
  if ARGV[11] ~= '0' then
    redis.call('RPUSH', e, ARGV[11])
    redis.call('LTRIM', e, -256, -1)
    redis.call('HDEL', i, ARGV[11])
  end
elseif op == 'settled' then
  redis.call('HDEL', i, ARGV[8])
else
  redis.call('HSET', s, 'received', ARGV[8], 'acked', ARGV[9])
  local gone = tonumber(ARGV[9]) - tonumber(h[5])
  if gone > 0 then redis.call('LTRIM', m, gone, -1) end
  if op == 'update' then
    redis.call('HSET', s, 'nonce', ARGV[10], 'nonce_before', ARGV[11], 'seen', ARGV[12],
               'resumed', ARGV[13], 'attached', ARGV[14])
  end
end
keep()
return {'ok'}
)lua";

}  // namespace tidegate::store
