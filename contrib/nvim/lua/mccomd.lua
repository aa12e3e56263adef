-- mccomd.lua: ghost text from the mccomd daemon, for Neovim 0.10 or newer.
--
-- Answers: what does the daemon see of the buffers, when is it asked, what is drawn, what do the keys do?
-- Knows the wire (contrib/README.md: msgpack-RPC over a Unix socket) and the editor. Knows nothing of models
-- and git. It speaks over a plain libuv pipe, never an `rpc=true` channel: the daemon cannot call the editor.
-- Nothing here waits: every answer comes by a callback.

local uv, api, fn = vim.uv, vim.api, vim.fn
local M = {}

local defaults = {
  command        = { "mccomd" },      -- how to run the command line: finds the socket, starts the daemon
  socket         = false,             -- path of the daemon's socket; false: $MCCOMD_SOCKET, else `mccomd socket`
  start          = true,              -- run `mccomd start`, once a session, when no daemon answers
  auto           = true,              -- ask while typing; false: only on the key `ask`
  read_ahead     = true,              -- let the daemon read a buffer before the first question about it
  debounce_ms    = 40,                -- pause in typing before the daemon is asked
  deadline_ms    = false,             -- longest time for one answer; false: as the daemon is configured
  max_tokens     = false,             -- longest answer; false: as the daemon is configured
  max_file_bytes = 2 * 1024 * 1024,   -- larger buffers are left alone
  hide_when      = false,             -- function() -> boolean: true keeps the ghost text away (own menus)
  keys = {                            -- insert mode; false: no key. Without ghost text each does what it did before
    accept       = "<Tab>",           -- all of it
    accept_word  = "<M-Right>",       -- up to the end of its next word
    accept_line  = "<M-Down>",        -- up to the end of its line
    dismiss      = "<C-]>",           -- away with it, and never again at this place
    ask          = "<M-\\>",          -- ask now
  },
  filetypes = {                       -- false: never; ["*"] is for those that are not named
    ["*"]        = true,
    gitcommit    = false,
    gitrebase    = false,
    hgcommit     = false,
    svn          = false,
    help         = false,
    netrw        = false,
    oil          = false,
    TelescopePrompt = false,
  },
  secrets = {                         -- globs of file names (with `/`: of paths) whose text never leaves the editor
    ".env*", "*.env", "*.pem", "*.key", "*.cert", "*.crt", "*.p12", "*.pfx", "*.kdbx", "*.gpg", "*.asc",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", ".pgpass", ".npmrc", ".pypirc", ".htpasswd",
    "secrets.y*ml", "credentials", "credentials.*", "*/.ssh/*", "*/.aws/*", "*/.gnupg/*", "*/.kube/*",
    "*/.docker/*", "*/.password-store/*", "*/pass.*/*",
  },
}

local PROTOCOL = 1
local MAX_MESSAGE_BYTES = 8 * 1024 * 1024
local MAX_UNSENT_BYTES = 32 * 1024 * 1024 -- a daemon that does not read is let go
local ANSWER_TIMEOUT_MS = 20000 -- every request gets an answer; a daemon that owes one longer is let go
local RETRY_MS, MAX_RETRY_MS = 500, 30000
local REMEMBERED = 8 -- answered places that an `update` may still improve
local HIGHLIGHT = "MccomdGhost"
local MARKS = api.nvim_create_namespace("mccomd")
local SCREEN = api.nvim_create_namespace("mccomd-screen")

local options = vim.deepcopy(defaults)

local state = {
  enabled = false,
  link = "off", -- off, finding, starting, connecting, ready, waiting, refused
  conn = nil, -- { pipe, unpacker, since, calls, next_id }
  epoch = 0, -- raised by enable and disable: callbacks of an older one are void
  attempts = 0,
  started = false, -- `mccomd start` was tried
  ready_at = 0,
  socket = nil,
  server = {},
  documents = {}, -- [buffer] = { path, language, version, open, lines, dirty }
  skipped = {}, -- [buffer] = why its text stays here
  places = {}, -- the newest answered places, for `update`
  asked = nil, -- the place of the newest request
  wanted = false, -- ask when the timer fires
  seen = "", -- the cursor and text that were last asked for
  ghost = nil, -- { place, id, text, done, reported, drawn }
  last = nil, -- the newest answer
  reason = "", -- why there was no text, the last time
  counts = { asked = 0, shown = 0, late = 0, updates = 0, resyncs = 0 },
  problems = {}, -- [kind] = { text, count, notified }
  keys = {}, -- [action] = { lhs, map, before }
  falling = nil, -- the key whose former mapping is running
}

local timer = assert(uv.new_timer()) -- the debounce
local retry = assert(uv.new_timer())

-- Problems: each kind is shown once and kept for :MccomdStatus --------------------------------------------

local function problem(kind, text, quiet)
  local known = state.problems[kind] or { count = 0, notified = false }
  known.text, known.count = text, known.count + 1
  state.problems[kind] = known
  if not known.notified and not quiet then
    known.notified = true
    vim.notify("mccomd: " .. text .. " (:MccomdStatus tells more)", vim.log.levels.WARN)
  end
end

