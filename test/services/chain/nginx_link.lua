-- A link of a chain, see node.mjs, in nginx's Lua. MODE says how its two calls are made. Those that are clean: turn (one after the
-- other, over kept connections), threads (both at once), capture (nginx's own subrequests, in turn), captures (at once), pool
-- (two connections, for which callers stand in line), sleep (a timer before each). Those that tempt to join wrongly: semaphore
-- (one call at a time, the next caller is set to work by the last one), jobs (a timer's thread makes all calls), own (calls of
-- no request over the same connections), late (calls after the response), meet (every other request waits until the next one has come and
-- set it to work by a semaphore), rare (one in twenty does).
local semaphore = require('ngx.semaphore')
local module = {}
local host, port
local lock
local jobs, waiting = {}, nil
local seat, count = nil, 0

local function call(path, options)
  local socket = ngx.socket.tcp()
  socket:settimeout(20000)
  local connected, problem = socket:connect(host, port, options)
  if not connected then
    ngx.log(ngx.ERR, problem)
    return
  end
  socket:send('GET ' .. path .. ' HTTP/1.1\r\nHost: next\r\n\r\n')
  local bytes = 0
  while true do
    local line = socket:receive('*l')
    if not line or line == '' then break end
    bytes = tonumber(line:lower():match('^content%-length: (%d+)')) or bytes
  end
  socket:receive(bytes)
  socket:setkeepalive(60000, options and options.pool_size or 100)
end

local function work()
  while not ngx.worker.exiting() do
    if waiting:wait(1) then
      local job = table.remove(jobs)
      call(job.path)
      job.done:post()
    end
  end
end

local function tick()
  while not ngx.worker.exiting() do
    ngx.sleep(0.002)
    call('/c/tick')
  end
end

function module.start(mode, next_link)
  host, port = next_link:match('^(.*):(%d+)$')
  port = tonumber(port)
  lock = semaphore.new(1)
  waiting = semaphore.new(0)
  if mode == 'jobs' then
    for _ = 1, 2 do ngx.timer.at(0, work) end
  elseif mode == 'own' then
    ngx.timer.at(0, tick)
  end
end

local makes = {}

function makes.turn(path) call(path) end
makes.own = makes.turn

function makes.pool(path) call(path, { pool = 'two', pool_size = 2, backlog = 1000 }) end

function makes.sleep(path)
  ngx.sleep(0.001 * math.random(0, 4))
  call(path)
end

function makes.semaphore(path)
  lock:wait(20)
  call(path)
  lock:post()
end

function makes.jobs(path)
  local job = { path = path, done = semaphore.new(0) }
  table.insert(jobs, job)
  waiting:post()
  job.done:wait(20)
end

-- Who waits goes on because another request has come, which then calls for itself.
local function meet(is_waiting)
  local other = seat
  seat = nil
  if other then other:post() end
  if is_waiting then
    seat = semaphore.new(0)
    seat:wait(0.05)
  end
end

function makes.meet(path)
  count = count + 1
  if path:match('%.1$') then meet(count % 2 == 1) end
  call(path)
end

function makes.rare(path)
  count = count + 1
  if path:match('%.1$') then meet(count % 20 == 1) end
  call(path)
end

function makes.capture(path) ngx.location.capture('/call' .. path) end

function module.serve(mode)
  local path = ngx.var.uri
  if mode == 'threads' then
    local first, second = ngx.thread.spawn(call, path .. '.1'), ngx.thread.spawn(call, path .. '.2')
    ngx.thread.wait(first)
    ngx.thread.wait(second)
  elseif mode == 'captures' then
    ngx.location.capture_multi({ { '/call' .. path .. '.1' }, { '/call' .. path .. '.2' } })
  elseif mode == 'late' then
    ngx.timer.at(0, function()
      call(path .. '.1')
      call(path .. '.2')
    end)
  else
    makes[mode](path .. '.1')
    makes[mode](path .. '.2')
  end
  ngx.header.content_length = 2
  ngx.print('ok')
end

return module