-- Documents: what the daemon knows of a buffer -------------------------------------------------------------
-- Always whole lines, each with a line feed: exact whatever the columns are. Changes are merged into one
-- region of the buffer and read when they are sent.

local function wire_line(line)
  -- In a buffer "\n" stands for NUL. A lone carriage return would be a line break to the daemon.
  return (line:gsub("[\n\r]", { ["\n"] = "\0", ["\r"] = " " }))
end

local function wire_text(buffer, first, last)
  local lines = api.nvim_buf_get_lines(buffer, first, last, false)
  for i, line in ipairs(lines) do
    lines[i] = wire_line(line)
  end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

--- Lines [start, old) of the daemon's text are now lines [start, new) of the buffer.
local function merge(dirty, first, last, new_last)
  if not dirty then
    return { start = first, old = last, new = new_last }
  end
  local beyond = math.max(0, last - dirty.new)
  return {
    start = math.min(dirty.start, first),
    old = dirty.old + beyond,
    new = dirty.new + beyond + new_last - last,
  }
end

local function is_secret(path)
  local name = vim.fs.basename(path)
  for _, glob in ipairs(options.secrets) do
    local whole = glob:find("/", 1, true) and path or name
    if fn.match(whole, [[\c]] .. fn.glob2regpat(glob)) >= 0 then
      return true
    end
  end
  return false
end

--- nil when the buffer's text may go to the daemon, else why not.
local function why_not(buffer)
  local name, filetype = api.nvim_buf_get_name(buffer), vim.bo[buffer].filetype
  if vim.bo[buffer].buftype ~= "" or name == "" or name:find("^%a[%w+.-]*://") then
    return "it is not a file"
  end
  local wanted = options.filetypes[filetype]
  if wanted == nil then
    wanted = options.filetypes["*"]
  end
  if not wanted then
    return ("filetype %q is off in options.filetypes"):format(filetype)
  end
  if vim.b[buffer].mccomd == false then
    return "b:mccomd is false"
  end
  if is_secret(name) or is_secret(uv.fs_realpath(name) or name) then
    return "its name is that of a secret (options.secrets)"
  end
  if api.nvim_buf_get_offset(buffer, api.nvim_buf_line_count(buffer)) > options.max_file_bytes then
    return ("it is larger than %d bytes (options.max_file_bytes)"):format(options.max_file_bytes)
  end
end

-- The wire -------------------------------------------------------------------------------------------------

local connect, clear, answered, updated, read_ahead -- defined below

--- The connection is over; `reason` is shown and a new one is tried later.
local function drop(conn, reason)
  if conn ~= state.conn then
    return
  end
  state.conn = nil
  conn.pipe:close()
  for _, document in pairs(state.documents) do
    document.open = false
  end
  state.asked, state.places = nil, {}
  clear()
  if not state.enabled or state.link == "refused" then
    return
  end
  local lasted = state.link == "ready" and uv.now() - state.ready_at
  if lasted and lasted > 60000 and state.problems.connection then
    state.problems.connection.notified = false -- a new outage, not the old one flapping
  end
  problem("connection", reason)
  state.link = "waiting"
  local delay = math.min(RETRY_MS * 2 ^ state.attempts, MAX_RETRY_MS)
  state.attempts = state.attempts + 1
  retry:start(delay, 0, vim.schedule_wrap(connect))
end

local function send(message)
  local conn = state.conn
  if not conn then
    return
  end
  if conn.pipe:get_write_queue_size() > MAX_UNSENT_BYTES then
    return drop(conn, "the daemon does not read what it is sent")
  end
  conn.pipe:write(vim.mpack.encode(message), function(failure)
    if failure then
      vim.schedule(function()
        drop(conn, "the connection to the daemon broke: " .. failure)
      end)
    end
  end)
end

local function notify(method, params)
  send({ 2, method, { params } })
end

--- done(error, result), with error = { code, message } or nil.
local function request(method, params, done)
  local conn = state.conn
  if not conn then
    return
  end
  conn.next_id = conn.next_id + 1
  conn.calls[conn.next_id] = { done = done, at = uv.now() }
  send({ 0, conn.next_id, method, { params } })
end

--- The whole messages that `data` completes, and a problem when the stream is beyond repair.
local function decode(conn, data)
  local messages, position = {}, 1
  conn.since = conn.since + #data
  while position <= #data do
    local ok, message, next_position = pcall(conn.unpacker, data, position)
    if not ok or (message ~= nil and (type(message) ~= "table" or type(message[1]) ~= "number")) then
      return messages, "the daemon sent something that is not its protocol"
    elseif message == nil then
      break
    end
    messages[#messages + 1] = message
    position = next_position
    conn.since = #data - position + 1
  end
  if conn.since > MAX_MESSAGE_BYTES then
    return messages, ("the daemon sent a message larger than %d bytes"):format(MAX_MESSAGE_BYTES)
  end
  return messages
end

local function dispatch(conn, message)
  if conn ~= state.conn then
    return
  elseif message[1] == 2 and message[2] == "update" then
    updated(message[3][1])
  elseif message[1] == 1 and message[2] == vim.NIL then
    problem("protocol", "the daemon could not read what it was sent: " .. tostring(message[3][2]))
  elseif message[1] == 1 and conn.calls[message[2]] then
    local call = conn.calls[message[2]]
    conn.calls[message[2]] = nil
    local failure = message[3]
    if failure == nil or failure == vim.NIL then
      call.done(nil, message[4])
    else
      call.done({ code = tostring(failure[1]), message = tostring(failure[2]) })
    end
  end
end

local function receive(conn, failure, data)
  if failure or not data then
    return drop(conn, "the daemon closed the connection" .. (failure and ": " .. failure or ""))
  end
  for _, message in ipairs(data.messages) do
    local ok, raised = pcall(dispatch, conn, message)
    if not ok then
      problem("answer", "an answer of the daemon could not be used: " .. tostring(raised))
    end
  end
  if data.problem then
    drop(conn, data.problem)
  end
end

local function open_document(document, buffer)
  document.open, document.dirty = true, nil
  document.version = document.version + 1
  document.lines = api.nvim_buf_line_count(buffer)
  local params = {
    path = document.path,
    text = wire_text(buffer, 0, -1),
    language = document.language,
    version = document.version,
  }
  request("document/open", params, function(failure)
    if failure then
      document.open = false
      problem(failure.code, failure.message)
    end
  end)
end

local function close_document(buffer, why)
  local document = state.documents[buffer]
  state.documents[buffer], state.skipped[buffer] = nil, why
  if document and document.open then
    notify("document/close", { path = document.path })
  end
  if state.ghost and state.ghost.place.buffer == buffer then
    clear()
  end
end

--- Tell the daemon what has changed since it was told last.
local function flush(buffer)
  local document = state.documents[buffer]
  if not document or state.link ~= "ready" or not api.nvim_buf_is_loaded(buffer) then
    return
  end
  if not document.open then
    return open_document(document, buffer)
  end
  local dirty = document.dirty
  if not dirty then
    return
  end
  local count = api.nvim_buf_line_count(buffer)
  if api.nvim_buf_get_offset(buffer, count) > options.max_file_bytes then
    return close_document(buffer, why_not(buffer))
  end
  local change
  if document.lines - dirty.old + dirty.new ~= count or dirty.old > document.lines then
    -- Neovim reports an emptied buffer as no line and keeps one: the whole text is the safe answer.
    change = { text = wire_text(buffer, 0, -1) }
  else
    change = {
      text = wire_text(buffer, dirty.start, dirty.new),
      range = {
        start = { line = dirty.start, column = 0 },
        ["end"] = { line = dirty.old, column = 0 },
      },
    }
    if dirty.start == dirty.new then
      change.text = ""
    end
  end
  document.dirty, document.lines, document.version = nil, count, document.version + 1
  notify("document/change", { path = document.path, version = document.version, changes = { change } })
end

local function on_ready(result)
  if result.protocol ~= PROTOCOL or result.position_encoding ~= "utf-8" then
    state.link = "refused"
    problem(
      "protocol",
      ("the daemon speaks protocol %s (%s), this plugin %d (utf-8): update the older one"):format(
        tostring(result.protocol),
        tostring(result.position_encoding),
        PROTOCOL
      )
    )
    return drop(state.conn, "")
  end
  state.link, state.server, state.attempts, state.ready_at = "ready", result, 0, uv.now()
  for buffer in pairs(state.documents) do
    flush(buffer)
  end
  state.seen = ""
  M.moved()
  read_ahead()
end

local function initialize(conn)
  local version = vim.version()
  request("initialize", {
    client = "neovim",
    version = ("%d.%d.%d"):format(version.major, version.minor, version.patch),
    position_encoding = "utf-8",
    updates = true,
  }, function(failure, result)
    if failure then
      return drop(conn, "the daemon refused: " .. failure.message)
    end
    on_ready(result)
  end)
  vim.defer_fn(function()
    if conn == state.conn and state.link == "connecting" then
      drop(conn, "something listens on the daemon's socket and does not answer")
    end
  end, ANSWER_TIMEOUT_MS)
end

--- Run `mccomd <argument>`; done(ok, text) with its output or what it complains about.
local function run(argument, done)
  local command, epoch = vim.list_extend(vim.list_slice(options.command), { argument }), state.epoch
  local env = options.socket and { MCCOMD_SOCKET = options.socket } or nil
  local ok, failure = pcall(vim.system, command, { text = true, env = env, timeout = 60000 }, function(out)
    vim.schedule(function()
      if epoch == state.epoch then
        local text = out.code == 0 and out.stdout or out.stderr
        done(out.code == 0, vim.trim(text ~= "" and text or ("exit status " .. out.code)))
      end
    end)
  end)
  if not ok then
    vim.schedule(function()
      done(false, tostring(failure):gsub("^.-:%d+: ", ""))
    end)
  end
end

local function open_pipe(path)
  local pipe, epoch = assert(uv.new_pipe(false)), state.epoch
  local conn = { pipe = pipe, unpacker = vim.mpack.Unpacker(), since = 0, calls = {}, next_id = 0 }
  state.link, state.conn = "connecting", conn
  pipe:connect(
    path,
    vim.schedule_wrap(function(failure)
      if epoch ~= state.epoch or conn ~= state.conn then
        return
      elseif failure and options.start and not state.started then
        state.conn, state.started, state.link = nil, true, "starting"
        pipe:close()
        return run("start", function(ok, text)
          state.link = "off"
          if not ok then
            problem("start", ("cannot start the daemon: %s"):format(text))
          end
          connect()
        end)
      elseif failure then
        return drop(conn, ("no daemon answers on %s (%s): run `mccomd start`"):format(path, failure))
      end
      pipe:read_start(function(read_failure, bytes)
        local data
        if bytes then -- the bytes are decoded here, in order; what they mean waits for the main loop
          local messages, wrong = decode(conn, bytes)
          data = { messages = messages, problem = wrong }
          if wrong then
            pipe:read_stop()
          end
        end
        vim.schedule(function()
          receive(conn, read_failure, data)
        end)
      end)
      initialize(conn)
    end)
  )
end

function connect()
  if not state.enabled or state.conn or (state.link ~= "off" and state.link ~= "waiting") then
    return
  end
  state.link = "finding"
  state.socket = options.socket or vim.env.MCCOMD_SOCKET or state.socket
  if state.socket and state.socket ~= "" then
    return open_pipe(state.socket)
  end
  run("socket", function(ok, text)
    if ok then
      state.socket = text
      return open_pipe(text)
    end
    state.link = "refused" -- without the command line there is nothing to try again
    problem("command", ("cannot find the daemon: %s (is mccomd installed? see options.command)"):format(text))
  end)
end

-- Ghost text ------------------------------------------------------------------------------------------------
-- A place is where a completion was asked for: { buffer, row, before, after }, the text of the line on both
-- sides of the cursor. Void once any other line has changed.

local function here()
  local window = api.nvim_get_current_win()
  local buffer, cursor = api.nvim_win_get_buf(window), api.nvim_win_get_cursor(window)
  local line = api.nvim_buf_get_lines(buffer, cursor[1] - 1, cursor[1], false)[1] or ""
  return {
    buffer = buffer,
    row = cursor[1] - 1,
    before = line:sub(1, cursor[2]),
    after = line:sub(cursor[2] + 1),
  }
end

local function inserting()
  return api.nvim_get_mode().mode:sub(1, 1) == "i"
end

--- What of `text`, completed at `place`, is not typed yet; nil when it does not fit the cursor any more.
local function rest_of(place, text)
  local now = here()
  if place.void or now.buffer ~= place.buffer or now.row ~= place.row or now.after ~= place.after then
    return nil
  end
  local typed = now.before:sub(#place.before + 1)
  if now.before:sub(1, #place.before) ~= place.before or text:sub(1, #typed) ~= typed then
    return nil
  end
  return text:sub(#typed + 1)
end

local function ghost_rest()
  local ghost = state.ghost
  local rest = ghost and rest_of(ghost.place, ghost.text:sub(ghost.done + 1))
  return rest ~= "" and rest or nil
end

local function menu_has_choice()
  if fn.pumvisible() == 1 and fn.complete_info({ "selected" }).selected >= 0 then
    return true
  end
  return options.hide_when and options.hide_when() or false
end

function clear()
  local ghost = state.ghost
  state.ghost = nil
  if ghost and api.nvim_buf_is_valid(ghost.place.buffer) then
    api.nvim_buf_clear_namespace(ghost.place.buffer, MARKS, 0, -1)
  end
end

--- Tabs as the spaces they would be at this display column; virtual text does not know them.
local function expand_tabs(text, column)
  while text:find("\t", 1, true) do
    local left = text:match("^[^\t]*")
    local width = fn.strdisplaywidth("\t", column + fn.strdisplaywidth(left, column))
    text = left .. (" "):rep(width) .. text:sub(#left + 2)
  end
  return text
end

local function draw(ghost, rest)
  local now = here()
  local lines = vim.split(rest, "\n", { plain = true })
  local column = fn.strdisplaywidth(now.before)
  local first = expand_tabs(lines[1], column)
  local below = {}
  for i = 2, #lines do
    below[#below + 1] = { { expand_tabs(lines[i], 0), HIGHLIGHT } }
  end
  local position = "inline"
  if #below > 0 and now.after ~= "" then
    -- Accepted, what follows the cursor ends up behind the last line: show it there and cover it here.
    position = "overlay"
    local covered = fn.strdisplaywidth(now.after, column) - fn.strdisplaywidth(first, column)
    first = first .. (" "):rep(covered)
    table.insert(below[#below], { now.after, "Normal" })
  end
  api.nvim_buf_set_extmark(now.buffer, MARKS, now.row, #now.before, {
    id = 1,
    virt_text = first ~= "" and { { first, HIGHLIGHT } } or nil,
    virt_text_pos = position,
    virt_lines = #below > 0 and below or nil,
    hl_mode = "combine",
    undo_restore = false,
  })
end

local function feedback(ghost, kind, characters)
  request("feedback", { request_id = ghost.id, kind = kind, characters = characters or 0 }, function(failure)
    if failure then
      problem(failure.code, failure.message, true)
    end
  end)
end

--- Show `text` for `place` if it still fits; true when there is something on the screen.
local function offer(place, id, text)
  local rest = rest_of(place, text)
  if not inserting() or menu_has_choice() or not rest or rest == "" then
    return false
  end
  local known = state.ghost and state.ghost.id == id
  state.ghost = { place = place, id = id, text = text, done = 0, reported = known and state.ghost.reported }
  state.wanted = false
  draw(state.ghost, rest)
  return true
end

--- `shown` is said when the screen has it, not when we meant to draw it.
local function watch_screen()
  api.nvim_set_decoration_provider(SCREEN, {
    on_win = function(_, window, buffer, top, bottom)
      local ghost = state.ghost
      if ghost and not ghost.reported and buffer == ghost.place.buffer and window == api.nvim_get_current_win() then
        ghost.drawn = ghost.place.row >= top and ghost.place.row <= bottom
      end
      return false
    end,
    on_end = function()
      local ghost = state.ghost
      if ghost and ghost.drawn and not ghost.reported then
        ghost.reported = true
        vim.schedule(function()
          state.counts.shown = state.counts.shown + 1
          feedback(ghost, "shown")
        end)
      end
    end,
  })
end

-- Asking ----------------------------------------------------------------------------------------------------

local function plain_text(text)
  return (text:gsub("\r\n?", "\n"):gsub("%z", ""))
end

local function silent_too_long(conn)
  for _, call in pairs(conn.calls) do
    if uv.now() - call.at > ANSWER_TIMEOUT_MS then
      return true
    end
  end
  return false
end

local function ask(retried)
  state.wanted = false
  local place = here()
  local document = state.documents[place.buffer]
  if state.link ~= "ready" or not document or not inserting() or menu_has_choice() then
    return
  elseif silent_too_long(state.conn) then
    return drop(state.conn, "the daemon does not answer")
  end
  flush(place.buffer)
  if not document.open then
    return
  end
  place.retried = retried
  state.asked, state.counts.asked = place, state.counts.asked + 1
  request("complete", {
    path = document.path,
    position = { line = place.row, column = #place.before },
    version = document.version,
    deadline_ms = options.deadline_ms or nil,
    max_tokens = options.max_tokens or nil,
  }, function(failure, result)
    answered(place, failure, result)
  end)
end

--- Tell the daemon where the next question may come, while nobody waits for an answer.
function read_ahead()
  local place = here()
  local document = state.documents[place.buffer]
  if not options.read_ahead or state.link ~= "ready" or not document or inserting() then
    return
  elseif not vim.tbl_contains(state.server.methods or {}, "warm") then
    return
  end
  flush(place.buffer)
  if document.open then
    notify("warm", { path = document.path, position = { line = place.row, column = #place.before } })
  end
end

local function refused(place, failure)
  local document = state.documents[place.buffer]
  local lost = failure.code == "stale_version" or failure.code == "unknown_document"
  if lost and document and not place.retried then
    state.counts.resyncs = state.counts.resyncs + 1
    open_document(document, place.buffer)
    if place == state.asked then
      ask(true)
    end
    return
  end
  state.reason = failure.message
  problem(failure.code, failure.message)
end

function answered(place, failure, result)
  if failure then
    return refused(place, failure)
  elseif type(result) ~= "table" or type(result.text) ~= "string" or type(result.request_id) ~= "string" then
    return problem("answer", "an answer of the daemon is not a completion")
  elseif result.finish == "cancelled" or place ~= state.asked then
    state.counts.late = state.counts.late + 1
    return
  end
  state.last, state.asked = result, nil
  place.id = result.request_id
  table.insert(state.places, place)
  if #state.places > REMEMBERED then
    table.remove(state.places, 1)
  end
  if result.text == "" then
    state.reason = result.reason or ""
  elseif not offer(place, result.request_id, plain_text(result.text)) then
    state.counts.late = state.counts.late + 1
  end
end

--- The whole text of an update for its place: the daemon leaves out what it knows to be typed by then.
local function whole_of(place, update)
  local position = type(update.position) == "table" and update.position or {}
  if position.line ~= place.row or type(position.column) ~= "number" then
    return nil
  end
  local now = here()
  local typed = position.column - #place.before
  if typed == 0 then
    return update.text
  elseif typed < 0 or now.buffer ~= place.buffer or now.row ~= place.row or #now.before < position.column then
    return nil
  end
  return now.before:sub(#place.before + 1, position.column) .. update.text
end

--- A better text for an earlier place: welcome while it extends what is typed and nothing was taken of it.
--- A text in parts is drawn as it grows; the same extmark is moved, so nothing flickers.
function updated(update)
  if type(update) ~= "table" or type(update.text) ~= "string" then
    return problem("answer", "an update of the daemon is not a completion")
  end
  for _, place in ipairs(state.places) do
    local text = place.id == update.request_id and whole_of(place, update)
    if text and offer(place, place.id, plain_text(text)) then
      state.counts.updates = state.counts.updates + 1
      local newer = { source = update.source, ms = update.ms, model = update.model, finish = "stop" }
      state.last = vim.tbl_extend("force", state.last or {}, newer)
    end
  end
end

local function arm()
  timer:start(
    options.debounce_ms,
    0,
    vim.schedule_wrap(function()
      if state.wanted then
        ask()
      end
      for buffer in pairs(state.documents) do
        flush(buffer)
      end
    end)
  )
end

--- The cursor or the text before it changed in insert mode.
function M.moved()
  if not inserting() then
    return
  elseif menu_has_choice() then
    state.wanted = false
    return clear()
  end
  local rest = ghost_rest()
  if rest then
    state.wanted = false
    return draw(state.ghost, rest)
  end
  clear()
  local place = here()
  local tick = api.nvim_buf_get_changedtick(place.buffer)
  local key = table.concat({ place.buffer, tick, place.row, #place.before }, ":")
  if options.auto and key ~= state.seen and fn.reg_executing() == "" then
    state.seen, state.wanted = key, true
    arm()
  end
end

--- Ask now, whatever the debounce and `auto` say.
function M.ask()
  if inserting() and state.enabled then
    clear()
    ask()
    return true
  end
  return false
end

-- Watching buffers ------------------------------------------------------------------------------------------

local function on_lines(document, buffer, first, last, new_last)
  if state.documents[buffer] ~= document then
    return true -- detaches
  end
  document.dirty = merge(document.dirty, first, last, new_last)
  local one_line = last == first + 1 and new_last == last
  local function check(place)
    if place and place.buffer == buffer and not (one_line and place.row == first) then
      place.void = true
    end
  end
  check(state.asked)
  check(state.ghost and state.ghost.place)
  vim.tbl_map(check, state.places)
  arm()
end

local function attach(buffer)
  local document = {
    path = api.nvim_buf_get_name(buffer),
    language = vim.bo[buffer].filetype,
    version = 0,
    open = false,
    lines = 0,
  }
  local attached = api.nvim_buf_attach(buffer, false, {
    on_lines = function(_, _, _, first, last, new_last)
      return on_lines(document, buffer, first, last, new_last)
    end,
    on_reload = function()
      if state.documents[buffer] == document then
        document.open = false
        arm()
      end
    end,
    on_detach = function()
      if state.documents[buffer] == document then
        close_document(buffer)
      end
    end,
  })
  if attached then
    state.documents[buffer] = document
    flush(buffer)
  end
end

--- Open, reopen or close the document of a buffer, as its name, type and size now ask for.
local function consider(buffer)
  if not state.enabled or not api.nvim_buf_is_loaded(buffer) then
    return
  end
  local why, document = why_not(buffer), state.documents[buffer]
  local same = document
    and document.path == api.nvim_buf_get_name(buffer)
    and document.language == vim.bo[buffer].filetype
  if document and (why or not same) then
    close_document(buffer)
  end
  state.skipped[buffer] = why
  if not why and not same then
    attach(buffer)
  end
end

-- Accepting -------------------------------------------------------------------------------------------------

local function first_word(text)
  local word = fn.matchstr(text, [[^\_s*\%(\k\+\|\%(\k\@!\S\)\+\)]])
  return word ~= "" and word or text
end

local function first_line(text)
  return text:match("^\n?[^\n]*")
end

local function break_undo()
  vim.go.undolevels = vim.go.undolevels -- :help undo-break
end

local function insert(text)
  local now, lines = here(), vim.split(text, "\n", { plain = true })
  local row, column = now.row, #now.before
  api.nvim_buf_set_text(now.buffer, row, column, row, column, lines)
  local last = lines[#lines]
  api.nvim_win_set_cursor(0, { row + #lines, #lines == 1 and column + #last or #last })
end

--- Insert piece(rest) of the ghost text as one undo step; false when there is none.
local function accept(piece)
  local ghost, rest = state.ghost, ghost_rest()
  if not rest or not inserting() or menu_has_choice() then
    return false
  end
  local text = piece(rest)
  break_undo()
  insert(text)
  api.nvim_feedkeys(vim.keycode("<C-g>u"), "in", false) -- what is typed next is another step
  state.places, state.asked = {}, nil
  ghost.done = #ghost.text - #rest + #text
  if ghost.done == #ghost.text then
    clear()
    feedback(ghost, "accepted")
  else
    ghost.place = here()
    draw(ghost, ghost.text:sub(ghost.done + 1))
    feedback(ghost, "partially_accepted", fn.strchars(ghost.text:sub(1, ghost.done)))
  end
  return true
end

function M.accept()
  return accept(function(rest)
    return rest
  end)
end

function M.accept_word()
  return accept(first_word)
end

function M.accept_line()
  return accept(first_line)
end

function M.dismiss()
  if not ghost_rest() then
    return false
  end
  feedback(state.ghost, "dismissed")
  state.places, state.asked, state.wanted = {}, nil, false
  clear()
  return true
end

--- The ghost text that is visible now, or nil.
function M.suggestion()
  return ghost_rest()
end

-- Keys: each falls through to what it was before -------------------------------------------------------------

local DONE = "<Plug>(mccomd-done)"

local function feed(keys, mode)
  api.nvim_feedkeys(keys, mode, false)
end

local function press(action, key)
  if M[action]() then
    return
  end
  local raw = vim.keycode(key.lhs)
  if not key.before or state.falling == action then
    return feed(raw, "in")
  end
  state.falling = action -- a former mapping may end in the key itself; then it means the bare key
  feed(vim.keycode(key.plug .. DONE), "im")
end

local function global_mapping(lhs)
  local raw = vim.keycode(lhs)
  for _, mapping in ipairs(api.nvim_get_keymap("i")) do
    if mapping.lhsraw == raw or mapping.lhsrawalt == raw then
      return mapping
    end
  end
end

local function unmap_keys()
  for action, key in pairs(state.keys) do
    local now = global_mapping(key.lhs)
    if now and now.callback == key.callback then
      vim.keymap.del("i", key.lhs)
      if key.before then
        fn.mapset("i", false, key.before)
      end
    end
    state.keys[action] = nil
  end
end

local function map_keys()
  unmap_keys()
  vim.keymap.set({ "n", "x", "s", "o", "i", "c", "t" }, DONE, function()
    state.falling = nil
  end)
  for action, lhs in pairs(options.keys) do
    if lhs then
      local key = { lhs = lhs, before = global_mapping(lhs), plug = ("<Plug>(mccomd-before-%s)"):format(action) }
      if key.before then
        local moved = vim.tbl_extend("force", key.before, { lhs = key.plug, lhsraw = vim.keycode(key.plug) })
        moved.lhsrawalt = nil
        fn.mapset("i", false, moved)
      end
      vim.keymap.set("i", lhs, function()
        press(action, key)
      end, { desc = "mccomd: " .. action:gsub("_", " ") })
      key.callback = global_mapping(lhs).callback
      state.keys[action] = key
    end
  end
end

-- Status ----------------------------------------------------------------------------------------------------

local LINKS = {
  off = "off",
  finding = "looking for the daemon",
  starting = "starting the daemon",
  connecting = "connecting",
  ready = "connected",
  waiting = "not connected; trying again",
  refused = "given up; :MccomdEnable tries again",
}

local function with_reason(text, reason)
  return reason and reason ~= "" and ("%s: %s"):format(text, reason) or text
end

local function repository_line(status, path)
  local best
  for _, repository in ipairs(status.repositories or {}) do
    local root = repository.repository
    if vim.startswith(path, root:gsub("/$", "") .. "/") and (not best or #root > #best.repository) then
      best = repository
    end
  end
  if not best then
    return "no index for this file"
  end
  local text = ("%s: %s, %d files, %d chunks, at %s"):format(
    fn.fnamemodify(best.repository, ":~"),
    best.state,
    best.files,
    best.chunks,
    best.head ~= "" and best.head:sub(1, 9) or "no commit"
  )
  text = text .. (best.behind > 0 and (", %d commits behind"):format(best.behind) or "")
  text = text .. (best.indexing and (", indexing %d %%"):format(best.progress * 100) or "")
  return best.state == "current" and text or with_reason(text, best.reason)
end

local function last_line()
  local last = state.last
  if not last then
    return "none yet"
  end
  local numbers = ("confidence %.2f, %.0f ms"):format(last.confidence or 0, last.ms or 0)
  local text = ("%s, %s, %s"):format(last.source, numbers, last.finish or "")
  return last.route and last.route ~= "" and ("%s (%s)"):format(text, last.route) or text
end

local function status_lines(buffer, status, failure)
  local link = LINKS[state.link] .. (state.socket and (" (%s)"):format(state.socket) or "")
  local document = state.documents[buffer]
  local lines = { "connection  " .. link }
  local function add(label, text)
    lines[#lines + 1] = ("%-11s %s"):format(label, text)
  end
  if status then
    local up = ("up %.0f s, %.0f MB"):format(status.uptime_s, status.rss_mb)
    add("daemon", ("%s, pid %d, %s"):format(status.version, status.pid, up))
    add("model", with_reason(("%s, %s"):format(status.model.name, status.model.state), status.model.reason))
    local path = api.nvim_buf_get_name(buffer)
    add("index", repository_line(status, uv.fs_realpath(path) or path))
    for _, plugin in ipairs(status.plugins or {}) do
      if plugin.state == "failed" then
        add("plugin", with_reason(plugin.name .. " failed", plugin.reason))
      end
    end
    if status.config_problem ~= "" then
      add("config", status.config_problem)
    end
    add("log", status.log_file)
  elseif failure then
    add("daemon", "status failed: " .. failure.message)
  end
  local place = document and (document.open and "open in the daemon" or "waits for the daemon")
  add("this buffer", place or state.skipped[buffer] or "not watched")
  add("last answer", last_line())
  add("no text", state.reason ~= "" and state.reason or "no reason yet")
  local counts = state.counts
  add("counts", ("%d asked, %d shown, %d late, %d updates, %d resyncs"):format(
    counts.asked, counts.shown, counts.late, counts.updates, counts.resyncs
  ))
  for kind, known in vim.spairs(state.problems) do
    add("problem", ("%s: %s (%d times)"):format(kind, known.text:gsub("\n", " "), known.count))
  end
  return lines
end

--- done(lines): the state of things, one line each.
function M.status(done)
  local buffer = api.nvim_get_current_buf()
  if state.link ~= "ready" then
    return done(status_lines(buffer))
  end
  request("status", vim.empty_dict(), function(failure, result)
    local ok, lines = pcall(status_lines, buffer, result, failure)
    done(ok and lines or status_lines(buffer, nil, { message = tostring(lines) }))
  end)
end

local function show_status()
  M.status(function(lines)
    local buffer, width = api.nvim_create_buf(false, true), 20
    api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
    vim.bo[buffer].modifiable, vim.bo[buffer].bufhidden = false, "wipe"
    for _, line in ipairs(lines) do
      width = math.max(width, fn.strdisplaywidth(line))
    end
    width = math.min(width, vim.o.columns - 4)
    local height = 0
    for _, line in ipairs(lines) do
      height = height + math.max(1, math.ceil(fn.strdisplaywidth(line) / width))
    end
    local window = api.nvim_open_win(buffer, true, {
      relative = "editor",
      row = 1,
      col = math.max(0, math.floor((vim.o.columns - width) / 2) - 1),
      width = width,
      height = math.max(1, math.min(height, vim.o.lines - 4)),
      style = "minimal",
      border = "rounded",
      title = " mccomd ",
    })
    vim.wo[window].wrap = true
    for _, lhs in ipairs({ "q", "<Esc>" }) do
      vim.keymap.set("n", lhs, "<Cmd>close<CR>", { buffer = buffer, nowait = true })
    end
  end)
end

--- A word or two for the status line.
function M.statusline()
  if not state.enabled then
    return "mccomd off"
  elseif state.link == "waiting" or state.link == "refused" then
    return "mccomd !"
  elseif state.link ~= "ready" or state.asked or (state.last and state.last.finish == "held") then
    return "mccomd ..."
  elseif not state.documents[api.nvim_get_current_buf()] then
    return "mccomd -"
  elseif state.last and state.last.source ~= "none" then
    return ("mccomd %s %.0f ms"):format(state.last.source, state.last.ms or 0)
  end
  return "mccomd"
end

-- On and off ------------------------------------------------------------------------------------------------

function M.disable()
  state.enabled, state.epoch, state.link = false, state.epoch + 1, "off"
  timer:stop()
  retry:stop()
  clear()
  if state.conn then
    drop(state.conn, "") -- the daemon forgets a client's documents when it leaves
  end
  state.documents, state.asked, state.places, state.wanted = {}, nil, {}, false
end

function M.enable()
  M.disable()
  state.enabled, state.started, state.attempts, state.socket, state.problems = true, false, 0, nil, {}
  state.seen = ""
  connect()
  consider(api.nvim_get_current_buf())
end

function M.toggle()
  if state.enabled then
    M.disable()
  else
    M.enable()
  end
end

--- As comments are; where those have no colour of their own in a terminal, ours must still differ from code.
local function highlight()
  local comment = api.nvim_get_hl(0, { name = "Comment", link = false })
  if comment.ctermfg then
    return api.nvim_set_hl(0, HIGHLIGHT, { link = "Comment", default = true })
  end
  api.nvim_set_hl(0, HIGHLIGHT, vim.tbl_extend("force", comment, { ctermfg = 8, default = true }))
end

local function autocommands()
  local group = api.nvim_create_augroup("mccomd", { clear = true })
  local function on(events, callback)
    api.nvim_create_autocmd(events, { group = group, callback = callback })
  end
  local function moved()
    if state.enabled then
      M.moved()
    end
  end
  on({ "TextChangedI", "TextChangedP", "CursorMovedI", "CompleteChanged", "CompleteDone" }, moved)
  on("InsertEnter", function(event)
    consider(event.buf)
    state.seen = ""
    vim.schedule(moved) -- the cursor is not where it will be yet
  end)
  on({ "InsertLeave", "BufLeave", "WinLeave" }, function()
    state.wanted, state.asked, state.places = false, nil, {}
    clear()
  end)
  on({ "BufEnter", "FileType", "BufFilePost", "BufWritePost" }, function(event)
    consider(event.buf)
  end)
  on({ "BufEnter", "CursorHold" }, function()
    vim.schedule(read_ahead) -- when the buffer is considered
  end)
  on({ "BufUnload", "BufDelete", "BufWipeout" }, function(event)
    close_document(event.buf)
  end)
  on("VimLeavePre", M.disable)
  on("ColorScheme", highlight)
end

local function unknown_options(given, known, prefix)
  for name, value in pairs(given) do
    if known[name] == nil then
      problem("option " .. prefix .. name, ("setup() knows no option %q"):format(prefix .. name))
    elseif name == "keys" and type(value) == "table" then
      unknown_options(value, known[name], "keys.")
    end
  end
end

function M.setup(given)
  options = vim.tbl_deep_extend("force", vim.deepcopy(defaults), given or {})
  highlight()
  for name, action in pairs({ Status = show_status, Enable = M.enable, Disable = M.disable, Toggle = M.toggle }) do
    api.nvim_create_user_command("Mccomd" .. name, action, { bar = true, desc = "mccomd: " .. name:lower() })
  end
  map_keys()
  watch_screen()
  autocommands()
  M.enable()
  unknown_options(given or {}, defaults, "")
end

return M
